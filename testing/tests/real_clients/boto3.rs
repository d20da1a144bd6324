//! boto3: `testing/s3/boto3_client.py` does what an application does, and compares.

use super::program::{Program, in_repository};
use super::store::Store;
use super::{LARGE_BYTES, TREE_FILES, tree};
use testing::real::random_bytes;

#[tokio::test]
async fn boto3_does_what_applications_do() {
    let Some(python) = Program::find_python("boto3_does_what_applications_do") else { return };
    let store = Store::start().await;
    let python = python.with_keys(&store);
    let directory = python.directory();
    tree::lay_down(&directory.join("tree"), TREE_FILES, 80);
    tree::write(&directory.join("large"), &random_bytes(81, LARGE_BYTES));
    let script = in_repository("testing/s3/boto3_client.py");
    python.run(&["-B", &script.to_string_lossy(), &store.endpoint]);
    tree::assert_same(&directory.join("tree"), &directory.join("back"));
    tree::assert_same_file(&directory.join("large"), &directory.join("large back"));
}
