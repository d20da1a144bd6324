"""What an application does with boto3: `boto3_client.py ENDPOINT`, in a directory with `tree/` and the file `large`.

It stores both, copies, presigns, deletes many at once and reads old versions, and fetches them back as `back/` and `large back`.
The exit status says whether everything was as it should be; the test that calls it compares what it fetched.
"""

import concurrent.futures
import hashlib
import io
import os
import pathlib
import sys
import urllib.request

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

IN_PARTS = TransferConfig(multipart_threshold=8 << 20, multipart_chunksize=8 << 20, max_concurrency=4)


def same(got, expected, what):
    if got != expected:
        sys.exit(f"{what}: expected {expected!r:.300}, got {got!r:.300}")


def large_object(s3, bucket):
    s3.upload_file("large", bucket, "large", Config=IN_PARTS, ExtraArgs={"Metadata": {"from": "boto3"}})
    size = os.path.getsize("large")
    head = s3.head_object(Bucket=bucket, Key="large", ChecksumMode="ENABLED")
    same((head["ContentLength"], head["Metadata"]), (size, {"from": "boto3"}), "head")
    same(head["ETag"].endswith(f'-{-(-size // (8 << 20))}"'), True, "ETag of parts")
    s3.download_file(bucket, "large", "large back", Config=IN_PARTS)
    s3.copy({"Bucket": bucket, "Key": "large"}, bucket, "copy in parts", Config=IN_PARTS)
    s3.copy_object(Bucket=bucket, Key="copy in one", CopySource={"Bucket": bucket, "Key": "large"})
    with open("large", "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    for key in ("copy in parts", "copy in one"):
        copy = hashlib.sha256()
        for piece in s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):
            copy.update(piece)
        same(copy.hexdigest(), digest, key)


def tree(s3, bucket):
    root, back = pathlib.Path("tree"), pathlib.Path("back")
    files = [path for path in root.rglob("*") if path.is_file()]

    def put(path):
        s3.put_object(Bucket=bucket, Key=f"tree/{path.relative_to(root)}", Body=path.read_bytes())

    def get(key):
        target = back / key.removeprefix("tree/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(put, files))
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="tree/", PaginationConfig={"PageSize": 300})
        keys = [entry["Key"] for page in pages for entry in page["Contents"]]
        same(keys, sorted((f"tree/{path.relative_to(root)}" for path in files), key=str.encode), "keys listed")
        list(pool.map(get, keys))
    folded = s3.list_objects_v2(Bucket=bucket, Prefix="tree/", Delimiter="/")
    same(len(folded["CommonPrefixes"]), len(list(root.iterdir())), "directories")
    for start in range(0, len(keys), 1000):
        objects = [{"Key": key} for key in keys[start : start + 1000]]
        same(s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True}).get("Errors"), None, "bulk delete")
    same(s3.list_objects_v2(Bucket=bucket, Prefix="tree/")["KeyCount"], 0, "what is left")


def presigned(s3, bucket):
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "by url/é +"}, ExpiresIn=60)
    with urllib.request.urlopen(urllib.request.Request(url, data=b"by url", method="PUT", headers={"content-type": ""})) as answer:
        same(answer.status, 200, "status of a presigned put")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "by url/é +"}, ExpiresIn=60)
    with urllib.request.urlopen(url) as answer:
        same(answer.read(), b"by url", "presigned get")


def versions(s3, bucket):
    s3.create_bucket(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket=bucket, Key="k", Body=f"v{number}".encode())["VersionId"] for number in range(3)]
    s3.delete_object(Bucket=bucket, Key="k")
    try:
        s3.get_object(Bucket=bucket, Key="k")
        sys.exit("a deleted key was read")
    except ClientError as error:
        same(error.response["Error"]["Code"], "NoSuchKey", "code of a deleted key")
    for number, version in enumerate(ids):
        same(s3.get_object(Bucket=bucket, Key="k", VersionId=version)["Body"].read(), f"v{number}".encode(), "version")
    resource = boto3.resource("s3", endpoint_url=sys.argv[1], config=CONFIG)
    resource.Bucket(bucket).object_versions.delete()
    s3.delete_bucket(Bucket=bucket)


CONFIG = Config(s3={"addressing_style": "path"}, signature_version="s3v4", retries={"total_max_attempts": 1}, max_pool_connections=16)


def main():
    s3 = boto3.client("s3", endpoint_url=sys.argv[1], config=CONFIG)
    s3.create_bucket(Bucket="boto3")
    large_object(s3, "boto3")
    tree(s3, "boto3")
    presigned(s3, "boto3")
    versions(s3, "boto3-versions")
    s3.upload_fileobj(io.BytesIO(b"streamed"), "boto3", "streamed")
    same(s3.get_object(Bucket="boto3", Key="streamed", Range="bytes=2-4")["Body"].read(), b"rea", "range")


main()
