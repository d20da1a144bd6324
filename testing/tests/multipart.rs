//! Uploads in parts against a plain model: byte vectors by number. Parts come out of order, replace one another, are missing or too
//! small; uploads are completed twice, aborted, or left; and when all is gone, nothing of it is left anywhere.
#![allow(clippy::unwrap_used, reason = "a test ends where something is not as it says")]

use bytes::Bytes;
use coordinator::metadata::keys;
use coordinator::metadata::records::{Checksum, ChecksumAlgorithm, ChecksumKind, ETag, UploadId, VersionRecord};
use coordinator::object::{
    Attributes, BucketName, Checksummer, CompleteRequest, CompletedUpload, Condition, DeleteMode, ListUploadsRequest,
    MissingBucket, NewUpload, ObjectName, Objects, PartClaim, PartTarget, PutTarget, Refused, SourceVersion,
    UploadMarker, Version, VersionSelector, whole_body,
};
use md5::{Digest, Md5};
use protocol::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use testing::sim::cluster::{Cluster, Coordinator, Plants};
use testing::sim::reckoning::come_to_rest;
use testing::sim::rng::Rng;
use testing::sim::runtime::simulate;
use testing::sim::workers::Habits;

/// What the tests ask of every part but the last.
const PART_BYTES_MIN: u64 = 100;
const NODES: usize = 4;

fn name(key: &str) -> ObjectName {
    ObjectName::new(BucketName::files(), key).unwrap()
}

fn source_of<'a>(name: &'a ObjectName, version: &'a VersionRecord) -> SourceVersion<'a> {
    SourceVersion { name, version }
}

fn noise(rng: &mut Rng, bytes: u64) -> Bytes {
    (0..bytes).map(|_| rng.next_u64() as u8).collect()
}

fn new_upload(key: &str, checksum: Option<(ChecksumAlgorithm, ChecksumKind)>) -> NewUpload {
    NewUpload {
        name: name(key),
        content_type: "text/plain".to_owned(),
        metadata: BTreeMap::from([("colour".to_owned(), "blue".to_owned())]),
        attributes: Attributes::default(),
        checksum,
        missing_bucket: MissingBucket::Refuse,
    }
}

fn checksum_of(algorithm: ChecksumAlgorithm, data: &[u8]) -> Checksum {
    let mut checksummer = Checksummer::new(algorithm);
    checksummer.update(data);
    checksummer.finish()
}

/// A cluster in good health, and a coordinator of it.
struct Scene {
    cluster: Arc<Cluster>,
    coordinator: Coordinator,
}

impl Scene {
    async fn set(seed: u64) -> Scene {
        let cluster = Cluster::new(seed, NODES, Plants::default());
        let coordinator = cluster.coordinator().await;
        Scene { cluster, coordinator }
    }

    fn objects(&self) -> &Objects {
        &self.coordinator.objects
    }

    async fn begin(&self, key: &str, checksum: Option<(ChecksumAlgorithm, ChecksumKind)>) -> UploadId {
        self.objects().create_upload(new_upload(key, checksum)).await.unwrap()
    }

    async fn put_part(&self, key: &str, upload: UploadId, number: u16, data: &Bytes) -> Result<PartClaim> {
        let record = self.objects().upload(&name(key), upload).await?;
        let checksum = record.checksum.map(|(algorithm, _)| checksum_of(algorithm, data));
        let target = PartTarget { md5: Some(Md5::digest(data).into()), checksum };
        let body = whole_body(data.clone(), target).await;
        let length = Some(data.len() as u64);
        let done = self.objects().put_part(&name(key), upload, number, length, body).await?;
        assert_eq!((done.size, done.md5), (data.len() as u64, Md5::digest(data).into()));
        assert!(done.receipt.survives >= 1);
        let checksum = done.checksum.map(|checksum| checksum.value);
        Ok(PartClaim { number, etag: hex::encode(done.md5), checksum })
    }

    async fn complete(&self, key: &str, upload: UploadId, parts: &[PartClaim]) -> Result<CompletedUpload> {
        self.objects().complete_upload(&request(key, upload, parts)).await
    }

    async fn read(&self, key: &str, version: &VersionRecord) -> Vec<u8> {
        let mut reader = self.objects().open(&name(key), version, 0..version.size).await.unwrap();
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next().await {
            bytes.extend_from_slice(&piece.unwrap());
        }
        bytes
    }

    async fn version(&self, key: &str) -> Option<Box<VersionRecord>> {
        match self.objects().resolve(&name(key), VersionSelector::Latest).await.unwrap() {
            Version::Found(version) => Some(version),
            Version::NoObject | Version::NoVersion => None,
        }
    }

    /// Everything goes; then nothing is left, in the records and on the disks.
    async fn end(self, keys: &BTreeSet<String>) {
        for key in keys {
            self.objects().delete(&name(key), DeleteMode::Purge).await.unwrap();
        }
        let workers = self.cluster.worker_process(0, &Habits { rest_ms_max: 20, ..Habits::EAGER });
        come_to_rest(&self.cluster).await;
        workers.crash();
        assert_eq!(self.cluster.oracle().violations(), Vec::<String>::new());
        let census = self.cluster.oracle().census();
        assert_eq!((census.versions, census.chunks, census.uploads, census.parts), (0, 0, 0, 0), "{census:?}");
        let shards: usize = self.cluster.nodes().iter().map(|node| node.inventory().len()).sum();
        assert_eq!(shards, 0, "bytes are left on the nodes");
        for range in [keys::every_reference(), keys::parts_in_every_version(), keys::intents()] {
            assert_eq!(self.cluster.oracle().view().scan(&range), Vec::new());
        }
    }
}

fn request(key: &str, upload: UploadId, parts: &[PartClaim]) -> CompleteRequest {
    CompleteRequest {
        name: name(key),
        upload,
        parts: parts.to_vec(),
        condition: Condition::None,
        checksum: None,
        size: None,
        part_bytes_min: PART_BYTES_MIN,
    }
}

fn run(test: impl Future<Output = ()>) {
    let ((), panics) = simulate(test);
    assert_eq!(panics, Vec::<String>::new());
}

fn refusal<T: std::fmt::Debug>(result: Result<T>) -> Refused {
    let error: Error = result.unwrap_err();
    Refused::of(&error).unwrap_or_else(|| panic!("{error:?}"))
}

fn etag_of(parts: &[&Bytes]) -> ETag {
    let md5s: Vec<u8> = parts.iter().flat_map(|part| Md5::digest(part).to_vec()).collect();
    ETag::Parts(Md5::digest(&md5s).into(), parts.len() as u16)
}

/// What is known of an upload without looking.
struct Model {
    key: String,
    upload: UploadId,
    parts: BTreeMap<u16, (Bytes, PartClaim)>,
}

/// An upload that was aborted or completed: under which key, and with what to which end.
type Closed = (UploadId, String, Option<(Vec<PartClaim>, CompletedUpload)>);

async fn play(seed: u64) {
    let scene = Scene::set(seed).await;
    let mut rng = Rng::new(seed, 77);
    let mut open: Vec<Model> = Vec::new();
    let mut closed: Vec<Closed> = Vec::new();
    let mut content: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for _ in 0..rng.between(10, 60) {
        if open.is_empty() || rng.below(100) < 10 {
            let key = format!("k{}", rng.below(3));
            let upload = scene.begin(&key, None).await;
            open.push(Model { key, upload, parts: BTreeMap::new() });
            continue;
        }
        let at = rng.below(open.len() as u64) as usize;
        match rng.below(100) {
            0..55 => put_one(&scene, &mut rng, &mut open[at]).await,
            55..65 => list(&scene, &open[at]).await,
            65..75 => refuse(&scene, &mut rng, &open[at]).await,
            75..90 => {
                if let Some((claims, done)) = complete_some(&scene, &mut rng, &open[at], &mut content).await {
                    let Model { key, upload, .. } = open.remove(at);
                    closed.push((upload, key, Some((claims, done))));
                }
            }
            90..96 => {
                let Model { key, upload, .. } = open.remove(at);
                scene.objects().abort_upload(&name(&key), upload).await.unwrap();
                closed.push((upload, key, None));
            }
            _ => ask_the_closed(&scene, &closed).await,
        }
        for (key, bytes) in &content {
            assert!(scene.read(key, &scene.version(key).await.unwrap()).await == *bytes, "seed {seed}: {key} differs");
        }
    }
    for model in open {
        scene.objects().abort_upload(&name(&model.key), model.upload).await.unwrap();
    }
    scene.end(&content.into_keys().collect()).await;
}

/// In any order, of any number, in place of another; now and then what another part has, too.
async fn put_one(scene: &Scene, rng: &mut Rng, model: &mut Model) {
    let number = rng.between(1, 12) as u16;
    let bytes = *rng.pick(&[0, 1, PART_BYTES_MIN - 1, PART_BYTES_MIN, 300, 5_000, 400_000]);
    let data = match model.parts.values().next() {
        Some((known, _)) if rng.below(100) < 20 => known.clone(),
        _ => noise(rng, bytes),
    };
    let claim = scene.put_part(&model.key, model.upload, number, &data).await.unwrap();
    model.parts.insert(number, (data, claim));
}

async fn list(scene: &Scene, model: &Model) {
    let mut listed = Vec::new();
    let mut after = 0;
    loop {
        let page = scene.objects().list_parts(&name(&model.key), model.upload, after, 3).await.unwrap();
        listed.extend(page.parts.iter().map(|part| (part.number, part.size, hex::encode(part.md5))));
        after = page.parts.last().map_or(after, |part| part.number);
        if !page.more {
            break;
        }
    }
    let known = model.parts.iter().map(|(number, (data, claim))| (*number, data.len() as u64, claim.etag.clone()));
    assert_eq!(listed, known.collect::<Vec<_>>());
}

/// What is wrong is refused by its name, and changes nothing.
async fn refuse(scene: &Scene, rng: &mut Rng, model: &Model) {
    let mut claims: Vec<PartClaim> = model.parts.values().map(|(_, claim)| claim.clone()).collect();
    let expected = match rng.below(5) {
        0 => {
            claims.clear();
            Refused::PartsMissing
        }
        1 if claims.len() >= 2 => {
            claims.reverse();
            Refused::PartOrder
        }
        2 if !claims.is_empty() => {
            claims.push(claims[claims.len() - 1].clone());
            Refused::PartOrder
        }
        3 if model.parts.values().next().is_some_and(|(data, _)| data.len() as u64 >= PART_BYTES_MIN) => {
            claims[0].etag = hex::encode([7; 16]);
            Refused::InvalidPart
        }
        _ => {
            claims = vec![PartClaim { number: 999, etag: hex::encode([7; 16]), checksum: None }];
            Refused::InvalidPart
        }
    };
    assert_eq!(refusal(scene.complete(&model.key, model.upload, &claims).await), expected);
}

/// Completes some of the parts; `None` if one of them is too small.
async fn complete_some(
    scene: &Scene,
    rng: &mut Rng,
    model: &Model,
    content: &mut BTreeMap<String, Vec<u8>>,
) -> Option<(Vec<PartClaim>, CompletedUpload)> {
    let chosen: Vec<&(Bytes, PartClaim)> = model.parts.values().filter(|_| rng.below(100) < 85).collect();
    let (last, others) = chosen.split_last()?;
    let claims: Vec<PartClaim> = chosen.iter().map(|(_, claim)| claim.clone()).collect();
    let completed = scene.complete(&model.key, model.upload, &claims).await;
    if others.iter().any(|(data, _)| (data.len() as u64) < PART_BYTES_MIN) {
        assert_eq!(refusal(completed), Refused::PartTooSmall);
        return None;
    }
    let (done, bytes) = (completed.unwrap(), chosen.iter().flat_map(|(data, _)| data.to_vec()).collect::<Vec<u8>>());
    assert_eq!(done.etag, etag_of(&chosen.iter().map(|(data, _)| data).collect::<Vec<_>>()));
    let version = scene.version(&model.key).await.unwrap();
    assert_eq!((version.id, version.size, version.etag), (done.version, bytes.len() as u64, done.etag));
    assert_eq!((&*version.content_type, &*version.metadata["colour"]), ("text/plain", "blue"));
    check_parts(scene, &model.key, &version, &chosen).await;
    check_ranges(scene, rng, &model.key, &version, &bytes).await;
    assert!(last.0.len() <= bytes.len());
    content.insert(model.key.clone(), bytes);
    Some((claims, done))
}

async fn check_parts(scene: &Scene, key: &str, version: &VersionRecord, chosen: &[&(Bytes, PartClaim)]) {
    let page = scene.objects().object_parts(&name(key), version, 0, 1_000).await.unwrap();
    let mut end = 0;
    let expected: Vec<_> = chosen
        .iter()
        .map(|(data, claim)| {
            let start = end;
            end += data.len() as u64;
            (claim.number, start..end)
        })
        .collect();
    let found: Vec<_> = page.parts.into_iter().map(|part| (part.number, part.range)).collect();
    assert_eq!((found, page.more), (expected, false));
    assert_eq!(version.parts, Some(chosen.len() as u16));
    let first = chosen[0].1.number;
    assert_eq!(scene.objects().object_part(&name(key), version, first).await.unwrap().unwrap().number, first);
    assert_eq!(scene.objects().object_part(&name(key), version, 500).await.unwrap(), None);
}

async fn check_ranges(scene: &Scene, rng: &mut Rng, key: &str, version: &VersionRecord, bytes: &[u8]) {
    for _ in 0..4 {
        let from = rng.below(version.size + 1);
        let to = rng.between(from, version.size);
        let mut reader = scene.objects().open(&name(key), version, from..to).await.unwrap();
        let mut read = Vec::new();
        while let Some(piece) = reader.next().await {
            read.extend_from_slice(&piece.unwrap());
        }
        assert!(read == bytes[from as usize..to as usize], "{from}..{to} of {} differs", version.size);
    }
}

/// A completion that is sent again is answered as before; nothing else can be done with what is closed.
async fn ask_the_closed(scene: &Scene, closed: &[Closed]) {
    for (upload, key, completed) in closed {
        assert_eq!(refusal(scene.put_part(key, *upload, 1, &Bytes::new()).await), Refused::NoSuchUpload);
        assert_eq!(refusal(scene.objects().abort_upload(&name(key), *upload).await), Refused::NoSuchUpload);
        let claims = [PartClaim { number: 1, etag: hex::encode([7; 16]), checksum: None }];
        match completed {
            Some((claims, done)) => assert_eq!(scene.complete(key, *upload, claims).await.unwrap(), *done),
            None => assert_eq!(refusal(scene.complete(key, *upload, &claims).await), Refused::NoSuchUpload),
        }
    }
}

#[test]
fn uploads_in_parts_are_what_a_map_of_byte_vectors_is() {
    for seed in 0..60 {
        run(play(seed));
    }
}

/// The whole's checksum is the one its bytes have, or that of the parts' checksums; what does not match is refused.
#[test]
fn checksums_of_the_whole_follow_from_those_of_the_parts() {
    use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
    run(async {
        let scene = Scene::set(1).await;
        let mut rng = Rng::new(1, 1);
        let parts: Vec<Bytes> = [300, 100, 17].into_iter().map(|bytes| noise(&mut rng, bytes)).collect();
        for algorithm in [Crc32, Crc32c, Crc64Nvme, Sha1, Sha256] {
            for kind in [ChecksumKind::FullObject, ChecksumKind::Composite] {
                let is_hash = matches!(algorithm, Sha1 | Sha256);
                if is_hash && kind == ChecksumKind::FullObject {
                    assert!(scene.objects().create_upload(new_upload("k", Some((algorithm, kind)))).await.is_err());
                    continue;
                }
                let upload = scene.begin("k", Some((algorithm, kind))).await;
                let mut claims = Vec::new();
                for (number, part) in parts.iter().enumerate() {
                    claims.push(scene.put_part("k", upload, number as u16 + 1, part).await.unwrap());
                }
                let without = whole_body(parts[0].clone(), PartTarget::default()).await;
                assert!(scene.objects().put_part(&name("k"), upload, 9, None, without).await.is_err());
                let joined: Vec<u8> = parts.iter().flat_map(|part| checksum_of(algorithm, part).value).collect();
                let expected = match kind {
                    ChecksumKind::FullObject => checksum_of(algorithm, &parts.concat()),
                    ChecksumKind::Composite => Checksum { kind, parts: Some(3), ..checksum_of(algorithm, &joined) },
                };
                let mut wrong = claims.clone();
                wrong[1].checksum = Some(vec![0; expected.value.len()]);
                assert_eq!(refusal(scene.complete("k", upload, &wrong).await), Refused::InvalidPart);
                let other = Checksum { value: vec![0; expected.value.len()], ..expected.clone() };
                let announced = CompleteRequest { checksum: Some(other), ..request("k", upload, &claims) };
                assert_eq!(refusal(scene.objects().complete_upload(&announced).await), Refused::ContentDiffers);
                let announced = CompleteRequest { size: Some(416), ..request("k", upload, &claims) };
                assert_eq!(refusal(scene.objects().complete_upload(&announced).await), Refused::SizeDiffers);
                let announced = CompleteRequest {
                    checksum: Some(expected.clone()),
                    size: Some(417),
                    ..request("k", upload, &claims)
                };
                let done = scene.objects().complete_upload(&announced).await.unwrap();
                assert_eq!(done.checksum.as_ref(), Some(&expected));
                assert_eq!(scene.version("k").await.unwrap().checksum, Some(expected));
            }
        }
        scene.end(&BTreeSet::from(["k".to_owned()])).await;
    });
}

/// Law 10: a list of any length lies in records of a bounded size; each part is found by its number and by its bytes.
#[test]
fn an_upload_of_thousands_of_parts_is_one_version() {
    const PARTS: u16 = 3_333;
    run(async {
        let scene = Scene::set(2).await;
        let mut rng = Rng::new(2, 2);
        let data: Vec<Bytes> = (0..7).map(|_| noise(&mut rng, PART_BYTES_MIN)).collect();
        let upload = scene.begin("long", None).await;
        let mut claims = Vec::new();
        for number in (1..=PARTS).rev() {
            claims.push(scene.put_part("long", upload, 3 * number, &data[usize::from(number % 7)]).await.unwrap());
        }
        claims.reverse();
        let done = scene.complete("long", upload, &claims).await.unwrap();
        assert_eq!(done.size, PART_BYTES_MIN * u64::from(PARTS));
        let version = scene.version("long").await.unwrap();
        let expected: Vec<u8> = (1..=PARTS).flat_map(|number| data[usize::from(number % 7)].to_vec()).collect();
        assert!(scene.read("long", &version).await == expected);
        check_ranges(&scene, &mut rng, "long", &version, &expected).await;
        let part = scene.objects().object_part(&name("long"), &version, 3_000).await.unwrap().unwrap();
        assert_eq!(part.range, 999 * PART_BYTES_MIN..1_000 * PART_BYTES_MIN);
        let page = scene.objects().object_parts(&name("long"), &version, 6_000, 1_000).await.unwrap();
        assert_eq!((page.parts[0].number, page.parts.len(), page.more), (6_003, 1_000, true));
        assert!(scene.cluster.oracle().view().scan(&keys::parts_in(version.id)).len() > 32);
        scene.end(&BTreeSet::from(["long".to_owned()])).await;
    });
}

/// Whoever wins, the upload is closed once, both hear the truth, a part that comes meanwhile is in its place in time or not at all, and
/// nothing is left over.
#[test]
fn of_racing_completions_and_abortions_one_closes_the_upload() {
    let mut seen = BTreeSet::new();
    for seed in 0..80 {
        run(async {
            let scene = Scene::set(seed).await;
            let other = scene.cluster.coordinator().await;
            let mut rng = Rng::new(seed, 3);
            let upload = scene.begin("k", None).await;
            let data = noise(&mut rng, 300);
            let claims = [scene.put_part("k", upload, 1, &data).await.unwrap()];
            let (key, request) = (name("k"), request("k", upload, &claims));
            let (aborts, number) = (rng.below(2) == 0, rng.between(1, 2) as u16);
            let body = whole_body(noise(&mut rng, 300), PartTarget::default()).await;
            let close = async {
                match aborts {
                    true => other.objects.abort_upload(&key, upload).await.map(|()| None),
                    false => other.objects.complete_upload(&request).await.map(Some),
                }
            };
            let (done, closed, part) = tokio::join!(
                scene.objects().complete_upload(&request),
                close,
                other.objects.put_part(&key, upload, number, None, body),
            );
            let refused = |error: &Error| Refused::of(error).unwrap();
            match (&done, &closed) {
                (Ok(done), Ok(Some(again))) => assert_eq!(done, again),
                (Ok(_), Err(error)) | (Err(error), Ok(None)) if refused(error) == Refused::NoSuchUpload => {}
                // Another part came in its place.
                (Err(error), Ok(None) | Err(_)) if number == 1 && part.is_ok() => {
                    assert_eq!(refused(error), Refused::InvalidPart);
                }
                ended => panic!("seed {seed}: {ended:?}, {part:?}"),
            }
            if closed.is_err() && done.is_err() {
                scene.objects().abort_upload(&key, upload).await.unwrap();
            }
            seen.insert((aborts, done.is_ok(), number, part.is_ok()));
            let workers = scene.cluster.worker_process(0, &Habits { rest_ms_max: 20, ..Habits::EAGER });
            come_to_rest(&scene.cluster).await;
            workers.crash();
            let version = scene.version("k").await;
            assert_eq!(version.is_some(), done.is_ok(), "seed {seed}");
            if let Some(version) = version {
                assert!(scene.read("k", &version).await == data, "seed {seed}");
            }
            scene.end(&BTreeSet::from(["k".to_owned()])).await;
        });
    }
    let replaced = seen.iter().any(|at| matches!(at, (_, false, 1, true)));
    let completed = seen.iter().any(|at| matches!(at, (_, true, ..)));
    assert!(replaced && completed, "only {seen:?}");
}

/// A copy has the same bytes and ETag, and needs its source no more; one that has to have another checksum has it.
#[test]
fn copies_stand_by_themselves() {
    run(async {
        let scene = Scene::set(4).await;
        let mut rng = Rng::new(4, 4);
        let upload = scene.begin("source", Some((ChecksumAlgorithm::Sha256, ChecksumKind::Composite))).await;
        // More chunks than one commit names: the copy has pages.
        let parts: Vec<Bytes> = (0..3).map(|_| noise(&mut rng, 2 << 20)).collect();
        let mut claims = Vec::new();
        for (number, part) in parts.iter().enumerate() {
            claims.push(scene.put_part("source", upload, number as u16 + 1, part).await.unwrap());
        }
        scene.complete("source", upload, &claims).await.unwrap();
        let (source, bytes) = (scene.version("source").await.unwrap(), parts.concat());
        assert!(source.chunk_count > 45, "{}", source.chunk_count);
        // Over its parts only: a copy gets the checksum of its bytes, and with it an MD5.
        let read = scene.objects().copy(source_of(&name("source"), &source), target("read"), None).await.unwrap();
        assert_eq!(read.checksum, Some(checksum_of(ChecksumAlgorithm::Sha256, &bytes)));
        assert_eq!(read.put.etag, ETag::Md5(Md5::digest(&bytes).into()));
        let source = scene.version("read").await.unwrap();
        let named = scene.objects().copy(source_of(&name("read"), &source), target("named"), None).await.unwrap();
        assert_eq!((named.checksum, named.put.etag, named.put.stored_bytes), (read.checksum, read.put.etag, 0));
        let crc = scene
            .objects()
            .copy(source_of(&name("read"), &source), target("crc"), Some(ChecksumAlgorithm::Crc64Nvme))
            .await
            .unwrap();
        assert_eq!(crc.checksum, Some(checksum_of(ChecksumAlgorithm::Crc64Nvme, &bytes)));
        let itself = scene.objects().copy(source_of(&name("read"), &source), target("read"), None).await.unwrap();
        assert_eq!((itself.put.number, itself.put.sha256), (2, source.sha256));
        let (range, upload) = (1_000_001..3_000_002, scene.begin("part", None).await);
        let part = scene
            .objects()
            .copy_part(&name("part"), upload, 1, source_of(&name("read"), &source), range)
            .await
            .unwrap();
        let claim = PartClaim { number: 1, etag: hex::encode(part.md5), checksum: None };
        scene.complete("part", upload, &[claim]).await.unwrap();
        for key in ["source", "read"] {
            scene.objects().delete(&name(key), DeleteMode::Purge).await.unwrap();
        }
        let workers = scene.cluster.worker_process(0, &Habits { rest_ms_max: 20, ..Habits::EAGER });
        come_to_rest(&scene.cluster).await;
        workers.crash();
        for key in ["named", "crc"] {
            assert!(scene.read(key, &scene.version(key).await.unwrap()).await == bytes, "{key} differs");
        }
        assert!(scene.read("part", &scene.version("part").await.unwrap()).await == bytes[1_000_001..3_000_002]);
        scene.end(&["named", "crc", "part"].map(str::to_owned).into()).await;
    });
}

fn target(key: &str) -> PutTarget {
    PutTarget {
        name: name(key),
        content_type: "text/plain".to_owned(),
        metadata: BTreeMap::new(),
        condition: Condition::None,
        md5: None,
        attributes: Attributes::default(),
        missing_bucket: MissingBucket::Refuse,
    }
}

#[test]
fn open_uploads_list_in_order_page_by_page_and_keep_their_bucket() {
    run(async {
        let scene = Scene::set(5).await;
        let mut rng = Rng::new(5, 5);
        let mut known: BTreeSet<(String, UploadId)> = BTreeSet::new();
        for key in ["a", "a/1", "a/1", "a/2/x", "b", "b", "b", "c/1", "c/2", "d!", "d/"] {
            known.insert((key.to_owned(), scene.begin(key, None).await));
        }
        for _ in 0..200 {
            let (prefix, limit) = (*rng.pick(&["", "a", "a/", "b", "d"]), rng.between(1, 4) as usize);
            let delimiter = *rng.pick(&[None, Some("/")]);
            let (mut found, mut after) = (BTreeSet::new(), None::<UploadMarker>);
            loop {
                let request = ListUploadsRequest {
                    bucket: BucketName::files(),
                    prefix: prefix.to_owned(),
                    delimiter: delimiter.map(str::to_owned),
                    after,
                    limit,
                };
                let page = scene.objects().list_uploads(&request).await.unwrap();
                assert!(page.uploads.len() + page.prefixes.len() <= limit);
                found.extend(page.uploads.into_iter().map(|upload| (upload.key, Some(upload.upload))));
                for prefix in page.prefixes {
                    assert!(found.insert((prefix, None)), "a prefix was shown twice");
                }
                after = page.last;
                if !page.more {
                    break;
                }
            }
            let expected = known.iter().filter(|(key, _)| key.starts_with(prefix)).map(|(key, upload)| match delimiter
                .and_then(|delimiter| key[prefix.len()..].find(delimiter))
            {
                Some(at) => (key[..=prefix.len() + at].to_owned(), None),
                None => (key.clone(), Some(*upload)),
            });
            assert_eq!(found, expected.collect(), "{prefix:?} {delimiter:?} by {limit}");
        }
        for (key, upload) in known {
            scene.objects().abort_upload(&name(&key), upload).await.unwrap();
        }
        scene.end(&BTreeSet::new()).await;
    });
}
