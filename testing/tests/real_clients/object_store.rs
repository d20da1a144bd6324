//! The Rust crate `object_store`, as databases and table formats use S3.

use super::LARGE_BYTES;
use super::store::{Keys, Store};
use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt, stream};
use object_store::aws::{AmazonS3, AmazonS3Builder, S3CopyIfNotExists};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    Attribute, Attributes, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig,
    UpdateVersion, WriteMultipart,
};
use reqwest::Method;
use std::time::Duration;
use testing::real::{Client, random_bytes};

const PART_BYTES: usize = 8 << 20;

async fn bucket_on(store: &Store, bucket: &str) -> AmazonS3 {
    // Another test of this process may have been first.
    rustls::crypto::ring::default_provider().install_default().ok();
    let Keys { access_key, secret_key } = &store.keys;
    let builder = AmazonS3Builder::new()
        .with_endpoint(&store.endpoint)
        .with_allow_http(true)
        .with_region("us-east-1")
        .with_access_key_id(access_key)
        .with_secret_access_key(secret_key)
        .with_bucket_name(bucket)
        .with_copy_if_not_exists(S3CopyIfNotExists::Multipart)
        .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
    let client = builder.build().expect("a client can be built");
    // The crate makes no buckets; a URL that it signs does.
    let url = client.signed_url(Method::PUT, &Path::default(), Duration::from_secs(60)).await.expect("a signed URL");
    let path = url.as_str().strip_prefix(&store.endpoint).expect("a URL of this server");
    let http = Client::new(&store.endpoint);
    http.send(http.request(Method::PUT, path).header("content-length", "0")).await.expect(200);
    client
}

fn path(text: &str) -> Path {
    Path::parse(text).expect("a path")
}

async fn keys(listed: BoxStream<'static, object_store::Result<object_store::ObjectMeta>>) -> Vec<String> {
    let objects: Vec<_> = listed.try_collect().await.expect("a listing");
    objects.into_iter().map(|object| object.location.to_string()).collect()
}

async fn bytes_of(store: &AmazonS3, at: &Path) -> Bytes {
    store.get(at).await.expect("a get").bytes().await.expect("its bytes")
}

#[tokio::test]
async fn object_store_puts_on_conditions() {
    let server = Store::start().await;
    let store = bucket_on(&server, "conditions").await;
    let at = path("table/_log/00000.json");
    let create = || PutOptions::from(PutMode::Create);
    let first = store.put_opts(&at, "first".into(), create()).await.expect("the first to create");
    let second = store.put_opts(&at, "second".into(), create()).await;
    assert!(matches!(second, Err(Error::AlreadyExists { .. })), "{second:?}");

    let seen = UpdateVersion { e_tag: first.e_tag, version: None };
    let update = |seen: &UpdateVersion| PutOptions::from(PutMode::Update(seen.clone()));
    store.put_opts(&at, "third".into(), update(&seen)).await.expect("over what was seen");
    let late = store.put_opts(&at, "fourth".into(), update(&seen)).await;
    assert!(matches!(late, Err(Error::Precondition { .. })), "{late:?}");
    assert_eq!(bytes_of(&store, &at).await, "third");

    let won = join_all((0..16).map(|number| create_racing(&store, number))).await;
    let winners: Vec<u32> = won.into_iter().flatten().collect();
    assert_eq!(winners.len(), 1, "of racing creators exactly one wins: {winners:?}");
    assert_eq!(bytes_of(&store, &path("race")).await, winners[0].to_string());

    let copied = store.copy_if_not_exists(&at, &path("copy")).await;
    copied.expect("a copy to where nothing is");
    let again = store.copy_if_not_exists(&path("race"), &path("copy")).await;
    assert!(matches!(again, Err(Error::AlreadyExists { .. })), "{again:?}");
    assert_eq!(bytes_of(&store, &path("copy")).await, "third");
}

/// What a racing put came to: its number if it won; that another was first is nothing, and anything else an error.
async fn create_racing(store: &AmazonS3, number: u32) -> Option<u32> {
    match store.put_opts(&path("race"), number.to_string().into(), PutMode::Create.into()).await {
        Ok(_) => Some(number),
        Err(Error::AlreadyExists { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn object_store_uploads_in_parts_and_reads_ranges() {
    let server = Store::start().await;
    let store = bucket_on(&server, "parts").await;
    let (at, body) = (path("large file.parquet"), Bytes::from(random_bytes(90, LARGE_BYTES)));
    let upload = store.put_multipart(&at).await.expect("an upload begun");
    let mut writer = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
    for piece in body.chunks(1 << 20) {
        writer.wait_for_capacity(4).await.expect("a part taken");
        writer.write(piece);
    }
    writer.finish().await.expect("an upload completed");
    assert_eq!(store.head(&at).await.expect("a head").size, LARGE_BYTES as u64);
    assert!(bytes_of(&store, &at).await == body, "other bytes than were put");

    let size = LARGE_BYTES as u64;
    let ranges = [0..10, 8_388_600..8_388_620, 50_000_000..53_000_000, size - 5..size];
    let got = store.get_ranges(&at, &ranges).await.expect("ranges");
    for (range, got) in ranges.iter().zip(got) {
        assert!(got == body[range.start as usize..range.end as usize], "other bytes in {range:?}");
    }
    let suffix = GetOptions { range: Some(GetRange::Suffix(7)), ..GetOptions::default() };
    let got = store.get_opts(&at, suffix).await.expect("a suffix").bytes().await.expect("its bytes");
    assert_eq!(got, body[LARGE_BYTES - 7..]);

    let upload = store.create_multipart(&path("given up")).await.expect("an upload begun");
    store.put_part(&path("given up"), &upload, 0, "part".into()).await.expect("a part");
    store.abort_multipart(&path("given up"), &upload).await.expect("an upload given up");
    assert!(matches!(store.head(&path("given up")).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn object_store_lists_from_anywhere() {
    let server = Store::start().await;
    let store = bucket_on(&server, "listing").await;
    let mut names: Vec<String> = (0..1200).map(|number| format!("data/part={}/{number:05}.bin", number % 3)).collect();
    names.push("data/ä ö+ü%/x.bin".to_owned());
    let put = async |name: &String| store.put(&path(name), "x".into()).await;
    let puts: Vec<_> = stream::iter(names.iter().map(put)).buffer_unordered(32).try_collect().await.expect("puts");
    assert_eq!(puts.len(), names.len());
    names.sort();
    assert_eq!(keys(store.list(Some(&path("data")))).await, names, "over more than one page");
    let offset = path(&names[700]);
    assert_eq!(keys(store.list_with_offset(Some(&path("data")), &offset)).await, names[701..], "after an offset");
    let folded = store.list_with_delimiter(Some(&path("data"))).await.expect("a folded listing");
    let prefixes: Vec<String> = folded.common_prefixes.iter().map(Path::to_string).collect();
    assert_eq!(prefixes, ["data/part=0", "data/part=1", "data/part=2", "data/ä ö+ü%"]);
    assert!(folded.objects.is_empty());

    let all = stream::iter(names.iter().map(|name| Ok(path(name))).collect::<Vec<_>>()).boxed();
    let deleted: Vec<Path> = store.delete_stream(all).try_collect().await.expect("deletes of many at once");
    assert_eq!(deleted.len(), names.len());
    assert!(keys(store.list(None)).await.is_empty());
}

#[tokio::test]
async fn object_store_keeps_attributes_and_signs_urls() {
    let server = Store::start().await;
    let store = bucket_on(&server, "attributes").await;
    let at = path("page.html");
    let attributes: Attributes = [
        (Attribute::ContentType, "text/html"),
        (Attribute::CacheControl, "max-age=60"),
        (Attribute::ContentDisposition, "inline"),
        (Attribute::ContentLanguage, "de"),
        (Attribute::Metadata("colour".into()), "blue"),
    ]
    .into_iter()
    .collect();
    store.put_opts(&at, "<p>".into(), attributes.clone().into()).await.expect("a put");
    let got = store.get(&at).await.expect("a get");
    assert_eq!(got.attributes, attributes);
    let etag = got.meta.e_tag.clone();
    let unless = GetOptions { if_none_match: etag, ..GetOptions::default() };
    assert!(matches!(store.get_opts(&at, unless).await, Err(Error::NotModified { .. })));

    store.copy(&at, &path("deep/copy of page.html")).await.expect("a copy");
    store.rename(&path("deep/copy of page.html"), &path("renamed.html")).await.expect("a rename");
    assert_eq!(keys(store.list(None)).await, ["page.html", "renamed.html"]);
    let url = store.signed_url(Method::GET, &path("renamed.html"), Duration::from_secs(60)).await.expect("a URL");
    let url = url.as_str().strip_prefix(&server.endpoint).expect("a URL of this server");
    assert_eq!(Client::new(&server.endpoint).get(url).await.expect(200).body, "<p>");
}
