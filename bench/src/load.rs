//! The closed loop: N clients, each sending its next request when the last is answered.
//!
//! What it keeps true:
//! - Every put sends bytes never sent before, so that neither dedup nor compression flatters a figure.
//! - Every get's bytes are compared; an error is counted and told, never a sample.

use crate::body::{Body, Random, Verify, mix};
use crate::driver::{BadRequest, Driver, Session};
use crate::latency::{Latency, Samples};
use crate::processes::{Cost, Processes};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// How many different error messages are kept.
const MESSAGES_MAX: usize = 5;
/// Keys of a page of the listing: as many as S3 gives at most.
const PAGE_KEYS: u64 = 1000;
/// A client that met an error waits this long, so that a server that is down is not also flooded.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// What clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Uploads of new objects.
    Put,
    /// Downloads of the objects there are.
    Get,
    /// Both, by chance.
    Mixed {
        /// Share of downloads.
        get_percent: u8,
    },
    /// Pages of the listing, one after the other and again from the start (S3 alone).
    List,
    /// Deletes of the objects there are, each once.
    Delete,
}

/// When clients end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// After this time; requests begun before it are finished and counted.
    After(Duration),
    /// After this many requests of all clients together.
    Count(u64),
}

/// The objects of a run: their names, sizes and bytes follow from their numbers.
#[derive(Clone, Debug)]
pub struct Objects {
    seed: u64,
    sizes_bytes: Vec<u64>,
}

impl Objects {
    /// Objects that no run before had, each with one of these sizes.
    pub fn new(sizes_bytes: Vec<u64>) -> Objects {
        assert!(!sizes_bytes.is_empty(), "objects need a size");
        Objects { seed: RandomState::new().build_hasher().finish(), sizes_bytes }
    }

    /// What the names of all objects begin with.
    pub fn prefix(&self) -> String {
        format!("bench-{:016x}-", self.seed)
    }

    /// The name of an object. Names sort as their numbers do.
    pub fn name(&self, number: u64) -> String {
        format!("{}{number:08}", self.prefix())
    }

    /// The bytes of an object.
    pub fn body(&self, number: u64) -> Random {
        let seed = mix(self.seed ^ mix(number + 1));
        let size = (mix(seed) % self.sizes_bytes.len() as u64) as usize;
        Random { seed, length_bytes: self.sizes_bytes[size] }
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct Load<'a> {
    /// How requests are spelled, and for whom.
    pub driver: Driver,
    /// How many clients.
    pub clients: usize,
    /// What they do.
    pub operation: Operation,
    /// Until when.
    pub stop: Stop,
    /// The objects they put and get.
    pub objects: &'a Objects,
    /// How many of these were put before: gets choose among them.
    pub stored: u64,
    /// Puts send their objects in parts of this size; whole if there is none.
    pub part_bytes: Option<usize>,
    /// Share of requests that must be refused, sent besides.
    pub bad_percent: u8,
    /// How closely downloads are compared.
    pub verify: Verify,
    /// The servers whose CPU is charged.
    pub servers: &'a Processes,
}

/// What came of one kind of request.
#[derive(Clone, Debug, Default)]
pub struct Side<L> {
    /// The requests that succeeded.
    pub latency: L,
    /// Their bytes.
    pub bytes: u64,
    /// How many failed.
    pub errors: u64,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Uploads.
    pub puts: Side<Latency>,
    /// Downloads.
    pub gets: Side<Latency>,
    /// Pages listed.
    pub lists: Side<Latency>,
    /// Deletes.
    pub deletes: Side<Latency>,
    /// Requests that had to be refused; an error is one that was not, or not as it should be.
    pub refusals: Side<Latency>,
    /// The first few different error messages.
    pub messages: Vec<String>,
    /// What they cost.
    pub cost: Cost,
}

impl Outcome {
    /// Requests that succeeded, refusals apart.
    pub fn operations(&self) -> u64 {
        self.puts.latency.count + self.gets.latency.count + self.lists.latency.count + self.deletes.latency.count
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.puts.bytes + self.gets.bytes
    }

    /// Requests that failed, of whatever kind.
    pub fn errors(&self) -> u64 {
        self.puts.errors + self.gets.errors + self.lists.errors + self.deletes.errors + self.refusals.errors
    }

    /// Server CPU for one operation, in milliseconds.
    pub fn server_cpu_ms_per_operation(&self) -> f64 {
        self.cost.server_cpu.as_secs_f64() * 1e3 / self.operations().max(1) as f64
    }

    /// Server CPU for one GiB, in seconds.
    pub fn server_cpu_s_per_gib(&self) -> f64 {
        self.cost.server_cpu.as_secs_f64() * (1u64 << 30) as f64 / self.bytes().max(1) as f64
    }

    /// Operations per second.
    pub fn operations_per_s(&self) -> f64 {
        self.operations() as f64 / self.cost.elapsed.as_secs_f64()
    }

    /// Bytes per second, in MB.
    pub fn mb_per_s(&self) -> f64 {
        self.bytes() as f64 / 1e6 / self.cost.elapsed.as_secs_f64()
    }
}

/// What one client gathered.
#[derive(Default)]
struct Gathered {
    puts: Side<Samples>,
    gets: Side<Samples>,
    lists: Side<Samples>,
    deletes: Side<Samples>,
    refusals: Side<Samples>,
    messages: Vec<String>,
}

/// What the clients of a run share.
struct Shared<'a> {
    load: &'a Load<'a>,
    begun: Instant,
    requests: AtomicU64,
    objects: AtomicU64,
}

/// Runs the clients to their end.
pub fn run(load: &Load) -> Outcome {
    assert!(load.operation == Operation::Put || load.stored > 0, "there must be objects that were put before");
    let (all, cost) = load.servers.charge(|| run_clients(load));
    Outcome {
        puts: all.puts.summary(),
        gets: all.gets.summary(),
        lists: all.lists.summary(),
        deletes: all.deletes.summary(),
        refusals: all.refusals.summary(),
        messages: all.messages,
        cost,
    }
}

fn run_clients(load: &Load) -> Gathered {
    let shared =
        Shared { load, begun: Instant::now(), requests: AtomicU64::new(0), objects: AtomicU64::new(load.stored) };
    let mut all = Gathered::default();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..load.clients).map(|_| scope.spawn(|| shared.client())).collect();
        for client in clients {
            all.absorb(client.join().expect("a client does not panic"));
        }
    });
    all
}

impl Shared<'_> {
    fn client(&self) -> Gathered {
        let mut session = Session::new(self.load.driver.clone());
        let mut gathered = Gathered::default();
        while let Some(number) = self.next_request() {
            self.request(number, &mut session, &mut gathered);
        }
        gathered
    }

    fn next_request(&self) -> Option<u64> {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let goes_on = match self.load.stop {
            Stop::After(duration) => self.begun.elapsed() < duration,
            Stop::Count(count) => number < count,
        };
        // What was deleted cannot be deleted again.
        let is_there = self.load.operation != Operation::Delete || number < self.load.stored;
        (goes_on && is_there).then_some(number)
    }

    fn request(&self, number: u64, session: &mut Session, gathered: &mut Gathered) {
        let load = self.load;
        let chance = mix(mix(number + 1) ^ load.objects.seed);
        let begun = Instant::now();
        let (side, bytes, result) = if chance % 100 < u64::from(load.bad_percent) {
            let bad = BadRequest::ALL[(number % BadRequest::ALL.len() as u64) as usize];
            (&mut gathered.refusals, 0, session.refuse(bad).map_err(|error| told(&format!("{bad:?}"), &error)))
        } else if load.operation == Operation::List {
            (&mut gathered.lists, 0, self.list(number, session).map_err(|error| told("list", &error)))
        } else if load.operation == Operation::Delete {
            let result = session.delete(&load.objects.name(number));
            (&mut gathered.deletes, 0, result.map_err(|error| told("delete", &error)))
        } else if load.operation.is_get(chance >> 32) {
            let object = chance % load.stored;
            let (name, body) = (load.objects.name(object), load.objects.body(object));
            let result = session.get(&name, body, load.verify);
            (&mut gathered.gets, body.length_bytes, result.map_err(|error| told("get", &error)))
        } else {
            let object = self.objects.fetch_add(1, Ordering::Relaxed);
            let (name, body) = (load.objects.name(object), load.objects.body(object));
            let body_bytes = body.length_bytes;
            let result = match load.part_bytes {
                Some(part_bytes) => session.put_in_parts(&name, &Body::Random(body), part_bytes),
                None => session.put(&name, &Body::Random(body)),
            };
            (&mut gathered.puts, body_bytes, result.map_err(|error| told("put", &error)))
        };
        match result {
            Ok(()) => {
                side.latency.record(begun.elapsed());
                side.bytes += bytes;
            }
            Err(message) => {
                side.errors += 1;
                keep(&mut gathered.messages, message);
                thread::sleep(ERROR_PAUSE);
            }
        }
    }

    /// Page `number` of the listing, from the start again after the last: a name that sorts before all others, or the last of
    /// the page before.
    fn list(&self, number: u64, session: &mut Session) -> io::Result<()> {
        let (objects, stored) = (self.load.objects, self.load.stored);
        let first = number % stored.div_ceil(PAGE_KEYS) * PAGE_KEYS;
        let after = first.checked_sub(1).map_or_else(|| objects.prefix(), |last| objects.name(last));
        let expected: Vec<String> = (first..stored.min(first + PAGE_KEYS)).map(|number| objects.name(number)).collect();
        session.list(&objects.prefix(), &after, &expected)
    }
}

impl Operation {
    fn is_get(self, chance: u64) -> bool {
        match self {
            Operation::Put | Operation::List | Operation::Delete => false,
            Operation::Get => true,
            Operation::Mixed { get_percent } => chance % 100 < u64::from(get_percent),
        }
    }
}

impl Gathered {
    fn absorb(&mut self, other: Gathered) {
        for (mine, others) in [
            (&mut self.puts, other.puts),
            (&mut self.gets, other.gets),
            (&mut self.lists, other.lists),
            (&mut self.deletes, other.deletes),
            (&mut self.refusals, other.refusals),
        ] {
            mine.latency.absorb(others.latency);
            mine.bytes += others.bytes;
            mine.errors += others.errors;
        }
        other.messages.into_iter().for_each(|message| keep(&mut self.messages, message));
    }
}

impl Side<Samples> {
    fn summary(self) -> Side<Latency> {
        Side { latency: self.latency.summary(), bytes: self.bytes, errors: self.errors }
    }
}

fn told(what: &str, error: &io::Error) -> String {
    format!("{what}: {error}")
}

fn keep(messages: &mut Vec<String>, message: String) {
    if messages.len() < MESSAGES_MAX && !messages.contains(&message) {
        messages.push(message);
    }
}

#[cfg(test)]
mod tests;
