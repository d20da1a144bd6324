//! Stored records: every layout ever released reads for ever, and no bytes whatever make decoding panic.
//!
//! `golden/<record>.v1.bin` was written by the program that first released that layout. These files are never rewritten: a test
//! that fails here found a change that would lose data. `NEW_GOLDEN=1` writes files that are missing, for a new layout.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use coordinator::code::Code;
use coordinator::metadata::records::{
    BucketRecord, BucketState, Checksum, ChecksumAlgorithm, ChecksumKind, ChunkEntry, ChunkList, ChunkRecord,
    ChunkState, ClusterRecord, CollectRecord, CompletedRecord, CorsRule, CredentialRecord, DefaultRetention,
    DigestRecord, ETag, FindingKind, FindingRecord, Garbage, GarbageRecord, GrantRecord, Headers, HeatRecord,
    IntentRecord, LeaseRecord, LifecycleRule, NodeRecord, NodeState, NoncurrentTransition, ObjectLock, ObjectRecord,
    ObjectState, PAGE_ENTRIES_MAX, PARTS_ENTRIES_MAX, PageRecord, PartEntry, PartRecord, PartsRecord, Quota, Record,
    RefRecord, RepairRecord, Retention, RetentionMode, RuleFilter, SavingsRecord, ShardPlace, StorageClass, Strategy,
    Transition, TransitionMinimum, TransitionRecord, TrashRecord, UploadRecord, UsageRecord, VerifyCounts,
    VerifyRecord, VersionId, VersionRecord, VersionState, Versioning, WantedRecord, WorkerRecord,
};
use proptest::prelude::{ProptestConfig, any, prop, proptest};
use protocol::{ChunkId, ClusterId, DiskId, ErrorKind, NodeId, Start};
use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use uuid::Uuid;

fn version_id() -> VersionId {
    VersionId(Uuid::from_u128(0x0193_4f1e_7a00_7000_8000_0000_0000_0001))
}

fn chunk_id() -> ChunkId {
    ChunkId(Uuid::from_u128(0x0193_4f1e_7a00_7000_8000_0000_0000_0002))
}

fn entry(end: u64) -> ChunkEntry {
    ChunkEntry { chunk: chunk_id(), end, sha256: [0x5a; 32] }
}

fn object() -> ObjectRecord {
    ObjectRecord {
        current: version_id(),
        number: 3,
        last_number: 4,
        purged_through: 1,
        state: ObjectState::Live,
        size: 5 << 30,
        sha256: Some([0xa5; 32]),
        modified_ms: 1_732_150_000_123,
        content_type: "text/plain; charset=utf-8".to_owned(),
        chunks: 20_480,
        etag: ETag::None,
        storage_class: StorageClass::Standard,
        null_number: None,
        checksum: None,
    }
}

fn object_of_s3() -> ObjectRecord {
    ObjectRecord {
        sha256: None,
        etag: ETag::Parts([0x11; 16], 10_000),
        null_number: Some(3),
        checksum: Some((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject)),
        ..object()
    }
}

fn version() -> VersionRecord {
    VersionRecord {
        id: version_id(),
        number: 3,
        created_ms: 1_732_150_000_123,
        state: VersionState::Live,
        size: 300,
        sha256: Some([0xa5; 32]),
        etag: ETag::Md5([0x11; 16]),
        content_type: "text/plain".to_owned(),
        metadata: BTreeMap::from([("colour".to_owned(), "blau äöü".to_owned()), ("empty".to_owned(), String::new())]),
        chunks: ChunkList::Inline(vec![entry(100), entry(300)]),
        chunk_count: 2,
        shared_bytes: 100,
        stored_bytes: 150,
        is_null: false,
        owner: String::new(),
        headers: Headers::default(),
        tags: BTreeMap::new(),
        checksum: None,
        retention: None,
        legal_hold: None,
        storage_class: StorageClass::Standard,
        tiered: false,
        manifest: version_id(),
        parts: None,
    }
}

fn version_of_s3() -> VersionRecord {
    VersionRecord {
        is_null: true,
        sha256: None,
        etag: ETag::Parts([0x11; 16], 2),
        owner: "HOLDFAST1".to_owned(),
        headers: Headers { cache_control: Some("no-cache".to_owned()), ..Headers::default() },
        tags: BTreeMap::from([("team".to_owned(), "a b".to_owned())]),
        checksum: Some(Checksum {
            algorithm: ChecksumAlgorithm::Sha256,
            kind: ChecksumKind::Composite,
            value: vec![7; 32],
            parts: Some(2),
        }),
        retention: Some(Retention { mode: RetentionMode::Compliance, until_ms: 9 }),
        legal_hold: Some(true),
        parts: Some(2),
        ..version()
    }
}

fn bucket() -> BucketRecord {
    BucketRecord {
        created_ms: 1_732_150_000_123,
        owner: "HOLDFAST1".to_owned(),
        versioning: Versioning::Suspended,
        state: BucketState::Deleting,
        object_lock: Some(ObjectLock {
            default: Some(DefaultRetention { mode: RetentionMode::Governance, days: Some(30), years: None }),
        }),
        tags: BTreeMap::from([("team".to_owned(), "a b".to_owned())]),
        cors: vec![CorsRule { origins: vec!["https://*.example.org".to_owned()], ..CorsRule::default() }],
        lifecycle: vec![LifecycleRule {
            id: "logs".to_owned(),
            enabled: true,
            filter: RuleFilter { prefix: "logs/".to_owned(), larger_than: Some(1), ..RuleFilter::default() },
            expire_days: Some(7),
            noncurrent_kept: Some(2),
            ..LifecycleRule::default()
        }],
        public_read: true,
        quota: Some(Quota { bytes: Some(1 << 40), objects: None }),
        strategy: None,
        transition_minimum: TransitionMinimum::AllClasses,
    }
}

fn bucket_that_moves() -> BucketRecord {
    let class = StorageClass::StandardIa;
    let rule = LifecycleRule {
        id: "moves".to_owned(),
        transitions: vec![
            Transition { days: Some(30), at_ms: None, class },
            Transition { days: None, at_ms: Some(1_732_147_200_000), class },
        ],
        noncurrent_transitions: vec![NoncurrentTransition { days: 0, kept: Some(3), class }],
        ..LifecycleRule::default()
    };
    let lifecycle = bucket().lifecycle.into_iter().chain([rule]).collect();
    BucketRecord { lifecycle, transition_minimum: TransitionMinimum::VariesByClass, ..bucket() }
}

fn paged_version() -> VersionRecord {
    let chunks = ChunkList::Paged { pages: 9 };
    VersionRecord { sha256: None, etag: ETag::None, chunks, state: VersionState::Marker, ..version() }
}

fn chunk() -> ChunkRecord {
    let place = |name: &str, index| ShardPlace { node: name.parse::<NodeId>().unwrap(), index, crc: 0xdead_beef };
    ChunkRecord {
        length: 65_536,
        stored_length: 20_000,
        sha256: [0x5a; 32],
        compressed: true,
        code: Code::REPLICATION,
        shards: vec![place("n1", 0), place("n2", 1), place("n4", 2)],
        state: ChunkState::Live,
        fence: 0,
    }
}

fn node() -> NodeRecord {
    NodeRecord {
        node: "n1".parse().unwrap(),
        url: "http://127.0.0.1:8081".to_owned(),
        zone: "eu-1".to_owned(),
        disk: DiskId(Uuid::from_u128(9)),
        weight: 100,
        known_since_ms: 1_732_150_000_123,
        state: NodeState::Active,
        state_since_ms: 1_732_150_000_123,
        decommissioned: false,
        unproved: false,
        start: None,
    }
}

fn repair() -> RepairRecord {
    RepairRecord::new(chunk_id(), 5, "n3 did not answer")
}

fn progress() -> WorkerRecord {
    let counts = BTreeMap::from([("bytes".to_owned(), 1 << 40), ("corrupt".to_owned(), 0)]);
    WorkerRecord { position: vec![0, 1, 0xff], started_ms: 8, finished_ms: 9, counts }
}

fn verification() -> VerifyRecord {
    VerifyRecord {
        bucket: Some("files".to_owned()),
        prefix: "a/".to_owned(),
        bytes_per_s: 1 << 20,
        position: vec![1, 0, 2],
        offset: 5,
        object: vec![7],
        requested_ms: 1,
        finished_ms: 2,
        counts: VerifyCounts {
            objects: 1,
            versions: 2,
            chunks: 3,
            copies: 9,
            bytes: 300,
            corrupt: 1,
            ..VerifyCounts::default()
        },
        findings: 1,
    }
}

fn savings() -> SavingsRecord {
    SavingsRecord {
        versions: 3,
        logical_bytes: 5 << 40,
        unique_bytes: 4 << 40,
        stored_bytes: 3 << 40,
        node_bytes: 6 << 40,
        coded_bytes: 2 << 40,
        coded_as_copies_bytes: 4 << 40,
        began_ms: 1_732_150_000_123,
        ended_ms: 1_732_150_000_456,
    }
}

fn finding() -> FindingRecord {
    FindingRecord {
        kind: FindingKind::Corrupt,
        bucket: "files".to_owned(),
        key: "a/b".to_owned(),
        version: 2,
        chunk: Some(chunk_id()),
        offset: 5,
        node: Some("n1".parse().unwrap()),
        detail: "its CRC32 is wrong".to_owned(),
        repair_queued: true,
    }
}

fn intent() -> IntentRecord {
    IntentRecord { bucket: "files".to_owned(), key: "a/b".to_owned(), started_ms: 1, heartbeat_ms: 2 }
}

fn credential() -> CredentialRecord {
    let grant = GrantRecord { buckets: vec!["logs-*".to_owned(), "*".to_owned()], actions: 13, any_owner: true };
    CredentialRecord {
        id: "HFABCDEFGHJKLMNPQRST".to_owned(),
        name: "the reader ä".to_owned(),
        owner: "HFADMIN2222222222222".to_owned(),
        token_sha256: [0xc3; 32],
        sealed_secret: vec![0, 1, 0xff, 7],
        grants: vec![grant],
        disabled: false,
        shown: true,
        created_ms: 1_732_150_000_123,
        rotated_ms: 1_732_150_000_124,
        expires_ms: 0,
    }
}

fn garbage() -> GarbageRecord {
    let garbage = Garbage::Versions { bucket: "files".to_owned(), key: "a/b".to_owned(), after: 0, through: 3 };
    GarbageRecord { garbage, since_ms: 4 }
}

fn upload_of_s3() -> UploadRecord {
    let of = version_of_s3();
    UploadRecord {
        initiated_ms: 1_732_150_000_123,
        owner: of.owner,
        content_type: of.content_type,
        metadata: of.metadata,
        headers: of.headers,
        tags: of.tags,
        retention: of.retention,
        legal_hold: true,
        storage_class: of.storage_class,
        tiered: false,
        checksum: Some((ChecksumAlgorithm::Crc32c, ChecksumKind::Composite)),
    }
}

fn transition() -> TransitionRecord {
    TransitionRecord {
        bucket: "files".to_owned(),
        key: "a/b".to_owned(),
        number: 3,
        class: StorageClass::StandardIa,
        size: 5 << 30,
        reason: "lifecycle rule 'logs': 30 days old".to_owned(),
        since_ms: 1_732_150_000_123,
    }
}

fn crc() -> Option<Checksum> {
    let (algorithm, kind) = (ChecksumAlgorithm::Crc32c, ChecksumKind::FullObject);
    Some(Checksum { algorithm, kind, value: vec![1, 2, 3, 0xff], parts: None })
}

fn part() -> PartRecord {
    PartRecord {
        id: version_id(),
        size: 5 << 20,
        md5: [0x11; 16],
        checksum: crc(),
        chunks: 60,
        stored_bytes: 4 << 20,
        modified_ms: 1_732_150_000_123,
    }
}

fn part_entry(number: u16) -> PartEntry {
    PartEntry { number, id: version_id(), end: u64::from(number) * (5 << 20), checksum: crc() }
}

fn completed() -> CompletedRecord {
    CompletedRecord {
        bucket: "bucket".to_owned(),
        key: "a/b".to_owned(),
        at_ms: 1_732_150_000_123,
        version: version_id(),
        is_null: true,
        versioning: Versioning::Suspended,
        number: 3,
        size: 10_000 * (5 << 20),
        etag: ETag::Parts([0x22; 16], 10_000),
        checksum: crc(),
    }
}

#[test]
fn every_released_layout_reads_for_ever() {
    golden_before("bucket.v1", &bucket());
    golden_before("bucket-plain.v1", &BucketRecord::default());
    golden_before("bucket.v2", &BucketRecord { strategy: Some(Strategy::Auto), ..bucket() });
    golden("bucket.v3", &bucket_that_moves());
    golden("bucket-plain.v3", &BucketRecord::default());
    golden_before("object.v1", &object());
    golden("object.v2", &object_of_s3());
    golden_before("version.v1", &version());
    golden_before("version-paged.v1", &paged_version());
    golden_before("version.v2", &version_of_s3());
    golden_before("version.v3", &version_of_s3());
    golden_before("version-let-go.v3", &VersionRecord { legal_hold: Some(false), ..version() });
    let moved = VersionId(Uuid::from_u128(0x0193_4f1e_7a00_7000_8000_0000_0000_0009));
    let class = StorageClass::StandardIa;
    golden("version.v4", &VersionRecord { manifest: moved, tiered: true, storage_class: class, ..version_of_s3() });
    golden("page.v1", &PageRecord { start: 7, entries: vec![entry(100), entry(300)] });
    golden_before("chunk.v1", &chunk());
    golden("chunk.v2", &ChunkRecord { fence: 5, ..chunk() });
    golden("digest.v1", &DigestRecord { chunk: chunk_id() });
    golden("ref.v1", &RefRecord {});
    golden("intent.v1", &intent());
    golden_before("repair.v1", &repair());
    let moved = RepairRecord { away_from: Some("n2".parse().unwrap()), toward: None, check_bytes: true, ..repair() };
    golden_before("repair.v2", &moved);
    golden("repair.v3", &RepairRecord { lost: true, ..moved });
    golden_before("garbage.v1", &garbage());
    golden_before("garbage.v2", &garbage());
    golden("garbage.v3", &garbage());
    let manifest = Garbage::Manifest { chunks: ChunkList::Inline(vec![entry(100)]) };
    let manifest = GarbageRecord { garbage: manifest, since_ms: 0 };
    golden_before("garbage-manifest.v2", &manifest);
    golden("garbage-manifest.v3", &manifest);
    let names = Garbage::Names { bucket: "gone".to_owned() };
    golden("garbage-names.v3", &GarbageRecord { garbage: names, since_ms: 5 });
    let upload = Garbage::Upload { version: Some(version_id()) };
    golden("garbage-upload.v3", &GarbageRecord { garbage: upload, since_ms: 0 });
    let of_parts = VersionRecord { chunks: ChunkList::Parts, parts: Some(2), ..version_of_s3() };
    golden_before("version-parts.v2", &of_parts);
    golden_before("version-parts.v3", &of_parts);
    golden("version-parts.v4", &of_parts);
    let document = ChunkList::Document { hot: vec![entry(10), entry(300)], cold: vec![entry(200)] };
    let of_document = VersionRecord { chunks: document.clone(), sha256: None, ..version_of_s3() };
    golden_before("version-document.v2", &of_document);
    golden_before("version-document.v3", &of_document);
    golden("version-document.v4", &of_document);
    golden("garbage-document.v3", &GarbageRecord { garbage: Garbage::Manifest { chunks: document }, since_ms: 0 });
    golden_before("upload.v1", &upload_of_s3());
    golden("upload.v2", &UploadRecord { tiered: true, ..upload_of_s3() });
    golden("part.v1", &part());
    golden("parts.v1", &PartsRecord { start: 5 << 20, entries: vec![part_entry(1), part_entry(10_000)] });
    golden("completed.v1", &completed());
    the_cluster_and_its_workers();
}

fn the_cluster_and_its_workers() {
    golden_before("node.v1", &node());
    let draining = NodeRecord { state: NodeState::Draining, state_since_ms: 7, decommissioned: true, ..node() };
    golden_before("node.v2", &draining);
    let unproved = NodeRecord { unproved: true, ..draining };
    golden_before("node.v3", &unproved);
    golden("node.v4", &NodeRecord { start: Some(Start { number: 3, id: 77 }), ..unproved });
    golden("cluster.v1", &ClusterRecord { cluster: ClusterId(Uuid::from_u128(8)), epoch: 2 });
    golden("collect.v1", &CollectRecord { since_ms: 6 });
    golden("trash.v1", &TrashRecord { since_ms: 6 });
    golden("lease.v1", &LeaseRecord { holder: "coordinator-8080".to_owned(), beats: 9 });
    golden("worker.v1", &progress());
    golden("verify.v1", &verification());
    golden("finding.v1", &finding());
    golden("credential.v1", &credential());
    golden(
        "usage.v1",
        &UsageRecord { bytes: 5 << 40, objects: 7, began_ms: 1_732_150_000_123, ended_ms: 1_732_150_000_456 },
    );
    golden("transition.v1", &transition());
    golden("heat.v1", &HeatRecord { milli_reads: 12_500, at_ms: 1_732_150_000_123 });
    golden("savings.v1", &savings());
    golden("wanted.v1", &WantedRecord { since_ms: 7, reason: "node n3 has a new disk".to_owned() });
}

/// A file of a layout that is no longer written reads as the current one.
fn golden_before<R: Record + PartialEq + Debug>(name: &str, expected: &R) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.bin"));
    let stored = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(&R::decode(&stored).unwrap(), expected, "{name}");
    assert_broken_bytes_are_corrupt::<R>(name, &stored);
}

fn golden<R: Record + PartialEq + Debug>(name: &str, expected: &R) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.bin"));
    if std::env::var_os("NEW_GOLDEN").is_some() && !path.exists() {
        #[expect(clippy::disallowed_methods, reason = "a file of the source tree, written once by hand")]
        std::fs::write(&path, expected.encode()).unwrap();
    }
    let stored = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let read = R::decode(&stored).unwrap();
    assert_eq!(&read, expected, "{name}");
    assert_eq!(read.encode(), stored, "{name}: the same record must make the same bytes");
    assert_broken_bytes_are_corrupt::<R>(name, &stored);
}

fn assert_broken_bytes_are_corrupt<R: Record + Debug>(name: &str, stored: &[u8]) {
    for cut in 0..stored.len() {
        assert_eq!(R::decode(&stored[..cut]).unwrap_err().kind, ErrorKind::Corrupt, "{name} cut at {cut}");
    }
    for bit in 0..stored.len() * 8 {
        let mut flipped = stored.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        // Noticing damage is the log's task (CRC32); decoding it must end in a record or in `Corrupt`.
        drop(R::decode(&flipped));
    }
}

#[test]
fn every_state_round_trips() {
    for state in [ObjectState::Live, ObjectState::Deleted, ObjectState::Purged] {
        let record = ObjectRecord { state, ..object() };
        assert_eq!(ObjectRecord::decode(&record.encode()).unwrap(), record);
    }
    for versioning in [Versioning::Off, Versioning::Enabled, Versioning::Suspended] {
        for state in [BucketState::Live, BucketState::Deleting, BucketState::Gone] {
            let record = BucketRecord { versioning, state, ..bucket() };
            assert_eq!(BucketRecord::decode(&record.encode()).unwrap(), record);
        }
    }
    for state in [ChunkState::Live, ChunkState::Condemned] {
        let record = ChunkRecord { state, shards: Vec::new(), ..chunk() };
        assert_eq!(ChunkRecord::decode(&record.encode()).unwrap(), record);
    }
}

#[test]
fn a_record_of_another_kind_is_corrupt() {
    assert_eq!(ObjectRecord::decode(&version().encode()).unwrap_err().kind, ErrorKind::Corrupt);
    assert_eq!(IntentRecord::decode(&garbage().encode()).unwrap_err().kind, ErrorKind::Corrupt);
}

#[test]
fn a_code_or_node_name_that_cannot_be_is_corrupt() {
    let good = chunk().encode();
    let at = good.windows(3).position(|bytes| bytes == [0x92, 1, 2]).expect("1+2 as an array of two");
    let mut bad = good.to_vec();
    bad[at + 1] = 0;
    assert_eq!(ChunkRecord::decode(&bad).unwrap_err().kind, ErrorKind::Corrupt);
    let at = good.windows(2).position(|bytes| bytes == b"n4").unwrap();
    let mut bad = good.to_vec();
    bad[at] = b'/';
    assert_eq!(ChunkRecord::decode(&bad).unwrap_err().kind, ErrorKind::Corrupt);
}

#[test]
fn records_are_as_small_as_their_content() {
    let parts = PartsRecord { start: 0, entries: vec![part_entry(10_000); PARTS_ENTRIES_MAX] };
    assert!(parts.encode().len() <= 64 * PARTS_ENTRIES_MAX, "{} bytes", parts.encode().len());
    // A page of 1,024 chunks, the records of a 4 KiB object: what the metadata costs, watched.
    let page = PageRecord { start: 0, entries: vec![entry(u64::MAX); PAGE_ENTRIES_MAX] };
    assert!(page.encode().len() <= 64 * PAGE_ENTRIES_MAX, "{} bytes", page.encode().len());
    assert!(object().encode().len() <= 120, "{} bytes", object().encode().len());
    assert!(chunk().encode().len() <= 90, "{} bytes", chunk().encode().len());
    assert!(RefRecord {}.encode().len() <= 3);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_bytes_make_decoding_panic(kind in 0u8..48, version in 1u8..4, bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        decode_as_everything(&[&[kind, version][..], &bytes].concat());
        decode_as_everything(&bytes);
    }

    #[test]
    fn no_damage_makes_decoding_panic(at in any::<prop::sample::Index>(), byte in any::<u8>(), which in 0usize..9) {
        let [object, version] = [object_of_s3().encode(), version_of_s3().encode()];
        let samples = [object, version, bucket().encode(), garbage().encode(), chunk().encode(), node().encode()];
        let uploads = [upload_of_s3().encode(), part().encode(), completed().encode()];
        let samples = [&samples[..], &uploads].concat();
        let mut bytes = samples[which].to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        decode_as_everything(&bytes);
    }
}

fn decode_as_everything(bytes: &[u8]) {
    let kinds = [
        BucketRecord::decode(bytes).err(),
        ObjectRecord::decode(bytes).err(),
        VersionRecord::decode(bytes).err(),
        PageRecord::decode(bytes).err(),
        ChunkRecord::decode(bytes).err(),
        DigestRecord::decode(bytes).err(),
        RefRecord::decode(bytes).err(),
        IntentRecord::decode(bytes).err(),
        RepairRecord::decode(bytes).err(),
        GarbageRecord::decode(bytes).err(),
        NodeRecord::decode(bytes).err(),
        ClusterRecord::decode(bytes).err(),
        CollectRecord::decode(bytes).err(),
        TrashRecord::decode(bytes).err(),
        LeaseRecord::decode(bytes).err(),
        WorkerRecord::decode(bytes).err(),
        WantedRecord::decode(bytes).err(),
        VerifyRecord::decode(bytes).err(),
        FindingRecord::decode(bytes).err(),
        CredentialRecord::decode(bytes).err(),
        UsageRecord::decode(bytes).err(),
        SavingsRecord::decode(bytes).err(),
        TransitionRecord::decode(bytes).err(),
        HeatRecord::decode(bytes).err(),
        UploadRecord::decode(bytes).err(),
        PartRecord::decode(bytes).err(),
        PartsRecord::decode(bytes).err(),
        CompletedRecord::decode(bytes).err(),
    ];
    for error in kinds.into_iter().flatten() {
        assert_eq!(error.kind, ErrorKind::Corrupt);
    }
}
