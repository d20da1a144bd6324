"""What a bucket is set to: CORS and lifecycle."""

from suite import check, refused, same

CORS = [
    {
        "ID": "one",
        "AllowedOrigins": ["https://*.example.org"],
        "AllowedMethods": ["GET", "PUT"],
        "AllowedHeaders": ["x-amz-*", "content-type"],
        "ExposeHeaders": ["etag"],
        "MaxAgeSeconds": 600,
    }
]


@check
def cors_rules_are_kept(t):
    bucket = t.bucket()
    refused("NoSuchCORSConfiguration", t.s3.get_bucket_cors, Bucket=bucket)
    t.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": CORS})
    same(t.s3.get_bucket_cors(Bucket=bucket)["CORSRules"], CORS, "rules")
    t.s3.delete_bucket_cors(Bucket=bucket)
    refused("NoSuchCORSConfiguration", t.s3.get_bucket_cors, Bucket=bucket)
    wrong = [{"AllowedOrigins": ["*"], "AllowedMethods": ["PATCH"]}]
    refused("InvalidRequest", t.s3.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": wrong})
    odd = [{"AllowedOrigins": ["*"], "AllowedMethods": ["GET"], "AllowedHeaders": ["no name"]}]
    refused("InvalidRequest", t.s3.put_bucket_cors, Bucket=bucket, CORSConfiguration={"CORSRules": odd})
    t.raw("PUT", f"/{bucket}", "cors", body=b"<CORSConfiguration><CORSRule>").refused("MalformedXML", "InvalidRequest")


def preflight(t, path, origin, method, headers=None):
    asked = {"origin": origin, "access-control-request-method": method}
    if headers:
        asked["access-control-request-headers"] = headers
    return t.raw("OPTIONS", path, headers=asked, anonymous=True)


@check
def a_browser_is_told_what_it_may(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    t.s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": CORS})
    origin = "https://app.example.org"
    answer = preflight(t, f"/{bucket}/k", origin, "PUT", "content-type, x-amz-date").accepted()
    same(answer["access-control-allow-origin"], origin, "allow-origin")
    assert "PUT" in answer["access-control-allow-methods"], answer["access-control-allow-methods"]
    assert "content-type" in answer["access-control-allow-headers"].lower(), answer["access-control-allow-headers"]
    same(answer["access-control-max-age"], "600", "max-age")
    for origin_asked, method, headers in [
        ("https://example.com", "PUT", None),
        (origin, "DELETE", None),
        (origin, "PUT", "authorization"),
    ]:
        preflight(t, f"/{bucket}/k", origin_asked, method, headers).refused("AccessForbidden")
    preflight(t, f"/{bucket}/k", "", "PUT").refused("BadRequest", "InvalidRequest")
    preflight(t, f"/{bucket}/k", origin, "FETCH").refused("BadRequest", "InvalidRequest")
    answer = t.raw("GET", f"/{bucket}/k", headers={"origin": origin}).accepted()
    same(answer["access-control-allow-origin"], origin, "allow-origin of an answer")
    same(answer["access-control-expose-headers"], "etag", "expose-headers of an answer")
    assert "origin" in (answer["vary"] or "").lower(), f"Vary: {answer['vary']}"
    answer = t.raw("GET", f"/{bucket}/k", headers={"origin": "https://example.com"}).accepted()
    same(answer["access-control-allow-origin"], None, "allow-origin for a stranger")


@check
def a_bucket_without_rules_tells_a_browser_nothing(t):
    bucket = t.bucket()
    preflight(t, f"/{bucket}/k", "https://app.example.org", "GET").refused("AccessForbidden")
    t.put(bucket, "k")
    answer = t.raw("GET", f"/{bucket}/k", headers={"origin": "https://app.example.org"}).accepted()
    same(answer["access-control-allow-origin"], None, "allow-origin")


LIFECYCLE = [
    {"ID": "old", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}},
    {
        "ID": "versions",
        "Status": "Disabled",
        "Filter": {"And": {"Prefix": "a/", "Tags": [{"Key": "x", "Value": "1"}], "ObjectSizeGreaterThan": 100}},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 7, "NewerNoncurrentVersions": 3},
    },
    {
        "ID": "uploads",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 2},
    },
    {
        "ID": "cold",
        "Status": "Enabled",
        "Filter": {"Prefix": "cold/"},
        "Expiration": {"Days": 365},
        "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}],
        "NoncurrentVersionTransitions": [
            {"NoncurrentDays": 30, "NewerNoncurrentVersions": 2, "StorageClass": "STANDARD_IA"}
        ],
    },
]


@check
def lifecycle_rules_are_kept(t):
    bucket = t.bucket()
    refused("NoSuchLifecycleConfiguration", t.s3.get_bucket_lifecycle_configuration, Bucket=bucket)
    t.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": LIFECYCLE})
    same(t.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"], LIFECYCLE, "rules")
    t.s3.delete_bucket_lifecycle(Bucket=bucket)
    refused("NoSuchLifecycleConfiguration", t.s3.get_bucket_lifecycle_configuration, Bucket=bucket)


@check
def the_smallest_size_that_rules_move_is_kept(t):
    bucket = t.bucket()
    put, get = t.s3.put_bucket_lifecycle_configuration, t.s3.get_bucket_lifecycle_configuration
    name = "TransitionDefaultMinimumObjectSize"
    for asked in ({}, {name: "varies_by_storage_class"}, {}):
        expected = asked.get(name, "all_storage_classes_128K")
        same(put(Bucket=bucket, LifecycleConfiguration={"Rules": LIFECYCLE}, **asked).get(name), expected, "put")
        same(get(Bucket=bucket).get(name), expected, "get")


@check
def a_lifecycle_rule_makes_sense(t):
    bucket = t.bucket()
    for rule in [
        {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}},
        {"ID": "x", "Status": "Perhaps", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}},
        {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 0}},
        {"ID": "x" * 256, "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}},
        {
            "ID": "x",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "Expiration": {"Days": 30},
            "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}],
        },
        {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Transitions": [{"StorageClass": "STANDARD_IA"}]},
        {"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Transitions": [{"Days": 30, "StorageClass": "COLD"}]},
    ]:
        rules = {"Rules": [rule]}
        put = t.s3.put_bucket_lifecycle_configuration
        refused(("MalformedXML", "InvalidArgument", "InvalidRequest"), put, Bucket=bucket, LifecycleConfiguration=rules)
    twice = [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": p}, "Expiration": {"Days": 1}} for p in ("a", "b")]
    put = t.s3.put_bucket_lifecycle_configuration
    refused(("InvalidArgument", "InvalidRequest"), put, Bucket=bucket, LifecycleConfiguration={"Rules": twice})
    refused("NoSuchLifecycleConfiguration", t.s3.get_bucket_lifecycle_configuration, Bucket=bucket)


@check
def a_document_of_another_digest_than_was_signed(t):
    bucket = t.bucket()
    body = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    answer = t.raw("PUT", f"/{bucket}", "versioning", body=body, payload="0" * 64)
    answer.refused("XAmzContentSHA256Mismatch")
    same(t.s3.get_bucket_versioning(Bucket=bucket).get("Status"), None, "versioning")
