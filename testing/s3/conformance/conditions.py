"""Conditional requests on get, put, delete and copy."""

import concurrent.futures
import datetime

from botocore.exceptions import ClientError

from suite import check, random_bytes, refused, same

PAST = datetime.datetime(2001, 1, 1, tzinfo=datetime.timezone.utc)
OTHER = '"00000000000000000000000000000000"'


def later():
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)


@check
def a_get_if_it_matches(t):
    bucket = t.bucket()
    etag = t.put(bucket, "k")["ETag"]
    for right in (etag, etag.strip('"'), "*"):
        same(t.raw("GET", f"/{bucket}/k", headers={"if-match": right}).accepted().body, b"content", right)
    refused("PreconditionFailed", t.s3.get_object, Bucket=bucket, Key="k", IfMatch=OTHER)
    refused("412", t.s3.head_object, Bucket=bucket, Key="k", IfMatch=OTHER)


@check
def a_get_unless_it_matches_answers_304_with_the_etag(t):
    bucket = t.bucket()
    etag = t.put(bucket, "k")["ETag"]
    for method in ("GET", "HEAD"):
        for given in (etag, "*"):
            answer = t.raw(method, f"/{bucket}/k", headers={"if-none-match": given})
            same((answer.status, answer["etag"], answer.body), (304, etag, b""), f"{method} if-none-match: {given}")
            assert answer["last-modified"], "a 304 has the time of change"
    t.s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=OTHER)


@check
def a_get_by_dates(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    t.s3.get_object(Bucket=bucket, Key="k", IfModifiedSince=PAST)
    t.s3.get_object(Bucket=bucket, Key="k", IfUnmodifiedSince=later())
    refused("PreconditionFailed", t.s3.get_object, Bucket=bucket, Key="k", IfUnmodifiedSince=PAST)
    changed = t.s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    refused("304", t.s3.get_object, Bucket=bucket, Key="k", IfModifiedSince=changed)


@check
def an_etag_outweighs_a_date(t):
    bucket = t.bucket()
    etag = t.put(bucket, "k")["ETag"]
    changed = t.s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    t.s3.get_object(Bucket=bucket, Key="k", IfMatch=etag, IfUnmodifiedSince=PAST)
    refused("304", t.s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag, IfModifiedSince=PAST)
    t.s3.get_object(Bucket=bucket, Key="k", IfNoneMatch=OTHER, IfModifiedSince=changed)


@check
def a_missing_object_is_missing_whatever_the_condition(t):
    bucket = t.bucket()
    refused("NoSuchKey", t.s3.get_object, Bucket=bucket, Key="k", IfMatch=OTHER)
    refused("NoSuchKey", t.s3.get_object, Bucket=bucket, Key="k", IfNoneMatch="*")


@check
def a_put_only_if_there_is_none(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"first", IfNoneMatch="*")
    refused("PreconditionFailed", t.s3.put_object, Bucket=bucket, Key="k", Body=b"second", IfNoneMatch="*")
    same(t.get(bucket, "k"), b"first", "what is there")
    t.s3.delete_object(Bucket=bucket, Key="k")
    t.put(bucket, "k", b"third", IfNoneMatch="*")


@check
def a_put_over_a_marker_counts_as_none(t):
    bucket = t.bucket("Enabled")
    t.put(bucket, "k", b"first")
    t.s3.delete_object(Bucket=bucket, Key="k")
    t.put(bucket, "k", b"second", IfNoneMatch="*")
    same(t.get(bucket, "k"), b"second", "what is there")


@check
def a_put_only_over_what_was_seen(t):
    bucket = t.bucket()
    etag = t.put(bucket, "k", b"first")["ETag"]
    t.put(bucket, "k", b"second", IfMatch=etag)
    refused("PreconditionFailed", t.s3.put_object, Bucket=bucket, Key="k", Body=b"third", IfMatch=etag)
    same(t.get(bucket, "k"), b"second", "what is there")
    refused("NoSuchKey", t.s3.put_object, Bucket=bucket, Key="missing", Body=b"", IfMatch=etag)
    t.absent(bucket, "missing")


@check
def a_put_knows_no_other_condition(t):
    bucket = t.bucket()
    refused("NotImplemented", t.s3.put_object, Bucket=bucket, Key="k", Body=b"x", IfNoneMatch=OTHER)
    t.absent(bucket, "k")


@check
def of_racing_writers_exactly_one_wins(t):
    bucket = t.bucket()

    def write(number):
        try:
            t.put(bucket, "k", f"{number}".encode() * 1000, IfNoneMatch="*")
            return number
        except ClientError as error:
            code = error.response["Error"]["Code"]
            assert code in ("PreconditionFailed", "ConditionalRequestConflict"), code
            return None

    for _ in range(5):
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            winners = [number for number in pool.map(write, range(16)) if number is not None]
        same(len(winners), 1, "winners")
        same(t.get(bucket, "k"), f"{winners[0]}".encode() * 1000, "the winner's bytes")
        t.s3.delete_object(Bucket=bucket, Key="k")


@check
def of_racing_changers_none_is_lost(t):
    """A counter that each raises by compare and swap counts every raise."""
    bucket = t.bucket()
    t.put(bucket, "k", b"0")

    def raise_once(_):
        while True:
            seen = t.s3.get_object(Bucket=bucket, Key="k")
            count = int(seen["Body"].read())
            try:
                t.put(bucket, "k", str(count + 1).encode(), IfMatch=seen["ETag"])
                return
            except ClientError as error:
                assert error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"), error

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(raise_once, range(12)))
    same(t.get(bucket, "k"), b"12", "the count")


@check
def a_delete_only_of_what_was_seen(t):
    bucket = t.bucket()
    etag = t.put(bucket, "k")["ETag"]
    refused("PreconditionFailed", t.s3.delete_object, Bucket=bucket, Key="k", IfMatch=OTHER)
    t.s3.head_object(Bucket=bucket, Key="k")
    t.s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    t.absent(bucket, "k")
    t.put(bucket, "k")
    t.s3.delete_object(Bucket=bucket, Key="k", IfMatch="*")
    t.absent(bucket, "k")


@check
def a_copy_by_conditions_on_its_source(t):
    bucket = t.bucket()
    etag = t.put(bucket, "from", random_bytes(10))["ETag"]
    copy = {"Bucket": bucket, "Key": "to", "CopySource": f"{bucket}/from"}
    refused("PreconditionFailed", t.s3.copy_object, **copy, CopySourceIfMatch=OTHER)
    refused("PreconditionFailed", t.s3.copy_object, **copy, CopySourceIfNoneMatch=etag)
    refused("PreconditionFailed", t.s3.copy_object, **copy, CopySourceIfUnmodifiedSince=PAST)
    changed = t.s3.head_object(Bucket=bucket, Key="from")["LastModified"]
    refused("PreconditionFailed", t.s3.copy_object, **copy, CopySourceIfModifiedSince=changed)
    t.absent(bucket, "to")
    t.s3.copy_object(**copy, CopySourceIfMatch=etag, CopySourceIfUnmodifiedSince=PAST)
    t.s3.head_object(Bucket=bucket, Key="to")


@check
def a_copy_by_conditions_on_its_target(t):
    bucket = t.bucket()
    t.put(bucket, "from", b"from")
    etag = t.put(bucket, "to", b"to")["ETag"]
    copy = {"Bucket": bucket, "Key": "to", "CopySource": f"{bucket}/from"}
    refused("PreconditionFailed", t.s3.copy_object, **copy, IfNoneMatch="*")
    refused("PreconditionFailed", t.s3.copy_object, **copy, IfMatch=OTHER)
    same(t.get(bucket, "to"), b"to", "what is there")
    t.s3.copy_object(**copy, IfMatch=etag)
    same(t.get(bucket, "to"), b"from", "what was copied")
