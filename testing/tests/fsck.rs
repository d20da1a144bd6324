//! The census must be able to find: each kind of damage is done to a copy of a whole cluster's disks, and `holdfast-fsck` is asked.
//! And it must be harmless: what it has looked at is, byte for byte, what it was.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]
#![expect(clippy::disallowed_methods, reason = "damages copies of data directories")]

use bytes::Bytes;
use protocol::{ClusterFile, Shard, ShardId, SystemClock};
use segments::{Kind, Location, RealDisk, Scanned, Stamp, inspect};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use storage_node::identity::{DataDir, Identity, Owner};
use storage_node::store::{Store, StoreConfig};
use tempfile::TempDir;
use testing::fsck::{Options, Report, check};
use testing::real::{Cluster, random_bytes};

/// Disks of a stopped cluster: what they held early, and at the end.
struct Disks {
    cluster: Cluster,
    early: TempDir,
}

/// A copy of them, to be damaged.
struct Copied(TempDir);

async fn disks() -> Disks {
    let mut cluster = Cluster::start().await;
    let client = cluster.client();
    for n in 0..12 {
        client.upload(&format!("early/{n}"), &random_bytes(n, 3_000 + 20_000 * n as usize)).await;
    }
    client.upload("early/large", &random_bytes(77, 9 << 20)).await;
    client.delete("early/3").await;
    cluster.stop_all();
    let early = copy(&cluster.root().join("data"));
    cluster.start_all().await;
    for n in 0..12 {
        client.upload(&format!("late/{n}"), &random_bytes(100 + n, 30_000)).await;
    }
    client.upload("early/0", b"a second version").await;
    cluster.stop_all();
    Disks { cluster, early }
}

fn copy(data: &Path) -> TempDir {
    let to = tempfile::tempdir().unwrap();
    let copied = Command::new("cp").args(["-a", "--sparse=always"]).arg(data).arg(to.path().join("data")).status();
    assert!(copied.unwrap().success());
    to
}

impl Disks {
    fn copy(&self) -> Copied {
        Copied(copy(&self.cluster.root().join("data")))
    }
}

impl Copied {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join("data").join(name)
    }

    fn options(&self, with_catalog: bool) -> Options {
        let nodes = (1..=4).map(|number| self.path(&format!("n{number}"))).collect();
        let catalog = with_catalog.then(|| self.path("coordinator"));
        Options { nodes, catalog, copies: 3, sample: 1 }
    }

    fn check(&self) -> (Report, Report) {
        (check(&self.options(false)).unwrap(), check(&self.options(true)).unwrap())
    }

    fn identity(&self, node: &str) -> Identity {
        serde_json::from_slice(&std::fs::read(self.path(node).join("identity")).unwrap()).unwrap()
    }

    /// The live shards of a node, with their places.
    fn shards(&self, node: &str) -> Vec<(ShardId, Location, Vec<u8>)> {
        let identity = self.identity(node);
        let stamp = Stamp { cluster: identity.cluster, log: identity.disk };
        let mut shards = Vec::new();
        let found = inspect(&self.path(node).join("segments"), stamp, &mut |found| {
            if let Scanned::Record { kind: Kind::SHARD, id, location, data } = found {
                shards.push((ShardId::from_bytes(id), location, data.to_vec()));
            }
        });
        found.unwrap();
        assert!(shards.len() > 10, "{node} holds too little for this test: {}", shards.len());
        shards
    }

    fn segment(&self, node: &str, number: u32) -> PathBuf {
        self.path(node).join(format!("segments/{number:010}.seg"))
    }

    /// Flips one bit of a record, `offset` bytes from its start.
    fn flip(&self, node: &str, location: Location, offset: u64) {
        let path = self.segment(node, location.position.segment);
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let at = u64::from(location.position.offset) + offset;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 4], at).unwrap();
    }

    fn store(&self, node: &str) -> Store<RealDisk> {
        let text = std::fs::read_to_string(self.path("cluster.json")).unwrap();
        let cluster: ClusterFile = serde_json::from_str(&text).unwrap();
        let owner = Owner { cluster: cluster.cluster, node: node.parse().unwrap() };
        let directory = DataDir::open(&self.path(node), &owner, false, &SystemClock).unwrap();
        let config = StoreConfig {
            node: owner.node,
            cluster: owner.cluster,
            disk: directory.identity.disk,
            replaced: false,
            starts: Default::default(),
            zone: String::new(),
            index_directory: None,
            index_cache_bytes: 1 << 20,
            capacity_bytes: 0,
            reserve_bytes: 0,
            segment_bytes: 0,
            compact_dead_share: 0.5,
            clock: Arc::new(SystemClock),
        };
        Store::open(RealDisk::open(directory.segments()).unwrap(), config).unwrap()
    }
}

/// Every file below a directory with its digest and its time of change.
fn digests(dir: &Path) -> BTreeMap<PathBuf, (String, std::time::SystemTime)> {
    let files = walkdir::WalkDir::new(dir).into_iter().map(Result::unwrap);
    files
        .map(|entry| {
            let digest = match entry.file_type().is_file() {
                true => hex::encode(Sha256::digest(std::fs::read(entry.path()).unwrap())),
                false => String::new(),
            };
            (entry.path().to_owned(), (digest, entry.metadata().unwrap().modified().unwrap()))
        })
        .collect()
}

fn fsck(arguments: &[&Path]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_holdfast-fsck")).args(arguments).output().unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
    )
}

#[tokio::test]
async fn a_sound_cluster_is_clean_and_each_damage_is_found() {
    let disks = disks().await;
    tokio::task::spawn_blocking(move || {
        sound_disks_are_clean_and_stay_as_they_are(&disks);
        damaged_payloads_and_headers_are_found(&disks);
        records_in_the_wrong_place_do_not_count(&disks);
        what_is_cut_off_or_gone_is_missed(&disks);
        shards_that_no_record_names_are_found(&disks);
        a_catalog_ahead_of_its_nodes_is_found(&disks);
        what_cannot_be_looked_at_is_said(&disks);
        what_is_asked_for_is_what_is_judged(&disks);
    })
    .await
    .unwrap();
}

fn sound_disks_are_clean_and_stay_as_they_are(disks: &Disks) {
    let copied = disks.copy();
    let before = digests(&copied.path(""));
    let (alone, compared) = copied.check();
    assert_eq!((alone.findings(), compared.findings()), (vec![], vec![]), "{alone}{compared}");
    let catalog = compared.catalog.as_ref().unwrap();
    assert_eq!((catalog.versions, catalog.chunks, catalog.hashed), (26, compared.chunks, 3 * compared.chunks));
    assert_eq!(alone.chunks_by_copies.keys().copied().collect::<Vec<_>>(), [3]);
    let paths: Vec<PathBuf> = (1..=4).map(|number| copied.path(&format!("n{number}"))).collect();
    let all: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let (code, text) = fsck(&all);
    assert!(
        code == Some(0) && text.contains("chunks; nodes that hold a good copy") && text.ends_with("clean\n"),
        "{text}"
    );
    let catalog = copied.path("coordinator");
    let arguments = [&all[..], &["--deep", "--json", "--catalog"].map(Path::new), &[&catalog]].concat();
    let (code, text) = fsck(&arguments);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(code == Some(0) && json["clean"] == true && json["nodes"][3]["node"] == "n4", "{text}");
    assert_eq!(digests(&copied.path("")), before, "it changes nothing");
    // Three of four nodes cannot hold three copies of everything.
    let (code, text) = fsck(&all[..3]);
    assert!(code == Some(1) && text.contains("FOUND") && text.contains("too few copies"), "{text}");
}

fn damaged_payloads_and_headers_are_found(disks: &Disks) {
    let copied = disks.copy();
    let shards = copied.shards("n2");
    let (payload, header) = (shards[3].clone(), shards[7].clone());
    copied.flip("n2", payload.1, 64 + u64::from(payload.1.length) / 2);
    copied.flip("n2", header.1, 20);
    let (alone, compared) = copied.check();
    let node = &alone.nodes[1];
    assert_eq!((node.corrupt, node.lost.first.as_slice()), (1, &[payload.0.to_string()][..]), "{alone}");
    assert_eq!((node.damaged_stretches, node.footers_wrong), (1, 1), "{alone}");
    let mut short: Vec<_> = alone.short.first.iter().map(|short| short.chunk).collect();
    short.sort_unstable();
    let mut damaged = [payload.0.chunk, header.0.chunk];
    damaged.sort_unstable();
    assert_eq!(short, damaged, "{alone}");
    let catalog = compared.catalog.as_ref().unwrap();
    assert_eq!((catalog.short.first.as_slice(), catalog.missing.count), (&damaged[..], 2), "{compared}");
    assert_eq!((catalog.lost.count, catalog.broken_versions.count), (0, 0), "two copies of each are left");
    // The same shard damaged wherever it lies is lost, and so is the version that it is of.
    for number in 1..=4 {
        let name = format!("n{number}");
        for (_, location, _) in copied.shards(&name).iter().filter(|(id, ..)| id.chunk == header.0.chunk) {
            copied.flip(&name, *location, 64);
        }
    }
    let (_, compared) = copied.check();
    let catalog = compared.catalog.as_ref().unwrap();
    assert_eq!(catalog.lost.first, [header.0.chunk], "{compared}");
    assert!(catalog.broken_versions.count >= 1, "{compared}");
}

fn records_in_the_wrong_place_do_not_count(disks: &Disks) {
    let copied = disks.copy();
    let shards = copied.shards("n1");
    // One record copied over the beginning of another: what was there is lost, and it does not count twice.
    let (from, to) = shards
        .iter()
        .flat_map(|from| shards.iter().map(move |to| (from, to)))
        .find(|(from, to)| from.0 != to.0 && from.1.stored_bytes() < to.1.stored_bytes())
        .unwrap();
    let path = copied.segment("n1", from.1.position.segment);
    assert_eq!(from.1.position.segment, to.1.position.segment);
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut record = vec![0; from.1.stored_bytes() as usize];
    file.read_exact_at(&mut record, u64::from(from.1.position.offset)).unwrap();
    file.write_all_at(&record, u64::from(to.1.position.offset)).unwrap();
    let (alone, compared) = copied.check();
    assert_eq!(alone.short.first.iter().map(|short| short.chunk).collect::<Vec<_>>(), [to.0.chunk], "{alone}");
    assert_eq!(alone.nodes[0].damaged_stretches, 1, "{alone}");
    assert_eq!(compared.catalog.as_ref().unwrap().unnamed.count, 0, "{compared}");
}

fn what_is_cut_off_or_gone_is_missed(disks: &Disks) {
    let copied = disks.copy();
    let shards = copied.shards("n3");
    let last = shards.iter().map(|(_, location, _)| location.position).max().unwrap();
    let path = copied.segment("n3", last.segment);
    OpenOptions::new().write(true).open(&path).unwrap().set_len(u64::from(last.offset)).unwrap();
    let (alone, compared) = copied.check();
    assert_eq!((alone.short.count, alone.nodes[2].segments_open), (1, 1), "{alone}");
    assert_eq!(compared.catalog.as_ref().unwrap().missing.count, 1, "{compared}");
    // Zeros or rubbish behind the last record are what a crash leaves: no damage.
    OpenOptions::new().write(true).open(&path).unwrap().set_len(u64::from(last.offset) + 8192).unwrap();
    assert_eq!(check(&copied.options(false)).unwrap().findings(), alone.findings());
    std::fs::remove_file(&path).unwrap();
    let gone = shards.iter().filter(|(_, location, _)| location.position.segment == last.segment).count() as u64;
    let (alone, compared) = copied.check();
    assert_eq!((alone.short.count, compared.catalog.as_ref().unwrap().short.count), (gone, gone), "{alone}{compared}");
    std::fs::write(path.with_extension("tmp"), b"rubbish").unwrap();
    assert_eq!(check(&copied.options(false)).unwrap().nodes[2].foreign_files, 1);
}

fn shards_that_no_record_names_are_found(disks: &Disks) {
    let copied = disks.copy();
    let everywhere: BTreeMap<String, Vec<ShardId>> = (1..=4)
        .map(|number| format!("n{number}"))
        .map(|name| (name.clone(), copied.shards(&name).into_iter().map(|(id, ..)| id).collect()))
        .collect();
    let (id, _, data) = copied.shards("n1").into_iter().next().unwrap();
    let other = everywhere.iter().find(|(_, ids)| ids.iter().all(|held| held.chunk != id.chunk)).unwrap().0;
    let stray = ShardId { chunk: protocol::ChunkId(uuid::Uuid::from_u128(1)), index: 0 };
    let wrong = copied.shards(other).into_iter().next().unwrap().0;
    {
        let store = copied.store(other);
        let put =
            |id: ShardId, data: &[u8]| Shard { id, crc: crc32fast::hash(data), data: Bytes::copy_from_slice(data) };
        assert_eq!(store.put(vec![put(id, &data), put(stray, b"of nobody")]), [Ok(()), Ok(())]);
    }
    let (alone, compared) = copied.check();
    assert_eq!(alone.chunks_by_copies[&4], 1, "{alone}");
    assert_eq!(alone.short.first.iter().map(|short| short.chunk).collect::<Vec<_>>(), [stray.chunk], "{alone}");
    let catalog = compared.catalog.as_ref().unwrap();
    assert_eq!(catalog.unnamed.first, [format!("{id} on {other}")], "{compared}");
    assert_eq!(catalog.orphans.first, [format!("{stray} on {other}")], "{compared}");
    // A delete takes them away again, and what a record names with them.
    {
        let store = copied.store(other);
        assert_eq!(store.delete(vec![id, stray, wrong]), [Ok(()), Ok(()), Ok(())]);
    }
    let (alone, compared) = copied.check();
    assert!(alone.nodes.iter().any(|node| node.tombstones == 3), "{alone}");
    let catalog = compared.catalog.as_ref().unwrap();
    assert_eq!((catalog.orphans.count, catalog.unnamed.count), (0, 0), "{compared}");
    assert_eq!(catalog.missing.first, [format!("{} on {other}", wrong.chunk)], "{compared}");
    // Other bytes under the right name, with a CRC32 of their own: whole, and wrong.
    std::fs::remove_dir_all(copied.path(other).join("segments")).unwrap();
    {
        let store = copied.store(other);
        let data = Bytes::from_static(b"other bytes");
        assert_eq!(store.put(vec![Shard { id: wrong, crc: crc32fast::hash(&data), data }]), [Ok(())]);
    }
    let (alone, compared) = copied.check();
    assert_eq!(alone.differing.first, [wrong.chunk], "{alone}");
    assert_eq!(compared.catalog.as_ref().unwrap().wrong_bytes.first, [format!("{wrong} on {other}")], "{compared}");
}

fn a_catalog_ahead_of_its_nodes_is_found(disks: &Disks) {
    let options = |nodes: &Path, catalog: &Path| Options {
        nodes: (1..=4).map(|number| nodes.join(format!("n{number}"))).collect(),
        catalog: Some(catalog.join("coordinator")),
        copies: 3,
        sample: 1,
    };
    let (early, late) = (disks.early.path().join("data"), disks.cluster.root().join("data"));
    let chunks = |data: &Path| check(&options(data, data)).unwrap().chunks;
    let new = chunks(&late) - chunks(&early);
    let report = check(&options(&early, &late)).unwrap();
    let catalog = report.catalog.as_ref().unwrap();
    assert_eq!((catalog.lost.count, catalog.broken_versions.count), (new, 13), "{report}");
    assert!(catalog.broken_versions.first.iter().any(|line| line.contains("early/0 version 2")), "{report}");
    let report = check(&options(&late, &early)).unwrap();
    let catalog = report.catalog.as_ref().unwrap();
    assert_eq!((catalog.lost.count, catalog.orphans.count), (0, 3 * new), "{report}");
}

fn what_cannot_be_looked_at_is_said(disks: &Disks) {
    let copied = disks.copy();
    let (code, text) = fsck(&[&copied.path("n1"), &copied.path("coordinator/nothing")]);
    assert!(code == Some(2) && text.contains("is no node's directory"), "{text}");
    let (code, text) = fsck(&[&copied.path("n1"), &copied.path("n1")]);
    assert!(code == Some(2) && text.contains("node n1"), "{text}");
    let mut foreign = copied.identity("n1");
    foreign.cluster = protocol::ClusterId(uuid::Uuid::from_u128(5));
    std::fs::write(copied.path("n1").join("identity"), serde_json::to_vec(&foreign).unwrap()).unwrap();
    let (code, text) = fsck(&[&copied.path("n1"), &copied.path("n2")]);
    assert!(code == Some(2) && text.contains("different clusters"), "{text}");
}

fn what_is_asked_for_is_what_is_judged(disks: &Disks) {
    let copied = disks.copy();
    let (one, two) = (copied.path("n1"), copied.path("n2"));
    let (code, text) = fsck(&[&one, &two]);
    assert!(code == Some(1) && text.contains("fewer than 2 nodes"), "{text}");
    let (code, text) = fsck(&[&one, &two, Path::new("--copies"), Path::new("1")]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = fsck(&[&one, &two, Path::new("--copies"), Path::new("3")]);
    assert!(code == Some(1) && text.contains("fewer than 3 nodes"), "{text}");
    // A reader that has read enough is no error, and what was found is still told.
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-fsck"));
    let mut child = command.args([&one, &two]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(1), ""));
}

/// Running nodes are not disturbed: they hold their locks, and go on.
#[tokio::test]
async fn running_nodes_can_be_looked_at() {
    let cluster = Cluster::start().await;
    let client = cluster.client();
    for n in 0..20 {
        client.upload(&format!("{n}"), &random_bytes(n, 50_000)).await;
    }
    let nodes = (1..=4).map(|number| cluster.data(&format!("n{number}"))).collect();
    let options = Options { nodes, catalog: None, copies: 3, sample: 1 };
    let report = tokio::task::spawn_blocking(move || check(&options)).await.unwrap().unwrap();
    assert_eq!(report.findings(), Vec::<String>::new(), "{report}");
    assert!(report.chunks >= 20, "{report}");
    client.upload("and on", b"content").await;
}
