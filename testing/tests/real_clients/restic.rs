//! restic: a repository is made, filled, checked and restored.

use super::program::Program;
use super::store::Store;
use super::{TREE_FILES, tree};
use testing::real::random_bytes;

#[tokio::test]
async fn restic_backs_up_and_restores() {
    let Some(restic) = Program::find("restic_backs_up_and_restores", "restic") else { return };
    let store = Store::start().await;
    let restic = restic
        .with_keys(&store)
        .set("RESTIC_REPOSITORY", &format!("s3:{}/restic/repository", store.endpoint))
        .set("RESTIC_PASSWORD", "not a secret");
    let directory = restic.directory();
    tree::lay_down(&directory.join("tree"), TREE_FILES, 50);
    tree::write(&directory.join("tree/large"), &random_bytes(51, 40 << 20));
    restic.run(&["init"]);
    restic.run(&["backup", "tree"]);
    tree::write(&directory.join("tree/plain/new"), b"a file more");
    restic.run(&["backup", "tree"]);
    restic.run(&["check", "--read-data"]);
    restic.run(&["restore", "latest", "--target", "back"]);
    tree::assert_same(&directory.join("tree"), &directory.join("back/tree"));
    restic.run(&["forget", "--keep-last", "1", "--prune"]);
    restic.run(&["check"]);
    let snapshots = restic.run(&["snapshots", "--json"]);
    let snapshots: serde_json::Value = serde_json::from_str(&snapshots).expect("snapshots as JSON");
    assert_eq!(snapshots.as_array().map(Vec::len), Some(1), "{snapshots}");
}
