"""Object lock: retention, legal hold, and what they keep from going."""

import datetime

from suite import check, refused, same


def soon(days=1):
    return (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=days)).replace(microsecond=0)


def locked(t, **default):
    bucket = t.bucket(ObjectLockEnabledForBucket=True)
    if default:
        rule = {"DefaultRetention": default}
        t.s3.put_object_lock_configuration(
            Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": rule}
        )
    return bucket


@check
def a_bucket_with_locks_keeps_versions(t):
    bucket = locked(t)
    same(t.s3.get_bucket_versioning(Bucket=bucket)["Status"], "Enabled", "versioning")
    found = t.s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]
    same(found, {"ObjectLockEnabled": "Enabled"}, "configuration")
    suspended = {"Status": "Suspended"}
    refused("InvalidBucketState", t.s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration=suspended)


@check
def a_bucket_without_locks_says_so(t):
    bucket = t.bucket("Enabled")
    t.put(bucket, "k")
    refused("ObjectLockConfigurationNotFoundError", t.s3.get_object_lock_configuration, Bucket=bucket)
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": soon()}
    refused("InvalidRequest", t.s3.put_object_retention, Bucket=bucket, Key="k", Retention=retention)
    refused("InvalidRequest", t.s3.put_object_legal_hold, Bucket=bucket, Key="k", LegalHold={"Status": "ON"})
    wanted = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": soon()}
    refused("InvalidRequest", t.s3.put_object, Bucket=bucket, Key="other", Body=b"", **wanted)
    t.absent(bucket, "other")


@check
def a_default_retention_is_given_to_what_is_put(t):
    bucket = locked(t, Mode="GOVERNANCE", Days=1)
    version = t.put(bucket, "k")["VersionId"]
    found = t.s3.get_object_retention(Bucket=bucket, Key="k")["Retention"]
    same(found["Mode"], "GOVERNANCE", "mode")
    assert soon(0) < found["RetainUntilDate"] <= soon(2), found
    refused("AccessDenied", t.s3.delete_object, Bucket=bucket, Key="k", VersionId=version)
    rules = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1, "Years": 1}}}
    refused("MalformedXML", t.s3.put_object_lock_configuration, Bucket=bucket, ObjectLockConfiguration=rules)
    t.s3.delete_object(Bucket=bucket, Key="k", VersionId=version, BypassGovernanceRetention=True)


@check
def governance_gives_way_to_a_bypass_only(t):
    bucket, until = locked(t), soon()
    version = t.put(bucket, "k", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)["VersionId"]
    head = t.s3.head_object(Bucket=bucket, Key="k")
    same((head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]), ("GOVERNANCE", until), "head")
    named = {"Bucket": bucket, "Key": "k", "VersionId": version}
    refused("AccessDenied", t.s3.delete_object, **named)
    t.s3.put_object_retention(**named, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": soon(2)})
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": until}
    refused("AccessDenied", t.s3.put_object_retention, **named, Retention=shorter)
    t.s3.put_object_retention(**named, Retention=shorter, BypassGovernanceRetention=True)
    marker = t.s3.delete_object(Bucket=bucket, Key="k")
    same(marker["DeleteMarker"], True, "a marker may always be laid")
    t.s3.delete_object(**named, BypassGovernanceRetention=True)
    refused("NoSuchVersion", t.s3.get_object, **named)


@check
def compliance_gives_way_to_nobody(t):
    bucket, until = locked(t), (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=4)).replace(microsecond=0)
    version = t.put(bucket, "k", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)["VersionId"]
    named = {"Bucket": bucket, "Key": "k", "VersionId": version}
    refused("AccessDenied", t.s3.delete_object, **named)
    refused("AccessDenied", t.s3.delete_object, **named, BypassGovernanceRetention=True)
    earlier = {"Mode": "COMPLIANCE", "RetainUntilDate": until - datetime.timedelta(seconds=1)}
    refused("AccessDenied", t.s3.put_object_retention, **named, Retention=earlier, BypassGovernanceRetention=True)
    other = {"Mode": "GOVERNANCE", "RetainUntilDate": soon(1)}
    refused("AccessDenied", t.s3.put_object_retention, **named, Retention=other, BypassGovernanceRetention=True)
    answer = t.s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k", "VersionId": version}]})
    same([entry["Code"] for entry in answer["Errors"]], ["AccessDenied"], "errors of a bulk delete")


@check
def a_legal_hold_lasts_until_it_is_lifted(t):
    bucket = locked(t)
    version = t.put(bucket, "k")["VersionId"]
    named = {"Bucket": bucket, "Key": "k", "VersionId": version}
    t.s3.put_object_legal_hold(**named, LegalHold={"Status": "ON"})
    same(t.s3.get_object_legal_hold(**named)["LegalHold"]["Status"], "ON", "hold")
    same(t.s3.head_object(Bucket=bucket, Key="k")["ObjectLockLegalHoldStatus"], "ON", "head")
    refused("AccessDenied", t.s3.delete_object, **named, BypassGovernanceRetention=True)
    t.s3.put_object_legal_hold(**named, LegalHold={"Status": "OFF"})
    t.s3.delete_object(**named)


@check
def what_is_not_locked_says_so(t):
    bucket = locked(t)
    t.put(bucket, "k")
    refused("NoSuchObjectLockConfiguration", t.s3.get_object_retention, Bucket=bucket, Key="k")
    refused("NoSuchObjectLockConfiguration", t.s3.get_object_legal_hold, Bucket=bucket, Key="k")


@check
def a_retention_makes_sense(t):
    bucket = locked(t)
    t.put(bucket, "k")
    past = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": soon(-1)}
    refused("InvalidArgument", t.s3.put_object, Bucket=bucket, Key="other", Body=b"", **past)
    half = {"ObjectLockMode": "GOVERNANCE"}
    refused(("InvalidArgument", "InvalidRequest"), t.s3.put_object, Bucket=bucket, Key="other", Body=b"", **half)
    wrong = b"<Retention><Mode>FOREVER</Mode><RetainUntilDate>2099-01-01T00:00:00Z</RetainUntilDate></Retention>"
    t.raw("PUT", f"/{bucket}/k", "retention", body=wrong).refused("MalformedXML", "InvalidRequest")
    t.absent(bucket, "other")
