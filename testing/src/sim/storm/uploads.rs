//! A client's part that uploads in parts and copies: in any order, in place of another, broken off; completed, completed twice at once,
//! aborted, aborted while it is completed, or left open.

use super::Player;
use crate::sim::body::TestBody;
use crate::sim::check::{Ended, Got};
use crate::sim::client::uploads::Begun;
use crate::sim::client::{Client, Sending};
use coordinator::object::{Condition, PartClaim, VersionSelector};
use futures_util::future::join;
use std::time::Duration;
use tokio::time::sleep;

/// How often a client sends a part that it got no answer for.
const PART_ATTEMPTS_MAX: u64 = 3;
/// Numbers of parts of one upload lie so far apart at most.
const NUMBERS_APART_MAX: u64 = 40;

impl Player {
    pub(super) async fn upload_or_copy(&mut self, client: &Client) {
        let key = self.key_of_upload();
        match self.rng.below(100) {
            0..25 => self.copy(client, &key).await,
            _ => self.upload(client, &key).await,
        }
    }

    /// Behind the file door, or in a bucket that comes and goes.
    fn key_of_upload(&mut self) -> String {
        let number = self.rng.below(self.work.keys);
        match self.rng.below(100) < self.work.buckets_percent {
            true => format!("{}/k{}", self.rng.pick(&["bucket-a", "bucket-b"]), number % 2),
            false => format!("k{number}"),
        }
    }

    async fn copy(&mut self, client: &Client, key: &str) {
        let from = format!("k{}", self.rng.below(self.work.keys));
        if let Ended::Answered(Ok(Got::Version(source, _))) = client.get(&from, VersionSelector::Latest).await {
            drop(client.copy((&from, &source), key, Condition::None).await);
        }
    }

    async fn upload(&mut self, client: &Client, key: &str) {
        let body = self.body();
        let condition = if self.rng.below(10) == 0 { Condition::Absent } else { Condition::None };
        let Ended::Answered(Ok(mut begun)) = client.begin_upload(key, &body, condition).await else { return };
        if !self.send_parts(client, &mut begun, &body).await {
            if self.rng.below(2) == 0 {
                drop(client.abort(&begun).await);
            }
            return;
        }
        self.end_upload(client, &begun).await;
    }

    /// False if not all of them were acknowledged.
    async fn send_parts(&mut self, client: &Client, begun: &mut Begun, body: &TestBody) -> bool {
        let mut number = 0;
        let mut parts = Vec::new();
        let mut rest = body.data.clone();
        for _ in 0..self.rng.below(3) {
            let part = rest.split_to(self.rng.below(rest.len() as u64 + 1) as usize);
            number += self.rng.between(1, NUMBERS_APART_MAX) as u16;
            parts.push((number, part));
        }
        parts.push((number + 1, rest));
        let unclaimed = self.rng.below(10) == 0;
        if unclaimed {
            drop(client.put_part(begun, number + 2, body.data.clone(), Sending::Whole).await);
        }
        while !parts.is_empty() {
            let at = self.rng.below(parts.len() as u64) as usize;
            let (number, data) = parts.remove(at);
            if self.rng.below(10) == 0 {
                let other = TestBody::new(self.fresh_tag(), 50).data;
                drop(client.put_part(begun, number, other, Sending::Whole).await);
            }
            let mut done = None;
            for _ in 0..PART_ATTEMPTS_MAX {
                let sending = match self.rng.below(100) {
                    0..5 => Sending::BreaksOff,
                    percent if percent < 5 + self.work.slow_percent => Sending::Slow(self.pause()),
                    _ => Sending::Whole,
                };
                if let Ended::Answered(Ok(part)) = client.put_part(begun, number, data.clone(), sending).await {
                    done = Some(part);
                    break;
                }
            }
            let Some(done) = done else { return false };
            begun.claims.push(PartClaim { number, etag: hex::encode(done.md5), checksum: None });
        }
        begun.claims.sort_by_key(|claim| claim.number);
        true
    }

    async fn end_upload(&mut self, client: &Client, begun: &Begun) {
        let seat = self.rng.below(self.seats.coordinators() as u64) as usize;
        let other = Client::new(self.cluster.oracle().clone(), self.seats.at(seat));
        let pause_ms = self.rng.below(40);
        let late = sleep(Duration::from_millis(pause_ms));
        match self.rng.below(100) {
            0..60 => drop(client.complete(begun).await),
            60..72 => drop(join(client.complete(begun), async { (late.await, other.complete(begun).await).1 }).await),
            72..84 => drop(join(client.complete(begun), async { (late.await, other.abort(begun).await).1 }).await),
            84..90 => drop(client.abort(begun).await),
            _ => self.cluster.oracle().leaves_open(begun.clone()),
        }
    }
}
