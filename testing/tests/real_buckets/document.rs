//! The OpenAPI document, and the server held to it: schemathesis makes requests from it, and every answer must be one it tells of.

use super::put;
use std::path::Path;
use std::process::{Command, Output};
use testing::real::{Cluster, Plan, python_tool, skipped};

/// Requests for each operation and phase: a bound on the time, which is a fifth of a minute.
const EXAMPLES_MAX: &str = "6";
/// What stands in for chance.
const SEED: &str = "4";
/// The stream of events does not end, and a node that is taken out does not come back.
const EXCLUDED: [&str; 4] =
    ["/admin/events", "/admin/nodes/{id}", "/admin/nodes/{id}/decommission", "/admin/nodes/{id}/recommission"];

fn run(tool: &Path, cluster: &Cluster) -> Output {
    let url = cluster.coordinator.url();
    let mut command = Command::new(tool);
    command.current_dir(cluster.root()).args(["run", &format!("{url}/openapi.json"), "--url", &url]);
    command.args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance"]);
    command.args(["--checks", "response_schema_conformance", "--phases", "examples,coverage,fuzzing"]);
    command.args(["--max-examples", EXAMPLES_MAX, "--seed", SEED, "--generation-deterministic"]);
    command.args(["--workers", "2", "--request-timeout", "10", "--no-color"]);
    for path in EXCLUDED {
        command.args(["--exclude-path", path]);
    }
    command.output().expect("the tool was found, so it starts")
}

#[tokio::test]
async fn the_document_is_served_and_tells_of_this_door() {
    let cluster = Cluster::start().await;
    let reply = cluster.client().get("/openapi.json").await.expect(200);
    assert_eq!(reply.header("content-type"), "application/json");
    let document = reply.json();
    assert_eq!(document["openapi"], "3.1.0");
    let put = &document["paths"]["/buckets/{bucket}/objects/{key}"]["put"];
    assert_eq!(
        put["responses"]["201"]["content"]["application/json"]["schema"]["$ref"],
        "#/components/schemas/Uploaded"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn schemathesis_finds_no_answer_that_the_document_does_not_tell_of() {
    const TEST: &str = "schemathesis_finds_no_answer_that_the_document_does_not_tell_of";
    let Some(tool) = python_tool("schemathesis") else {
        return skipped(TEST, "schemathesis is not installed; run scripts/install-test-deps.sh");
    };
    // Four nodes are too few for 4+2, which would be an error of the server's, and rightly told.
    let plan = Plan::new().coordinator_flag("--ec-fallback", "2+1");
    let cluster = plan.coordinator_flag("--body-stall-s", "3").start().await;
    // What the document's examples name.
    cluster.client().upload("example.txt", b"example").await;
    put(&cluster.client(), "/buckets/my-bucket/objects/file1.txt", b"example").await;
    let output = tokio::task::block_in_place(|| run(&tool, &cluster));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("/buckets/{bucket}/objects/{key}") || said.contains("passed"), "it tested something: {said}");
}
