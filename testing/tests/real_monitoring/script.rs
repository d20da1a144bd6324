//! `./start-monitoring.sh`: what is on this machine is started and pointed at the cluster, what is not is named, and all of it stops.

use super::prometheus::{free_port, program};
use crate::root;
use std::process::Command;
use std::time::Duration;
use testing::real::{Client, Cluster, eventually, skipped};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_script_watches_a_cluster_with_what_there_is() {
    let test = "the_script_watches_a_cluster_with_what_there_is";
    let prometheus = match program() {
        Ok(prometheus) => prometheus,
        Err(why) => return skipped(test, &why),
    };
    let cluster = Cluster::start().await;
    let state = cluster.root().join("monitoring");
    let ports = [free_port(), free_port(), free_port()].map(|port| port.to_string());
    let script = |command: &str| {
        let tools = prometheus.parent().expect("a program lies in a directory").display();
        let path = format!("{tools}:{}", std::env::var("PATH").expect("there is a PATH"));
        let output = Command::new(root().join("start-monitoring.sh"))
            .args([command, "--without-docker", "--port", &cluster.coordinator.port.to_string()])
            .args(["--prometheus-port", &ports[0], "--grafana-port", &ports[1], "--loki-port", &ports[2], "--state"])
            .arg(&state)
            .env("PATH", path)
            .output()
            .expect("the script can be started");
        let told = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert!(output.status.success(), "{command}: {told}");
        told
    };
    let told = script("up");
    assert!(told.contains("prometheus   runs"), "{told}");
    for name in ["grafana", "loki", "promtail"] {
        let is_told =
            told.contains(&format!("{name} is not on this machine: ")) || told.contains(&format!("{name:<12} runs"));
        assert!(is_told, "{name}: {told}");
    }
    let client = Client::new(&format!("http://127.0.0.1:{}", ports[0]));
    eventually("every process is scraped", Duration::from_secs(30), || async {
        let answer =
            client.get("/api/v1/query?query=count(up%7Bjob%3D%22distributed-storage%22%7D%3D%3D1)").await.json();
        if answer["data"]["result"][0]["value"][1] == "5" { Ok(()) } else { Err(answer.to_string()) }
    })
    .await;
    script("up"); // What runs is left alone.
    assert!(script("status").contains("prometheus   runs"));
    script("stop");
    assert!(script("status").contains("prometheus   down"));
}
