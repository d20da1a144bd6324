"""Uploads in parts: the order, the rules, the end, and what a part that is copied may be."""

import concurrent.futures
import hashlib

from suite import FIVE_MIB, check, random_bytes, refused, same


def etag_of(bodies):
    digest = hashlib.md5(b"".join(hashlib.md5(body).digest() for body in bodies)).hexdigest()
    return f'"{digest}-{len(bodies)}"'


@check
def parts_make_an_object(t):
    bucket, bodies = t.bucket(), [random_bytes(FIVE_MIB), random_bytes(FIVE_MIB + 1), random_bytes(7)]
    create = {"ContentType": "text/x", "Metadata": {"a": "b"}, "CacheControl": "no-cache", "Tagging": "x=1"}
    upload, parts = t.multipart(bucket, "k", bodies, create=create)
    t.absent(bucket, "k")
    answer = t.complete(bucket, "k", upload, parts)
    same((answer["ETag"], answer["Bucket"], answer["Key"]), (etag_of(bodies), bucket, "k"), "answer")
    got = t.s3.get_object(Bucket=bucket, Key="k")
    same((got["ETag"], got["ContentType"], got["Metadata"]), (etag_of(bodies), "text/x", {"a": "b"}), "headers")
    same((got["CacheControl"], got["TagCount"]), ("no-cache", 1), "headers given at the start")
    same(got["Body"].read() == b"".join(bodies), True, "bytes")
    entry = t.s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    same((entry["ETag"], entry["Size"]), (etag_of(bodies), sum(map(len, bodies))), "in the listing")


@check
def one_small_part_is_enough(t):
    bucket = t.bucket()
    upload, parts = t.multipart(bucket, "k", [b"small"])
    same(t.complete(bucket, "k", upload, parts)["ETag"], etag_of([b"small"]), "ETag")
    same(t.get(bucket, "k"), b"small", "bytes")


@check
def parts_in_any_order(t):
    bucket, bodies = t.bucket(), [random_bytes(FIVE_MIB), random_bytes(FIVE_MIB), b"end"]
    upload, parts = t.multipart(bucket, "k", [bodies[2], bodies[0], bodies[1]], numbers=[3, 1, 2])
    parts.sort(key=lambda part: part["PartNumber"])
    same(t.complete(bucket, "k", upload, parts)["ETag"], etag_of(bodies), "ETag")
    same(t.get(bucket, "k") == b"".join(bodies), True, "bytes")


@check
def parts_at_the_same_time(t):
    bucket, bodies = t.bucket(), [random_bytes(FIVE_MIB) for _ in range(4)]
    upload = t.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]

    def send(number):
        answer = t.s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=bodies[number - 1])
        return {"PartNumber": number, "ETag": answer["ETag"]}

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(send, range(1, 5)))
    t.complete(bucket, "k", upload, parts)
    same(t.get(bucket, "k") == b"".join(bodies), True, "bytes")


@check
def numbers_may_have_gaps_and_parts_may_be_left_out(t):
    bucket, bodies = t.bucket(), [random_bytes(FIVE_MIB), random_bytes(FIVE_MIB), b"end"]
    upload, parts = t.multipart(bucket, "k", bodies, numbers=[7, 500, 10_000])
    t.complete(bucket, "k", upload, [parts[0], parts[2]])
    same(t.get(bucket, "k") == bodies[0] + bodies[2], True, "bytes without the part in between")


@check
def a_part_sent_again_replaces_the_first(t):
    bucket = t.bucket()
    upload, first = t.multipart(bucket, "k", [b"first"])
    again = t.s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"second")
    listed = t.s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]
    same([(part["PartNumber"], part["ETag"], part["Size"]) for part in listed], [(1, again["ETag"], 6)], "parts")
    refused("InvalidPart", t.complete, bucket=bucket, key="k", upload=upload, parts=first)
    t.complete(bucket, "k", upload, [{"PartNumber": 1, "ETag": again["ETag"]}])
    same(t.get(bucket, "k"), b"second", "bytes")


@check
def numbers_go_from_1_to_10000(t):
    bucket = t.bucket()
    upload = t.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for number in (0, 10_001, -1):
        t.raw("PUT", f"/{bucket}/k", f"partNumber={number}&uploadId={upload}", body=b"x").refused("InvalidArgument")
    t.raw("PUT", f"/{bucket}/k", f"partNumber=one&uploadId={upload}", body=b"x").refused("InvalidArgument")


@check
def a_part_before_the_last_has_five_mib(t):
    bucket = t.bucket()
    upload, parts = t.multipart(bucket, "k", [b"too small", b"last"])
    refused("EntityTooSmall", t.complete, bucket=bucket, key="k", upload=upload, parts=parts)
    t.absent(bucket, "k")
    same(len(t.s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)["Parts"]), 2, "the upload is still open")


@check
def a_list_in_the_wrong_order_is_refused(t):
    bucket = t.bucket()
    upload, parts = t.multipart(bucket, "k", [random_bytes(FIVE_MIB), b"last"])
    refused("InvalidPartOrder", t.complete, bucket=bucket, key="k", upload=upload, parts=parts[::-1])
    refused("InvalidPartOrder", t.complete, bucket=bucket, key="k", upload=upload, parts=[parts[0], parts[0]])
    t.absent(bucket, "k")


@check
def a_wrong_etag_is_refused(t):
    bucket = t.bucket()
    upload, parts = t.multipart(bucket, "k", [random_bytes(FIVE_MIB)])
    wrong = [{"PartNumber": 1, "ETag": '"00000000000000000000000000000000"'}]
    refused("InvalidPart", t.complete, bucket=bucket, key="k", upload=upload, parts=wrong)
    missing = [*parts, {"PartNumber": 2, "ETag": parts[0]["ETag"]}]
    refused("InvalidPart", t.complete, bucket=bucket, key="k", upload=upload, parts=missing)
    t.absent(bucket, "k")
    unquoted = [{"PartNumber": 1, "ETag": parts[0]["ETag"].strip('"')}]
    t.complete(bucket, "k", upload, unquoted)


@check
def what_is_no_list_is_refused(t):
    bucket = t.bucket()
    upload, _ = t.multipart(bucket, "k", [b"part"])
    for body in (b"", b"<CompleteMultipartUpload></CompleteMultipartUpload>", b"<CompleteMultipartUpload><Part>", b"{}"):
        t.raw("POST", f"/{bucket}/k", f"uploadId={upload}", body=body).refused("MalformedXML", "InvalidRequest")
    t.absent(bucket, "k")


@check
def an_upload_that_is_not_there(t):
    bucket = t.bucket()
    upload, parts = t.multipart(bucket, "k", [b"part"])
    t.s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    for unknown in (upload, "nonsense", "00000000-0000-0000-0000-000000000000"):
        named = {"Bucket": bucket, "Key": "k", "UploadId": unknown}
        refused("NoSuchUpload", t.s3.upload_part, **named, PartNumber=1, Body=b"x")
        refused("NoSuchUpload", t.s3.list_parts, **named)
        refused("NoSuchUpload", t.s3.abort_multipart_upload, **named)
        refused("NoSuchUpload", t.s3.complete_multipart_upload, **named, MultipartUpload={"Parts": parts})
    open_one = t.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    refused("NoSuchUpload", t.s3.list_parts, Bucket=bucket, Key="another key", UploadId=open_one)


@check
def an_aborted_upload_leaves_nothing(t):
    bucket = t.bucket()
    upload, _ = t.multipart(bucket, "k", [random_bytes(FIVE_MIB)])
    answer = t.s3.abort_multipart_upload(Bucket=bucket, Key="k", UploadId=upload)
    same(answer["ResponseMetadata"]["HTTPStatusCode"], 204, "status")
    same(t.s3.list_multipart_uploads(Bucket=bucket).get("Uploads"), None, "uploads")
    t.absent(bucket, "k")
    t.s3.delete_bucket(Bucket=bucket)


@check
def completed_twice_answers_the_same(t):
    bucket, bodies = t.bucket("Enabled"), [random_bytes(FIVE_MIB), b"end"]
    upload, parts = t.multipart(bucket, "k", bodies)
    first, second = (t.complete(bucket, "k", upload, parts) for _ in range(2))
    same((second["ETag"], second.get("VersionId")), (first["ETag"], first.get("VersionId")), "second answer")
    same(len(t.s3.list_object_versions(Bucket=bucket)["Versions"]), 1, "versions")
    refused("NoSuchUpload", t.s3.upload_part, Bucket=bucket, Key="k", UploadId=upload, PartNumber=3, Body=b"x")


@check
def completed_at_the_same_time_makes_one_version(t):
    bucket = t.bucket("Enabled")
    upload, parts = t.multipart(bucket, "k", [random_bytes(FIVE_MIB), b"end"])
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: t.complete(bucket, "k", upload, parts), range(4)))
    same(len({(answer["ETag"], answer.get("VersionId")) for answer in answers}), 1, "different answers")
    same(len(t.s3.list_object_versions(Bucket=bucket)["Versions"]), 1, "versions")


@check
def a_completion_only_if_there_is_none(t):
    bucket = t.bucket()
    etag = t.put(bucket, "k", b"there")["ETag"]
    upload, parts = t.multipart(bucket, "k", [b"part"])
    refused("PreconditionFailed", t.complete, bucket=bucket, key="k", upload=upload, parts=parts, IfNoneMatch="*")
    same(t.get(bucket, "k"), b"there", "what is there")
    upload, parts = t.multipart(bucket, "k", [b"part"])
    t.complete(bucket, "k", upload, parts, IfMatch=etag)
    same(t.get(bucket, "k"), b"part", "what replaced it")


@check
def a_completion_may_say_the_size(t):
    bucket = t.bucket()
    upload, parts = t.multipart(bucket, "k", [b"part"])
    refused("InvalidRequest", t.complete, bucket=bucket, key="k", upload=upload, parts=parts, MpuObjectSize=5)
    t.complete(bucket, "k", upload, parts, MpuObjectSize=4)


@check
def parts_are_listed_in_pages(t):
    bucket = t.bucket()
    upload, parts = t.multipart(bucket, "k", [b"%d" % number for number in range(5)], numbers=[1, 2, 5, 9, 20])
    named = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    first = t.s3.list_parts(**named, MaxParts=2)
    same(([part["PartNumber"] for part in first["Parts"]], first["IsTruncated"], first["MaxParts"]), ([1, 2], True, 2), "first page")
    rest = t.s3.list_parts(**named, PartNumberMarker=first["NextPartNumberMarker"])
    same(([part["PartNumber"] for part in rest["Parts"]], rest["IsTruncated"]), ([5, 9, 20], False), "second page")
    same((rest["PartNumberMarker"], rest["StorageClass"]), (2, "STANDARD"), "what is echoed")
    same([part["ETag"] for part in first["Parts"] + rest["Parts"]], [part["ETag"] for part in parts], "ETags")


@check
def uploads_are_listed_and_folded(t):
    bucket = t.bucket()
    made = [(key, t.s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for key in ("a", "b/1", "b/2", "c", "c")]
    found = t.s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    same(sorted((entry["Key"], entry["UploadId"]) for entry in found), sorted(made), "uploads")
    same([entry["Key"] for entry in found], ["a", "b/1", "b/2", "c", "c"], "in order")
    page = t.s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    same([entry["Key"] for entry in page["Uploads"]], ["a", "c", "c"], "keys")
    same([entry["Prefix"] for entry in page["CommonPrefixes"]], ["b/"], "prefixes")
    same([entry["Key"] for entry in t.s3.list_multipart_uploads(Bucket=bucket, Prefix="b")["Uploads"]], ["b/1", "b/2"], "prefix")
    pages, more = [], {}
    while True:
        page = t.s3.list_multipart_uploads(Bucket=bucket, MaxUploads=2, **more)
        pages += [(entry["Key"], entry["UploadId"]) for entry in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    same(sorted(pages), sorted(made), "over all pages")


@check
def parts_are_read_by_their_numbers(t):
    bucket, bodies = t.bucket(), [random_bytes(FIVE_MIB), b"the end"]
    upload, parts = t.multipart(bucket, "k", bodies)
    t.complete(bucket, "k", upload, parts)
    got = t.s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    total = FIVE_MIB + 7
    same((got["Body"].read(), got["PartsCount"]), (b"the end", 2), "part 2")
    same(got["ContentRange"], f"bytes {FIVE_MIB}-{total - 1}/{total}", "ContentRange")
    head = t.s3.head_object(Bucket=bucket, Key="k", PartNumber=1)
    same((head["ContentLength"], head["PartsCount"]), (FIVE_MIB, 2), "head of part 1")
    refused("InvalidPartNumber", t.s3.get_object, Bucket=bucket, Key="k", PartNumber=3)
    t.put(bucket, "whole", b"in one")
    same(t.get(bucket, "whole", PartNumber=1), b"in one", "the only part of what was put in one")
    query = {"Bucket": bucket, "Key": "k", "PartNumber": 1, "Range": "bytes=0-1"}
    refused("InvalidRequest", t.s3.get_object, **query)


@check
def a_part_may_be_a_copy(t):
    bucket, body = t.bucket(), random_bytes(FIVE_MIB * 2)
    t.put(bucket, "a + b/é", body)
    upload = t.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    named = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    source = {"Bucket": bucket, "Key": "a + b/é"}
    ranges = [(0, FIVE_MIB + 99), (100, 100 + FIVE_MIB), (5, 9)]
    parts = []
    for number, (first, last) in enumerate(ranges, 1):
        answer = t.s3.upload_part_copy(**named, PartNumber=number, CopySource=source, CopySourceRange=f"bytes={first}-{last}")
        same(answer["CopyPartResult"]["ETag"], f'"{hashlib.md5(body[first : last + 1]).hexdigest()}"', "ETag of a part")
        parts.append({"PartNumber": number, "ETag": answer["CopyPartResult"]["ETag"]})
    t.complete(bucket, "k", upload, parts)
    same(t.get(bucket, "k") == b"".join(body[first : last + 1] for first, last in ranges), True, "bytes")


@check
def a_copied_part_before_the_last_has_five_mib_too(t):
    bucket = t.bucket()
    t.put(bucket, "from", b"0123456789")
    upload = t.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    named = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    copies = [t.s3.upload_part_copy(**named, PartNumber=n, CopySource=f"{bucket}/from") for n in (1, 2)]
    parts = [{"PartNumber": n, "ETag": copy["CopyPartResult"]["ETag"]} for n, copy in enumerate(copies, 1)]
    refused("EntityTooSmall", t.complete, bucket=bucket, key="k", upload=upload, parts=parts)
    t.complete(bucket, "k", upload, parts[:1])
    same(t.get(bucket, "k"), b"0123456789", "the one part")


@check
def a_copied_range_lies_within_its_source(t):
    bucket = t.bucket()
    t.put(bucket, "from", b"0123456789")
    upload = t.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    named = {"Bucket": bucket, "Key": "k", "UploadId": upload, "PartNumber": 1, "CopySource": f"{bucket}/from"}
    for wrong in ("bytes=0-10", "bytes=20-30", "0-2", "bytes=5-2", "bytes=0-", "bytes=-3", "bytes=x-y"):
        refused(("InvalidArgument", "InvalidRange"), t.s3.upload_part_copy, **named, CopySourceRange=wrong)
    refused("NoSuchKey", t.s3.upload_part_copy, **{**named, "CopySource": f"{bucket}/missing"})
    etag = '"00000000000000000000000000000000"'
    refused("PreconditionFailed", t.s3.upload_part_copy, **named, CopySourceIfMatch=etag)


@check
def a_wrong_md5_makes_no_part(t):
    bucket = t.bucket()
    upload = t.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    headers = {"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    t.raw("PUT", f"/{bucket}/k", f"partNumber=1&uploadId={upload}", headers=headers, body=b"x").refused("BadDigest")
    same(t.s3.list_parts(Bucket=bucket, Key="k", UploadId=upload).get("Parts"), None, "parts")
