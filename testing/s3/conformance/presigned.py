"""URLs that carry their signature."""

import datetime
import urllib.parse
import urllib.request

import signing
from suite import check, client, random_bytes, same

AUTH = ("auth",)


def fetch(t, url, method="GET", body=b"", headers=None):
    """Follows a URL as a browser would, without a signature of its own."""
    parts = urllib.parse.urlsplit(url)
    same(parts.netloc, t.server.authority, "the server of the URL")
    return t.raw(method, parts.path, parts.query, headers=headers, body=body, anonymous=True)


def presigned(t, method, path, query="", **arguments):
    keys = t.keys
    signed = signing.presign(method, path, query, t.server.authority, keys.access_key, keys.secret_key, **arguments)
    return f"{t.server.endpoint}{path}?{signed}"


@check
def a_url_gets_and_puts(t):
    bucket, body = t.bucket(), random_bytes(100_000)
    url = t.s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a b/é+"}, ExpiresIn=60)
    fetch(t, url, "PUT", body).accepted()
    url = t.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b/é+"}, ExpiresIn=60)
    same(fetch(t, url).accepted().body == body, True, "bytes")
    url = t.s3.generate_presigned_url("head_object", Params={"Bucket": bucket, "Key": "a b/é+"}, ExpiresIn=60)
    fetch(t, url, "HEAD").accepted()
    url = t.s3.generate_presigned_url("delete_object", Params={"Bucket": bucket, "Key": "a b/é+"}, ExpiresIn=60)
    fetch(t, url, "DELETE").accepted(204)
    t.absent(bucket, "a b/é+")


@check
def a_url_says_how_the_answer_is_dressed(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    wanted = {"Bucket": bucket, "Key": "k", "ResponseContentType": "text/x", "ResponseContentDisposition": "inline"}
    answer = fetch(t, t.s3.generate_presigned_url("get_object", Params=wanted)).accepted()
    same((answer["content-type"], answer["content-disposition"]), ("text/x", "inline"), "headers")


@check
def a_url_reads_a_range(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"0123456789")
    url = t.s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    same(fetch(t, url, headers={"range": "bytes=2-4"}).accepted(206).body, b"234", "range")


@check(needs=AUTH)
def a_url_is_for_one_method_and_one_key(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    url = presigned(t, "GET", f"/{bucket}/k")
    fetch(t, url).accepted()
    fetch(t, url, "DELETE").refused("SignatureDoesNotMatch")
    fetch(t, url.replace("/k?", "/other?")).refused("SignatureDoesNotMatch")
    fetch(t, url + "&versionId=null").refused("SignatureDoesNotMatch")
    fetch(t, signing.wrong(url)).refused("SignatureDoesNotMatch")
    t.s3.head_object(Bucket=bucket, Key="k")


@check(needs=AUTH)
def a_url_expires(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    time = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=100)
    fetch(t, presigned(t, "GET", f"/{bucket}/k", expires=60, time=time)).refused("AccessDenied")
    fetch(t, presigned(t, "GET", f"/{bucket}/k", expires=200, time=time)).accepted()
    old = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=6)
    fetch(t, presigned(t, "GET", f"/{bucket}/k", expires=7 * 86_400, time=old)).accepted()


@check(needs=AUTH)
def a_url_lives_a_week_at_most(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    for expires in (7 * 86_400 + 1, -1, "soon"):
        fetch(t, presigned(t, "GET", f"/{bucket}/k", expires=expires)).refused("AuthorizationQueryParametersError")


@check(needs=AUTH)
def a_url_without_all_its_fields(t):
    bucket = t.bucket()
    url = presigned(t, "GET", f"/{bucket}/k")
    for name in ("X-Amz-Date", "X-Amz-Signature", "X-Amz-Credential", "X-Amz-Expires", "X-Amz-SignedHeaders"):
        path, query = url.split("?")
        fields = [field for field in query.split("&") if not field.startswith(f"{name}=")]
        fetch(t, f"{path}?{'&'.join(fields)}").refused("AuthorizationQueryParametersError", "AccessDenied")


@check(needs=AUTH)
def a_url_of_an_unknown_key(t):
    bucket = t.bucket()
    query = signing.presign("GET", f"/{bucket}/k", "", t.server.authority, "NOBODYKNOWSTHISKEY22", "secret")
    fetch(t, f"{t.server.endpoint}/{bucket}/k?{query}").refused("InvalidAccessKeyId")


@check(needs=("sigv2",))
def a_url_of_signature_version_2(t):
    bucket = t.bucket()
    t.put(bucket, "k", b"by version 2")
    old = client(t.server.endpoint, t.keys, signature_version="s3")
    url = old.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
    assert "AWSAccessKeyId=" in url, url
    same(fetch(t, url).accepted().body, b"by version 2", "bytes")
    fetch(t, signing.wrong(url.replace("Signature=", "Signature=A"))).refused("SignatureDoesNotMatch")
    gone = old.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=-60)
    fetch(t, gone).refused("AccessDenied")
