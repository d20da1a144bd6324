"""What every check has at hand: clients, buckets of its own, raw signed requests, and the words to say what S3 answers.

What it keeps true:
- A check makes its own buckets, so checks run side by side and in any order.
- A refusal is right only with S3's code and the status that S3 gives that code.
"""

import http.client
import os
import threading
import urllib.parse
import uuid
import xml.etree.ElementTree as ElementTree

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

import signing

# The status of each code, as S3's list of error responses has it.
STATUS = {
    "AccessDenied": 403,
    "AccessForbidden": 403,
    "AuthorizationHeaderMalformed": 400,
    "AuthorizationQueryParametersError": 400,
    "BadDigest": 400,
    "BadRequest": 400,
    "BucketAlreadyExists": 409,
    "BucketAlreadyOwnedByYou": 409,
    "BucketNotEmpty": 409,
    "ConditionalRequestConflict": 409,
    "EntityTooLarge": 400,
    "EntityTooSmall": 400,
    "IllegalLocationConstraintException": 400,
    "IllegalVersioningConfigurationException": 400,
    "IncompleteBody": 400,
    "InvalidAccessKeyId": 403,
    "InvalidArgument": 400,
    "InvalidBucketName": 400,
    "InvalidBucketState": 409,
    "InvalidDigest": 400,
    "InvalidPart": 400,
    "InvalidPartNumber": 416,
    "InvalidPartOrder": 400,
    "InvalidPolicyDocument": 400,
    "InvalidRange": 416,
    "InvalidRequest": 400,
    "InvalidStorageClass": 400,
    "InvalidTag": 400,
    "KeyTooLongError": 400,
    "MalformedPOSTRequest": 400,
    "MalformedXML": 400,
    "MetadataTooLarge": 400,
    "MethodNotAllowed": 405,
    "MissingContentLength": 411,
    "NoSuchBucket": 404,
    "NoSuchCORSConfiguration": 404,
    "NoSuchKey": 404,
    "NoSuchLifecycleConfiguration": 404,
    "NoSuchObjectLockConfiguration": 404,
    "NoSuchTagSet": 404,
    "NoSuchUpload": 404,
    "NoSuchVersion": 404,
    "NotImplemented": 501,
    "ObjectLockConfigurationNotFoundError": 404,
    "PreconditionFailed": 412,
    "RequestTimeTooSkewed": 403,
    "SignatureDoesNotMatch": 403,
    "XAmzContentSHA256Mismatch": 400,
    # What boto3 calls an answer without a body.
    "304": 304,
    "400": 400,
    "403": 403,
    "404": 404,
    "405": 405,
    "412": 412,
    "416": 416,
    "501": 501,
}

CHECKS = []
# Headers that say nothing of what was asked for.
UNTOLD = ("host", "authorization", "x-amz-date", "x-amz-content-sha256", "content-length")
FIVE_MIB = 5 << 20


def check(function=None, *, needs=()):
    """Makes a function with one argument a check. `needs` names what must have been given on the command line."""

    def register(checked):
        checked.needs = needs
        checked.full_name = f"{checked.__module__}.{checked.__name__}"
        CHECKS.append(checked)
        return checked

    return register(function) if function else register


def refused(codes, operation, /, **arguments):
    """Calls an operation of boto3 that must be refused with one of these codes; answers the error's response."""
    codes = (codes,) if isinstance(codes, str) else codes
    try:
        answer = operation(**arguments)
    except ClientError as error:
        response = error.response
        code, status = response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]
        assert code in codes, f"expected {' or '.join(codes)}, got {code} ({status}): {response['Error'].get('Message')}"
        assert status == STATUS[code], f"{code} has status {STATUS[code]}, got {status}"
        return response
    answer.pop("ResponseMetadata", None)
    raise AssertionError(f"expected {' or '.join(codes)}, got a success: {answer}")


def same(got, expected, what="answer"):
    """Asserts that two values are the same, and shows both."""
    assert got == expected, f"{what}: expected {short(expected)}, got {short(got)}"


def short(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:150]}… ({len(text)} characters)"


def random_bytes(size):
    """Bytes nobody has stored before."""
    return os.urandom(size)


def plain_xml(text):
    """An XML document's root, with the namespaces taken off."""
    root = ElementTree.fromstring(text)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    return root


class Answer:
    """The answer to a raw request."""

    def __init__(self, asked, status, headers, body):
        self.asked, self.status, self.headers, self.body = asked, status, headers, body

    def __getitem__(self, name):
        return self.headers.get(name)

    @property
    def xml(self):
        return plain_xml(self.body)

    @property
    def code(self):
        """The code of an error; nothing if it is none."""
        if self.status < 300 or not self.body.strip():
            return None
        try:
            return self.xml.findtext("Code")
        except ElementTree.ParseError:
            return f"not XML: {short(self.body)}"

    def refused(self, *codes):
        got = f"{self.asked}: expected {' or '.join(codes)}, got {self.code}"
        assert self.code in codes, f"{got} ({self.status}): {short(self.body)}"
        same(self.status, STATUS[self.code], f"{self.asked}: status of {self.code}")
        return self

    def accepted(self, status=200):
        assert self.status == status, f"{self.asked}: expected {status}, got {self.status}: {short(self.body)}"
        return self


class Keys:
    """An access key."""

    def __init__(self, access_key, secret_key):
        self.access_key, self.secret_key = access_key, secret_key


def client(endpoint, keys, **config):
    """A client that tries once, in path style."""
    settings = {
        "signature_version": "s3v4",
        "s3": {"addressing_style": "path"},
        "retries": {"total_max_attempts": 1},
        "connect_timeout": 10,
        "read_timeout": 60,
        "max_pool_connections": 32,
    }
    settings.update(config)
    return boto3.session.Session().client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=keys.access_key,
        aws_secret_access_key=keys.secret_key,
        config=Config(**settings),
    )


class Server:
    """The server under test, and who may do what there."""

    def __init__(self, endpoint, keys, other=None, expired=None, disabled=None, virtual_host=None):
        self.endpoint, self.keys, self.other = endpoint.rstrip("/"), keys, other
        self.expired, self.disabled, self.virtual_host = expired, disabled, virtual_host
        self.authority = urllib.parse.urlsplit(endpoint).netloc
        self.client = client(endpoint, keys)
        self.other_client = client(endpoint, other) if other else None


class Context:
    """What one check works with."""

    def __init__(self, server):
        self.server, self.s3, self.keys = server, server.client, server.keys
        self._buckets, self._lock = [], threading.Lock()

    def new_name(self):
        """A bucket name that nobody has."""
        name = f"conformance-{uuid.uuid4().hex[:20]}"
        with self._lock:
            self._buckets.append(name)
        return name

    def bucket(self, versioning=None, **arguments):
        """A bucket of its own."""
        name = self.new_name()
        self.s3.create_bucket(Bucket=name, **arguments)
        if versioning:
            self.s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": versioning})
        return name

    def put(self, bucket, key, body=b"content", **arguments):
        return self.s3.put_object(Bucket=bucket, Key=key, Body=body, **arguments)

    def get(self, bucket, key, **arguments):
        """An object's bytes."""
        return self.s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()

    def absent(self, bucket, key):
        """Asserts that nothing is there: a refused request leaves nothing behind."""
        refused("404", self.s3.head_object, Bucket=bucket, Key=key)

    def raw(self, method, path, query="", headers=None, body=b"", keys=None, anonymous=False, **signature):
        """A request as spelled here: `path` and `query` are percent-encoded already. Signed unless `anonymous`."""
        headers = dict(headers or {})
        headers.setdefault("host", self.server.authority)
        if not anonymous:
            keys = keys or self.keys
            signing.sign(method, path, query, headers, body, keys.access_key, keys.secret_key, **signature)
        connection = http.client.HTTPConnection(self.server.authority, timeout=60)
        try:
            target = path + (f"?{query}" if query else "")
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            if body or method in ("PUT", "POST"):
                headers.setdefault("content-length", str(len(body)))
            for name, value in headers.items():
                connection.putheader(name, value if isinstance(value, bytes) else value.encode("latin-1"))
            connection.endheaders(body if body else None)
            response = connection.getresponse()
            given = {name: value for name, value in headers.items() if name not in UNTOLD}
            return Answer(f"{method} {short(target)} {given}", response.status, response.headers, response.read())
        finally:
            connection.close()

    def multipart(self, bucket, key, bodies, numbers=None, create=None, **part_arguments):
        """Uploads parts; answers the upload's id and the list to complete it with."""
        upload = self.s3.create_multipart_upload(Bucket=bucket, Key=key, **(create or {}))["UploadId"]
        parts = []
        for number, body in zip(numbers or range(1, len(bodies) + 1), bodies):
            answer = self.s3.upload_part(
                Bucket=bucket, Key=key, UploadId=upload, PartNumber=number, Body=body, **part_arguments
            )
            part = {name: value for name, value in answer.items() if name == "ETag" or name.startswith("Checksum")}
            parts.append({"PartNumber": number, **part})
        return upload, parts

    def complete(self, bucket, key, upload, parts, **arguments):
        return self.s3.complete_multipart_upload(
            Bucket=bucket, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **arguments
        )

    def clean(self):
        """Removes what the check made, as far as that goes: some checks lock what they make."""
        for name in self._buckets:
            try:
                self._clean_bucket(name)
            except (BotoCoreError, ClientError):
                continue

    def _clean_bucket(self, name):
        for upload in self.s3.list_multipart_uploads(Bucket=name).get("Uploads", []):
            self.s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
        while True:
            page = self.s3.list_object_versions(Bucket=name)
            entries = page.get("Versions", []) + page.get("DeleteMarkers", [])
            if not entries:
                break
            objects = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
            answer = self.s3.delete_objects(Bucket=name, Delete={"Objects": objects[:1000], "Quiet": True})
            if answer.get("Errors"):
                return
        self.s3.delete_bucket(Bucket=name)
