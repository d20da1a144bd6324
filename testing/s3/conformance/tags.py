"""Tags of objects and of buckets."""

from suite import check, refused, same


def pairs(tags):
    return [{"Key": key, "Value": value} for key, value in tags.items()]


@check
def an_object_has_tags(t):
    bucket = t.bucket()
    t.put(bucket, "k", Tagging="a=1&b=two%20words")
    same(t.s3.head_object(Bucket=bucket, Key="k").get("TagCount") in (None, 2), True, "TagCount")
    same(t.s3.get_object(Bucket=bucket, Key="k")["TagCount"], 2, "TagCount of a get")
    same(t.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"], pairs({"a": "1", "b": "two words"}), "tags")
    t.s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": pairs({"c": "é"})})
    same(t.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"], pairs({"c": "é"}), "other tags")
    t.s3.delete_object_tagging(Bucket=bucket, Key="k")
    same(t.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"], [], "no tags")
    same(t.s3.get_object(Bucket=bucket, Key="k").get("TagCount"), None, "TagCount of none")


@check
def tags_belong_to_a_version(t):
    bucket = t.bucket("Enabled")
    old = t.put(bucket, "k", b"1", Tagging="a=1")["VersionId"]
    t.put(bucket, "k", b"2")
    same(t.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"], [], "of the newest")
    same(t.s3.get_object_tagging(Bucket=bucket, Key="k", VersionId=old)["TagSet"], pairs({"a": "1"}), "of the old one")
    t.s3.put_object_tagging(Bucket=bucket, Key="k", VersionId=old, Tagging={"TagSet": pairs({"b": "2"})})
    same(t.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"], [], "of the newest, still")
    same((t.get(bucket, "k"), t.get(bucket, "k", VersionId=old)), (b"2", b"1"), "bytes")


@check
def an_object_has_ten_tags_at_most(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    ten = {f"k{number}": "v" for number in range(10)}
    t.s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": pairs(ten)})
    eleven = pairs({**ten, "k10": "v"})
    refused(("BadRequest", "InvalidTag"), t.s3.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": eleven})
    many = "&".join(f"k{number}=v" for number in range(11))
    refused(("BadRequest", "InvalidTag", "InvalidArgument"), t.s3.put_object, Bucket=bucket, Key="other", Body=b"", Tagging=many)
    t.absent(bucket, "other")


@check
def a_tag_follows_the_rules(t):
    bucket = t.bucket()
    t.put(bucket, "k")
    fine = pairs({"k" * 128: "v" * 256})
    t.s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": fine})
    signs = pairs({"ключ 1 _.:/=+-@": "値 _.:/=+-@"})
    t.s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": signs})
    t.s3.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": fine})
    other = [pairs({"k!": "v"}), pairs({"k": "v?"}), pairs({"k": "a\nb"}), pairs({"aws:k": "v"})]
    for wrong in (pairs({"k" * 129: "v"}), pairs({"k": "v" * 257}), [*pairs({"a": "1"}), *pairs({"a": "2"})], *other):
        refused("InvalidTag", t.s3.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": wrong})
    same(t.s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"], fine, "tags")
    body = b"<Tagging><TagSet><Tag>"
    t.raw("PUT", f"/{bucket}/k", "tagging", body=body).refused("MalformedXML")


@check
def tags_of_what_is_not_there(t):
    bucket = t.bucket("Enabled")
    refused("NoSuchKey", t.s3.get_object_tagging, Bucket=bucket, Key="k")
    refused("NoSuchKey", t.s3.put_object_tagging, Bucket=bucket, Key="k", Tagging={"TagSet": []})
    t.put(bucket, "k")
    marker = t.s3.delete_object(Bucket=bucket, Key="k")["VersionId"]
    refused("MethodNotAllowed", t.s3.get_object_tagging, Bucket=bucket, Key="k", VersionId=marker)
    some = {"TagSet": pairs({"a": "1"})}
    refused("MethodNotAllowed", t.s3.put_object_tagging, Bucket=bucket, Key="k", VersionId=marker, Tagging=some)


@check
def a_bucket_has_tags(t):
    bucket = t.bucket()
    refused("NoSuchTagSet", t.s3.get_bucket_tagging, Bucket=bucket)
    answer = t.s3.put_bucket_tagging(Bucket=bucket, Tagging={"TagSet": pairs({"a": "1", "b": "2"})})
    same(answer["ResponseMetadata"]["HTTPStatusCode"], 204, "status")
    found = t.s3.get_bucket_tagging(Bucket=bucket)["TagSet"]
    same(sorted(found, key=lambda tag: tag["Key"]), pairs({"a": "1", "b": "2"}), "tags")
    t.s3.delete_bucket_tagging(Bucket=bucket)
    refused("NoSuchTagSet", t.s3.get_bucket_tagging, Bucket=bucket)
    twice = [*pairs({"a": "1"}), *pairs({"a": "2"})]
    refused("InvalidTag", t.s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": twice})
    many = pairs({f"k{number}": "v" for number in range(51)})
    refused(("BadRequest", "InvalidTag"), t.s3.put_bucket_tagging, Bucket=bucket, Tagging={"TagSet": many})


@check
def a_bucket_is_made_with_tags(t):
    name = t.new_name()
    twice = [*pairs({"a": "1"}), *pairs({"a": "2"})]
    refused("InvalidTag", t.s3.create_bucket, Bucket=name, CreateBucketConfiguration={"Tags": twice})
    refused("404", t.s3.head_bucket, Bucket=name)
    t._buckets.append(name)
    t.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1", "Tags": pairs({"a": "1"})})
    same(t.s3.get_bucket_tagging(Bucket=name)["TagSet"], pairs({"a": "1"}), "tags")
