//! AWS's command line.

use super::program::Program;
use super::store::Store;
use super::{LARGE_BYTES, TREE_FILES, tree};
use serde_json::Value;
use testing::real::{Client, random_bytes};

struct Aws {
    program: Program,
    endpoint: String,
}

impl Aws {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        self.program.run(&[&["--endpoint-url", &self.endpoint], arguments].concat())
    }

    /// An operation of the API, and its answer.
    #[track_caller]
    fn api(&self, operation: &str, arguments: &[&str]) -> Value {
        let printed = self.run(&[&["s3api", operation, "--output", "json"], arguments].concat());
        let answer = if printed.trim().is_empty() { "{}" } else { printed.trim() };
        serde_json::from_str(answer).unwrap_or_else(|error| panic!("{operation}: {error}: {answer}"))
    }

    fn file(&self, name: &str, seed: u64, count: usize) {
        tree::write(&self.program.directory().join(name), &random_bytes(seed, count));
    }

    #[track_caller]
    fn assert_same(&self, one: &str, other: &str) {
        let directory = self.program.directory();
        tree::assert_same_file(&directory.join(one), &directory.join(other));
    }
}

async fn start(test: &str) -> Option<(Aws, Store)> {
    let program = Program::find(test, "aws")?;
    let store = Store::start().await;
    let aws = Aws { program: program.with_keys(&store), endpoint: store.endpoint.clone() };
    Some((aws, store))
}

#[tokio::test]
async fn awscli_stores_copies_and_lists() {
    let Some((aws, store)) = start("awscli_stores_copies_and_lists").await else { return };
    aws.file("small", 1, 5_000);
    aws.file("large", 2, LARGE_BYTES);
    aws.run(&["s3", "mb", "s3://awscli"]);
    aws.run(&["s3", "cp", "small", "s3://awscli/a b+c/é?.bin"]);
    aws.run(&["s3", "cp", "--no-progress", "large", "s3://awscli/large"]);
    aws.run(&["s3", "cp", "--no-progress", "s3://awscli/large", "s3://awscli/copy of large"]);
    aws.run(&["s3", "mv", "s3://awscli/a b+c/é?.bin", "s3://awscli/moved"]);
    let listed = aws.run(&["s3", "ls", "--recursive", "s3://awscli"]);
    let names: Vec<&str> = listed.lines().filter_map(|line| line.get(31..)).collect();
    assert_eq!(names, ["copy of large", "large", "moved"], "{listed}");
    aws.run(&["s3", "cp", "--no-progress", "s3://awscli/copy of large", "large back"]);
    aws.assert_same("large", "large back");
    aws.run(&["s3", "cp", "s3://awscli/moved", "small back"]);
    aws.assert_same("small", "small back");

    let head = aws.api("head-object", &["--bucket", "awscli", "--key", "large"]);
    assert_eq!(head["ContentLength"], LARGE_BYTES);
    assert!(head["ETag"].as_str().is_some_and(|etag| etag.ends_with("-13\"")), "100 MiB in parts of 8 MiB: {head}");
    let url = aws.run(&["s3", "presign", "s3://awscli/moved"]);
    let path = url.trim().strip_prefix(&store.endpoint).expect("a URL of this server").to_owned();
    let got = Client::new(&store.endpoint).get(&path).await.expect(200);
    assert_eq!(got.body, random_bytes(1, 5_000));

    let delete = r#"{"Objects":[{"Key":"large"},{"Key":"copy of large"},{"Key":"missing"}]}"#;
    let deleted = aws.api("delete-objects", &["--bucket", "awscli", "--delete", delete]);
    assert_eq!(deleted["Deleted"].as_array().map(Vec::len), Some(3), "{deleted}");
    aws.run(&["s3", "rb", "--force", "s3://awscli"]);
}

#[tokio::test]
async fn awscli_syncs_a_tree() {
    let Some((aws, _store)) = start("awscli_syncs_a_tree").await else { return };
    let directory = aws.program.directory();
    tree::lay_down(&directory.join("tree"), TREE_FILES, 10);
    aws.run(&["s3", "mb", "s3://awscli-tree"]);
    aws.run(&["s3", "sync", "--only-show-errors", "tree", "s3://awscli-tree/below"]);
    let again = aws.run(&["s3", "sync", "--no-progress", "tree", "s3://awscli-tree/below"]);
    assert_eq!(again.trim(), "", "there is nothing left to sync");
    let page =
        aws.api("list-objects-v2", &["--bucket", "awscli-tree", "--page-size", "300", "--query", "length(Contents)"]);
    assert_eq!(page, TREE_FILES);
    aws.run(&["s3", "sync", "--only-show-errors", "s3://awscli-tree/below", "back"]);
    tree::assert_same(&directory.join("tree"), &directory.join("back"));
}

#[tokio::test]
async fn awscli_reads_old_versions() {
    let Some((aws, _store)) = start("awscli_reads_old_versions").await else { return };
    let on = ["--bucket", "awscli-versions"];
    aws.api("create-bucket", &on);
    aws.api("put-bucket-versioning", &[&on[..], &["--versioning-configuration", "Status=Enabled"]].concat());
    let mut versions = Vec::new();
    for number in 0..3 {
        aws.file("body", 20 + number, 10_000);
        let put = aws.api("put-object", &[&on[..], &["--key", "k", "--body", "body"]].concat());
        versions.push(put["VersionId"].as_str().expect("a version's id").to_owned());
    }
    let marker = aws.api("delete-object", &[&on[..], &["--key", "k"]].concat());
    assert_eq!(marker["DeleteMarker"], true, "{marker}");
    let listed = aws.api("list-object-versions", &on);
    let ids: Vec<&str> =
        listed["Versions"].as_array().into_iter().flatten().filter_map(|v| v["VersionId"].as_str()).collect();
    assert_eq!(ids, versions.iter().rev().map(String::as_str).collect::<Vec<_>>(), "newest first");
    for (number, version) in versions.iter().enumerate() {
        aws.api("get-object", &[&on[..], &["--key", "k", "--version-id", version, "got"]].concat());
        aws.file("body", 20 + number as u64, 10_000);
        aws.assert_same("body", "got");
    }
    let key_of_marker = ["--key", "k", "--version-id", marker["VersionId"].as_str().expect("the marker's id")];
    aws.api("delete-object", &[&on[..], &key_of_marker].concat());
    aws.api("get-object", &[&on[..], &["--key", "k", "got"]].concat());
    aws.assert_same("body", "got");
}
