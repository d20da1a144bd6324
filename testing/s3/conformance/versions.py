"""Versions: enabled, suspended, null versions, delete markers, and their listing."""

import uuid

from suite import check, refused, same


def versions_of(t, bucket, **arguments):
    """(key, id, whether newest, whether a marker), newest first within a key, as the listing has them."""
    page = t.s3.list_object_versions(Bucket=bucket, **arguments)
    entries = [(e["Key"], e["VersionId"], e["IsLatest"], False, e["LastModified"]) for e in page.get("Versions", [])]
    entries += [(e["Key"], e["VersionId"], e["IsLatest"], True, e["LastModified"]) for e in page.get("DeleteMarkers", [])]
    return [entry[:4] for entry in entries]


@check
def a_bucket_says_how_it_is(t):
    bucket = t.bucket()
    same(t.s3.get_bucket_versioning(Bucket=bucket).get("Status"), None, "at first")
    for status in ("Enabled", "Suspended", "Enabled"):
        t.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        same(t.s3.get_bucket_versioning(Bucket=bucket)["Status"], status, "status")
    wrong = b"<VersioningConfiguration><Status>Perhaps</Status></VersioningConfiguration>"
    t.raw("PUT", f"/{bucket}", "versioning", body=wrong).refused("MalformedXML", "IllegalVersioningConfigurationException")
    t.raw("PUT", f"/{bucket}", "versioning", body=b"<Versioning").refused("MalformedXML")


@check
def every_version_stays_readable(t):
    bucket = t.bucket("Enabled")
    ids = [t.put(bucket, "k", f"v{number}".encode())["VersionId"] for number in range(3)]
    same(len(set(ids)), 3, "different ids")
    same(t.get(bucket, "k"), b"v2", "newest")
    for number, version in enumerate(ids):
        got = t.s3.get_object(Bucket=bucket, Key="k", VersionId=version)
        same((got["Body"].read(), got["VersionId"]), (f"v{number}".encode(), version), "version")
        same(t.s3.head_object(Bucket=bucket, Key="k", VersionId=version)["VersionId"], version, "head")


@check
def without_versioning_no_version_is_named(t):
    bucket = t.bucket()
    same(t.put(bucket, "k").get("VersionId"), None, "of a put")
    same(t.s3.get_object(Bucket=bucket, Key="k").get("VersionId"), None, "of a get")
    same(t.s3.delete_object(Bucket=bucket, Key="k").get("DeleteMarker"), None, "of a delete")
    same(versions_of(t, bucket), [], "a delete leaves nothing")


@check
def without_versioning_the_one_version_is_null(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"1")
    t.put(bucket, "k", b"2")
    same(versions_of(t, bucket), [("k", "null", True, False)], "versions")
    same(t.get(bucket, "k", VersionId="null"), b"2", "the null version")


@check
def a_delete_leaves_a_marker(t):
    bucket = t.bucket("Enabled")
    version = t.put(bucket, "k", b"kept")["VersionId"]
    answer = t.s3.delete_object(Bucket=bucket, Key="k")
    same(answer["DeleteMarker"], True, "DeleteMarker")
    marker = answer["VersionId"]
    missing = t.raw("GET", f"/{bucket}/k").refused("NoSuchKey")
    same((missing["x-amz-delete-marker"], missing["x-amz-version-id"]), ("true", marker), "headers of a marked key")
    head = t.raw("HEAD", f"/{bucket}/k")
    same((head.status, head["x-amz-delete-marker"]), (404, "true"), "head of a marked key")
    same(t.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0, "keys")
    same(versions_of(t, bucket), [("k", version, False, False), ("k", marker, True, True)], "versions")
    same(t.get(bucket, "k", VersionId=version), b"kept", "the version before")
    gone = t.s3.delete_object(Bucket=bucket, Key="k", VersionId=marker)
    same((gone["DeleteMarker"], gone["VersionId"]), (True, marker), "delete of a marker")
    same(t.get(bucket, "k"), b"kept", "what comes back")


@check
def a_marker_cannot_be_read(t):
    bucket = t.bucket("Enabled")
    t.put(bucket, "k")
    marker = t.s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    answer = t.raw("GET", f"/{bucket}/k", f"versionId={marker}").refused("MethodNotAllowed")
    same(answer["x-amz-delete-marker"], "true", "x-amz-delete-marker")
    same(t.raw("HEAD", f"/{bucket}/k", f"versionId={marker}").status, 405, "head of a marker")


@check
def a_delete_of_nothing_marks_it(t):
    bucket = t.bucket("Enabled")
    answer = t.s3.delete_object(Bucket=bucket, Key="never")
    same(versions_of(t, bucket), [("never", answer["VersionId"], True, True)], "versions")


@check
def one_version_goes_for_good(t):
    bucket = t.bucket("Enabled")
    first, second, third = (t.put(bucket, "k", body)["VersionId"] for body in (b"1", b"2", b"3"))
    answer = t.s3.delete_object(Bucket=bucket, Key="k", VersionId=second)
    same((answer.get("DeleteMarker"), answer["VersionId"]), (None, second), "answer")
    refused("NoSuchVersion", t.s3.get_object, Bucket=bucket, Key="k", VersionId=second)
    same(t.get(bucket, "k"), b"3", "newest")
    t.s3.delete_object(Bucket=bucket, Key="k", VersionId=third)
    same(t.get(bucket, "k"), b"1", "newest is now the first")
    again = t.s3.delete_object(Bucket=bucket, Key="k", VersionId=second)
    same(again["ResponseMetadata"]["HTTPStatusCode"], 204, "again")
    t.s3.delete_object(Bucket=bucket, Key="k", VersionId=first)
    refused("NoSuchKey", t.s3.get_object, Bucket=bucket, Key="k")


@check
def a_version_that_never_was(t):
    bucket = t.bucket("Enabled")
    ours = t.put(bucket, "k")["VersionId"]
    other = ours[:-4] + ("0000" if ours[-4:] != "0000" else "1111")
    refused("NoSuchVersion", t.s3.get_object, Bucket=bucket, Key="k", VersionId=other)
    refused(("InvalidArgument", "NoSuchVersion"), t.s3.get_object, Bucket=bucket, Key="k", VersionId="no-such-form")
    refused("NoSuchVersion", t.s3.get_object, Bucket=bucket, Key="k", VersionId="null")
    t.raw("GET", f"/{bucket}/k", "versionId=").refused("InvalidArgument")
    refused(("NoSuchVersion", "NoSuchKey"), t.s3.get_object, Bucket=bucket, Key=uuid.uuid4().hex, VersionId=ours)


@check
def what_was_there_before_is_the_null_version(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"before")
    t.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    version = t.put(bucket, "k", b"after")["VersionId"]
    same(versions_of(t, bucket), [("k", version, True, False), ("k", "null", False, False)], "versions")
    same(t.get(bucket, "k", VersionId="null"), b"before", "the null version")
    t.s3.delete_object(Bucket=bucket, Key="k", VersionId=version)
    same(t.get(bucket, "k"), b"before", "what comes back")


@check
def suspended_a_put_replaces_the_null_version_only(t):
    bucket = t.bucket("Enabled")
    kept = t.put(bucket, "k", b"kept")["VersionId"]
    t.s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    same(t.put(bucket, "k", b"1").get("VersionId") in (None, "null"), True, "id of a put")
    t.put(bucket, "k", b"2")
    same(versions_of(t, bucket), [("k", "null", True, False), ("k", kept, False, False)], "versions")
    same((t.get(bucket, "k"), t.get(bucket, "k", VersionId=kept)), (b"2", b"kept"), "bytes")
    answer = t.s3.delete_object(Bucket=bucket, Key="k")
    same((answer["DeleteMarker"], answer["VersionId"]), (True, "null"), "a delete makes a null marker")
    same(versions_of(t, bucket), [("k", kept, False, False), ("k", "null", True, True)], "versions after it")
    t.put(bucket, "k", b"3")
    same(versions_of(t, bucket), [("k", "null", True, False), ("k", kept, False, False)], "the marker was replaced")


@check
def versions_are_listed_in_pages(t):
    bucket = t.bucket("Enabled")
    expected = []
    for key in ("a", "b", "c"):
        ids = [t.put(bucket, key, f"{number}".encode())["VersionId"] for number in range(3)]
        expected += [(key, version) for version in reversed(ids)]
    for size in (1, 2, 4):
        found, more = [], {}
        while True:
            page = t.s3.list_object_versions(Bucket=bucket, MaxKeys=size, **more)
            assert len(page["Versions"]) <= size, "no more than asked for"
            found += [(entry["Key"], entry["VersionId"]) for entry in page["Versions"]]
            if not page["IsTruncated"]:
                break
            more = {"KeyMarker": page["NextKeyMarker"], "VersionIdMarker": page["NextVersionIdMarker"]}
        same(found, expected, f"versions by {size}")
    page = t.s3.list_object_versions(Bucket=bucket, KeyMarker="b")
    same([entry["Key"] for entry in page["Versions"]], ["c"] * 3, "after all versions of b")
    same(page["KeyMarker"], "b", "KeyMarker is echoed")
    t.raw("GET", f"/{bucket}", f"versions&version-id-marker={expected[0][1]}").refused("InvalidArgument")


@check
def versions_are_folded_and_chosen(t):
    bucket = t.bucket("Enabled")
    for key in ("a", "b/1", "b/2", "c/1"):
        t.put(bucket, key)
        t.put(bucket, key)
    page = t.s3.list_object_versions(Bucket=bucket, Delimiter="/")
    same([entry["Key"] for entry in page["Versions"]], ["a", "a"], "keys")
    same([entry["Prefix"] for entry in page["CommonPrefixes"]], ["b/", "c/"], "prefixes")
    page = t.s3.list_object_versions(Bucket=bucket, Prefix="b/")
    same([entry["Key"] for entry in page["Versions"]], ["b/1", "b/1", "b/2", "b/2"], "below b/")
    same([entry["IsLatest"] for entry in page["Versions"]], [True, False, True, False], "newest")
