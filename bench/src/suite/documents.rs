//! Documents of hot and cold fields: what an update of a hot field costs beside writing all of an 800 KB document, in one run.

use super::{Suite, tell};
use crate::driver::Driver;
use crate::http::{Connection, Endpoint, head};
use crate::latency::{Latency, Samples};
use crate::table::{Quantity, Row, Unit};
use std::io;
use std::time::{Duration, Instant};

/// The cold field's length: with the others it makes a document of 800 KB.
const COLD_BYTES: usize = 800_000;
/// A hot update costs so many times less, in CPU and in p95.
const TIMES_MIN: f64 = 5.0;
/// Requests before those that are measured.
const WARM_UP: u64 = 5;

/// A kind of update.
#[derive(Clone, Copy)]
enum Update {
    /// All of the document, with other cold fields each time.
    Rewrite,
    /// All of it is sent, and only the hot field is another one.
    WholeBody,
    /// The hot field alone is sent.
    Patch,
}

impl Update {
    fn request(self, endpoint: &Endpoint, number: u64) -> Vec<u8> {
        let json = "content-type: application/json\r\n";
        let (method, target, body) = match self {
            Update::Rewrite => ("POST", "/write?key=bench&strategy=field_hybrid", document(number, number)),
            Update::WholeBody => ("POST", "/write?key=bench&strategy=field_hybrid", document(number, 0)),
            Update::Patch => ("PATCH", "/documents/bench", format!("{{\"view_count\":{number}}}")),
        };
        let mut request = head(method, target, endpoint, json, body.len() as u64);
        request.extend_from_slice(body.as_bytes());
        request
    }
}

/// A document whose text no compressor shortens by much.
fn document(views: u64, seed: u64) -> String {
    let mut state = seed;
    let letter = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[(state >> 58) as usize])
    };
    let cold: String = (0..COLD_BYTES).map(letter).collect();
    format!("{{\"title\":\"a document\",\"view_count\":{views},\"cold\":\"{cold}\",\"like_count\":1}}")
}

impl Suite<'_> {
    /// Rewrites, hot updates, and their ratios.
    pub(super) fn documents(&mut self) -> io::Result<()> {
        let factor = if self.options.full { 4 } else { 1 };
        let rewrite = self.updates("full rewrite of an 800 KB document", Update::Rewrite, 50 * factor)?;
        // The cold fields that whole bodies repeat.
        self.send(Update::WholeBody, 0, 1)?;
        let whole = self.updates("hot update by its whole body", Update::WholeBody, 100 * factor)?;
        let patch = self.updates("hot update by a patch", Update::Patch, 200 * factor)?;
        for (what, hot) in [("by a patch", patch), ("by its whole body", whole)] {
            let least = Quantity(TIMES_MIN, Unit::Times);
            let cpu = Quantity(rewrite.0 / hot.0.max(f64::EPSILON), Unit::Times);
            self.add(Row::at_least(format!("rewrite ÷ hot update {what}: server CPU"), cpu, least, ""));
            let p95 = Quantity(rewrite.1.as_secs_f64() / hot.1.as_secs_f64().max(f64::EPSILON), Unit::Times);
            self.add(Row::at_least(format!("rewrite ÷ hot update {what}: p95"), p95, least, ""));
        }
        Ok(())
    }

    /// Milliseconds of server CPU for one update, and the p95 of one client.
    fn updates(&mut self, what: &str, update: Update, count: u64) -> io::Result<(f64, Duration)> {
        tell(what);
        self.send(update, 1, WARM_UP)?;
        let (sent, cost) = self.cluster.servers.charge(|| self.send(update, 1 + WARM_UP, count));
        let Latency { p50, p95, .. } = sent?;
        let cpu = cost.server_cpu.as_secs_f64() * 1e3 / count as f64;
        self.add(Row::figure(format!("{what}: server CPU"), Quantity(cpu, Unit::CpuMs)));
        self.add(Row::figure(format!("{what}: p50"), Quantity(p50.as_secs_f64() * 1e3, Unit::Ms)));
        self.add(Row::figure(format!("{what}: p95"), Quantity(p95.as_secs_f64() * 1e3, Unit::Ms)));
        Ok((cpu, p95))
    }

    /// One client's updates, numbered from `first` on.
    fn send(&self, update: Update, first: u64, count: u64) -> io::Result<Latency> {
        let Driver::Native(endpoint) = &self.cluster.driver else {
            return Err(io::Error::other("documents are written by the native door"));
        };
        let mut connection = Connection::open(endpoint)?;
        let mut samples = Samples::default();
        for number in first..first + count {
            let request = update.request(endpoint, number);
            let begun = Instant::now();
            connection.send(&request)?;
            let mut answer = Vec::new();
            let reply = connection.receive(|_, piece| answer.extend_from_slice(piece))?;
            samples.record(begun.elapsed());
            let answer = String::from_utf8_lossy(&answer);
            let is_hot = answer.contains("\"is_pure_hot_update\":true");
            let is_as_meant = match update {
                Update::Rewrite => !is_hot,
                Update::WholeBody => is_hot || count == 1,
                Update::Patch => is_hot,
            };
            if reply.status != 200 || !is_as_meant {
                return Err(io::Error::other(format!("status {}: {answer}; documents need six nodes", reply.status)));
            }
        }
        Ok(samples.summary())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_differ_in_their_cold_field_by_the_seed_alone() {
        assert!((800_000..801_000).contains(&document(1, 1).len()));
        assert_eq!(document(1, 1).replace("\"view_count\":1,", "\"view_count\":2,"), document(2, 1));
        assert_ne!(document(1, 1), document(1, 2));
    }
}
