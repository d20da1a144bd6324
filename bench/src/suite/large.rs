//! Large objects: 1 GiB with one client, the same again, shifted by a byte; and the coordinator's memory meanwhile.

use super::{GIB, Suite, tell};
use crate::body::Body;
use crate::driver::Session;
use crate::load::{Objects, Operation, Outcome, Stop};
use crate::table::{Quantity, Row, Unit};
use std::io;

/// Uploads at once in the memory test.
const PARALLEL_UPLOADS: usize = 32;
/// Their size.
const PARALLEL_BYTES: u64 = 64 << 20;

impl Suite<'_> {
    /// 1 GiB up, down, again, and with one byte inserted.
    pub(super) fn large_objects(&mut self) -> io::Result<()> {
        let count = 3;
        let objects = Objects::new(vec![GIB]);
        let up = self.load("1 GiB up, 1 client", &objects, 0, 1, Operation::Put, Stop::Count(count));
        let half_streams = self.disk.streams_mb_per_s() / 2.0;
        self.large_rows("1 GiB up, 1 client", &up, 4.0, half_streams, "half of three fsynced streams");
        if up.errors() > 0 {
            self.add(Row::skipped("1 GiB down, again, shifted", "the upload failed"));
            return Ok(());
        }
        let down = self.load("1 GiB down, 1 client", &objects, count, 1, Operation::Get, Stop::Count(count));
        let half_bare = self.loopback.down_mb_per_s / 2.0;
        self.large_rows("1 GiB down, 1 client", &down, 1.5, half_bare, "half of bare actix");
        self.add(Row::beside(
            "1 GiB down, 1 client: rate beside what the laws ask for",
            Quantity(down.mb_per_s(), Unit::MbPerS),
            Quantity(self.loopback.hashed_down_mb_per_s(), Unit::MbPerS),
            "two hops and a SHA-256 on all cores",
        ));

        let body = objects.body(0);
        self.repeated("the same 1 GiB again", "bench-again", &Body::Random(body))?;
        self.repeated("1 GiB with a byte inserted at its start", "bench-shifted", &Body::Shifted(body))
    }

    /// The coordinator's peak with many uploads at once and with a very large one.
    pub(super) fn memory(&mut self) -> io::Result<()> {
        let what = "32 parallel 64 MiB uploads: coordinator's peak memory";
        let objects = Objects::new(vec![PARALLEL_BYTES]);
        self.coordinator_peak(what, &objects, PARALLEL_UPLOADS);
        let what = "one 4 GiB upload: coordinator's peak memory";
        if self.options.full {
            self.coordinator_peak(what, &Objects::new(vec![4 * GIB]), 1);
        } else {
            self.add(Row::skipped(what, "with --full"));
        }
        Ok(())
    }

    fn large_rows(&mut self, what: &str, outcome: &Outcome, cpu_s_max: f64, mb_per_s_min: f64, limit_name: &str) {
        let cpu = Quantity(outcome.server_cpu_s_per_gib(), Unit::CpuSPerGib);
        self.add(Row::at_most(format!("{what}: server CPU"), cpu, Quantity(cpu_s_max, Unit::CpuSPerGib), ""));
        let rate = Quantity(outcome.mb_per_s(), Unit::MbPerS);
        self.add(Row::at_least(format!("{what}: rate"), rate, Quantity(mb_per_s_min, Unit::MbPerS), limit_name));
    }

    fn repeated(&mut self, what: &str, name: &str, body: &Body) -> io::Result<()> {
        tell(what);
        let before = self.cluster.settled_used_bytes()?;
        Session::new(self.cluster.driver.clone()).put(name, body)?;
        let growth = self.cluster.settled_used_bytes()?.saturating_sub(before);
        let percent = 100.0 * growth as f64 / (body.length_bytes() * super::COPIES) as f64;
        self.add(Row::at_most(
            format!("{what}: stored bytes grow by"),
            Quantity(percent, Unit::Percent),
            Quantity(1.0, Unit::Percent),
            "",
        ));
        Ok(())
    }

    fn coordinator_peak(&mut self, what: &str, objects: &Objects, clients: usize) {
        let servers = &self.cluster.servers;
        if !servers.reset_peaks() {
            self.add(Row::skipped(what, "the kernel does not reset peaks"));
            return;
        }
        self.load(what, objects, 0, clients, Operation::Put, Stop::Count(clients as u64));
        match servers.peaks().get("coordinator") {
            Some(bytes) => {
                let peak = Quantity((bytes >> 20) as f64, Unit::Mib);
                self.add(Row::at_most(what, peak, Quantity(256.0, Unit::Mib), ""));
            }
            None => self.add(Row::skipped(what, "there is no coordinator.pid")),
        }
    }
}
