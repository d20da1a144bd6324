"""Signatures in the Authorization header: what is wrong with one, and how it is said."""

import datetime

import signing
from suite import Keys, check, client, refused, same

AUTH = ("auth",)


@check(needs=AUTH)
def a_wrong_secret(t):
    bucket = t.bucket()
    wrong = Keys(t.keys.access_key, t.keys.secret_key[:-1] + ("a" if t.keys.secret_key[-1] != "a" else "b"))
    other = client(t.server.endpoint, wrong)
    refused("SignatureDoesNotMatch", other.list_objects_v2, Bucket=bucket)
    refused("SignatureDoesNotMatch", other.put_object, Bucket=bucket, Key="k", Body=b"x")
    refused("403", other.head_bucket, Bucket=bucket)
    t.absent(bucket, "k")


@check(needs=AUTH)
def an_unknown_key(t):
    bucket = t.bucket()
    other = client(t.server.endpoint, Keys("NOBODYKNOWSTHISKEY22", "x" * 40))
    refused("InvalidAccessKeyId", other.list_objects_v2, Bucket=bucket)
    refused("InvalidAccessKeyId", other.put_object, Bucket=bucket, Key="k", Body=b"x")


@check(needs=AUTH)
def no_signature_at_all(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    for method, path in [
        ("GET", "/"),
        ("GET", f"/{bucket}"),
        ("GET", f"/{bucket}/k"),
        ("PUT", f"/{bucket}/other"),
        ("DELETE", f"/{bucket}/k"),
        ("PUT", f"/{t.new_name()}"),
        ("POST", f"/{bucket}/k?uploads"),
        ("GET", f"/{bucket}?versioning"),
    ]:
        path, _, query = path.partition("?")
        t.raw(method, path, query, anonymous=True).refused("AccessDenied")
    t.s3.head_object(Bucket=bucket, Key="k")
    t.absent(bucket, "other")


@check(needs=AUTH)
def a_clock_that_is_off_by_more_than_15_minutes(t):
    bucket = t.bucket()
    for minutes in (-16, 16, -60 * 24 * 8):
        time = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        t.raw("PUT", f"/{bucket}/k", body=b"x", time=time).refused("RequestTimeTooSkewed")
    t.absent(bucket, "k")
    for minutes in (-13, 13):
        time = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=minutes)
        t.raw("PUT", f"/{bucket}/k", body=b"x", time=time).accepted()


@check(needs=AUTH)
def a_header_that_was_changed_afterwards(t):
    bucket = t.bucket()
    headers = {"host": t.server.authority, "x-amz-meta-a": "signed"}
    signing.sign("PUT", f"/{bucket}/k", "", headers, b"x", t.keys.access_key, t.keys.secret_key)
    headers["x-amz-meta-a"] = "changed"
    t.raw("PUT", f"/{bucket}/k", headers=headers, body=b"x", anonymous=True).refused("SignatureDoesNotMatch")
    t.absent(bucket, "k")


@check(needs=AUTH)
def a_path_or_query_that_was_changed_afterwards(t):
    bucket = t.bucket()
    headers = {"host": t.server.authority}
    signing.sign("GET", f"/{bucket}", "prefix=a", headers, b"", t.keys.access_key, t.keys.secret_key)
    t.raw("GET", f"/{bucket}", "prefix=b", headers=headers, anonymous=True).refused("SignatureDoesNotMatch")
    t.raw("GET", "/", "prefix=a", headers=headers, anonymous=True).refused("SignatureDoesNotMatch")


@check(needs=AUTH)
def a_header_that_makes_no_sense(t):
    for value in ("AWS4-HMAC-SHA256 nonsense", "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=0"):
        answer = t.raw("GET", "/", headers={"authorization": value, "x-amz-date": "20260101T000000Z"}, anonymous=True)
        answer.refused("AuthorizationHeaderMalformed", "InvalidArgument")
    t.raw("GET", "/", headers={"authorization": "Basic YTpi"}, anonymous=True).refused("InvalidArgument", "AccessDenied")


@check(needs=AUTH)
def a_signature_for_another_service_or_without_a_date(t):
    answer = t.raw("GET", "/", headers={"authorization": "x"}, anonymous=True)
    answer.refused("InvalidArgument", "AccessDenied")
    headers = {"host": t.server.authority}
    signing.sign("GET", "/", "", headers, b"", t.keys.access_key, t.keys.secret_key)
    headers["authorization"] = headers["authorization"].replace("/s3/", "/ec2/")
    t.raw("GET", "/", headers=headers, anonymous=True).refused("AuthorizationHeaderMalformed", "SignatureDoesNotMatch")
    headers = {"host": t.server.authority}
    signing.sign("GET", "/", "", headers, b"", t.keys.access_key, t.keys.secret_key)
    del headers["x-amz-date"]
    t.raw("GET", "/", headers=headers, anonymous=True).refused("AccessDenied")


@check
def an_unsigned_payload_is_taken(t):
    bucket = t.bucket()
    t.raw("PUT", f"/{bucket}/k", body=b"unsigned", payload=signing.UNSIGNED).accepted()
    same(t.get(bucket, "k"), b"unsigned", "bytes")
