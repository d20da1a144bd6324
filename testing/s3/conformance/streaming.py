"""Bodies in chunks that are signed one by one (aws-chunked), with trailers and without."""

import base64
import zlib

import signing
from suite import check, random_bytes, same

SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"


def crc32(body):
    return base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()


def send(t, path, pieces, payload, trailer=None, tamper=None, length=None, encoding="aws-chunked", query=""):
    """A put in chunks; `tamper` names the signature to get wrong, `length` the decoded length to claim."""
    body = b"".join(pieces)
    headers = {"host": t.server.authority, "x-amz-decoded-content-length": str(len(body) if length is None else length)}
    if encoding:
        headers["content-encoding"] = encoding
    if trailer:
        headers["x-amz-trailer"] = trailer[0]
    seed = signing.sign("PUT", path, query, headers, b"", t.keys.access_key, t.keys.secret_key, payload=payload)
    if payload == UNSIGNED_TRAILER:
        sent = signing.unsigned_chunked(pieces, trailer)
    else:
        sent = signing.chunked(pieces, seed, trailer, tamper)
    return t.raw("PUT", path, query, headers=headers, body=sent, anonymous=True)


def pieces(count=3, size=64 << 10):
    return [random_bytes(size) for _ in range(count)]


@check
def signed_chunks_are_joined(t):
    bucket = t.bucket()
    for sent in (pieces(), pieces(1, 1), [*pieces(2), b"rest"], []):
        send(t, f"/{bucket}/k", sent, SIGNED).accepted()
        same(t.get(bucket, "k") == b"".join(sent), True, f"{len(sent)} chunks")


@check
def chunks_of_any_size(t):
    bucket = t.bucket()
    sent = [random_bytes(size) for size in (1, 8191, 8192, 8193, 1 << 20, 7)]
    send(t, f"/{bucket}/k", sent, SIGNED).accepted()
    same(t.get(bucket, "k") == b"".join(sent), True, "bytes")


@check
def signed_trailers_are_verified_and_kept(t):
    bucket, sent = t.bucket(), pieces()
    digest = crc32(b"".join(sent))
    send(t, f"/{bucket}/k", sent, SIGNED_TRAILER, ("x-amz-checksum-crc32", digest)).accepted()
    got = t.s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    same((got["ChecksumCRC32"], got["Body"].read() == b"".join(sent)), (digest, True), "what is kept")
    wrong = ("x-amz-checksum-crc32", crc32(b"other"))
    send(t, f"/{bucket}/wrong", sent, SIGNED_TRAILER, wrong).refused("BadDigest")
    t.absent(bucket, "wrong")


@check
def unsigned_trailers_are_verified_and_kept(t):
    bucket, sent = t.bucket(), pieces()
    digest = crc32(b"".join(sent))
    send(t, f"/{bucket}/k", sent, UNSIGNED_TRAILER, ("x-amz-checksum-crc32", digest)).accepted()
    got = t.s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    same((got["ChecksumCRC32"], got["Body"].read() == b"".join(sent)), (digest, True), "what is kept")
    wrong = ("x-amz-checksum-crc32", crc32(b"other"))
    send(t, f"/{bucket}/wrong", sent, UNSIGNED_TRAILER, wrong).refused("BadDigest")
    t.absent(bucket, "wrong")


@check
def parts_come_in_chunks_too(t):
    bucket, sent = t.bucket(), pieces()
    upload = t.s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    answer = send(t, f"/{bucket}/k", sent, SIGNED, query=f"partNumber=1&uploadId={upload}").accepted()
    t.complete(bucket, "k", upload, [{"PartNumber": 1, "ETag": answer["etag"]}])
    same(t.get(bucket, "k") == b"".join(sent), True, "bytes")


@check
def aws_chunked_is_never_stored(t):
    bucket = t.bucket()
    for given, kept in (("aws-chunked", None), ("aws-chunked,gzip", "gzip"), ("gzip, aws-chunked", "gzip"), (None, None)):
        send(t, f"/{bucket}/k", [b"bytes"], SIGNED, encoding=given).accepted()
        same(t.raw("HEAD", f"/{bucket}/k").accepted()["content-encoding"] or None, kept, f"kept of {given}")


@check(needs=("auth",))
def a_tampered_chunk_leaves_nothing_behind(t):
    bucket = t.bucket()
    for number in range(4):
        send(t, f"/{bucket}/k", pieces(), SIGNED, tamper=number).refused("SignatureDoesNotMatch")
        t.absent(bucket, "k")


@check(needs=("auth",))
def a_tampered_trailer_leaves_nothing_behind(t):
    bucket, sent = t.bucket(), pieces()
    trailer = ("x-amz-checksum-crc32", crc32(b"".join(sent)))
    send(t, f"/{bucket}/k", sent, SIGNED_TRAILER, trailer, tamper="trailer").refused("SignatureDoesNotMatch")
    send(t, f"/{bucket}/k", sent, SIGNED_TRAILER, trailer, tamper=1).refused("SignatureDoesNotMatch")
    t.absent(bucket, "k")


@check
def another_length_than_was_said_leaves_nothing_behind(t):
    bucket = t.bucket()
    for length in (1, 10_000_000):
        answer = send(t, f"/{bucket}/k", pieces(1), SIGNED, length=length)
        assert answer.code in ("IncompleteBody", "InvalidRequest", "InvalidChunkSizeError"), f"{answer.code} ({answer.status})"
        t.absent(bucket, "k")
