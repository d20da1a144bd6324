//! rclone.

use super::program::Program;
use super::store::Store;
use super::{LARGE_BYTES, TREE_FILES, tree};
use testing::real::{Client, random_bytes};

async fn start(test: &str) -> Option<(Program, Store)> {
    let program = Program::find(test, "rclone")?;
    let store = Store::start().await;
    let program = program
        .set("RCLONE_CONFIG_S_TYPE", "s3")
        .set("RCLONE_CONFIG_S_PROVIDER", "Other")
        .set("RCLONE_CONFIG_S_ENDPOINT", &store.endpoint)
        .set("RCLONE_CONFIG_S_REGION", "us-east-1")
        .set("RCLONE_CONFIG_S_ACCESS_KEY_ID", &store.keys.access_key)
        .set("RCLONE_CONFIG_S_SECRET_ACCESS_KEY", &store.keys.secret_key)
        .set("RCLONE_RETRIES", "1")
        .set("RCLONE_LOW_LEVEL_RETRIES", "1");
    Some((program, store))
}

#[tokio::test]
async fn rclone_stores_copies_and_lists() {
    let Some((rclone, store)) = start("rclone_stores_copies_and_lists").await else { return };
    let directory = rclone.directory();
    tree::write(&directory.join("large"), &random_bytes(1, LARGE_BYTES));
    tree::write(&directory.join("small"), &random_bytes(2, 5_000));
    rclone.run(&["mkdir", "s:rclone"]);
    rclone.run(&["copyto", "--s3-upload-cutoff", "10M", "--s3-chunk-size", "10M", "large", "s:rclone/large"]);
    rclone.run(&["copyto", "small", "s:rclone/a b+c/é?.bin"]);
    rclone.run(&["copyto", "--s3-copy-cutoff", "40M", "s:rclone/large", "s:rclone/copy in parts"]);
    rclone.run(&["copyto", "s:rclone/large", "s:rclone/copy in one"]);
    rclone.run(&["moveto", "s:rclone/a b+c/é?.bin", "s:rclone/moved"]);
    let listed = rclone.run(&["lsf", "-R", "s:rclone"]);
    assert_eq!(listed.lines().collect::<Vec<_>>(), ["copy in one", "copy in parts", "large", "moved"]);
    for (remote, local) in
        [("large", "large"), ("copy in parts", "large"), ("copy in one", "large"), ("moved", "small")]
    {
        rclone.run(&["copyto", &format!("s:rclone/{remote}"), "back"]);
        tree::assert_same_file(&directory.join(local), &directory.join("back"));
    }
    let range = rclone.run(&["cat", "--offset", "1000", "--count", "16", "s:rclone/moved"]);
    assert_eq!(range, String::from_utf8_lossy(&random_bytes(2, 5_000)[1000..1016]));

    let url = rclone.run(&["link", "--expire", "5m", "s:rclone/moved"]);
    let path = url.trim().strip_prefix(&store.endpoint).expect("a URL of this server").to_owned();
    assert_eq!(Client::new(&store.endpoint).get(&path).await.expect(200).body, random_bytes(2, 5_000));
    rclone.run(&["purge", "s:rclone"]);
    rclone.fail(&["lsf", "s:rclone"]);
}

#[tokio::test]
async fn rclone_syncs_a_tree() {
    let Some((rclone, _store)) = start("rclone_syncs_a_tree").await else { return };
    let directory = rclone.directory();
    tree::lay_down(&directory.join("tree"), TREE_FILES, 30);
    rclone.run(&["sync", "--transfers", "16", "tree", "s:rclone-tree/below"]);
    rclone.run(&["check", "--download", "--checkers", "16", "tree", "s:rclone-tree/below"]);
    let again = rclone.run(&["sync", "--dry-run", "-v", "--stats-one-line", "tree", "s:rclone-tree/below"]);
    assert!(!again.contains("Skipped"), "there is nothing left to sync: {again}");
    rclone.run(&["sync", "--transfers", "16", "s:rclone-tree/below", "back"]);
    tree::assert_same(&directory.join("tree"), &directory.join("back"));
    // What is gone here goes there, in deletes of many at once.
    rclone.run(&["delete", "--include", "/plain/**", "s:rclone-tree/below"]);
    std::fs::create_dir(directory.join("nothing")).expect("a directory can be made");
    rclone.run(&["sync", "nothing", "s:rclone-tree/below"]);
    assert_eq!(rclone.run(&["lsf", "-R", "s:rclone-tree"]).trim(), "");
}

#[tokio::test]
async fn rclone_reads_old_versions() {
    let Some((rclone, _store)) = start("rclone_reads_old_versions").await else { return };
    let file = rclone.directory().join("k.bin");
    rclone.run(&["mkdir", "s:rclone-versions"]);
    rclone.run(&["backend", "versioning", "s:rclone-versions", "Enabled"]);
    for seed in [40, 41] {
        tree::write(&file, &random_bytes(seed, 10_000));
        rclone.run(&["copyto", "--ignore-times", "k.bin", "s:rclone-versions/k.bin"]);
    }
    let listed = rclone.run(&["lsf", "--s3-versions", "s:rclone-versions"]);
    let old = listed.lines().find(|name| name.starts_with("k-v")).unwrap_or_else(|| panic!("no old version: {listed}"));
    rclone.run(&["copyto", "--s3-versions", &format!("s:rclone-versions/{old}"), "old"]);
    tree::write(&file, &random_bytes(40, 10_000));
    tree::assert_same_file(&file, &rclone.directory().join("old"));
}
