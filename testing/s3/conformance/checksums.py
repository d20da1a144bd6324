"""Checksums: given, computed, verified, kept and given back, of whole objects and of parts."""

import base64
import hashlib
import zlib

from awscrt import checksums as crt

from suite import FIVE_MIB, check, random_bytes, refused, same


def _number(value, size):
    return base64.b64encode(value.to_bytes(size, "big")).decode()


def crc32(body):
    return _number(zlib.crc32(body), 4)


def crc32c(body):
    return _number(crt.crc32c(body), 4)


def crc64nvme(body):
    return _number(crt.crc64nvme(body), 8)


def sha1(body):
    return base64.b64encode(hashlib.sha1(body).digest()).decode()


def sha256(body):
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


ALGORITHMS = {"CRC32": crc32, "CRC32C": crc32c, "CRC64NVME": crc64nvme, "SHA1": sha1, "SHA256": sha256}
COMPOSITE = ["CRC32", "CRC32C", "SHA1", "SHA256"]
FULL = ["CRC32", "CRC32C", "CRC64NVME"]


@check
def each_algorithm_is_kept_and_given_back(t):
    bucket, body = t.bucket(), random_bytes(10_000)
    for name, digest in ALGORITHMS.items():
        field = f"Checksum{name}"
        put = t.put(bucket, name, body, **{field: digest(body)})
        same((put[field], put["ChecksumType"]), (digest(body), "FULL_OBJECT"), f"put with {name}")
        for operation in (t.s3.head_object, t.s3.get_object):
            got = operation(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
            same((got[field], got["ChecksumType"]), (digest(body), "FULL_OBJECT"), f"got with {name}")
        listed = t.s3.list_objects_v2(Bucket=bucket, Prefix=name)["Contents"][0]
        same((listed["ChecksumAlgorithm"], listed["ChecksumType"]), ([name], "FULL_OBJECT"), f"listed with {name}")


@check
def a_checksum_is_not_told_unless_asked_for(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"x", ChecksumSHA256=sha256(b"x"))
    same(t.raw("GET", f"/{bucket}/k").accepted()["x-amz-checksum-sha256"], None, "header")


@check
def a_wrong_checksum_leaves_nothing_behind(t):
    bucket = t.bucket()
    for name, digest in ALGORITHMS.items():
        wrong = {f"x-amz-checksum-{name.lower()}": digest(b"other")}
        t.raw("PUT", f"/{bucket}/{name}", headers=wrong, body=b"x").refused("BadDigest")
        t.absent(bucket, name)


@check
def a_checksum_has_the_form_of_its_algorithm(t):
    bucket = t.bucket()
    for value in ("nonsense!", "AAAA", sha256(b"x")):
        t.raw("PUT", f"/{bucket}/k", headers={"x-amz-checksum-crc32": value}, body=b"x").refused("InvalidRequest")
    both = {"x-amz-checksum-crc32": crc32(b"x"), "x-amz-checksum-sha1": sha1(b"x")}
    t.raw("PUT", f"/{bucket}/k", headers=both, body=b"x").refused("InvalidRequest")
    t.absent(bucket, "k")


@check
def a_client_computes_what_it_is_told_to(t):
    """boto3 sends these as trailers of signed chunks."""
    bucket, body = t.bucket(), random_bytes(200_000)
    for name, digest in ALGORITHMS.items():
        same(t.put(bucket, name, body, ChecksumAlgorithm=name)[f"Checksum{name}"], digest(body), name)
        got = t.s3.get_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
        same((got["Body"].read() == body, got[f"Checksum{name}"]), (True, digest(body)), f"{name}: bytes, and the checksum that boto3 verified")
        same(got.get("ContentEncoding"), None, "aws-chunked is not stored as an encoding")


@check
def a_range_carries_no_checksum_of_the_whole(t):
    bucket, body = t.bucket(), random_bytes(10_000)
    t.put(bucket, "k", body, ChecksumAlgorithm="CRC32")
    got = t.s3.get_object(Bucket=bucket, Key="k", Range="bytes=5-99", ChecksumMode="ENABLED")
    same(got["Body"].read(), body[5:100], "a range is read without a complaint")


def composite(digest, bodies):
    joined = b"".join(base64.b64decode(digest(body)) for body in bodies)
    return f"{digest(joined)}-{len(bodies)}"


@check
def a_composite_checksum_counts_its_parts(t):
    bucket, bodies = t.bucket(), [random_bytes(FIVE_MIB), b"the end"]
    for name in COMPOSITE:
        create = {"ChecksumAlgorithm": name, "ChecksumType": "COMPOSITE"}
        upload, parts = t.multipart(bucket, name, bodies, create=create, ChecksumAlgorithm=name)
        expected = composite(ALGORITHMS[name], bodies)
        answer = t.complete(bucket, name, upload, parts)
        same((answer[f"Checksum{name}"], answer["ChecksumType"]), (expected, "COMPOSITE"), f"completed with {name}")
        got = t.s3.get_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
        same((got[f"Checksum{name}"], got["ChecksumType"]), (expected, "COMPOSITE"), f"got with {name}")
        same(got["Body"].read() == b"".join(bodies), True, "bytes")


@check
def a_full_checksum_is_that_of_the_bytes(t):
    bucket, bodies = t.bucket(), [random_bytes(FIVE_MIB), random_bytes(FIVE_MIB + 3), b"the end"]
    for name in FULL:
        create = {"ChecksumAlgorithm": name, "ChecksumType": "FULL_OBJECT"}
        upload, parts = t.multipart(bucket, name, bodies, create=create, ChecksumAlgorithm=name)
        expected = ALGORITHMS[name](b"".join(bodies))
        answer = t.complete(bucket, name, upload, parts)
        same((answer[f"Checksum{name}"], answer["ChecksumType"]), (expected, "FULL_OBJECT"), f"completed with {name}")
        got = t.s3.get_object(Bucket=bucket, Key=name, ChecksumMode="ENABLED")
        same((got[f"Checksum{name}"], got["ChecksumType"]), (expected, "FULL_OBJECT"), f"got with {name}")
        same(got["Body"].read() == b"".join(bodies), True, "bytes that boto3 has verified")


@check
def the_type_follows_from_the_algorithm(t):
    bucket = t.bucket()
    for name, kind in (("CRC64NVME", "FULL_OBJECT"), ("SHA256", "COMPOSITE"), ("CRC32", "COMPOSITE")):
        answer = t.s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=name)
        same((answer["ChecksumAlgorithm"], answer["ChecksumType"]), (name, kind), name)
    for name, kind in (("CRC64NVME", "COMPOSITE"), ("SHA256", "FULL_OBJECT"), ("SHA1", "FULL_OBJECT")):
        refused("InvalidRequest", t.s3.create_multipart_upload, Bucket=bucket, Key="k", ChecksumAlgorithm=name, ChecksumType=kind)


@check
def a_wrong_checksum_of_the_whole_completes_nothing(t):
    bucket, bodies = t.bucket(), [random_bytes(FIVE_MIB), b"the end"]
    create = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "FULL_OBJECT"}
    upload, parts = t.multipart(bucket, "k", bodies, create=create, ChecksumAlgorithm="CRC64NVME")
    wrong = {"ChecksumCRC64NVME": crc64nvme(b"other"), "ChecksumType": "FULL_OBJECT"}
    refused("BadDigest", t.complete, bucket=bucket, key="k", upload=upload, parts=parts, **wrong)
    t.absent(bucket, "k")
    right = {"ChecksumCRC64NVME": crc64nvme(b"".join(bodies)), "ChecksumType": "FULL_OBJECT"}
    t.complete(bucket, "k", upload, parts, **right)


@check
def a_wrong_checksum_of_a_part_completes_nothing(t):
    bucket = t.bucket()
    create = {"ChecksumAlgorithm": "SHA256"}
    upload, parts = t.multipart(bucket, "k", [b"part"], create=create, ChecksumAlgorithm="SHA256")
    wrong = [{**parts[0], "ChecksumSHA256": sha256(b"other")}]
    refused("InvalidPart", t.complete, bucket=bucket, key="k", upload=upload, parts=wrong)
    query = f"partNumber=2&uploadId={upload}"
    headers = {"x-amz-checksum-sha256": sha256(b"other")}
    t.raw("PUT", f"/{bucket}/k", query, headers=headers, body=b"x").refused("BadDigest")
    headers = {"x-amz-checksum-crc32": crc32(b"x")}
    t.raw("PUT", f"/{bucket}/k", query, headers=headers, body=b"x").refused("InvalidRequest")
    t.complete(bucket, "k", upload, parts)


@check
def parts_are_listed_with_their_checksums(t):
    bucket = t.bucket()
    create = {"ChecksumAlgorithm": "CRC32C"}
    upload, parts = t.multipart(bucket, "k", [b"part"], create=create, ChecksumAlgorithm="CRC32C")
    listed = t.s3.list_parts(Bucket=bucket, Key="k", UploadId=upload)
    same((listed["ChecksumAlgorithm"], listed["ChecksumType"]), ("CRC32C", "COMPOSITE"), "of the upload")
    same(listed["Parts"][0]["ChecksumCRC32C"], crc32c(b"part"), "of the part")
    t.complete(bucket, "k", upload, parts)
    wanted = ["Checksum", "ObjectParts"]
    told = t.s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=wanted)
    same(told["Checksum"]["ChecksumType"], "COMPOSITE", "type told")
    same(told["ObjectParts"]["TotalPartsCount"], 1, "parts told")
    same(told["ObjectParts"]["Parts"][0]["ChecksumCRC32C"], crc32c(b"part"), "checksum of the part told")


@check
def a_copy_keeps_or_gets_a_checksum(t):
    bucket, body = t.bucket(), random_bytes(5_000)
    t.put(bucket, "k", body, ChecksumSHA1=sha1(body))
    kept = t.s3.copy_object(Bucket=bucket, Key="kept", CopySource=f"{bucket}/k")
    same(kept["CopyObjectResult"]["ChecksumSHA1"], sha1(body), "carried over")
    made = t.s3.copy_object(Bucket=bucket, Key="made", CopySource=f"{bucket}/k", ChecksumAlgorithm="CRC32C")
    same(made["CopyObjectResult"]["ChecksumCRC32C"], crc32c(body), "made anew")


@check
def a_completion_names_one_checksum_of_each(t):
    bucket, bodies = t.bucket(), [b"alone"]
    create = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "COMPOSITE"}
    upload, parts = t.multipart(bucket, "k", bodies, create=create, ChecksumAlgorithm="CRC32")
    two = [{**parts[0], "ChecksumSHA1": sha1(b"other")}]
    named = {"Bucket": bucket, "Key": "k", "UploadId": upload, "MultipartUpload": {"Parts": two}}
    refused(("InvalidArgument", "InvalidRequest"), t.s3.complete_multipart_upload, **named)
    t.absent(bucket, "k")
    t.complete(bucket, "k", upload, parts)


@check
def a_part_of_what_was_uploaded_in_parts_tells_its_own(t):
    bucket, bodies = t.bucket(), [random_bytes(FIVE_MIB), b"the end"]
    for kind in ("COMPOSITE", "FULL_OBJECT"):
        create = {"ChecksumAlgorithm": "CRC32C", "ChecksumType": kind}
        upload, parts = t.multipart(bucket, kind, bodies, create=create, ChecksumAlgorithm="CRC32C")
        t.complete(bucket, kind, upload, parts)
        named = {"Bucket": bucket, "Key": kind, "ChecksumMode": "ENABLED"}
        for number, body in enumerate(bodies, start=1):
            for operation in (t.s3.head_object, t.s3.get_object):
                same(operation(**named, PartNumber=number)["ChecksumCRC32C"], crc32c(body), f"part {number}, {kind}")
        same(t.s3.get_object(**named, Range="bytes=0-9").get("ChecksumCRC32C"), None, "a range")
