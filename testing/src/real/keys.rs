//! Clusters that ask for keys.

use super::client::Client;
use super::cluster::Cluster;
use super::eventually;
use super::server::Server;
use reqwest::Method;
use serde_json::Value;
use std::time::Duration;

/// How long the first key may take: the catalog takes commits once enough nodes answered.
const FIRST_KEY_WAIT: Duration = Duration::from_secs(30);
/// What stands before it.
const ANNOUNCED: &str = "Admin API Key: ";

impl Cluster {
    /// A client of one of its processes, which trusts what certifies that, and shows the admin's key if it knows one.
    pub(super) fn client_of(&self, server: &Server) -> Client {
        let client = Client::trusting(&server.url(), server.authority());
        match &self.admin_key {
            Some(key) => client.with_key(key),
            None => client,
        }
    }

    /// Starts a cluster whose coordinator was given `--auth on`: waits for its first key, which clients show from then on.
    pub async fn start_with_keys(&mut self) {
        for node in &mut self.nodes {
            node.start();
        }
        for node in &mut self.nodes {
            node.ready().await;
        }
        self.coordinator.start();
        self.coordinator.ready().await;
        self.admin_key = Some(self.first_key().await);
        self.wait_healthy().await;
    }

    /// The key that the coordinator printed last.
    pub async fn first_key(&self) -> String {
        eventually("the first key is printed", FIRST_KEY_WAIT, || async {
            self.announced_keys().pop().ok_or_else(|| self.coordinator.log_tail())
        })
        .await
    }

    /// Every key that the coordinator printed.
    pub fn announced_keys(&self) -> Vec<String> {
        let log = self.coordinator.log();
        log.lines().filter_map(|line| line.strip_prefix(ANNOUNCED)).map(str::to_owned).collect()
    }

    /// Makes a key, as the admin; the answer's JSON.
    pub async fn make_key(&self, wanted: Value) -> Value {
        let client = self.client();
        client.send(client.request(Method::POST, "/admin/keys").body(wanted.to_string())).await.expect(201).json()
    }
}
