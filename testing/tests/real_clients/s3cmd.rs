//! s3cmd.

use super::program::Program;
use super::store::Store;
use super::{LARGE_BYTES, TREE_FILES, tree};
use testing::real::{Client, random_bytes};

async fn start(test: &str) -> Option<(Program, Store)> {
    let program = Program::find(test, "s3cmd")?;
    let store = Store::start().await;
    let (host, keys) = (store.authority(), &store.keys);
    let settings = [
        "[default]".to_owned(),
        format!("access_key = {}", keys.access_key),
        format!("secret_key = {}", keys.secret_key),
        format!("host_base = {host}"),
        // Without %(bucket)s, buckets are paths.
        format!("host_bucket = {host}"),
        "use_https = False".to_owned(),
        "bucket_location = us-east-1".to_owned(),
        "max_retries = 0".to_owned(),
    ];
    tree::write(&program.directory().join(".s3cfg"), settings.join("\n").as_bytes());
    Some((program, store))
}

#[tokio::test]
async fn s3cmd_stores_copies_and_lists() {
    let Some((s3cmd, store)) = start("s3cmd_stores_copies_and_lists").await else { return };
    let directory = s3cmd.directory();
    tree::write(&directory.join("large"), &random_bytes(60, LARGE_BYTES));
    tree::write(&directory.join("small"), &random_bytes(61, 5_000));
    s3cmd.run(&["mb", "s3://s3cmd"]);
    s3cmd.run(&["put", "--no-progress", "large", "s3://s3cmd/large"]);
    s3cmd.run(&["put", "--no-progress", "small", "s3://s3cmd/a b+c/é?.bin"]);
    s3cmd.run(&["cp", "s3://s3cmd/large", "s3://s3cmd/copy of large"]);
    s3cmd.run(&["mv", "s3://s3cmd/a b+c/é?.bin", "s3://s3cmd/moved"]);
    let listed = s3cmd.run(&["ls", "--recursive", "s3://s3cmd"]);
    let names: Vec<&str> =
        listed.lines().filter_map(|line| line.split_once("s3://s3cmd/").map(|(_, name)| name)).collect();
    assert_eq!(names, ["copy of large", "large", "moved"], "{listed}");
    for (remote, local) in [("large", "large"), ("copy of large", "large"), ("moved", "small")] {
        s3cmd.run(&["get", "--no-progress", "--force", &format!("s3://s3cmd/{remote}"), "back"]);
        tree::assert_same_file(&directory.join(local), &directory.join("back"));
    }
    s3cmd.run(&["modify", "--add-header=x-amz-meta-colour:blue", "s3://s3cmd/moved"]);
    let told = s3cmd.run(&["info", "s3://s3cmd/moved"]);
    assert!(told.contains("x-amz-meta-colour: blue"), "{told}");

    // Its URLs are signed by version 2.
    let url = s3cmd.run(&["signurl", "s3://s3cmd/moved", "+300"]);
    let path = url.trim().strip_prefix(&store.endpoint).expect("a URL of this server").to_owned();
    assert_eq!(Client::new(&store.endpoint).get(&path).await.expect(200).body, random_bytes(61, 5_000));
    s3cmd.run(&["del", "--recursive", "--force", "s3://s3cmd"]);
    s3cmd.run(&["rb", "s3://s3cmd"]);
}

#[tokio::test]
async fn s3cmd_syncs_a_tree() {
    let Some((s3cmd, _store)) = start("s3cmd_syncs_a_tree").await else { return };
    let directory = s3cmd.directory();
    tree::lay_down(&directory.join("tree"), TREE_FILES, 70);
    s3cmd.run(&["mb", "s3://s3cmd-tree"]);
    s3cmd.run(&["sync", "--no-progress", "--quiet", "tree/", "s3://s3cmd-tree/below/"]);
    let again = s3cmd.run(&["sync", "--dry-run", "tree/", "s3://s3cmd-tree/below/"]);
    assert!(!again.contains("upload:"), "there is nothing left to sync: {again}");
    std::fs::create_dir(directory.join("back")).expect("a directory can be made");
    s3cmd.run(&["sync", "--no-progress", "--quiet", "s3://s3cmd-tree/below/", "back/"]);
    tree::assert_same(&directory.join("tree"), &directory.join("back"));
    s3cmd.run(&["del", "--recursive", "--force", "--quiet", "s3://s3cmd-tree"]);
    s3cmd.run(&["rb", "s3://s3cmd-tree"]);
}
