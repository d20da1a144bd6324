//! S3: what each operation takes and costs, and how much more than the native dialect. Any S3 server can be measured so.

use super::{GIB, failures, tell};
use crate::body::Verify;
use crate::driver::{Bucket, Driver, Payload, Session};
use crate::latency::Latency;
use crate::load::{self, Load, Objects, Operation, Outcome, Side, Stop};
use crate::processes::Processes;
use crate::table::{Quantity, Row, Unit};
use std::io;
use std::time::Duration;

/// Clients of the small objects.
const SMALL_CLIENTS: [usize; 3] = [1, 16, 64];
/// Keys that are listed.
const LISTED_KEYS: u64 = 100_000;
/// Size of the parts of the 1 GiB upload.
const PART_BYTES: usize = 16 << 20;
/// Server CPU of a small operation, at most this many times that of the native dialect.
const SMALL_RATIO_MAX: f64 = 1.25;
/// What MD5 costs, which is all that S3 may add to large objects.
const MD5_CPU_S_PER_GIB: f64 = 1.8;

/// What is measured, and beside what.
pub struct S3Suite<'a> {
    /// The bucket.
    pub bucket: Bucket,
    /// The same server's native dialect, where it has one.
    pub native: Option<Driver>,
    /// The server's processes, where they are known.
    pub servers: &'a Processes,
    /// Four times as long.
    pub full: bool,
}

/// A table being made.
struct Measuring<'a> {
    suite: S3Suite<'a>,
    rows: Vec<Row>,
}

/// A load of this suite.
#[derive(Clone, Copy)]
struct Asked<'a> {
    objects: &'a Objects,
    stored: u64,
    clients: usize,
    operation: Operation,
    stop: Stop,
}

/// Measures everything; what could not be has a row that says why.
pub fn measure(suite: S3Suite) -> Vec<Row> {
    let mut measuring = Measuring { suite, rows: Vec::new() };
    if let Err(error) = measuring.all() {
        measuring.add(Row::skipped("the rest of: S3", error.to_string()));
    }
    measuring.rows
}

impl Measuring<'_> {
    fn all(&mut self) -> io::Result<()> {
        Session::new(self.s3()).prepare()?;
        let resets = self.suite.servers.reset_peaks();
        let small = self.small();
        self.against_native(&small)?;
        self.signed();
        self.medium()?;
        self.large()?;
        self.in_parts();
        self.listing();
        self.deletes();
        if resets {
            for (name, bytes) in self.suite.servers.peaks() {
                self.add(Row::figure(format!("S3: peak memory of {name}"), Quantity((bytes >> 20) as f64, Unit::Mib)));
            }
        }
        Ok(())
    }

    /// 4 KiB; answers the loads with most clients.
    fn small(&mut self) -> [Outcome; 2] {
        let (mut last, objects) = (None, Objects::new(vec![4096]));
        let mut stored = 0;
        let stop = self.seconds(3);
        for clients in SMALL_CLIENTS {
            let ask = |operation, stored| Asked { objects: &objects, stored, clients, operation, stop };
            let puts = self.s3_load(&format!("S3 4 KiB PUT, {clients} clients"), ask(Operation::Put, stored));
            stored += puts.puts.latency.count + puts.puts.errors;
            self.small_rows(&format!("S3 4 KiB PUT, {clients} clients"), &puts, &puts.puts);
            let gets = self.s3_load(&format!("S3 4 KiB GET, {clients} clients"), ask(Operation::Get, stored));
            self.small_rows(&format!("S3 4 KiB GET, {clients} clients"), &gets, &gets.gets);
            last = Some([puts, gets]);
        }
        last.expect("there are numbers of clients")
    }

    /// 4 KiB in the native dialect, and the ratio of the two.
    fn against_native(&mut self, [puts, gets]: &[Outcome; 2]) -> io::Result<()> {
        let Some(native) = self.suite.native.clone().filter(|_| !self.suite.servers.is_empty()) else { return Ok(()) };
        let (objects, clients) = (Objects::new(vec![4096]), SMALL_CLIENTS[SMALL_CLIENTS.len() - 1]);
        let stop = self.seconds(3);
        let ask = |operation, stored| Asked { objects: &objects, stored, clients, operation, stop };
        let native_puts = self.load("native 4 KiB PUT, beside S3", native.clone(), None, ask(Operation::Put, 0));
        let stored = native_puts.puts.latency.count;
        if stored == 0 {
            return Err(io::Error::other("no native PUT succeeded"));
        }
        let native_gets = self.load("native 4 KiB GET, beside S3", native, None, ask(Operation::Get, stored));
        for (what, ours, theirs) in [("PUT", puts, &native_puts), ("GET", gets, &native_gets)] {
            let ratio = ours.server_cpu_ms_per_operation() / theirs.server_cpu_ms_per_operation().max(f64::EPSILON);
            let limit = Quantity(SMALL_RATIO_MAX, Unit::Times);
            let what = format!("S3 4 KiB {what}, {clients} clients: server CPU ÷ native's");
            self.add(Row::at_most(what, Quantity(ratio, Unit::Times), limit, ""));
        }
        Ok(())
    }

    /// 4 KiB whose signatures cover their bodies.
    fn signed(&mut self) {
        let (what, objects) = ("S3 4 KiB PUT, 64 clients, payload signed", Objects::new(vec![4096]));
        let bucket = Bucket { payload: Payload::Signed, ..self.suite.bucket.clone() };
        let stop = self.seconds(3);
        let ask = Asked { objects: &objects, stored: 0, clients: 64, operation: Operation::Put, stop };
        let puts = self.load(what, Driver::S3(bucket), None, ask);
        self.small_rows(what, &puts, &puts.puts);
    }

    /// 1 MiB.
    fn medium(&mut self) -> io::Result<()> {
        let objects = Objects::new(vec![1 << 20]);
        self.put_and_get("S3 1 MiB", &objects, 16, 512).map(|_| ())
    }

    /// 64 MiB, and what it costs more than in the native dialect.
    fn large(&mut self) -> io::Result<()> {
        let objects = Objects::new(vec![64 << 20]);
        let puts = self.put_and_get("S3 64 MiB", &objects, 4, 16)?;
        let Some(native) = self.suite.native.clone().filter(|_| !self.suite.servers.is_empty()) else { return Ok(()) };
        let (others, stop) = (Objects::new(vec![64 << 20]), self.count(16));
        let ask = Asked { objects: &others, stored: 0, clients: 4, operation: Operation::Put, stop };
        let native_puts = self.load("native 64 MiB PUT, beside S3", native, None, ask);
        let more = puts.server_cpu_s_per_gib() - native_puts.server_cpu_s_per_gib();
        let limit = Quantity(MD5_CPU_S_PER_GIB, Unit::CpuSPerGib);
        self.add(Row::at_most("S3 64 MiB PUT: server CPU − native's", Quantity(more, Unit::CpuSPerGib), limit, "MD5"));
        Ok(())
    }

    fn put_and_get(&mut self, name: &str, objects: &Objects, clients: usize, count: u64) -> io::Result<Outcome> {
        let stop = self.count(count);
        let ask = |operation, stored| Asked { objects, stored, clients, operation, stop };
        let puts = self.s3_load(&format!("{name} PUT, {clients} clients"), ask(Operation::Put, 0));
        self.stream_rows(&format!("{name} PUT, {clients} clients"), &puts, &puts.puts);
        if puts.errors() > 0 {
            return Err(io::Error::other(format!("{name}: PUTs failed")));
        }
        let gets =
            self.s3_load(&format!("{name} GET, {clients} clients"), ask(Operation::Get, puts.puts.latency.count));
        self.stream_rows(&format!("{name} GET, {clients} clients"), &gets, &gets.gets);
        Ok(puts)
    }

    /// 1 GiB in parts.
    fn in_parts(&mut self) {
        let (objects, stop) = (Objects::new(vec![GIB]), Stop::Count(1));
        let ask = |operation, stored| Asked { objects: &objects, stored, clients: 1, operation, stop };
        let what = "S3 1 GiB up in parts of 16 MiB, 1 client";
        let up = self.load(what, self.s3(), Some(PART_BYTES), ask(Operation::Put, 0));
        self.stream_rows(what, &up, &up.puts);
        if up.errors() == 0 {
            let down = self.s3_load("S3 1 GiB down, 1 client", ask(Operation::Get, 1));
            self.stream_rows("S3 1 GiB down, 1 client", &down, &down.gets);
        }
    }

    /// All pages of a listing, twice.
    fn listing(&mut self) {
        let objects = Objects::new(vec![16]);
        let ask = |operation, stored, clients, count| Asked {
            objects: &objects,
            stored,
            clients,
            operation,
            stop: Stop::Count(count),
        };
        let puts = self.s3_load("S3 keys to be listed", ask(Operation::Put, 0, 64, LISTED_KEYS));
        if puts.errors() > 0 {
            self.add(Row::skipped("S3 LIST", "not all keys could be put"));
            return;
        }
        let what = "S3 LIST of 100,000 keys, page of 1,000";
        let pages = self.s3_load(what, ask(Operation::List, LISTED_KEYS, 1, 2 * LISTED_KEYS / 1000));
        self.small_rows(what, &pages, &pages.lists);
        let seconds = pages.cost.elapsed.as_secs_f64() / 2.0;
        self.add(Row::figure("S3 LIST of 100,000 keys: the whole", Quantity(seconds, Unit::S)));
    }

    /// Deletes of small objects.
    fn deletes(&mut self) {
        let objects = Objects::new(vec![4096]);
        let ask = |operation, stored, count| Asked {
            objects: &objects,
            stored,
            clients: 16,
            operation,
            stop: Stop::Count(count),
        };
        let stored = 4000;
        let puts = self.s3_load("S3 objects to be deleted", ask(Operation::Put, 0, stored));
        if puts.errors() == 0 {
            let deletes = self.s3_load("S3 DELETE, 16 clients", ask(Operation::Delete, stored, stored));
            self.small_rows("S3 DELETE, 16 clients", &deletes, &deletes.deletes);
        }
    }

    fn s3(&self) -> Driver {
        Driver::S3(self.suite.bucket.clone())
    }

    fn seconds(&self, seconds: u64) -> Stop {
        Stop::After(Duration::from_secs(if self.suite.full { 4 * seconds } else { seconds }))
    }

    fn count(&self, count: u64) -> Stop {
        Stop::Count(if self.suite.full { 4 * count } else { count })
    }

    fn s3_load(&mut self, what: &str, asked: Asked) -> Outcome {
        self.load(what, self.s3(), None, asked)
    }

    fn load(&mut self, what: &str, driver: Driver, part_bytes: Option<usize>, asked: Asked) -> Outcome {
        tell(what);
        let Asked { objects, stored, clients, operation, stop } = asked;
        let (bad_percent, verify, servers) = (0, Verify::Sampled, self.suite.servers);
        let outcome = load::run(&Load {
            driver,
            clients,
            operation,
            stop,
            objects,
            stored,
            part_bytes,
            bad_percent,
            verify,
            servers,
        });
        self.rows.extend(failures(what, &outcome));
        outcome
    }

    fn small_rows(&mut self, what: &str, outcome: &Outcome, side: &Side<Latency>) {
        let ms = |duration: Duration| Quantity(duration.as_secs_f64() * 1e3, Unit::Ms);
        self.add(Row::figure(format!("{what}: rate"), Quantity(outcome.operations_per_s(), Unit::PerS)));
        self.add(Row::figure(format!("{what}: p50"), ms(side.latency.p50)));
        self.add(Row::figure(format!("{what}: p99"), ms(side.latency.p99)));
        if !self.suite.servers.is_empty() {
            let cpu = Quantity(outcome.server_cpu_ms_per_operation(), Unit::CpuMs);
            self.add(Row::figure(format!("{what}: server CPU"), cpu));
        }
    }

    fn stream_rows(&mut self, what: &str, outcome: &Outcome, side: &Side<Latency>) {
        let ms = |duration: Duration| Quantity(duration.as_secs_f64() * 1e3, Unit::Ms);
        self.add(Row::figure(format!("{what}: rate"), Quantity(outcome.mb_per_s(), Unit::MbPerS)));
        if side.latency.count > 1 {
            self.add(Row::figure(format!("{what}: p50"), ms(side.latency.p50)));
            self.add(Row::figure(format!("{what}: p99"), ms(side.latency.p99)));
        }
        if !self.suite.servers.is_empty() {
            let cpu = Quantity(outcome.server_cpu_s_per_gib(), Unit::CpuSPerGib);
            self.add(Row::figure(format!("{what}: server CPU"), cpu));
        }
    }

    fn add(&mut self, row: Row) {
        self.rows.push(row);
    }
}
