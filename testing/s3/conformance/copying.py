"""Copies: names in the source header, what is carried over, what is refused."""

import hashlib
import urllib.parse

from suite import FIVE_MIB, check, random_bytes, refused, same

SOURCES = ["plain", "a+b", "/leading", "double//slash", "a b", "é/日", "100%", "question?", "x&y=z", "dots/../here"]


def copy_raw(t, target, source, **headers):
    named = {f"x-amz-{name.replace('_', '-')}": value for name, value in headers.items()}
    return t.raw("PUT", target, headers={"x-amz-copy-source": source, **named})


@check
def an_object_is_copied(t):
    bucket, other = t.bucket(), t.bucket()
    t.put(bucket, "k", b"12345", ContentType="text/x", Metadata={"a": "1"}, CacheControl="no-cache", Tagging="x=1")
    for target, key in ((bucket, "copy"), (other, "deep/copy")):
        answer = t.s3.copy_object(Bucket=target, Key=key, CopySource={"Bucket": bucket, "Key": "k"})
        same(answer["CopyObjectResult"]["ETag"], f'"{hashlib.md5(b"12345").hexdigest()}"', "ETag")
        assert answer["CopyObjectResult"]["LastModified"], "LastModified"
        got = t.s3.get_object(Bucket=target, Key=key)
        same((got["Body"].read(), got["ContentType"], got["Metadata"]), (b"12345", "text/x", {"a": "1"}), "copy")
        same((got["CacheControl"], got["TagCount"]), ("no-cache", 1), "what else is carried over")


@check
def every_name_can_be_a_source(t):
    bucket = t.bucket()
    for key in SOURCES:
        t.raw("PUT", f"/{bucket}/{urllib.parse.quote(key, safe='/')}", body=key.encode()).accepted()
        for number, lead in enumerate(("", "/")):
            source = lead + urllib.parse.quote(f"{bucket}/{key}", safe="/")
            copy_raw(t, f"/{bucket}/copy{number}", source).accepted()
            same(t.get(bucket, f"copy{number}"), key.encode(), f"copy of {key!r} by {source!r}")


@check
def a_plus_in_a_source_is_a_plus(t):
    bucket = t.bucket()
    t.put(bucket, "a+b", b"plus")
    copy_raw(t, f"/{bucket}/copy", f"/{bucket}/a+b").accepted()
    same(t.get(bucket, "copy"), b"plus", "copy")


@check
def a_large_object_is_copied(t):
    bucket, bodies = t.bucket(), [random_bytes(FIVE_MIB), random_bytes(3 << 20)]
    upload, parts = t.multipart(bucket, "k", bodies, create={"ContentType": "text/x"})
    t.complete(bucket, "k", upload, parts)
    t.s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    t.s3.delete_object(Bucket=bucket, Key="k")
    got = t.s3.get_object(Bucket=bucket, Key="copy")
    same((got["Body"].read() == b"".join(bodies), got["ContentType"]), (True, "text/x"), "copy, its source being gone")


@check
def headers_are_replaced_on_request(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"1", ContentType="text/x", Metadata={"a": "1"}, CacheControl="no-cache")
    t.s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k", MetadataDirective="REPLACE", ContentType="text/y", Metadata={"b": "2"})
    head = t.s3.head_object(Bucket=bucket, Key="copy")
    same((head["ContentType"], head["Metadata"], head.get("CacheControl")), ("text/y", {"b": "2"}, None), "headers")
    t.s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k", Metadata={"c": "3"})
    same(t.s3.head_object(Bucket=bucket, Key="copy")["Metadata"], {"a": "1"}, "not replaced unless asked for")
    copy_raw(t, f"/{bucket}/copy", f"/{bucket}/k", metadata_directive="PERHAPS").refused("InvalidArgument")


@check
def tags_are_replaced_on_request(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"1", Tagging="x=1")
    t.s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k", TaggingDirective="REPLACE", Tagging="y=2")
    same(t.s3.get_object_tagging(Bucket=bucket, Key="copy")["TagSet"], [{"Key": "y", "Value": "2"}], "tags")


@check
def onto_itself_something_must_change(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"1", Metadata={"a": "1"})
    itself = {"Bucket": bucket, "Key": "k", "CopySource": f"{bucket}/k"}
    refused("InvalidRequest", t.s3.copy_object, **itself)
    t.s3.copy_object(**itself, MetadataDirective="REPLACE", Metadata={"b": "2"}, ContentType="text/y")
    head = t.s3.head_object(Bucket=bucket, Key="k")
    same((head["Metadata"], head["ContentType"], t.get(bucket, "k")), ({"b": "2"}, "text/y", b"1"), "itself")


@check
def a_source_that_is_not_there(t):
    bucket, missing = t.bucket(), t.new_name()
    refused("NoSuchKey", t.s3.copy_object, Bucket=bucket, Key="copy", CopySource=f"{bucket}/missing")
    refused("NoSuchBucket", t.s3.copy_object, Bucket=bucket, Key="copy", CopySource=f"{missing}/k")
    t.put(bucket, "k")
    refused("NoSuchBucket", t.s3.copy_object, Bucket=missing, Key="copy", CopySource=f"{bucket}/k")
    for source in ("nonsense", "/", "", f"/{bucket}"):
        if source:
            copy_raw(t, f"/{bucket}/copy", source).refused("InvalidArgument")
    t.absent(bucket, "copy")


@check
def an_old_version_is_a_source(t):
    bucket = t.bucket("Enabled")
    old = t.put(bucket, "k", b"old")["VersionId"]
    t.put(bucket, "k", b"new")
    answer = t.s3.copy_object(Bucket=bucket, Key="k", CopySource={"Bucket": bucket, "Key": "k", "VersionId": old})
    same(answer["CopySourceVersionId"], old, "CopySourceVersionId")
    assert answer["VersionId"] not in (None, old), "a version of its own"
    same(t.get(bucket, "k"), b"old", "the old state is back")


@check
def a_marker_is_no_source(t):
    bucket = t.bucket("Enabled")
    t.put(bucket, "k")
    marker = t.s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    refused("NoSuchKey", t.s3.copy_object, Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    source = {"Bucket": bucket, "Key": "k", "VersionId": marker}
    refused("InvalidRequest", t.s3.copy_object, Bucket=bucket, Key="copy", CopySource=source)
