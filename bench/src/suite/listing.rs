//! Listing at scale: what a page takes, from any position in a bucket of many keys, and where a delimiter folds them.
//!
//! What it keeps true: every page is compared with the keys that are there, so a figure is of pages that were right.

use super::tell;
use crate::body::{Body, Random};
use crate::driver::{Bucket, Driver, Session};
use crate::latency::Samples;
use crate::processes::Processes;
use crate::table::{Quantity, Row, Unit};
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Keys of a page: as many as S3 gives at most.
const PAGE_KEYS: u64 = 1_000;
/// Keys whose names have the same folder.
const FOLDER_KEYS: u64 = 1_000;
/// What all names begin with.
const PREFIX: &str = "listed/";
/// Bytes of an object.
const BODY_BYTES: u64 = 16;
/// Clients that put the keys.
const FILLERS: usize = 64;
/// Where pages are read from, in hundredths of all keys.
const POSITIONS_PERCENT: [u64; 6] = [0, 10, 25, 50, 75, 99];

/// What is listed.
pub struct Listing<'a> {
    /// The bucket.
    pub bucket: Bucket,
    /// How many keys are in it.
    pub keys: u64,
    /// Whether they are there from an earlier run.
    pub filled: bool,
    /// Pages read at each position.
    pub pages: u64,
    /// The server's processes, where they are known.
    pub servers: &'a Processes,
}

/// Puts the keys and reads pages everywhere.
pub fn measure(listing: &Listing) -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    if !listing.filled {
        let rate = fill(listing)?;
        rows.push(Row::figure(format!("{} keys put, {FILLERS} clients", listing.keys), Quantity(rate, Unit::PerS)));
    }
    let mut session = Session::new(Driver::S3(listing.bucket.clone()));
    let mut rates = Vec::new();
    for percent in POSITIONS_PERCENT {
        let what = format!("LIST of {} keys from {percent} %", listing.keys);
        tell(&what);
        let first = listing.keys * percent / 100;
        let rate = told(&mut rows, listing, &what, "keys", || pages_from(listing, &mut session, first))?;
        rates.push(rate);
    }
    let slowest = rates.iter().copied().fold(f64::INFINITY, f64::min);
    let fastest = rates.iter().copied().fold(0.0, f64::max);
    let of_positions = Quantity(slowest / fastest.max(f64::EPSILON), Unit::Times);
    rows.push(Row::figure("LIST: the slowest position's rate ÷ the fastest's", of_positions));
    let folders = listing.keys.div_ceil(FOLDER_KEYS);
    for percent in [0, 50] {
        let what = format!("LIST of {folders} folders of {FOLDER_KEYS} keys from {percent} %, delimiter /");
        tell(&what);
        told(&mut rows, listing, &what, "folders", || folders_from(listing, &mut session, folders * percent / 100))?;
    }
    Ok(rows)
}

/// Measures, and tells it in rows; answers how many entries came in a second.
fn told(
    rows: &mut Vec<Row>,
    listing: &Listing,
    what: &str,
    entries: &str,
    read: impl FnOnce() -> io::Result<(u64, Samples)>,
) -> io::Result<f64> {
    let (read, cost) = listing.servers.charge(read);
    let (count, samples) = read?;
    let latency = samples.summary();
    let rate = count as f64 / cost.elapsed.as_secs_f64();
    let ms = |duration: Duration| Quantity(duration.as_secs_f64() * 1e3, Unit::Ms);
    rows.push(Row::figure(format!("{what}: {entries}"), Quantity(rate, Unit::PerS)));
    rows.push(Row::figure(format!("{what}: page, p50"), ms(latency.p50)));
    rows.push(Row::figure(format!("{what}: page, p99"), ms(latency.p99)));
    if !listing.servers.is_empty() {
        let cpu_ms = cost.server_cpu.as_secs_f64() * 1e3 / latency.count.max(1) as f64;
        rows.push(Row::figure(format!("{what}: page, server CPU"), Quantity(cpu_ms, Unit::CpuMs)));
    }
    Ok(rate)
}

/// Names sort as their numbers do.
fn name(number: u64) -> String {
    format!("{}{:03}", folder(number / FOLDER_KEYS), number % FOLDER_KEYS)
}

fn folder(number: u64) -> String {
    format!("{PREFIX}{number:07}/")
}

/// Puts all keys; answers how many in a second.
fn fill(listing: &Listing) -> io::Result<f64> {
    tell("keys to be listed");
    let driver = Driver::S3(listing.bucket.clone());
    Session::new(driver.clone()).prepare()?;
    let (next, begun) = (AtomicU64::new(0), Instant::now());
    let put_all = || {
        let mut session = Session::new(driver.clone());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= listing.keys {
                return Ok(());
            }
            session.put(&name(number), &Body::Random(Random { seed: number, length_bytes: BODY_BYTES }))?;
        }
    };
    thread::scope(|scope| {
        let fillers: Vec<_> = (0..FILLERS).map(|_| scope.spawn(put_all)).collect();
        let ends = fillers.into_iter().map(|filler| filler.join().expect("a client does not panic"));
        ends.collect::<io::Result<Vec<()>>>()
    })?;
    Ok(listing.keys as f64 / begun.elapsed().as_secs_f64())
}

/// Reads pages one after the other, from this key on; from the end it goes back there.
fn pages_from(listing: &Listing, session: &mut Session, first: u64) -> io::Result<(u64, Samples)> {
    let (mut from, mut count, mut samples) = (first, 0, Samples::default());
    for _ in 0..listing.pages {
        let to = listing.keys.min(from + PAGE_KEYS);
        let expected: Vec<String> = (from..to).map(name).collect();
        let after = from.checked_sub(1).map_or_else(String::new, name);
        let begun = Instant::now();
        session.list(PREFIX, &after, &expected)?;
        samples.record(begun.elapsed());
        count += to - from;
        from = if to < listing.keys { to } else { first };
    }
    Ok((count, samples))
}

/// The same with a delimiter: each folder is one entry, whatever is in it.
fn folders_from(listing: &Listing, session: &mut Session, first: u64) -> io::Result<(u64, Samples)> {
    let folders = listing.keys.div_ceil(FOLDER_KEYS);
    let (mut from, mut count, mut samples) = (first, 0, Samples::default());
    for _ in 0..listing.pages {
        let to = folders.min(from + PAGE_KEYS);
        let expected: Vec<String> = (from..to).map(folder).collect();
        // Past the last key that the folder before can have.
        let after = from.checked_sub(1).map_or_else(String::new, |before| format!("{}~", folder(before)));
        let begun = Instant::now();
        session.list_folders(PREFIX, &after, &expected)?;
        samples.record(begun.elapsed());
        count += to - from;
        from = if to < folders { to } else { first };
    }
    Ok((count, samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_as_their_numbers_do_and_folders_hold_a_thousand() {
        let numbers = [0, 1, 999, 1_000, 12_345, 999_999, 1_000_000];
        let names: Vec<String> = numbers.iter().map(|number| name(*number)).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert!(name(999).starts_with(&folder(0)) && name(1_000).starts_with(&folder(1)));
        assert!(name(999) < format!("{}~", folder(0)) && format!("{}~", folder(0)) < name(1_000));
    }
}
