//! The authors of a storm: clients that write, change, read and delete a few documents, each of them the same ones, so that they come
//! between each other's reading and writing. They are there in some of the worlds of six nodes.

use crate::sim::check::{Ended, Got};
use crate::sim::client::Client;
use crate::sim::cluster::Cluster;
use crate::sim::document::{FieldChanges, text};
use crate::sim::rng::Rng;
use crate::sim::seats::Seats;
use coordinator::metadata::records::ETag;
use coordinator::object::{Condition, PutDone, Refused, Strategy, VersionSelector};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;

/// Worlds that have authors have so many nodes at least.
const NODES_MIN: usize = 6;
/// Of those worlds, how many have authors.
const AUTHORS_PER_MILLE: u64 = 600;
/// How many they are.
const AUTHORS_MAX: u64 = 2;
/// Authors are quick, so that changes of a document meet.
const THINK_MS_MAX: u64 = 80;
/// And they have many turns.
const TURNS_MIN: u64 = 12;
const TURNS_MAX: u64 = 40;
/// Values that no other write has begin here; all of one length, so that documents differ in nothing but what they say.
const FRESH_VALUE: u64 = 1_000_000;
/// Cold fields have so few values that writes share them.
const COLD_VALUES: u64 = 3;
/// A note that makes the cold part more than one chunk.
const LONG_NOTE_BYTES: usize = 300 << 10;

/// How many authors the storm of a seed has.
pub(super) fn authors(seed: u64, nodes: usize) -> u64 {
    let mut rng = Rng::new(seed, 300);
    match nodes >= NODES_MIN && rng.chance(AUTHORS_PER_MILLE) {
        true => rng.between(1, AUTHORS_MAX),
        false => 0,
    }
}

/// One author's part.
pub(super) struct Author {
    cluster: Arc<Cluster>,
    seats: Arc<Seats>,
    rng: Rng,
    next_value: u64,
    /// What the document that was read last is called.
    seen: Option<ETag>,
}

impl Author {
    pub(super) fn new(cluster: Arc<Cluster>, seats: Arc<Seats>, place: u64) -> Author {
        let rng = Rng::new(cluster.world().seed(), 301 + place);
        Author { cluster, seats, rng, next_value: FRESH_VALUE * (place + 1), seen: None }
    }

    pub(super) async fn play(mut self) {
        for _ in 0..self.rng.between(TURNS_MIN, TURNS_MAX) {
            let think_ms = self.rng.below(THINK_MS_MAX);
            sleep(Duration::from_millis(think_ms)).await;
            let seat = self.rng.below(self.seats.coordinators() as u64) as usize;
            let coordinator = self.seats.at(seat);
            if coordinator.calls.is_dead() {
                continue;
            }
            let client = Client::new(self.cluster.oracle().clone(), coordinator);
            self.turn(&client).await;
        }
    }

    async fn turn(&mut self, client: &Client) {
        let key = *self.rng.pick(&["documents/d0", "documents/d0", "documents/d1"]);
        match self.rng.below(100) {
            0..28 => self.write(client, key).await,
            28..66 => self.change(client, key).await,
            66..82 => self.read(client, key).await,
            82..92 => {
                let number = self.rng.between(1, 12);
                drop(client.get(key, VersionSelector::Number(number)).await);
            }
            92..96 => drop(client.delete_document(key).await),
            _ => drop(client.list_bucket("documents").await),
        }
    }

    /// Where there is none to change, it is written.
    async fn change(&mut self, client: &Client, key: &str) {
        let changed = match self.rng.below(5) {
            0 => {
                let changes = FieldChanges::hot_only([("view_count", self.value()), ("update_count", self.value())]);
                client.change_document(key, &changes, None).await
            }
            _ => self.patch(client, key).await,
        };
        if matches!(changed, Ended::Answered(Err(error)) if Refused::of(&error) == Some(Refused::NoSuchKey)) {
            self.write(client, key).await;
        }
    }

    async fn read(&mut self, client: &Client, key: &str) {
        if let Ended::Answered(Ok(Got::Version(version, _))) = client.get(key, VersionSelector::Latest).await {
            self.seen = Some(version.etag);
        }
    }

    /// Some of what is written differs from what is there in its hot fields only.
    async fn write(&mut self, client: &Client, key: &str) {
        let strategy = match self.rng.below(100) {
            0..12 => Strategy::Replication,
            12..24 => Strategy::Ec,
            _ => Strategy::FieldHybrid,
        };
        let condition = if self.rng.below(10) == 0 { Condition::Absent } else { Condition::None };
        let (views, likes) = (self.fresh(), self.fresh());
        let note = match self.rng.below(100) {
            0..3 => "n".repeat(LONG_NOTE_BYTES),
            _ => format!("note {} ", self.rng.below(COLD_VALUES)).repeat(30),
        };
        let text = text(key, views, self.rng.below(COLD_VALUES), &note, likes);
        drop(client.write_document(key, &text, strategy, condition).await);
    }

    /// Of hot fields, of cold ones, or of both; of the version that was read just now, of one read before, or of any.
    async fn patch(&mut self, client: &Client, key: &str) -> Ended<PutDone> {
        let if_match = match self.rng.below(10) {
            0..4 => None,
            4 => self.seen,
            _ => {
                self.read(client, key).await;
                self.seen
            }
        };
        let (views, other) = (("view_count", Some(self.value())), Some(self.value()));
        let k = Some(self.rng.below(COLD_VALUES).to_string());
        let changes = match self.rng.below(100) {
            0..40 => FieldChanges::patch([views]),
            40..55 => FieldChanges::patch([("k", other)]),
            55..80 => FieldChanges::patch([("k", k), views]),
            80..90 => FieldChanges::patch([views, ("like_count", None)]),
            _ => FieldChanges::patch([("note", None), ("more", other), views]),
        };
        client.change_document(key, &changes, if_match).await
    }

    fn value(&mut self) -> String {
        self.fresh().to_string()
    }

    fn fresh(&mut self) -> u64 {
        self.next_value += 1;
        self.next_value
    }
}
