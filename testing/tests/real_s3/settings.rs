//! A bucket's settings, and cross-origin requests.

use super::{B, all, delete, make_bucket, one, put, refused, send, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use testing::real::{Cluster, md5};

#[tokio::test]
async fn settings_come_back_as_they_were_given() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    refused(&put(&client, B, "").await, 409, "BucketAlreadyOwnedByYou");
    assert_eq!(client.head(B).await.expect(200).header("x-amz-bucket-region"), "us-east-1");
    client.head("/other").await.expect(404);
    let location = client.get(&format!("{B}?location")).await.expect(200);
    assert!(text(&location).contains("LocationConstraint"), "{}", text(&location));
    for (setting, missing, document, element, value) in [
        (
            "tagging",
            "NoSuchTagSet",
            "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
            "Value",
            "b",
        ),
        (
            "lifecycle",
            "NoSuchLifecycleConfiguration",
            "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix>p/</Prefix></Filter>\
             <Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>",
            "Days",
            "3",
        ),
        (
            "cors",
            "NoSuchCORSConfiguration",
            "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>http://x</AllowedOrigin>\
             </CORSRule></CORSConfiguration>",
            "AllowedOrigin",
            "http://x",
        ),
    ] {
        let path = format!("{B}?{setting}");
        refused(&client.get(&path).await, 404, missing);
        refused(&put(&client, &path, "<nonsense").await, 400, "MalformedXML");
        let set = put(&client, &path, document).await;
        assert!(matches!(set.status, 200 | 204), "{setting}: {}", text(&set));
        assert_eq!(one(&client.get(&path).await.expect(200), element), value);
        delete(&client, &path).await.expect(204);
        refused(&client.get(&path).await, 404, missing);
    }
}

/// The file door promises that every version stays readable (A11, A12).
#[tokio::test]
async fn the_bucket_of_the_file_door_keeps_versions() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    let set = |status: &str| format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
    refused(&put(&client, "/files?versioning", set("Suspended")).await, 409, "InvalidBucketState");
    put(&client, "/files?versioning", set("Enabled")).await.expect(200);
    let files = cluster.client();
    files.upload("kept", b"one").await;
    files.upload("kept", b"two").await;
    files.delete("kept").await;
    assert_eq!(files.download("kept", Some(1)).await.expect(200).body, "one");
    assert_eq!(files.download("kept", Some(2)).await.expect(200).body, "two");
}

#[tokio::test]
async fn a_rule_that_says_less_than_it_must_is_none() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let path = format!("{B}?lifecycle");
    let days = "<Expiration><Days>1</Days></Expiration>";
    for (rule, code) in [
        (days.to_owned(), "MalformedXML"),
        (format!("<Filter><And/></Filter>{days}"), "MalformedXML"),
        (format!("<Filter><And><Prefix>a</Prefix></And></Filter>{days}"), "MalformedXML"),
        ("<Filter/><Expiration><Date>1960-01-01T00:00:00Z</Date></Expiration>".to_owned(), "InvalidArgument"),
        (
            "<Filter/><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>101\
             </NewerNoncurrentVersions></NoncurrentVersionExpiration>"
                .to_owned(),
            "InvalidArgument",
        ),
        (
            "<Filter><Tag><Key>a</Key><Value>b</Value></Tag></Filter>\
             <Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>"
                .to_owned(),
            "InvalidRequest",
        ),
        (
            format!(
                "<Filter><And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>3</ObjectSizeLessThan>\
                 </And></Filter>{days}"
            ),
            "InvalidRequest",
        ),
    ] {
        let rule =
            format!("<LifecycleConfiguration><Rule><Status>Enabled</Status>{rule}</Rule></LifecycleConfiguration>");
        refused(&put(&client, &path, rule).await, 400, code);
        refused(&client.get(&path).await, 404, "NoSuchLifecycleConfiguration");
    }
}

#[tokio::test]
async fn rules_that_move_objects_come_back_as_they_were_given() {
    const MINIMUM: &str = "x-amz-transition-default-minimum-object-size";
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let path = format!("{B}?lifecycle");
    let rule = |actions: &str| {
        format!(
            "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter><Prefix>p/</Prefix></Filter>{actions}\
             </Rule></LifecycleConfiguration>"
        )
    };
    let to = |class: &str, days: &str| format!("<Transition>{days}<StorageClass>{class}</StorageClass></Transition>");
    let moves = rule(&format!(
        "{}<NoncurrentVersionTransition><NewerNoncurrentVersions>2</NewerNoncurrentVersions>\
         <NoncurrentDays>4</NoncurrentDays><StorageClass>STANDARD_IA</StorageClass></NoncurrentVersionTransition>",
        to("STANDARD_IA", "<Days>0</Days>"),
    ));
    for (asked, told) in [
        (None, "all_storage_classes_128K"),
        (Some("varies_by_storage_class"), "varies_by_storage_class"),
        (None, "all_storage_classes_128K"),
    ] {
        let head: Vec<(&str, &str)> = asked.map(|asked| (MINIMUM, asked)).into_iter().collect();
        let set = send(&client, Method::PUT, &path, &head, moves.as_bytes()).await.expect(200);
        assert_eq!(set.header(MINIMUM), told);
        let got = client.get(&path).await.expect(200);
        assert_eq!(got.header(MINIMUM), told);
        for (element, value) in [("Days", "0"), ("NoncurrentDays", "4"), ("NewerNoncurrentVersions", "2")] {
            assert_eq!(one(&got, element), value);
        }
        assert_eq!(all(&text(&got), "StorageClass"), ["STANDARD_IA", "STANDARD_IA"]);
    }
    let wrong = send(&client, Method::PUT, &path, &[(MINIMUM, "none")], moves.as_bytes()).await;
    refused(&wrong, 400, "InvalidRequest");
    let expires = "<Expiration><Days>3</Days></Expiration>";
    for (actions, status, code) in [
        (to("GLACIER", "<Days>3</Days>"), 501, "NotImplemented"),
        (to("COLD", "<Days>3</Days>"), 400, "MalformedXML"),
        (to("STANDARD_IA", ""), 400, "MalformedXML"),
        (to("STANDARD_IA", "<Days>3</Days><Date>2030-01-01T00:00:00Z</Date>"), 400, "MalformedXML"),
        (to("STANDARD_IA", "<Date>2030-01-01T12:00:00Z</Date>"), 400, "InvalidArgument"),
        (to("STANDARD_IA", "<Days>1</Days>").repeat(2), 400, "InvalidRequest"),
        (format!("{}{expires}", to("STANDARD_IA", "<Days>3</Days>")), 400, "InvalidArgument"),
        (format!("{}{expires}", to("STANDARD_IA", "<Date>2030-01-01T00:00:00Z</Date>")), 400, "InvalidRequest"),
    ] {
        refused(&put(&client, &path, rule(&actions)).await, status, code);
    }
    let by_date = rule(&to("STANDARD_IA", "<Date>2030-01-01T00:00:00Z</Date>"));
    put(&client, &path, by_date).await.expect(200);
    assert_eq!(one(&client.get(&path).await.expect(200), "Date"), "2030-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn pages_of_other_origins_do_what_the_rules_allow() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let ask = async |origin: &str, method: &str| {
        let head = [
            ("origin", origin),
            ("access-control-request-method", method),
            ("access-control-request-headers", "x-amz-date"),
        ];
        send(&client, Method::OPTIONS, &format!("{B}/x"), &head, "").await
    };
    refused(&ask("http://page.example", "PUT").await, 403, "AccessForbidden");
    let rules = "<CORSConfiguration><CORSRule><AllowedMethod>PUT</AllowedMethod><AllowedMethod>GET</AllowedMethod>\
                 <AllowedOrigin>http://*.example</AllowedOrigin><AllowedHeader>x-amz-*</AllowedHeader>\
                 <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>60</MaxAgeSeconds></CORSRule></CORSConfiguration>";
    put(&client, &format!("{B}?cors"), rules).await.expect(200);
    let allowed = ask("http://page.example", "PUT").await.expect(200);
    assert_eq!(allowed.header("access-control-allow-origin"), "http://page.example");
    assert_eq!(allowed.header("access-control-allow-headers"), "x-amz-date");
    assert_eq!(allowed.header("access-control-max-age"), "60");
    refused(&ask("http://page.example", "DELETE").await, 403, "AccessForbidden");
    refused(&ask("http://other", "PUT").await, 403, "AccessForbidden");
    put(&client, &format!("{B}/x"), "x").await.expect(200);
    let page = client.get_with(&format!("{B}/x"), &[("origin", "http://page.example")]).await.expect(200);
    assert_eq!(page.header("access-control-allow-origin"), "http://page.example");
    assert_eq!(page.header("access-control-expose-headers"), "ETag");
    let other = client.get_with(&format!("{B}/x"), &[("origin", "http://other")]).await.expect(200);
    assert!(!other.headers.contains_key("access-control-allow-origin"));
    assert!(all(&text(&client.get(&format!("{B}?cors")).await), "AllowedMethod").contains(&"PUT".to_owned()));
}

#[tokio::test]
async fn a_section_that_would_be_read_as_nothing_is_refused() {
    let cluster = Cluster::start().await;
    let client = cluster.s3();
    make_bucket(&client).await;
    let rule = |prefix: &str| {
        format!(
            "<LifecycleConfiguration><Rule><ID>r</ID><Filter><Prefix>{prefix}</Prefix></Filter><Status>Enabled</Status>\
             <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>"
        )
    };
    let lifecycle = format!("{B}?lifecycle");
    refused(&put(&client, &lifecycle, rule("<![CDATA[old/]]>")).await, 400, "MalformedXML");
    refused(&client.get(&lifecycle).await, 404, "NoSuchLifecycleConfiguration");
    put(&client, &lifecycle, rule("old&lt;![CDATA[/")).await.expect(200);
    assert!(text(&client.get(&lifecycle).await.expect(200)).contains("old&lt;![CDATA[/"));
    put(&client, &format!("{B}/x"), "x").await.expect(200);
    let delete = "<Delete><Object><Key><![CDATA[x]]></Key></Object></Delete>";
    let md5 = [("content-md5", STANDARD.encode(hex::decode(md5(delete.as_bytes())).expect("hex")))];
    let md5 = md5.each_ref().map(|(name, value)| (*name, value.as_str()));
    refused(&send(&client, Method::POST, &format!("{B}?delete"), &md5, delete).await, 400, "MalformedXML");
    put(&client, &format!("{B}/x"), "<![CDATA[is an object's business]]>").await.expect(200);
}
