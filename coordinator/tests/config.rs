//! The coordinator's settings: defaults, and a refusal that names flag and value for each thing that cannot work.

#![allow(clippy::unwrap_used, reason = "a test stops at what it does not expect")]

use coordinator::config::{Command, Config, Storage, load};
use coordinator::object::Profiles;
use coordinator::worker::Tiering;
use process::logs::Level;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

const NODE: &str = "--node=http://127.0.0.1:8081";

fn try_load(args: &[&str]) -> Result<Config, clap::Error> {
    load(std::iter::once("coordinator").chain(args.iter().copied()).map(OsString::from))
}

/// The refusal of these flags (with a node), which must hold each of `words`.
fn refused(args: &[&str], words: &[&str]) {
    let error = try_load(&[args, &[NODE]].concat()).unwrap_err().to_string();
    for word in words {
        assert!(error.contains(word), "no {word:?} in {error}");
    }
}

#[test]
fn defaults_serve_loopback_and_bound_everything() {
    let config = try_load(&[NODE]).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.node, ["http://127.0.0.1:8081"]);
    assert_eq!((config.data, config.cluster_file), ("./data/coordinator".into(), "./data/cluster.json".into()));
    assert_eq!((config.memory_bytes, config.cache_bytes, config.index_cache_bytes), (32 << 20, 16 << 20, 16 << 20));
    assert_eq!((config.probe_interval_s, config.body_stall_s, config.upload_bytes_max), (30, 30, 0));
    assert_eq!((config.loglevel, config.loki, config.access.insecure_no_auth), (Level::Error, None, false));
}

#[test]
fn what_is_given_counts() {
    let config = try_load(&[
        "--listen=127.0.0.1:1",
        "--listen",
        "[::1]:2",
        "--node=http://node-1.example:8081/",
        "--node=http://[::1]:8082",
        "-loglevel",
        "info",
        "--memory-bytes=128MiB",
        "--probe-interval-s=2",
        "--workers=3",
        "--loki=http://127.0.0.1:3100",
    ])
    .unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.node, ["http://node-1.example:8081", "http://[::1]:8082"]);
    assert_eq!((config.loglevel, config.memory_bytes, config.worker_count()), (Level::Info, 128 << 20, 3));
    assert_eq!(config.probe_interval(), Duration::from_secs(2));
    assert_eq!(config.loki.as_deref(), Some("http://127.0.0.1:3100"));
}

#[test]
fn without_keys_only_loopback_is_served_unless_named_insecure() {
    let trusts_all = |args: &[&str]| try_load(&[args, &[NODE]].concat()).unwrap().trusts_all();
    assert!(trusts_all(&[]) && trusts_all(&["--listen=127.9.9.9:8000", "--listen=[::1]:8000"]));
    assert!(!trusts_all(&["--listen=127.0.0.1:8080", "--listen=0.0.0.0:8000"]), "one that others reach is enough");
    assert!(!trusts_all(&["--listen=[::]:8080"]));
    assert!(!trusts_all(&["--auth=on"]), "on loopback, too, where that is asked for");
    assert!(trusts_all(&["--listen=0.0.0.0:8000", "--insecure-no-auth"]));
    refused(&["--auth=on", "--insecure-no-auth"], &["--auth on", "--insecure-no-auth"]);
}

#[test]
fn limits_and_tls_are_checked() {
    refused(&["--rate-per-ip=2000000"], &["--rate-per-ip 2000000", "1000000"]);
    refused(&["--requests-max=0"], &["--requests-max 0"]);
    refused(&["--audit-files=0"], &["--audit-files 0"]);
    refused(&["--audit-file-bytes=1"], &["--audit-file-bytes 1"]);
    refused(&["--tls-cert=c.pem"], &["--tls-key"]);
    refused(&["--tls-key=k.pem"], &["--tls-cert"]);
    let config = try_load(&[NODE, "--rate-per-ip=0"]).unwrap();
    assert_eq!((config.access.rate_per_ip, config.access.rate_per_key), (Some(0), 0));
}

#[test]
fn codes_are_those_that_can_hold() {
    let storage = |args: &[&str]| try_load(&[args, &[NODE]].concat()).unwrap().storage;
    let Storage { ec, ec_fallback, auto_ec_bytes, .. } = storage(&[]);
    assert_eq!(Profiles { ec, ec_fallback, auto_ec_bytes, ..Profiles::DEFAULT }, Profiles::DEFAULT);
    let Storage { cold_after_s, hot_reads, heat_half_life_s, tiering_interval_s, .. } = storage(&[]);
    let given = [cold_after_s, heat_half_life_s, tiering_interval_s].map(Duration::from_secs);
    let Tiering { interval, cold_after, half_life, .. } = Tiering::DEFAULT;
    assert_eq!((given, hot_reads), ([cold_after, half_life, interval], Tiering::DEFAULT.hot_reads));
    let given = storage(&["--ec=6+3", "--ec-fallback=2+1", "--auto-ec-bytes=64KiB"]);
    assert_eq!((given.ec.to_string(), given.auto_ec_bytes), ("6+3".to_owned(), 64 << 10));
    assert_eq!(given.ec_fallback.map(|code| code.to_string()).as_deref(), Some("2+1"));
    refused(&["--ec=1+2"], &["--ec 1+2", "2 data shards"]);
    refused(&["--ec=4+0"], &["--ec 4+0", "1 parity shard"]);
    refused(&["--ec=30+3"], &["--ec 30+3", "32 shards at most"]);
    refused(&["--ec=four"], &["--ec", "four", "data+parity"]);
    refused(&["--ec-fallback=6+3"], &["--ec-fallback 6+3", "fewer shards than --ec 4+2"]);
}

#[test]
fn nodes_are_base_urls_named_once() {
    assert!(try_load(&[]).unwrap().node.is_empty(), "nodes may join by themselves");
    refused(&["--node=http://127.0.0.1:8081/"], &["--node http://127.0.0.1:8081 is given twice"]);
    for url in [
        "127.0.0.1:8081",
        "ftp://n1:8081",
        "http://n1",
        "http://n1:0",
        "http://n1:+1",
        "http://n1:70000",
        "http://:80",
        "http://n1:8081/path",
        "http://user@n1:8081",
        "http://n1:8081?x",
    ] {
        refused(&[&format!("--node={url}")], &["--node", url, "http://host:port"]);
    }
}

#[test]
fn bounds_are_checked_with_flag_and_value() {
    refused(&["--probe-interval-s=0"], &["--probe-interval-s 0", "from 1 to 86400"]);
    refused(&["--upload-expires-s=14"], &["--upload-expires-s 14", "at least 15"]);
    refused(&["--node-lost-after-s=0"], &["--node-lost-after-s 0", "at least 1"]);
    refused(&["--body-stall-s=99999"], &["--body-stall-s 99999"]);
    refused(&["--memory-bytes=1MiB"], &["--memory-bytes 1048576", "16777216"]);
    refused(&["--memory-bytes=lots"], &["--memory-bytes", "lots"]);
    refused(&["--workers=1000"], &["--workers 1000"]);
    refused(&["--index-cache-bytes=0"], &["--index-cache-bytes", "at least 1048576"]);
    refused(&["--census-interval-s=0"], &["--census-interval-s 0", "at least 1"]);
    refused(&["--scrub-interval-s=0"], &["--scrub-interval-s 0", "at least 1"]);
    refused(&["--hot-field="], &["--hot-field", "must name a field"]);
    for domain in ["bad domain", "s3..example", "http://s3.example", ""] {
        refused(&[&format!("--s3-domain={domain}")], &["--s3-domain", "s3.example"]);
    }
    refused(&["--listen=localhost"], &["--listen", "localhost"]);
    refused(&["--listen=127.0.0.1:1", "--listen=127.0.0.1:1"], &["--listen 127.0.0.1:1 is given twice"]);
}

#[test]
fn a_settings_file_is_checked_as_flags_are() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("holdfast.toml");
    std::io::Write::write_all(
        &mut std::fs::File::create(&path).unwrap(),
        b"node = ['http://127.0.0.1:1', 'http://127.0.0.1:2']\nlisten = '0.0.0.0:8080'\nmemory-bytes = '32MiB'",
    )
    .unwrap();
    let flag = format!("--config={}", path.display());
    assert!(!try_load(&[&flag]).unwrap().trusts_all());
    let error = try_load(&[&flag, "--memory-bytes=1"]).unwrap_err().to_string();
    assert!(error.contains("--memory-bytes"), "{error}");
    let config = try_load(&[&flag, "--listen=127.0.0.1:8080"]).unwrap();
    assert_eq!((config.node.len(), config.memory_bytes), (2, 32 << 20));
}

#[test]
fn new_cluster_needs_nothing_but_a_path() {
    let config = try_load(&["new-cluster", "--cluster-file", "c.json"]).unwrap();
    assert_eq!((config.command, config.cluster_file), (Some(Command::NewCluster), PathBuf::from("c.json")));
    assert_eq!(try_load(&["new-cluster"]).unwrap().cluster_file, PathBuf::from("./data/cluster.json"));
}

#[test]
fn a_port_is_of_loopback_unless_an_address_is_given() {
    let listens = |args: &[&str]| try_load(&[args, &[NODE]].concat()).unwrap().listen;
    assert_eq!(listens(&["--port=3000"]), ["127.0.0.1:3000".parse().unwrap()]);
    assert_eq!(listens(&["--port=3000", "--listen=127.0.0.1:9"]), ["127.0.0.1:9".parse().unwrap()]);
    let name = |args: &[&str]| try_load(&[args, &[NODE]].concat()).unwrap().server_name();
    assert_eq!(name(&[]), "coordinator-8080");
    assert_eq!(name(&["--port=3000"]), "coordinator-3000");
    assert_eq!(name(&["--server-id=gateway-1"]), "gateway-1");
    refused(&["--server-id=a b"], &["--server-id a b", "letters"]);
    refused(&["--server-id="], &["--server-id"]);
}

#[test]
fn origins_are_what_browsers_send() {
    let config = try_load(&["--cors-origin=*", "--cors-origin=https://a.example:8443,http://localhost:3000", NODE]);
    assert_eq!(config.unwrap().cors_origin.len(), 3);
    for bad in ["https://a.example/", "a.example", "https://", "https://*.example"] {
        refused(&[&format!("--cors-origin={bad}")], &["--cors-origin", bad]);
    }
}
