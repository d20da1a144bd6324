"""Listings: both versions of the operation, prefixes, delimiters, pages, encodings."""

import urllib.parse

from suite import check, refused, same


def filled(t, keys, versioning=None):
    bucket = t.bucket(versioning)
    for key in keys:
        t.put(bucket, key, key.encode())
    return bucket


def keys_of(page):
    return [entry["Key"] for entry in page.get("Contents", [])]


def prefixes_of(page):
    return [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]


def pages(operation, token_in, token_out, **arguments):
    """All pages of a listing, each gone on to where the last one said."""
    found, more = [], {}
    while True:
        page = operation(**arguments, **more)
        found.append(page)
        if not page["IsTruncated"]:
            return found
        more = {token_in: page[token_out]}
        assert len(found) < 100, "a listing that does not end"


def pages_v2(t, **arguments):
    return pages(t.s3.list_objects_v2, "ContinuationToken", "NextContinuationToken", **arguments)


@check
def keys_come_in_the_order_of_their_bytes(t):
    keys = ["b", "a", "a/b", "a.b", "A", "é", "z", "a b", "日", "a0", "aa"]
    bucket = filled(t, keys)
    expected = sorted(keys, key=str.encode)
    same(keys_of(t.s3.list_objects_v2(Bucket=bucket)), expected, "version 2")
    same(keys_of(t.s3.list_objects(Bucket=bucket)), expected, "version 1")


@check
def an_entry_says_what_the_object_is(t):
    bucket = t.bucket()
    etag = t.put(bucket, "k", b"12345")["ETag"]
    entry = t.s3.list_objects_v2(Bucket=bucket)["Contents"][0]
    same((entry["ETag"], entry["Size"], entry["StorageClass"]), (etag, 5, "STANDARD"), "entry")


@check
def an_empty_bucket_lists_nothing(t):
    bucket = t.bucket()
    page = t.s3.list_objects_v2(Bucket=bucket)
    same((page["KeyCount"], page["IsTruncated"], page["MaxKeys"], page["Name"]), (0, False, 1000, bucket), "version 2")
    same(page.get("Contents"), None, "Contents")
    page = t.s3.list_objects(Bucket=bucket)
    same((page["IsTruncated"], page["MaxKeys"], page["Marker"], page["Prefix"]), (False, 1000, "", ""), "version 1")


@check
def a_prefix_chooses(t):
    bucket = filled(t, ["a", "b/1", "b/2", "b0", "c"])
    page = t.s3.list_objects_v2(Bucket=bucket, Prefix="b/")
    same((keys_of(page), page["Prefix"], page["KeyCount"]), (["b/1", "b/2"], "b/", 2), "prefix b/")
    same(keys_of(t.s3.list_objects_v2(Bucket=bucket, Prefix="d")), [], "prefix d")


@check
def a_delimiter_folds(t):
    bucket = filled(t, ["a", "b/1", "b/2", "b/c/3", "c", "d//e", "/f"])
    page = t.s3.list_objects_v2(Bucket=bucket, Delimiter="/")
    same((keys_of(page), prefixes_of(page)), (["a", "c"], ["/", "b/", "d/"]), "at the root")
    same((page["KeyCount"], page["Delimiter"]), (5, "/"), "count and delimiter")
    page = t.s3.list_objects_v2(Bucket=bucket, Delimiter="/", Prefix="b/")
    same((keys_of(page), prefixes_of(page)), (["b/1", "b/2"], ["b/c/"]), "below b/")
    page = t.s3.list_objects_v2(Bucket=bucket, Delimiter="/", Prefix="d/")
    same((keys_of(page), prefixes_of(page)), ([], ["d//"]), "below d/")


@check
def a_delimiter_may_be_any_text(t):
    bucket = filled(t, ["aXXb", "aXXc", "aXd", "e f", "e g"])
    page = t.s3.list_objects_v2(Bucket=bucket, Delimiter="XX")
    same((keys_of(page), prefixes_of(page)), (["aXd", "e f", "e g"], ["aXX"]), "delimiter XX")
    page = t.s3.list_objects_v2(Bucket=bucket, Delimiter=" ")
    same((keys_of(page), prefixes_of(page)), (["aXXb", "aXXc", "aXd"], ["e "]), "delimiter of a space")


@check
def pages_make_the_whole(t):
    keys = [f"d{group}/{number}" for group in range(4) for number in range(3)] + ["a", "z1", "z2"]
    bucket = filled(t, keys)
    for size in (1, 2, 3, 7):
        whole = pages_v2(t, Bucket=bucket, MaxKeys=size)
        same([key for page in whole for key in keys_of(page)], sorted(keys), f"keys by {size}")
        assert all(page["KeyCount"] <= size for page in whole), "no page holds more than asked for"
        folded = pages_v2(t, Bucket=bucket, MaxKeys=size, Delimiter="/")
        same([key for page in folded for key in keys_of(page)], ["a", "z1", "z2"], f"folded keys by {size}")
        same([p for page in folded for p in prefixes_of(page)], ["d0/", "d1/", "d2/", "d3/"], f"prefixes by {size}")
        assert all(page["KeyCount"] == len(keys_of(page)) + len(prefixes_of(page)) <= size for page in folded), "counts"


@check
def pages_of_version_1_make_the_whole(t):
    keys = [f"d{group}/{number}" for group in range(3) for number in range(2)] + ["a", "z"]
    bucket = filled(t, keys)
    folded = pages(t.s3.list_objects, "Marker", "NextMarker", Bucket=bucket, MaxKeys=1, Delimiter="/")
    same([key for page in folded for key in keys_of(page)], ["a", "z"], "keys")
    same([prefix for page in folded for prefix in prefixes_of(page)], ["d0/", "d1/", "d2/"], "prefixes")
    first = t.s3.list_objects(Bucket=bucket, MaxKeys=3)
    same((first["IsTruncated"], first.get("NextMarker")), (True, None), "NextMarker goes with a delimiter only")
    rest = t.s3.list_objects(Bucket=bucket, Marker=keys_of(first)[-1])
    same(keys_of(first) + keys_of(rest), sorted(keys), "both pages")
    same(rest["Marker"], keys_of(first)[-1], "Marker is echoed")


@check
def a_start_lies_anywhere(t):
    bucket = filled(t, ["a", "p/1", "p/2", "p/3", "z"])

    def after(start, **more):
        page = t.s3.list_objects_v2(Bucket=bucket, StartAfter=start, **more)
        same(page["StartAfter"], start, "StartAfter is echoed")
        return keys_of(page)

    same(after("p/1"), ["p/2", "p/3", "z"], "after a key")
    same(after("p/15"), ["p/2", "p/3", "z"], "after what is no key")
    same(after("p/1", Prefix="p/"), ["p/2", "p/3"], "within the prefix")
    same(after("b", Prefix="p/"), ["p/1", "p/2", "p/3"], "before the prefix")
    same(after("q", Prefix="p/"), [], "after the prefix")
    same(after("zz"), [], "after everything")


@check
def a_start_within_a_folded_prefix(t):
    bucket = filled(t, ["a", "p/1", "p/2", "q/1", "z"])
    page = t.s3.list_objects_v2(Bucket=bucket, StartAfter="p/1", Delimiter="/")
    same((prefixes_of(page), keys_of(page)), (["q/"], ["z"]), "a prefix is listed if it comes after the start")
    page = t.s3.list_objects_v2(Bucket=bucket, StartAfter="o", Delimiter="/")
    same((prefixes_of(page), keys_of(page)), (["p/", "q/"], ["z"]), "from before p/")


@check
def no_keys_at_all_may_be_asked_for(t):
    bucket = filled(t, ["a", "b"])
    page = t.s3.list_objects_v2(Bucket=bucket, MaxKeys=0)
    same((page["MaxKeys"], page["KeyCount"], page["IsTruncated"], keys_of(page)), (0, 0, False, []), "version 2")
    page = t.s3.list_objects(Bucket=bucket, MaxKeys=0)
    same((page["MaxKeys"], page["IsTruncated"], keys_of(page)), (0, False, []), "version 1")
    page = t.s3.list_object_versions(Bucket=bucket, MaxKeys=0)
    same((page["MaxKeys"], page["IsTruncated"], page.get("Versions")), (0, False, None), "versions")


@check
def a_page_has_at_most_1000(t):
    bucket = filled(t, ["a"])
    same(t.s3.list_objects_v2(Bucket=bucket, MaxKeys=5000)["MaxKeys"], 1000, "MaxKeys")
    for wrong in ("-1", "many", "2147483648"):
        t.raw("GET", f"/{bucket}", f"list-type=2&max-keys={wrong}").refused("InvalidArgument")


@check
def owners_are_told_on_request(t):
    bucket = filled(t, ["a"])
    assert "Owner" not in t.s3.list_objects_v2(Bucket=bucket)["Contents"][0], "version 2 by itself tells no owner"
    assert t.s3.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"][0]["Owner"]["ID"], "FetchOwner"
    assert t.s3.list_objects(Bucket=bucket)["Contents"][0]["Owner"]["ID"], "version 1 tells it always"


@check
def names_are_encoded_as_asked(t):
    keys = ["a b+c", "d/é&<", "f%2F", "g*~'()"]
    bucket = filled(t, keys)

    def spellings(key):
        """A space may be a plus, and a few signs may stay as they are; a slash does stay, and a plus does not."""
        spelled = {urllib.parse.quote(key, safe=safe) for safe in ("/-_.", "/-_.*", "/-_.~", "/-_.*~'()!")}
        return spelled | {text.replace("%20", "+") for text in spelled}

    for query in ("list-type=2&", "", "versions&"):
        answer = t.raw("GET", f"/{bucket}", f"{query}encoding-type=url").accepted().xml
        same(answer.findtext("EncodingType"), "url", "EncodingType")
        found = [element.text for element in answer.iter("Key")]
        for got, key in zip(found, sorted(keys), strict=True):
            assert got in spellings(key), f"{key!r} is spelled {got!r}; a slash stays a slash"
    answer = t.raw("GET", f"/{bucket}", "list-type=2&encoding-type=url&prefix=d%2F&delimiter=%2F&start-after=d%2F%20").accepted().xml
    same([answer.findtext(name) for name in ("Prefix", "Delimiter")], ["d/", "/"], "what is echoed keeps its slashes")
    assert answer.findtext("StartAfter") in ("d/+", "d/%20"), answer.findtext("StartAfter")
    t.raw("GET", f"/{bucket}", "list-type=2&encoding-type=base64").refused("InvalidArgument")


@check
def a_folded_prefix_is_encoded_too(t):
    bucket = filled(t, ["é x/1"])
    answer = t.raw("GET", f"/{bucket}", "list-type=2&encoding-type=url&delimiter=%2F").accepted().xml
    assert answer.findtext("CommonPrefixes/Prefix") in ("%C3%A9+x/", "%C3%A9%20x/"), answer.findtext("CommonPrefixes/Prefix")


@check
def a_token_is_ours_or_refused(t):
    bucket = filled(t, ["a", "b"])
    page = t.s3.list_objects_v2(Bucket=bucket, MaxKeys=1)
    token = page["NextContinuationToken"]
    rest = t.s3.list_objects_v2(Bucket=bucket, ContinuationToken=token, StartAfter="b")
    same((keys_of(rest), rest["ContinuationToken"]), (["b"], token), "a token outweighs a start, and is echoed")
    refused("InvalidArgument", t.s3.list_objects_v2, Bucket=bucket, ContinuationToken="garbage!")
    t.raw("GET", f"/{bucket}", "list-type=2&continuation-token=").refused("InvalidArgument")


@check
def a_listing_sees_every_put_and_delete_at_once(t):
    bucket = t.bucket()
    for number in range(10):
        t.put(bucket, f"k{number}")
        same(t.s3.list_objects_v2(Bucket=bucket)["KeyCount"], number + 1, "after a put")
    for number in range(10):
        t.s3.delete_object(Bucket=bucket, Key=f"k{number}")
        same(t.s3.list_objects_v2(Bucket=bucket)["KeyCount"], 9 - number, "after a delete")
