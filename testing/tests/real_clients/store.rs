//! The S3 server under test, and the keys to it: a cluster of its own for each test, or the one that the environment names.

use reqwest::Method;
use serde_json::{Value, json};
use std::env::var;
use testing::real::{Cluster, Plan};

/// Everything, in buckets of its own.
const ALL_ACTIONS: [&str; 5] = ["read", "write", "list", "delete", "admin"];

/// The domain below which buckets are hosts.
pub const DOMAIN: &str = "s3.test";

/// An access key.
#[derive(Clone, Debug)]
pub struct Keys {
    pub access_key: String,
    pub secret_key: String,
}

/// An S3 server.
pub struct Store {
    /// Its URL.
    pub endpoint: String,
    /// A key that may do everything in its own buckets.
    pub keys: Keys,
    /// The processes, where they are ours.
    cluster: Option<Cluster>,
}

impl Store {
    /// Starts one with authentication on.
    pub async fn start() -> Store {
        if let Ok(endpoint) = var("HOLDFAST_S3_ENDPOINT") {
            let given = |name: &str| var(name).unwrap_or_else(|_| panic!("HOLDFAST_S3_ENDPOINT goes with {name}"));
            let keys = Keys { access_key: given("AWS_ACCESS_KEY_ID"), secret_key: given("AWS_SECRET_ACCESS_KEY") };
            return Store { endpoint, keys, cluster: None };
        }
        let plan = Plan::new().coordinator_flag("--auth", "on").coordinator_flag("--s3-domain", DOMAIN);
        let mut cluster = Cluster::lay_out(plan).await;
        // s3cmd's presigned URLs are of version 2.
        cluster.coordinator.switch("--s3-sigv2");
        cluster.start_with_keys().await;
        let keys = make_key(&cluster, "tests").await;
        let endpoint = format!("http://127.0.0.1:{}", cluster.s3_port());
        Store { endpoint, keys, cluster: Some(cluster) }
    }

    /// Whether the server is ours, with what we know of it.
    pub fn is_ours(&self) -> bool {
        self.cluster.is_some()
    }

    /// The server as `host:port`.
    pub fn authority(&self) -> &str {
        self.endpoint.strip_prefix("http://").expect("the endpoint is http://HOST:PORT").trim_end_matches('/')
    }

    /// A key of another owner; none where the server is not ours.
    pub async fn other_key(&self) -> Option<Keys> {
        Some(make_key(self.cluster.as_ref()?, "others").await)
    }

    /// A key that was good and is disabled.
    pub async fn disabled_key(&self) -> Option<Keys> {
        self.ended_key("disable", json!({})).await
    }

    /// A key that was good and has expired.
    pub async fn expired_key(&self) -> Option<Keys> {
        self.ended_key("expire", json!({ "expires_in_s": 0 })).await
    }

    async fn ended_key(&self, how: &str, body: Value) -> Option<Keys> {
        let cluster = self.cluster.as_ref()?;
        let keys = make_key(cluster, how).await;
        let client = cluster.client();
        let request = client.request(Method::POST, &format!("/admin/keys/{}/{how}", keys.access_key));
        client.send(request.body(body.to_string())).await.expect(200);
        Some(keys)
    }
}

/// A key that owns what it makes.
async fn make_key(cluster: &Cluster, name: &str) -> Keys {
    let policy = json!([{ "buckets": ["*"], "actions": ALL_ACTIONS }]);
    let made = cluster.make_key(json!({ "name": name, "policy": policy })).await;
    let field = |name: &str| made[name].as_str().unwrap_or_else(|| panic!("no {name}: {made}")).to_owned();
    Keys { access_key: field("access_key_id"), secret_key: field("secret_access_key") }
}
