//! D6: settings from a `.env` file.

use testing::real::Cluster;

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "writes a settings file into the directory of a process it started")]
async fn a_dotenv_file_names_the_gateway_and_its_port() {
    let mut cluster = Cluster::start().await;
    cluster.coordinator.kill();
    let port = cluster.coordinator.port;
    let text = format!("# the gateway\nNODE_ID=gateway-7\nPORT={port}\nDATABASE_URL=postgres://elsewhere/x\n");
    std::fs::write(cluster.root().join("cwd/.env"), text).expect("the file can be written");
    cluster.coordinator.drop_flag("--listen");
    cluster.start_coordinator().await;
    let health = cluster.client().get("/health").await.expect(200).json();
    assert_eq!(health["serverID"], "gateway-7", "{health}");
    std::fs::write(cluster.root().join("cwd/.env"), "PORT=many\n").expect("the file can be written");
    cluster.coordinator.kill();
    let said = Cluster::refusal_of(&mut cluster.coordinator);
    assert!(said.contains(".env") && said.contains("many"), "{said}");
}
