"""Deletes of many at once."""

import base64
import hashlib

from suite import check, refused, same


def delete_raw(t, bucket, body, checked=True):
    md5 = {"content-md5": base64.b64encode(hashlib.md5(body).digest()).decode()} if checked else {}
    return t.raw("POST", f"/{bucket}", "delete", headers=md5, body=body)


@check
def many_go_at_once(t):
    bucket = t.bucket()
    keys = [f"k{number}" for number in range(20)] + ["a & b", "<c>", "é", "d\"'"]
    for key in keys:
        t.put(bucket, key, b"")
    wanted = [*keys, "missing"]
    answer = t.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in wanted]})
    same(sorted(entry["Key"] for entry in answer["Deleted"]), sorted(wanted), "Deleted, what was missing among them")
    same((answer.get("Errors"), t.s3.list_objects_v2(Bucket=bucket)["KeyCount"]), (None, 0), "errors, and what is left")


@check
def quiet_says_only_what_failed(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    answer = t.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}], "Quiet": True})
    same((answer.get("Deleted"), answer.get("Errors")), (None, None), "answer")
    t.absent(bucket, "k")


@check
def a_thousand_go_and_one_more_is_refused(t):
    bucket = t.bucket()
    t.put(bucket, "k0")
    objects = [{"Key": f"k{number}"} for number in range(1001)]
    refused("MalformedXML", t.s3.delete_objects, Bucket=bucket, Delete={"Objects": objects})
    t.s3.head_object(Bucket=bucket, Key="k0")
    answer = t.s3.delete_objects(Bucket=bucket, Delete={"Objects": objects[:1000]})
    same(len(answer["Deleted"]), 1000, "Deleted")


@check
def with_and_without_a_namespace(t):
    bucket = t.bucket()
    for start in (b"<Delete>", b'<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'):
        t.put(bucket, "k")
        body = b'<?xml version="1.0" encoding="UTF-8"?>' + start + b"<Object><Key>k</Key></Object></Delete>"
        answer = delete_raw(t, bucket, body).accepted().xml
        same(answer.findtext("Deleted/Key"), "k", "Deleted")
        t.absent(bucket, "k")


@check
def what_is_no_list_is_refused(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    for body in (b"<Delete><Object><Key>k</Key>", b"<Delete></Delete>", b"nonsense", b"<Other><Object><Key>k</Key></Object></Other>"):
        delete_raw(t, bucket, body).refused("MalformedXML")
    t.s3.head_object(Bucket=bucket, Key="k")


@check
def a_list_without_a_checksum_is_refused(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    delete_raw(t, bucket, body, checked=False).refused("InvalidRequest")
    wrong = {"content-md5": base64.b64encode(hashlib.md5(b"other").digest()).decode()}
    t.raw("POST", f"/{bucket}", "delete", headers=wrong, body=body).refused("BadDigest")
    t.s3.head_object(Bucket=bucket, Key="k")


@check
def versions_and_markers_go_by_their_ids(t):
    bucket = t.bucket("Enabled")
    version = t.put(bucket, "k")["VersionId"]
    answer = t.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k"}]})["Deleted"][0]
    same((answer["DeleteMarker"], "DeleteMarkerVersionId" in answer), (True, True), "a marker is made")
    marker = answer["DeleteMarkerVersionId"]
    both = [{"Key": "k", "VersionId": version}, {"Key": "k", "VersionId": marker}]
    answer = t.s3.delete_objects(Bucket=bucket, Delete={"Objects": both})
    deleted = {entry["VersionId"]: entry for entry in answer["Deleted"]}
    same(set(deleted), {version, marker}, "Deleted")
    same(deleted[marker].get("DeleteMarkerVersionId"), marker, "the marker that went")
    t.s3.delete_bucket(Bucket=bucket)
