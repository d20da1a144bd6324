"""Objects: bytes and headers in and out, names, ranges, lengths."""

import email.utils
import hashlib
import socket
import urllib.parse

import signing
from suite import check, random_bytes, refused, same

NAMES = [
    "plain",
    "with space",
    "plus+plus",
    "/leading/slash",
    "double//slash",
    "trailing/",
    "ünïcödé/日本語/🎈",
    "percent%20encoded%2F",
    "question?and#hash",
    "a&b=c;d:e@f,g$h",
    "quote'\"quote",
    "back\\slash",
    "<xml>&amp;",
    "brackets[](){}!*~^|`",
    "tab\tinside",
    "dot.",
    ".hidden",
    " leading space",
]


def path_of(bucket, key):
    return f"/{bucket}/{urllib.parse.quote(key, safe='/-_.~')}"


@check
def bytes_come_back_as_they_were(t):
    bucket = t.bucket()
    for size in (0, 1, 4096, 100_000, 3 << 20):
        body = random_bytes(size)
        etag = f'"{hashlib.md5(body).hexdigest()}"'
        same(t.put(bucket, f"k{size}", body)["ETag"], etag, "ETag of a put")
        got = t.s3.get_object(Bucket=bucket, Key=f"k{size}")
        same((got["Body"].read() == body, got["ContentLength"], got["ETag"]), (True, size, etag), f"{size} bytes")
        head = t.s3.head_object(Bucket=bucket, Key=f"k{size}")
        same((head["ContentLength"], head["ETag"], head["AcceptRanges"]), (size, etag, "bytes"), "head")


@check
def every_name_is_kept_as_it_is(t):
    bucket = t.bucket()
    for name in NAMES:
        t.put(bucket, name, name.encode())
    listed = [entry["Key"] for entry in t.s3.list_objects_v2(Bucket=bucket)["Contents"]]
    same(listed, sorted(NAMES, key=str.encode), "names listed")
    for name in NAMES:
        same(t.get(bucket, name), name.encode(), name)
        t.s3.delete_object(Bucket=bucket, Key=name)
    same(t.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0, "what is left")


@check
def dots_in_a_name_are_no_directories(t):
    bucket = t.bucket()
    for key in ("a/../b", "./c", "a/./d", ".."):
        t.raw("PUT", f"/{bucket}/{key}", body=key.encode()).accepted()
    for key in ("a/../b", "./c", "a/./d", ".."):
        same(t.raw("GET", f"/{bucket}/{key}").accepted().body, key.encode(), key)
    listed = [entry["Key"] for entry in t.s3.list_objects_v2(Bucket=bucket)["Contents"]]
    same(listed, sorted(["a/../b", "./c", "a/./d", ".."]), "names listed")


@check
def a_name_has_at_most_1024_bytes(t):
    bucket = t.bucket()
    for key in ("k" * 1024, "é" * 512, "/".join(["d"] * 512) + "x"):
        same(len(key.encode()), 1024, "bytes of the key")
        t.put(bucket, key, b"long")
        same(t.get(bucket, key), b"long", "what a long name holds")
    for key in ("k" * 1025, "é" * 512 + "x"):
        refused("KeyTooLongError", t.s3.put_object, Bucket=bucket, Key=key, Body=b"x")
    same(t.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 3, "keys")


@check
def what_is_not_there(t):
    bucket = t.bucket()
    refused("NoSuchKey", t.s3.get_object, Bucket=bucket, Key="missing")
    refused("404", t.s3.head_object, Bucket=bucket, Key="missing")
    same(t.raw("HEAD", f"/{bucket}/missing").body, b"", "body of a head")
    answer = t.s3.delete_object(Bucket=bucket, Key="missing")
    same(answer["ResponseMetadata"]["HTTPStatusCode"], 204, "status of a delete of nothing")


@check
def headers_are_given_back(t):
    bucket = t.bucket()
    given = {
        "CacheControl": "max-age=60",
        "ContentDisposition": 'attachment; filename="a.txt"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de-CH",
        "ContentType": "text/plain; charset=utf-8",
        "Metadata": {"colour": "blue", "shape": "a b  c".replace("  ", " ")},
    }
    t.put(bucket, "k", b"x", Expires="Wed, 21 Oct 2037 07:28:00 GMT", **given)
    for operation in (t.s3.head_object, t.s3.get_object):
        got = operation(Bucket=bucket, Key="k")
        same({name: got.get(name) for name in given}, given, "headers")
        same(got["ExpiresString"], "Wed, 21 Oct 2037 07:28:00 GMT", "Expires")


@check
def a_type_that_was_not_given_is_binary(t):
    bucket = t.bucket()
    t.raw("PUT", f"/{bucket}/k", body=b"x").accepted()
    same(t.s3.head_object(Bucket=bucket, Key="k")["ContentType"], "binary/octet-stream", "ContentType")


@check
def a_later_put_takes_all_headers_away(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"1", Metadata={"a": "1"}, CacheControl="no-cache")
    t.put(bucket, "k", b"22")
    head = t.s3.head_object(Bucket=bucket, Key="k")
    same((head["Metadata"], head.get("CacheControl"), head["ContentLength"]), ({}, None, 2), "second put")


@check
def metadata_that_is_not_ascii_survives(t):
    bucket = t.bucket()
    t.raw("PUT", f"/{bucket}/k", headers={"x-amz-meta-name": "Zürich".encode()}, body=b"x").accepted()
    got = t.raw("HEAD", f"/{bucket}/k")["x-amz-meta-name"]
    forms = {"Zürich", "Zürich".encode().decode("latin-1"), "=?UTF-8?Q?Z=C3=BCrich?=", "=?UTF-8?B?WsO8cmljaA==?="}
    assert got in forms, f"as it was, or as RFC 2047 spells it: {got!r}"


@check
def metadata_has_at_most_2048_bytes(t):
    bucket = t.bucket()
    t.put(bucket, "k", Metadata={"a": "x" * 2047})
    refused("MetadataTooLarge", t.s3.put_object, Bucket=bucket, Key="big", Body=b"", Metadata={"a": "x" * 2048})
    t.absent(bucket, "big")


@check
def the_time_of_change_is_told(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    answer = t.raw("HEAD", f"/{bucket}/k").accepted()
    assert email.utils.parsedate_to_datetime(answer["last-modified"]), answer["last-modified"]
    listed = t.s3.list_objects_v2(Bucket=bucket)["Contents"][0]["LastModified"].replace(microsecond=0)
    same(listed, t.s3.head_object(Bucket=bucket, Key="k")["LastModified"], "time in the listing and on the object")


@check
def ranges_are_read(t):
    bucket, body = t.bucket(), random_bytes(300_000)
    t.put(bucket, "k", body)
    for asked, first, last in [
        ("bytes=0-4", 0, 4),
        ("bytes=100000-200000", 100_000, 200_000),
        ("bytes=299990-", 299_990, 299_999),
        ("bytes=-10", 299_990, 299_999),
        ("bytes=299990-400000", 299_990, 299_999),
        ("bytes=-400000", 0, 299_999),
    ]:
        answer = t.raw("GET", f"/{bucket}/k", headers={"range": asked}).accepted(206)
        same(answer["content-range"], f"bytes {first}-{last}/300000", asked)
        same(answer.body == body[first : last + 1], True, f"bytes of {asked}")
        head = t.raw("HEAD", f"/{bucket}/k", headers={"range": asked}).accepted(206)
        same(head["content-length"], str(last - first + 1), f"length of {asked}")


@check
def a_range_past_the_end_is_refused(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"0123456789")
    t.put(bucket, "empty", b"")
    for asked in ("bytes=10-", "bytes=100-200", "bytes=-0"):
        answer = t.raw("GET", f"/{bucket}/k", headers={"range": asked}).refused("InvalidRange")
        same(answer["content-range"] in (None, "bytes */10"), True, "content-range")
    same(answer.xml.findtext("ActualObjectSize"), "10", "ActualObjectSize")
    t.raw("GET", f"/{bucket}/empty", headers={"range": "bytes=0-4"}).refused("InvalidRange")


@check
def a_range_that_makes_no_sense_is_ignored(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"0123456789")
    for asked in ("bytes=x-y", "lines=1-2", "bytes="):
        same(t.raw("GET", f"/{bucket}/k", headers={"range": asked}).accepted().body, b"0123456789", asked)


@check
def an_answer_is_dressed_as_asked(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    got = t.s3.get_object(
        Bucket=bucket,
        Key="k",
        ResponseContentType="text/x",
        ResponseContentDisposition="inline",
        ResponseCacheControl="no-store",
        ResponseContentLanguage="fr",
        ResponseContentEncoding="x",
        ResponseExpires="Wed, 21 Oct 2037 07:28:00 GMT",
    )
    dress = [got[name] for name in ("ContentType", "ContentDisposition", "CacheControl", "ContentLanguage", "ContentEncoding")]
    same(dress, ["text/x", "inline", "no-store", "fr", "x"], "headers of the answer")


@check
def a_wrong_md5_leaves_nothing_behind(t):
    bucket = t.bucket()
    wrong = "1B2M2Y8AsgTpgAmY7PhCfg=="
    t.raw("PUT", f"/{bucket}/k", headers={"content-md5": wrong}, body=b"not empty").refused("BadDigest")
    t.raw("PUT", f"/{bucket}/k", headers={"content-md5": "no base64!"}, body=b"x").refused("InvalidDigest")
    t.raw("PUT", f"/{bucket}/k", headers={"content-md5": "c2hvcnQ="}, body=b"x").refused("InvalidDigest")
    t.absent(bucket, "k")
    t.raw("PUT", f"/{bucket}/k", headers={"content-md5": wrong}, body=b"").accepted()


@check
def a_wrong_sha256_leaves_nothing_behind(t):
    bucket = t.bucket()
    other = hashlib.sha256(b"other").hexdigest()
    t.raw("PUT", f"/{bucket}/k", body=b"x", payload=other).refused("XAmzContentSHA256Mismatch")
    t.absent(bucket, "k")
    t.raw("PUT", f"/{bucket}/k", body=b"x", payload=signing.UNSIGNED).accepted()


def half_sent(t, path, length, sent, headers=()):
    """Sends a put's head with `length` and `sent` bytes, and ends; answers what came back."""
    signed = {"host": t.server.authority, **dict(headers)}
    signing.sign("PUT", path, "", signed, b"", t.keys.access_key, t.keys.secret_key, payload=signing.UNSIGNED)
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    host, port = t.server.authority.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(f"PUT {path} HTTP/1.1\r\n{lines}content-length: {length}\r\n\r\n".encode() + sent)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := connection.recv(4096):
            answer += piece
        return answer


@check
def a_put_that_breaks_off_leaves_nothing_behind(t):
    bucket = t.bucket()
    answer = half_sent(t, f"/{bucket}/k", 100_000, b"x" * 5_000)
    assert b" 200 " not in answer.split(b"\r\n")[0], answer
    t.absent(bucket, "k")


@check
def an_object_over_the_greatest_size_is_refused_before_its_bytes(t):
    bucket = t.bucket()
    answer = half_sent(t, f"/{bucket}/k", (5 << 30) + 1, b"", headers={"expect": "100-continue"})
    assert b"EntityTooLarge" in answer, answer[:300]
    assert answer.startswith(b"HTTP/1.1 400"), answer[:50]
    t.absent(bucket, "k")


@check
def another_storage_class_is_no_silent_success(t):
    bucket = t.bucket()
    t.put(bucket, "standard", StorageClass="STANDARD")
    refused(
        ("InvalidStorageClass", "NotImplemented"), t.s3.put_object, Bucket=bucket, Key="k", Body=b"", StorageClass="GLACIER"
    )
    refused("InvalidStorageClass", t.s3.put_object, Bucket=bucket, Key="k", Body=b"", StorageClass="NONSENSE")
    t.absent(bucket, "k")


@check
def attributes_are_told(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"12345", ChecksumAlgorithm="SHA256")
    wanted = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    got = t.s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=wanted)
    told = (got["ETag"].strip('"'), got["ObjectSize"], got["StorageClass"])
    same(told, (hashlib.md5(b"12345").hexdigest(), 5, "STANDARD"), "attributes")
    same("ChecksumSHA256" in got["Checksum"], True, "its checksum")
    only = t.s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["ObjectSize"])
    same(("ETag" in only, only["ObjectSize"]), (False, 5), "only what was asked for")
    refused("NoSuchKey", t.s3.get_object_attributes, Bucket=bucket, Key="missing", ObjectAttributes=wanted)
    t.raw("GET", f"/{bucket}/k", "attributes").refused("InvalidArgument", "InvalidRequest")
