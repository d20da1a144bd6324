"""What Holdfast does not do yet: it says so, and never pretends."""

from suite import check, refused, same

ON_BUCKETS = [
    "acl",
    "policy",
    "policyStatus",
    "encryption",
    "website",
    "notification",
    "replication",
    "logging",
    "accelerate",
    "requestPayment",
    "publicAccessBlock",
    "ownershipControls",
    "analytics",
    "inventory",
    "metrics",
    "intelligent-tiering",
]


@check
def settings_of_buckets(t):
    bucket = t.bucket()
    for name in ON_BUCKETS:
        t.raw("GET", f"/{bucket}", name).refused("NotImplemented")


@check
def settings_of_buckets_are_not_taken(t):
    bucket = t.bucket()
    policy = b'{"Version":"2012-10-17","Statement":[]}'
    algorithm = b"<ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256</SSEAlgorithm></ApplyServerSideEncryptionByDefault>"
    encryption = b"<ServerSideEncryptionConfiguration><Rule>%s</Rule></ServerSideEncryptionConfiguration>" % algorithm
    website = b"<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument></WebsiteConfiguration>"
    for name, body in (("policy", policy), ("encryption", encryption), ("acl", b""), ("website", website)):
        t.raw("PUT", f"/{bucket}", name, body=body).refused("NotImplemented")


@check
def what_is_asked_of_objects(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    for method, query in (("GET", "acl"), ("PUT", "acl"), ("GET", "torrent"), ("POST", "restore")):
        t.raw(method, f"/{bucket}/k", query).refused("NotImplemented")
    select = b"<Expression>select * from s3object</Expression><ExpressionType>SQL</ExpressionType>"
    forms = b"<InputSerialization><CSV/></InputSerialization><OutputSerialization><CSV/></OutputSerialization>"
    body = b"<SelectObjectContentRequest>%s%s</SelectObjectContentRequest>" % (select, forms)
    t.raw("POST", f"/{bucket}/k", "select&select-type=2", body=body).refused("NotImplemented")
    same(t.get(bucket, "k"), b"content", "bytes")


@check
def a_put_with_what_cannot_be_kept(t):
    bucket = t.bucket()
    for header, value in [
        ("x-amz-acl", "public-read"),
        ("x-amz-grant-read", 'uri="http://acs.amazonaws.com/groups/global/AllUsers"'),
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-server-side-encryption", "aws:kms"),
        ("x-amz-server-side-encryption-customer-algorithm", "AES256"),
        ("x-amz-website-redirect-location", "/other"),
    ]:
        t.raw("PUT", f"/{bucket}/k", headers={header: value}, body=b"x").refused("NotImplemented")
        t.absent(bucket, "k")


@check
def an_upload_with_what_cannot_be_kept(t):
    bucket = t.bucket()
    t.put(bucket, "from")
    create, copy = t.s3.create_multipart_upload, t.s3.copy_object
    refused("NotImplemented", create, Bucket=bucket, Key="k", ServerSideEncryption="AES256")
    refused("NotImplemented", create, Bucket=bucket, Key="k", ACL="public-read")
    refused("NotImplemented", copy, Bucket=bucket, Key="k", CopySource=f"{bucket}/from", ServerSideEncryption="AES256")
    refused("NotImplemented", copy, Bucket=bucket, Key="k", CopySource=f"{bucket}/from", ACL="public-read")
    same(t.s3.list_multipart_uploads(Bucket=bucket).get("Uploads"), None, "uploads")


@check
def a_method_that_does_not_exist(t):
    bucket = t.bucket()
    for method in ("PATCH", "TRACE"):
        assert t.raw(method, f"/{bucket}/k").status in (400, 405, 501), method
    t.raw("POST", f"/{bucket}/k").refused("MethodNotAllowed", "InvalidArgument", "NotImplemented", "MalformedPOSTRequest")
