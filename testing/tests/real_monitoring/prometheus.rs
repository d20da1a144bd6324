//! A real Prometheus with the shipped configuration, every interval of which is a second.

use crate::{root, text_of};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;
use testing::real::{Client, Cluster, Server, encode, eventually, test_tool};

/// How long it may take to start, or to have scraped what it is asked for.
const WAIT: Duration = Duration::from_secs(30);

/// Where it is, if `scripts/install-test-deps.sh` could get it.
pub fn program() -> Result<PathBuf, String> {
    test_tool("prometheus").ok_or_else(|| "Prometheus is not there; scripts/install-test-deps.sh gets it".to_owned())
}

/// A running one.
pub struct Prometheus {
    client: Client,
    _server: Server,
}

/// What else is to be scraped than the cluster: a process that speaks TLS.
pub struct Secured {
    pub name: &'static str,
    pub port: u16,
}

impl Prometheus {
    /// Starts one that scrapes every process of `cluster`; `shorten` makes the shipped alerts fire sooner.
    pub async fn watch(cluster: &Cluster, secured: Option<&Secured>, shorten: fn(String) -> String) -> Prometheus {
        let dir = cluster.root().join("prometheus");
        std::fs::create_dir_all(dir.join("targets")).expect("a directory can be made");
        let mut config = text_of("monitoring/prometheus/prometheus.yml");
        for (shipped, here) in [
            ("scrape_interval: 5s", "scrape_interval: 1s"),
            ("scrape_timeout: 4s", "scrape_timeout: 1s"),
            ("evaluation_interval: 5s", "evaluation_interval: 1s"),
            ("refresh_interval: 5s", "refresh_interval: 1s"),
        ] {
            assert!(config.contains(shipped), "no {shipped} in {config}");
            config = config.replace(shipped, here);
        }
        if let Some(secured) = secured {
            config.push_str(&format!(
                "\n  - job_name: secured\n    scheme: https\n    tls_config: {{insecure_skip_verify: true}}\n    static_configs:\n      \
                 - targets: ['127.0.0.1:{}']\n        labels: {{service: storage-node, process: {}}}\n",
                secured.port, secured.name
            ));
        }
        let files = [
            ("prometheus.yml", config),
            ("alerts.yml", shorten(text_of("monitoring/prometheus/alerts.yml"))),
            ("targets/cluster.json", targets(cluster)),
        ];
        for (name, text) in files {
            std::fs::write(dir.join(name), text).expect("a file can be written");
        }
        let port = free_port();
        let mut server =
            Server::new("prometheus", port, program().expect("the caller looked"), &dir, dir.join("prometheus.log"));
        server.switch(&format!("--config.file={}", dir.join("prometheus.yml").display()));
        server.switch(&format!("--storage.tsdb.path={}", dir.join("data").display()));
        server.switch(&format!("--web.listen-address=127.0.0.1:{port}"));
        server.start();
        let client = Client::new(&server.url());
        eventually("Prometheus is ready", WAIT, || async {
            let asked = client.try_send(client.request(reqwest::Method::GET, "/-/ready")).await;
            match asked {
                Ok(reply) if reply.status == 200 => Ok(()),
                other => Err(format!("{other:?}\n{}", server.log_tail())),
            }
        })
        .await;
        Prometheus { client, _server: server }
    }

    /// What an expression gives now: the values, NaN included. `Err` if it is none.
    pub async fn query(&self, expression: &str) -> Result<Vec<f64>, String> {
        let path = format!("/api/v1/query?query={}", encode(expression.as_bytes()));
        let asked = self.client.try_send(self.client.request(reqwest::Method::GET, &path)).await;
        let answer = asked.map_err(|why| format!("{expression}: {why:?}"))?.json();
        let data = &answer["data"];
        match data["resultType"].as_str() {
            Some("vector") => {
                let samples = data["result"].as_array().expect("a vector is an array");
                Ok(samples.iter().map(|sample| number(&sample["value"][1])).collect())
            }
            Some("scalar") => Ok(vec![number(&data["result"][1])]),
            _ => Err(format!("{expression}: {answer}")),
        }
    }

    /// Waits until an expression gives something.
    pub async fn shows(&self, what: &str, expression: &str, within: Duration) {
        eventually(what, within, || async {
            let values = self.query(expression).await?;
            if values.is_empty() { Err(format!("{expression} gives nothing")) } else { Ok(()) }
        })
        .await;
    }

    /// Waits until an alert fires.
    pub async fn fires(&self, alert: &str, within: Duration) {
        let expression = format!("ALERTS{{alertname=\"{alert}\",alertstate=\"firing\"}}");
        self.shows(&format!("{alert} fires"), &expression, within).await;
    }

    /// Name and expression of every alert, as Prometheus understood them.
    pub async fn alerts(&self) -> Vec<(String, String)> {
        let answer = self.client.get("/api/v1/rules?type=alert").await.expect(200).json();
        let groups = answer["data"]["groups"].as_array().expect("groups").clone();
        let rules = groups.iter().flat_map(|group| group["rules"].as_array().expect("rules"));
        let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
        rules.map(|rule| (text(&rule["name"]), text(&rule["query"]))).collect()
    }
}

fn number(value: &serde_json::Value) -> f64 {
    let text = value.as_str().expect("a value is a text");
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

fn targets(cluster: &Cluster) -> String {
    let target = |service: &str, server: &Server| {
        serde_json::json!({
            "targets": [format!("127.0.0.1:{}", server.port)],
            "labels": { "service": service, "process": server.name },
        })
    };
    let nodes = cluster.nodes.iter().map(|node| target("storage-node", node));
    serde_json::Value::from_iter(nodes.chain([target("coordinator", &cluster.coordinator)])).to_string()
}

/// A port that is free now, from the kernel's range.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
    listener.local_addr().expect("a listener has an address").port()
}

/// The directory of the shipped configuration.
pub fn shipped() -> PathBuf {
    root().join("monitoring/prometheus")
}
