//! Multipart uploads, and what other servers get wrong about them.

use super::{B, all, delete, make_bucket, one, put, refused, send, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use std::collections::BTreeMap;
use testing::real::{Client, Cluster, md5, random_bytes, sha256};

const X: &str = "/bucket/x";
const PART: usize = 5 << 20;

async fn begin(client: &Client, head: &[(&str, &str)]) -> String {
    let begun = send(client, Method::POST, &format!("{X}?uploads"), head, "").await.expect(200);
    one(&begun, "UploadId")
}

async fn part(client: &Client, upload: &str, number: u16, body: &[u8]) -> super::Reply {
    let reply = put(client, &format!("{X}?uploadId={upload}&partNumber={number}"), body).await;
    assert_eq!(reply.status == 200, reply.header("x-holdfast-durability").starts_with("copies="), "{reply}");
    reply
}

/// What a completion says of a part that was answered so.
fn named(part: &super::Reply) -> String {
    let checksum = |name: &str| match part.header(&format!("x-amz-checksum-{}", name.to_lowercase())) {
        "" => String::new(),
        value => format!("<Checksum{name}>{value}</Checksum{name}>"),
    };
    let checksums: String = ["CRC32", "CRC64NVME", "SHA256"].into_iter().map(checksum).collect();
    format!("<ETag>{}</ETag>{checksums}", part.header("etag"))
}

async fn complete(client: &Client, upload: &str, parts: &[(u16, String)]) -> super::Reply {
    complete_with(client, upload, &[], parts).await
}

async fn complete_with(client: &Client, upload: &str, head: &[(&str, &str)], parts: &[(u16, String)]) -> super::Reply {
    let parts: String =
        parts.iter().map(|(number, named)| format!("<Part>{named}<PartNumber>{number}</PartNumber></Part>")).collect();
    let document = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    send(client, Method::POST, &format!("{X}?uploadId={upload}"), head, document).await
}

#[tokio::test]
async fn parts_in_any_order_become_one_object() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let head = [("content-type", "text/x"), ("x-amz-meta-a", "b"), ("x-amz-checksum-algorithm", "CRC32")];
    let upload = begin(&client, &head).await;
    let bodies = [random_bytes(1, PART), random_bytes(2, PART + 1), b"tail".to_vec()];
    let mut parts = BTreeMap::new();
    for number in [3, 1, 2] {
        let reply = part(&client, &upload, number, &bodies[usize::from(number) - 1]).await.expect(200);
        assert!(!reply.header("x-amz-checksum-crc32").is_empty(), "each part gets the upload's checksum");
        parts.insert(number, named(&reply));
    }
    let listed = client.get(&format!("{X}?uploadId={upload}&max-parts=2")).await.expect(200);
    assert_eq!(all(&text(&listed), "PartNumber"), ["1", "2"]);
    assert_eq!((one(&listed, "IsTruncated").as_str(), one(&listed, "NextPartNumberMarker").as_str()), ("true", "2"));
    assert_eq!(one(&client.get(&format!("{B}?uploads")).await.expect(200), "UploadId"), upload);
    let parts: Vec<(u16, String)> = parts.into_iter().collect();
    let backwards: Vec<(u16, String)> = parts.iter().rev().cloned().collect();
    refused(&complete(&client, &upload, &backwards).await, 400, "InvalidPartOrder");
    refused(&complete(&client, &upload, &[(1, parts[0].1.replace("<ETag>", "<ETag>0"))]).await, 400, "InvalidPart");
    let full = [("x-amz-checksum-type", "FULL_OBJECT")];
    let refusal = refused(&complete_with(&client, &upload, &full, &parts).await, 400, "InvalidRequest");
    assert!(refusal.contains("COMPOSITE"), "{refusal}");
    let etag = parts[1].1.split_once("</ETag>").unwrap().0.to_owned() + "</ETag>";
    let without = [parts[0].clone(), (2, etag), parts[2].clone()];
    let refusal = refused(&complete(&client, &upload, &without).await, 400, "InvalidRequest");
    assert!(refusal.contains("checksum for each part") && refusal.contains("part 2 "), "{refusal}");
    refused(&complete(&client, &upload, &[]).await, 400, "MalformedXML");
    let digests: Vec<u8> = bodies.iter().flat_map(|body| hex::decode(md5(body)).unwrap()).collect();
    let expected = format!("\"{}-3\"", md5(&digests));
    for _ in 0..2 {
        let done = complete(&client, &upload, &parts).await.expect(200);
        assert_eq!(one(&done, "ETag").replace("&quot;", "\""), expected, "complete sent twice answers the same");
        assert!(one(&done, "ChecksumCRC32").ends_with("-3"));
        assert_eq!(one(&done, "ChecksumType"), "COMPOSITE");
    }
    let whole = client.get_with(X, &[("x-amz-checksum-mode", "ENABLED")]).await.expect(200);
    assert!(whole.body == bodies.concat(), "the bytes are those of the parts, in order");
    assert_eq!((whole.header("content-type"), whole.header("x-amz-meta-a")), ("text/x", "b"));
    assert!(whole.header("x-amz-checksum-crc32").ends_with("-3"), "clients refuse a multipart checksum without its -N");
    assert_eq!(whole.header("x-amz-checksum-type"), "COMPOSITE");
    let second = client.get(&format!("{X}?partNumber=2")).await.expect(206);
    assert!(second.body == bodies[1] && second.header("x-amz-mp-parts-count") == "3");
    let attributes = [("x-amz-object-attributes", "ETag,ObjectParts,ObjectSize")];
    let told = client.get_with(&format!("{X}?attributes"), &attributes).await.expect(200);
    assert_eq!(all(&text(&told), "PartNumber"), ["1", "2", "3"]);
    refused(&part(&client, &upload, 1, b"late").await, 404, "NoSuchUpload");
}

#[tokio::test]
async fn crc64nvme_is_of_the_whole() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let upload = begin(&client, &[("x-amz-checksum-algorithm", "CRC64NVME")]).await;
    let bodies = [random_bytes(3, PART), b"tail".to_vec()];
    let mut parts = Vec::new();
    for (number, body) in (1..).zip(&bodies) {
        parts.push((number, named(&part(&client, &upload, number, body).await.expect(200))));
    }
    let composite = [("x-amz-checksum-type", "COMPOSITE")];
    refused(&complete_with(&client, &upload, &composite, &parts).await, 400, "InvalidRequest");
    let done = complete(&client, &upload, &parts).await.expect(200);
    let whole = send(&client, Method::PUT, "/bucket/y", &[("x-amz-checksum-algorithm", "CRC64NVME")], bodies.concat());
    let expected = whole.await.expect(200).header("x-amz-checksum-crc64nvme").to_owned();
    assert_eq!((one(&done, "ChecksumCRC64NVME"), one(&done, "ChecksumType")), (expected, "FULL_OBJECT".to_owned()));
}

#[tokio::test]
async fn rules_of_parts() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let upload = begin(&client, &[]).await;
    let mut parts = Vec::new();
    for number in [1, 2] {
        parts.push((number, named(&part(&client, &upload, number, b"small").await.expect(200))));
    }
    refused(&complete(&client, &upload, &parts).await, 400, "EntityTooSmall");
    refused(&put(&client, &format!("{X}?uploadId={upload}&partNumber=0"), "x").await, 400, "InvalidArgument");
    refused(&put(&client, &format!("{X}?uploadId={upload}&partNumber=10001"), "x").await, 400, "InvalidArgument");
    refused(&put(&client, &format!("{X}?uploadId={upload}"), "x").await, 400, "InvalidArgument");
    refused(&put(&client, &format!("{X}?partNumber=1"), "x").await, 400, "InvalidArgument");
    refused(&client.get(X).await, 404, "NoSuchKey");
    refused(&part(&client, "nonsense", 1, b"x").await, 404, "NoSuchUpload");
    complete(&client, &upload, &parts[..1]).await.expect(200);
    let upload = begin(&client, &[]).await;
    delete(&client, &format!("{X}?uploadId={upload}")).await.expect(204);
    refused(&delete(&client, &format!("{X}?uploadId={upload}")).await, 404, "NoSuchUpload");
    for (algorithm, kind, status, code) in [
        ("SHA256", "FULL_OBJECT", 400, "InvalidRequest"),
        ("CRC64NVME", "COMPOSITE", 400, "InvalidRequest"),
        ("CRC16", "COMPOSITE", 400, "InvalidRequest"),
        ("MD5", "COMPOSITE", 501, "NotImplemented"),
    ] {
        let head = [("x-amz-checksum-algorithm", algorithm), ("x-amz-checksum-type", kind)];
        refused(&send(&client, Method::POST, &format!("{X}?uploads"), &head, "").await, status, code);
    }
}

#[tokio::test]
async fn a_composite_checksum_may_leave_its_number_of_parts_out() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    for kind in [None, Some(("x-amz-checksum-type", "COMPOSITE"))] {
        let upload = begin(&client, &[("x-amz-checksum-algorithm", "SHA256")]).await;
        let stored = part(&client, &upload, 1, b"alone").await.expect(200);
        let digest = STANDARD.decode(stored.header("x-amz-checksum-sha256")).expect("base64");
        let whole = STANDARD.encode(hex::decode(sha256(&digest)).expect("hex"));
        let parts = [(1, named(&stored))];
        let complete = async |value: &str| {
            let head: Vec<(&str, &str)> = [("x-amz-checksum-sha256", value)].into_iter().chain(kind).collect();
            complete_with(&client, &upload, &head, &parts).await
        };
        let other = STANDARD.encode(&digest);
        for wrong in [format!("{whole}-2"), other] {
            refused(&complete(&wrong).await, 400, "BadDigest");
        }
        for right in [whole.clone(), format!("{whole}-1"), whole.clone()] {
            assert_eq!(one(&complete(&right).await.expect(200), "ChecksumSHA256"), format!("{whole}-1"));
        }
    }
}
