"""Buckets: made, found, listed, removed, and the rules of their names."""

from suite import check, plain_xml, refused, same

BAD_NAMES = ["ab", "a" * 64, "Upper-Case", "under_score", "192.168.5.4", "-leading", "trailing-", "double..dot", "with%20space"]


@check
def a_bucket_is_made_found_and_removed(t):
    name = t.new_name()
    refused("404", t.s3.head_bucket, Bucket=name)
    same(t.s3.create_bucket(Bucket=name)["Location"], f"/{name}", "Location")
    t.s3.head_bucket(Bucket=name)
    same(t.s3.delete_bucket(Bucket=name)["ResponseMetadata"]["HTTPStatusCode"], 204, "status of a delete")
    refused("404", t.s3.head_bucket, Bucket=name)


@check
def buckets_are_listed_by_name_with_a_time(t):
    names = sorted(t.bucket() for _ in range(3))
    listed = t.s3.list_buckets()["Buckets"]
    found = [bucket["Name"] for bucket in listed]
    same([name for name in found if name in names], names, "buckets in order")
    times = [bucket["CreationDate"].year for bucket in listed if bucket["Name"] in names]
    assert all(year > 2000 for year in times), f"each bucket has its time: {times}"


@check
def a_page_of_buckets_goes_on_where_the_last_ended(t):
    names, found, token = sorted(t.bucket() for _ in range(3)), [], None
    prefix = "conformance-"
    while True:
        more = {"ContinuationToken": token} if token else {}
        page = t.s3.list_buckets(MaxBuckets=2, Prefix=prefix, **more)
        assert len(page["Buckets"]) <= 2, "no more than asked for"
        found += [bucket["Name"] for bucket in page["Buckets"]]
        token = page.get("ContinuationToken")
        if not token:
            break
    same([name for name in found if name in names], names, "buckets over all pages")


@check
def names_follow_the_rules(t):
    for name in BAD_NAMES:
        t.raw("PUT", f"/{name}").refused("InvalidBucketName")


@check
def names_may_have_dots(t):
    name = f"www.{t.new_name()[:40]}.example.org"
    t._buckets.append(name)
    t.s3.create_bucket(Bucket=name)
    t.put(name, "k", b"dotted")
    same(t.get(name, "k"), b"dotted", "bytes")
    for wrong in (f"a-.{name}", f".{name}", f"{name}."):
        t.raw("PUT", f"/{wrong}").refused("InvalidBucketName")


@check
def names_of_the_least_and_the_greatest_length_are_fine(t):
    long = (t.new_name() + "-" + "x" * 63)[:63]
    t._buckets.append(long)
    t.s3.create_bucket(Bucket=long)
    t.s3.head_bucket(Bucket=long)


@check
def ones_own_bucket_is_not_made_twice(t):
    """us-east-1 answers 200 for reasons of its past; every other region says whose it is."""
    name = t.bucket()
    t.put(name, "kept")
    answer = t.raw("PUT", f"/{name}")
    if answer.status != 200:
        answer.refused("BucketAlreadyOwnedByYou")
    same(t.get(name, "kept"), b"content", "what was in it")


@check
def a_bucket_that_is_not_there(t):
    name = t.new_name()
    refused("NoSuchBucket", t.s3.list_objects_v2, Bucket=name)
    refused("NoSuchBucket", t.s3.list_objects, Bucket=name)
    refused("NoSuchBucket", t.s3.list_object_versions, Bucket=name)
    refused("NoSuchBucket", t.s3.list_multipart_uploads, Bucket=name)
    refused("NoSuchBucket", t.s3.put_object, Bucket=name, Key="k", Body=b"x")
    refused("NoSuchBucket", t.s3.get_object, Bucket=name, Key="k")
    refused("NoSuchBucket", t.s3.delete_object, Bucket=name, Key="k")
    refused("NoSuchBucket", t.s3.create_multipart_upload, Bucket=name, Key="k")
    refused("NoSuchBucket", t.s3.delete_bucket, Bucket=name)
    refused("NoSuchBucket", t.s3.get_bucket_location, Bucket=name)
    refused("NoSuchBucket", t.s3.get_bucket_versioning, Bucket=name)
    refused("404", t.s3.head_object, Bucket=name, Key="k")


@check
def a_bucket_with_an_object_stays(t):
    name = t.bucket()
    t.put(name, "k")
    refused("BucketNotEmpty", t.s3.delete_bucket, Bucket=name)
    t.s3.delete_object(Bucket=name, Key="k")
    t.s3.delete_bucket(Bucket=name)


@check
def a_bucket_with_nothing_but_open_uploads_goes(t):
    name = t.bucket()
    upload = t.s3.create_multipart_upload(Bucket=name, Key="k")["UploadId"]
    t.s3.upload_part(Bucket=name, Key="k", UploadId=upload, PartNumber=1, Body=b"x")
    t.put(name, "other")
    refused("BucketNotEmpty", t.s3.delete_bucket, Bucket=name)
    same(len(t.s3.list_parts(Bucket=name, Key="k", UploadId=upload)["Parts"]), 1, "parts of a bucket that stays")
    t.s3.delete_object(Bucket=name, Key="other")
    t.s3.delete_bucket(Bucket=name)
    refused("404", t.s3.head_bucket, Bucket=name)


@check
def a_bucket_with_only_a_marker_or_an_old_version_stays(t):
    name = t.bucket("Enabled")
    version = t.put(name, "k")["VersionId"]
    marker = t.s3.delete_object(Bucket=name, Key="k")["VersionId"]
    refused("BucketNotEmpty", t.s3.delete_bucket, Bucket=name)
    t.s3.delete_object(Bucket=name, Key="k", VersionId=version)
    refused("BucketNotEmpty", t.s3.delete_bucket, Bucket=name)
    t.s3.delete_object(Bucket=name, Key="k", VersionId=marker)
    t.s3.delete_bucket(Bucket=name)


@check
def the_location_is_told(t):
    name = t.bucket()
    same(t.s3.get_bucket_location(Bucket=name)["LocationConstraint"], None, "LocationConstraint of us-east-1")
    answer = t.raw("GET", f"/{name}", "location").accepted()
    same(plain_xml(answer.body).tag, "LocationConstraint", "root")


@check
def a_malformed_location_is_refused(t):
    name = t.new_name()
    t.raw("PUT", f"/{name}", body=b"<CreateBucketConfiguration><Loc").refused("MalformedXML")
    refused("404", t.s3.head_bucket, Bucket=name)


@check
def every_answer_has_a_request_id(t):
    name = t.bucket()
    answers = [
        t.raw("GET", "/"),
        t.raw("GET", f"/{name}"),
        t.raw("HEAD", f"/{name}/missing"),
        t.raw("GET", f"/{name}/missing"),
        t.raw("PUT", f"/{name}/there", body=b"x"),
        t.raw("GET", f"/{name}/there"),
        t.raw("DELETE", f"/{name}/there"),
    ]
    ids = [answer["x-amz-request-id"] for answer in answers]
    assert all(ids), f"x-amz-request-id on every answer: {ids}"
    same(len(set(ids)), len(ids), "different request ids")
    missing = answers[3].refused("NoSuchKey")
    same(missing.xml.tag, "Error", "root of an error")
    same(missing.xml.findtext("RequestId"), missing["x-amz-request-id"], "RequestId of the body")
    same(missing.xml.findtext("Key"), "missing", "Key of NoSuchKey")
    same(missing["content-type"], "application/xml", "type of an error")


@check(needs=("virtual_host",))
def a_bucket_is_a_host(t):
    name = t.bucket()
    host = {"host": f"{name}.{t.server.virtual_host}"}
    t.raw("PUT", "/a/key", headers=dict(host), body=b"by host").accepted()
    same(t.get(name, "a/key"), b"by host", "what was put by host")
    same(t.raw("GET", "/a/key", headers=dict(host)).accepted().body, b"by host", "what is got by host")
    listed = t.raw("GET", "/", "list-type=2", headers=dict(host)).accepted().xml
    same(listed.findtext("Contents/Key"), "a/key", "a listing by host")
