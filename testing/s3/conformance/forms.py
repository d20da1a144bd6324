"""Uploads by a browser's form, under a policy."""

import base64
import datetime
import json
import uuid

import signing
from suite import check, random_bytes, same

AUTH = ("auth",)


def policy_fields(t, bucket, conditions, expires_in_s=600, extra=None):
    """The fields of a form whose policy holds these conditions and those that a signature needs."""
    time = signing.now()
    scope = f"{signing.stamp(time)[:8]}/{signing.REGION}/s3/aws4_request"
    fields = {
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-credential": f"{t.keys.access_key}/{scope}",
        "x-amz-date": signing.stamp(time),
    }
    expiration = (time + datetime.timedelta(seconds=expires_in_s)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    signed = [{name: value} for name, value in fields.items()]
    policy = json.dumps({"expiration": expiration, "conditions": [*conditions, *signed]})
    fields["policy"] = base64.b64encode(policy.encode()).decode()
    key = signing.signing_key(t.keys.secret_key, signing.stamp(time)[:8])
    fields["x-amz-signature"] = signing.hmac_hex(key, fields["policy"])
    return {**fields, **(extra or {})}


def post(t, bucket, fields, body, filename="file.txt", content_type="text/plain"):
    boundary = uuid.uuid4().hex
    parts = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    parts += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'
    sent = f"{parts}Content-Type: {content_type}\r\n\r\n".encode() + body + f"\r\n--{boundary}--\r\n".encode()
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    return t.raw("POST", f"/{bucket}", headers=headers, body=sent, anonymous=True)


@check
def a_form_uploads(t):
    bucket, body = t.bucket(), random_bytes(100_000)
    conditions = [{"bucket": bucket}, ["starts-with", "$key", "up/"], ["starts-with", "$Content-Type", "text/"], {"x-amz-meta-a": "1"}]
    extra = {"key": "up/k", "Content-Type": "text/x", "x-amz-meta-a": "1"}
    answer = post(t, bucket, policy_fields(t, bucket, conditions, extra=extra), body).accepted(204)
    got = t.s3.get_object(Bucket=bucket, Key="up/k")
    same((got["Body"].read() == body, got["ContentType"], got["Metadata"]), (True, "text/x", {"a": "1"}), "object")
    same(answer["etag"], got["ETag"], "ETag")


@check
def a_form_made_by_boto3_uploads(t):
    bucket = t.bucket()
    form = t.s3.generate_presigned_post(bucket, "k", Conditions=[["content-length-range", 1, 100]])
    post(t, bucket, form["fields"], b"by form").accepted(204)
    same(t.get(bucket, "k"), b"by form", "bytes")


@check
def the_file_name_goes_into_the_key(t):
    bucket = t.bucket()
    fields = policy_fields(t, bucket, [{"bucket": bucket}, ["starts-with", "$key", "u/"]], extra={"key": "u/${filename}"})
    post(t, bucket, fields, b"x", filename="my file.txt").accepted(204)
    same(t.get(bucket, "u/my file.txt"), b"x", "bytes")


@check
def the_answer_is_as_asked(t):
    bucket = t.bucket()
    for status in ("200", "201", "204"):
        conditions = [{"bucket": bucket}, {"key": "k"}, {"success_action_status": status}]
        answer = post(t, bucket, policy_fields(t, bucket, conditions, extra={"key": "k", "success_action_status": status}), b"x")
        answer.accepted(int(status))
        if status == "201":
            same([answer.xml.findtext(name) for name in ("Bucket", "Key")], [bucket, "k"], "body of a 201")
    target = "http://127.0.0.1:1/done"
    conditions = [{"bucket": bucket}, {"key": "k"}, {"success_action_redirect": target}]
    answer = post(t, bucket, policy_fields(t, bucket, conditions, extra={"key": "k", "success_action_redirect": target}), b"x")
    same((answer.status, (answer["location"] or "").startswith(target)), (303, True), "redirect")


@check(needs=AUTH)
def a_field_that_no_condition_allows(t):
    bucket = t.bucket()
    exact = [{"bucket": bucket}, {"key": "k"}]
    for conditions, extra in [
        (exact, {"key": "other"}),
        (exact, {"key": "k", "x-amz-meta-a": "1"}),
        ([{"bucket": "another-bucket"}, {"key": "k"}], {"key": "k"}),
        ([{"key": "k"}], {"key": "k"}),
        ([{"bucket": bucket}, ["starts-with", "$key", "up/"]], {"key": "down/k"}),
        ([*exact, {"acl": "private"}], {"key": "k"}),
    ]:
        post(t, bucket, policy_fields(t, bucket, conditions, extra=extra), b"x").refused("AccessDenied")
        same(t.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 0, "keys")


@check
def a_length_outside_the_range(t):
    bucket = t.bucket()
    conditions = [{"bucket": bucket}, {"key": "k"}, ["content-length-range", 10, 20]]
    post(t, bucket, policy_fields(t, bucket, conditions, extra={"key": "k"}), b"x" * 9).refused("EntityTooSmall")
    post(t, bucket, policy_fields(t, bucket, conditions, extra={"key": "k"}), b"x" * 21).refused("EntityTooLarge")
    t.absent(bucket, "k")
    post(t, bucket, policy_fields(t, bucket, conditions, extra={"key": "k"}), b"x" * 20).accepted(204)


@check(needs=AUTH)
def a_policy_that_has_expired_or_is_not_signed(t):
    bucket = t.bucket()
    exact = [{"bucket": bucket}, {"key": "k"}]
    post(t, bucket, policy_fields(t, bucket, exact, -60, extra={"key": "k"}), b"x").refused("AccessDenied")
    fields = policy_fields(t, bucket, exact, extra={"key": "k"})
    post(t, bucket, {**fields, "x-amz-signature": signing.wrong(fields["x-amz-signature"])}, b"x").refused("SignatureDoesNotMatch")
    unknown = {**fields, "x-amz-credential": "NOBODYKNOWSTHISKEY22/" + fields["x-amz-credential"].split("/", 1)[1]}
    post(t, bucket, unknown, b"x").refused("InvalidAccessKeyId", "AccessDenied")
    post(t, bucket, {"key": "k"}, b"x").refused("AccessDenied")
    t.absent(bucket, "k")


@check(needs=AUTH)
def a_policy_that_makes_no_sense(t):
    bucket = t.bucket()
    for text in ("not json", '{"expiration":"2099-01-01T00:00:00Z"}', '{"expiration":"soon","conditions":[]}', '{"conditions":[]}'):
        fields = policy_fields(t, bucket, [])
        fields["policy"] = base64.b64encode(text.encode()).decode()
        key = signing.signing_key(t.keys.secret_key, fields["x-amz-date"][:8])
        fields["x-amz-signature"] = signing.hmac_hex(key, fields["policy"])
        post(t, bucket, {**fields, "key": "k"}, b"x").refused("InvalidPolicyDocument", "AccessDenied")
    t.absent(bucket, "k")


@check
def a_form_has_tags(t):
    bucket = t.bucket()
    exact = [{"bucket": bucket}, {"key": "k"}]
    tags = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1=1</Value></Tag></TagSet></Tagging>"
    post(t, bucket, policy_fields(t, bucket, [*exact, {"tagging": tags}], extra={"key": "k", "tagging": tags}), b"x").accepted(204)
    same(t.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"], [{"Key": "a b", "Value": "1=1"}], "tags")
    for wrong in ("a=1", "<Tagging><TagSet>", "<Tagging><TagSet><Tag><Key/></Tag></TagSet></Tagging>"):
        fields = policy_fields(t, bucket, [{"bucket": bucket}, {"key": "other"}, ["starts-with", "$tagging", ""]])
        post(t, bucket, {**fields, "key": "other", "tagging": wrong}, b"x").refused("MalformedXML", "InvalidTag")
    t.absent(bucket, "other")


@check
def a_form_without_a_boundary(t):
    bucket = t.bucket()
    headers = {"content-type": "multipart/form-data"}
    t.raw("POST", f"/{bucket}", headers=headers, body=b"x", anonymous=True).refused("MalformedPOSTRequest")
