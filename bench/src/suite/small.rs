//! Small and medium objects: 4 KiB with one client and with 64, 1 MiB with 16, 64 MiB with 4.

use super::Suite;
use crate::load::{Objects, Operation, Outcome, Stop};
use crate::table::{Quantity, Row, Unit};
use std::io;
use std::time::Duration;

/// PUT p50 of one client, in appends with fdatasync.
const PUT_APPENDS_MAX: f64 = 3.0;
/// What it cannot do without: a chunk is durable on its nodes before the catalog, which is on three disks as well, names it;
const APPENDS_AT_ONCE: u32 = 2;
/// from client to coordinator, and twice from there to nodes.
const HOPS: u32 = 3;

impl Suite<'_> {
    /// 4 KiB.
    pub(super) fn small_objects(&mut self) -> io::Result<()> {
        let factor = if self.options.full { 4 } else { 1 };
        let seconds = |seconds: u64| Stop::After(Duration::from_secs(seconds * factor));
        let objects = Objects::new(vec![4096]);
        let (puts, growth) = self.load_and_growth("4 KiB PUT, 64 clients", &objects, 64, seconds(8))?;
        let stored = puts.puts.latency.count;
        if stored == 0 {
            self.add(Row::skipped("4 KiB GET", "no PUT succeeded"));
            return Ok(());
        }
        let gets = self.load("4 KiB GET, 64 clients", &objects, stored, 64, Operation::Get, seconds(5));
        let alone = Objects::new(vec![4096]);
        let puts_alone = self.load("4 KiB PUT, 1 client", &alone, 0, 1, Operation::Put, seconds(3));
        let gets_alone = self.load("4 KiB GET, 1 client", &objects, stored, 1, Operation::Get, seconds(2));

        self.small_rows("4 KiB PUT, 64 clients", &puts, 0.35, 1500.0);
        let p99 = puts.puts.latency.p99;
        self.add(Row::at_most("4 KiB PUT, 64 clients: p99", ms(p99), Quantity(100.0, Unit::Ms), ""));
        self.small_rows("4 KiB GET, 64 clients", &gets, 0.12, 6000.0);
        self.add(Row::figure("4 KiB GET, 64 clients: p99", ms(gets.gets.latency.p99)));
        let append = self.disk.append_p50();
        let limit = ms(append.mul_f64(PUT_APPENDS_MAX));
        self.add(Row::at_most(
            "4 KiB PUT, 1 client: p50",
            ms(puts_alone.puts.latency.p50),
            limit,
            "3 × append + fdatasync",
        ));
        self.add(Row::beside(
            "4 KiB PUT, 1 client: p50 beside what the laws ask for",
            ms(puts_alone.puts.latency.p50),
            ms(APPENDS_AT_ONCE * self.disk.three_appends_p50() + HOPS * self.loopback.small_p50),
            "twice three appends at once, three hops",
        ));
        self.add(Row::at_most(
            "4 KiB GET, 1 client: p50",
            ms(gets_alone.gets.latency.p50),
            Quantity(1.0, Unit::Ms),
            "",
        ));
        let on_disk = Quantity(growth, Unit::Times);
        self.add(Row::at_most("4 KiB: bytes of records ÷ three copies", on_disk, Quantity(1.06, Unit::Times), ""));
        Ok(())
    }

    /// 1 MiB and 64 MiB.
    pub(super) fn medium_objects(&mut self) -> io::Result<()> {
        let factor = if self.options.full { 4 } else { 1 };
        for (name, size_bytes, clients, count) in [("1 MiB", 1 << 20, 16, 512), ("64 MiB", 64 << 20, 4, 16)] {
            let objects = Objects::new(vec![size_bytes]);
            let stop = Stop::Count(count * factor);
            let put = format!("{name} PUT, {clients} clients");
            let (puts, growth) = self.load_and_growth(&put, &objects, clients, stop)?;
            self.medium_rows(&put, &puts, self.disk.streams_mb_per_s(), "three fsynced streams");
            if puts.errors() == 0 {
                let get = format!("{name} GET, {clients} clients");
                let gets = self.load(&get, &objects, count * factor, clients, Operation::Get, stop);
                self.medium_rows(&get, &gets, self.loopback.down_mb_per_s, "bare actix");
            }
            if size_bytes == 1 << 20 {
                let on_disk = Quantity(growth, Unit::Times);
                self.add(Row::at_most(
                    "1 MiB: bytes of records ÷ three copies",
                    on_disk,
                    Quantity(1.001, Unit::Times),
                    "",
                ));
            }
        }
        let used = self.cluster.settled_used_bytes()?.max(1);
        let share = self.cluster.allocated_bytes()? as f64 / used as f64;
        self.add(Row::figure("du of the nodes' directories ÷ bytes of records", Quantity(share, Unit::Times)));
        Ok(())
    }

    fn small_rows(&mut self, what: &str, outcome: &Outcome, cpu_ms_max: f64, per_s_min: f64) {
        let cpu = Quantity(outcome.server_cpu_ms_per_operation(), Unit::CpuMs);
        self.add(Row::at_most(format!("{what}: server CPU"), cpu, Quantity(cpu_ms_max, Unit::CpuMs), ""));
        let rate = Quantity(outcome.operations_per_s(), Unit::PerS);
        self.add(Row::at_least(format!("{what}: rate"), rate, Quantity(per_s_min, Unit::PerS), ""));
    }

    fn medium_rows(&mut self, what: &str, outcome: &Outcome, limit_mb_per_s: f64, limit_name: &str) {
        let rate = Quantity(outcome.mb_per_s(), Unit::MbPerS);
        self.add(Row::beside(format!("{what}: rate"), rate, Quantity(limit_mb_per_s, Unit::MbPerS), limit_name));
        let cpu = Quantity(outcome.server_cpu_s_per_gib(), Unit::CpuSPerGib);
        self.add(Row::figure(format!("{what}: server CPU"), cpu));
    }
}

fn ms(duration: Duration) -> Quantity {
    Quantity(duration.as_secs_f64() * 1e3, Unit::Ms)
}
