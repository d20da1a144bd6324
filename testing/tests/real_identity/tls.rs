//! TLS between all processes, and certificates that are replaced while they serve.

use super::{WAIT, put};
use reqwest::tls::TlsInfo;
use std::path::Path;
use testing::real::{Authority, Certified, Client, Cluster, Plan, eventually, random_bytes};

/// A cluster in which every process has a certificate of one authority, and trusts no other.
async fn secure() -> (Cluster, Authority) {
    let mut cluster = Cluster::lay_out(Plan::new()).await;
    let authority = Authority::new(cluster.root(), "authority");
    let directory = cluster.root().to_owned();
    for server in cluster.servers() {
        let (certificate, key) = authority.certify().write(&directory, &server.name);
        server.flag("--tls-cert", certificate.display()).flag("--tls-key", key.display());
        server.flag("--tls-ca", authority.file.display());
    }
    cluster.coordinator.drop_flag("--node");
    let nodes: Vec<String> = cluster.nodes.iter().map(|node| node.url()).collect();
    for url in &nodes {
        assert!(url.starts_with("https://"));
        cluster.coordinator.flag("--node", url);
    }
    (cluster, authority)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_speaks_tls_everywhere_and_repairs_over_it() {
    let (mut cluster, _) = secure().await;
    let coordinator = &mut cluster.coordinator;
    coordinator.flag("--probe-interval-s", "1").flag("--node-lost-after-s", "2").flag("--cache-bytes", "0");
    cluster.start_all().await;
    let client = cluster.client();
    let data = random_bytes(1, 3_000_000);
    client.upload("large.bin", &data).await;
    assert!(client.download("large.bin", None).await.expect(200).body == data);
    let plain = Client::new(&cluster.coordinator.url().replace("https", "http"));
    assert!(
        plain.try_send(plain.request(reqwest::Method::GET, "/health")).await.is_err(),
        "nothing answers in the clear"
    );

    // What a lost node held is copied from node to node, over https as well.
    cluster.node(1).kill();
    eventually("every chunk has three copies again", 3 * WAIT, || async {
        let receipt = client.get("/receipt?filename=large.bin").await.expect(200).json();
        if receipt["receipt"]["copies"] == 3 { Ok(()) } else { Err(receipt.to_string()) }
    })
    .await;
    assert!(client.download("large.bin", None).await.expect(200).body == data);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_that_was_not_named_is_not_trusted() {
    let (mut cluster, _) = secure().await;
    let stranger = Authority::new(cluster.root(), "stranger");
    let directory = cluster.root().to_owned();
    // n1 shows what a stranger certified: calls to it fail, and the others carry on.
    stranger.certify().write(&directory, "n1");
    for node in &mut cluster.nodes {
        node.start();
    }
    for node in &mut cluster.nodes[1..] {
        node.ready().await;
    }
    cluster.coordinator.start();
    cluster.coordinator.ready().await;
    let client = cluster.client();
    let port = cluster.nodes[0].port;
    eventually("three of the four are healthy", WAIT, || async {
        let told = client.get("/system/health").await.expect(200).json();
        if told["healthyNodes"] == 3 { Ok(()) } else { Err(told.to_string()) }
    })
    .await;
    let line = client.node_line(port).await;
    assert_eq!(line["healthy"], false, "{line}");
    let outside = Client::trusting(&cluster.coordinator.url(), Some(&stranger.file));
    let refused = outside.try_send(outside.request(reqwest::Method::GET, "/health")).await.unwrap_err();
    assert!(refused.reason.contains("certificate"), "{}", refused.reason);
}

/// The certificate that a server shows to a new connection.
async fn shown(url: &str, authority: &Path) -> Vec<u8> {
    let client = Client::trusting(url, Some(authority));
    let response = client.request(reqwest::Method::GET, "/health").send().await.expect("it answers");
    let info = response.extensions().get::<TlsInfo>().expect("it speaks TLS");
    info.peer_certificate().expect("it has a certificate").to_vec()
}

async fn wait_shown(url: &str, authority: &Path, expected: &Certified) {
    eventually("the new certificate is shown", WAIT, || async {
        if shown(url, authority).await == expected.der { Ok(()) } else { Err("the old one is".to_owned()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_while_connections_go_on() {
    let (mut cluster, authority) = secure().await;
    cluster.start_all().await;
    let kept = cluster.client();
    put(&kept, "/s3/buc/a", "before").await.expect(200);
    let (coordinator, node) = (cluster.coordinator.url(), cluster.nodes[1].url());

    let fresh = authority.certify();
    fresh.write(cluster.root(), "coordinator");
    wait_shown(&coordinator, &authority.file, &fresh).await;
    let of_node = authority.certify();
    of_node.write(cluster.root(), "n2");
    wait_shown(&node, &authority.file, &of_node).await;
    put(&kept, "/s3/buc/a", "after").await.expect(200);

    // Half a replacement, and rubbish, leave what is there.
    std::fs::File::create(cluster.root().join("coordinator.pem")).expect("it can be emptied");
    eventually("the log says that it cannot be used", WAIT, || async {
        let log = cluster.coordinator.log();
        if log.contains("the old one stays") { Ok(()) } else { Err(cluster.coordinator.log_tail()) }
    })
    .await;
    assert_eq!(shown(&coordinator, &authority.file).await, fresh.der);
    let last = authority.certify();
    last.write(cluster.root(), "coordinator");
    wait_shown(&coordinator, &authority.file, &last).await;
    assert_eq!(kept.get("/s3/buc/a").await.expect(200).body, "after");
}
