"""Who may do what: buckets of others, keys that have ended."""

from suite import check, client, refused, same

OTHER = ("auth", "other")


@check(needs=OTHER)
def anothers_bucket_is_closed(t):
    bucket, other = t.bucket(), t.server.other_client
    version = t.put(bucket, "k", b"mine")
    upload, parts = t.multipart(bucket, "m", [b"part"])
    named = {"Bucket": bucket, "Key": "k"}
    refused("403", other.head_bucket, Bucket=bucket)
    refused("403", other.head_object, **named)
    part = {"Bucket": bucket, "Key": "m", "UploadId": upload}
    for operation, arguments in [
        (other.get_object, named),
        (other.put_object, {**named, "Body": b"theirs"}),
        (other.delete_object, named),
        (other.delete_objects, {"Bucket": bucket, "Delete": {"Objects": [{"Key": "k"}]}}),
        (other.get_object_tagging, named),
        (other.put_object_tagging, {**named, "Tagging": {"TagSet": []}}),
        (other.get_object_attributes, {**named, "ObjectAttributes": ["ETag"]}),
        (other.list_objects_v2, {"Bucket": bucket}),
        (other.list_objects, {"Bucket": bucket}),
        (other.list_object_versions, {"Bucket": bucket}),
        (other.list_multipart_uploads, {"Bucket": bucket}),
        (other.create_multipart_upload, named),
        (other.upload_part, {**part, "PartNumber": 2, "Body": b"x"}),
        (other.list_parts, part),
        (other.complete_multipart_upload, {**part, "MultipartUpload": {"Parts": parts}}),
        (other.abort_multipart_upload, part),
        (other.get_bucket_versioning, {"Bucket": bucket}),
        (other.put_bucket_versioning, {"Bucket": bucket, "VersioningConfiguration": {"Status": "Enabled"}}),
        (other.get_bucket_location, {"Bucket": bucket}),
        (other.put_bucket_tagging, {"Bucket": bucket, "Tagging": {"TagSet": []}}),
        (other.delete_bucket_cors, {"Bucket": bucket}),
        (other.delete_bucket_lifecycle, {"Bucket": bucket}),
        (other.delete_bucket, {"Bucket": bucket}),
    ]:
        refused("AccessDenied", operation, **arguments)
    same((t.get(bucket, "k"), version["ETag"]), (b"mine", t.s3.head_object(**named)["ETag"]), "what is there")
    assert bucket not in [entry["Name"] for entry in other.list_buckets()["Buckets"]], "it is not listed to others"


@check(needs=OTHER)
def anothers_bucket_is_no_source(t):
    mine, other = t.bucket(), t.server.other_client
    t.put(mine, "k", b"mine")
    theirs = t.new_name()
    other.create_bucket(Bucket=theirs)
    try:
        refused("AccessDenied", other.copy_object, Bucket=theirs, Key="k", CopySource=f"{mine}/k")
        upload = other.create_multipart_upload(Bucket=theirs, Key="k")["UploadId"]
        copy = {"Bucket": theirs, "Key": "k", "UploadId": upload, "PartNumber": 1, "CopySource": f"{mine}/k"}
        refused("AccessDenied", other.upload_part_copy, **copy)
        other.abort_multipart_upload(Bucket=theirs, Key="k", UploadId=upload)
    finally:
        other.delete_bucket(Bucket=theirs)


@check(needs=OTHER)
def anothers_name_is_taken(t):
    bucket = t.bucket()
    refused("BucketAlreadyExists", t.server.other_client.create_bucket, Bucket=bucket)


@check(needs=("auth", "expired"))
def a_key_that_has_expired_is_unknown(t):
    bucket = t.bucket()
    old = client(t.server.endpoint, t.server.expired)
    refused(("InvalidAccessKeyId", "AccessDenied"), old.list_buckets)
    refused(("InvalidAccessKeyId", "AccessDenied"), old.put_object, Bucket=bucket, Key="k", Body=b"x")
    t.absent(bucket, "k")


@check(needs=("auth", "disabled"))
def a_key_that_was_disabled_is_unknown(t):
    bucket = t.bucket()
    disabled = client(t.server.endpoint, t.server.disabled)
    refused(("InvalidAccessKeyId", "AccessDenied"), disabled.list_buckets)
    refused(("InvalidAccessKeyId", "AccessDenied"), disabled.get_object, Bucket=bucket, Key="k")
