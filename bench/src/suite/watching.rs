//! What it costs to be watched: the recording of metrics with every request, and the pages that Prometheus asks for.
//!
//! What it keeps true: how often a request records is counted on the pages themselves, at the nodes as well, and the price is measured here with
//! the recorder and the code that the servers use: of what is told of each request, and of each recording besides.

use super::{Suite, tell};
use crate::http::{Endpoint, call};
use crate::load::{Objects, Operation, Stop};
use crate::table::{Quantity, Row, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusRecorder};
use process::requests::Requests;
use std::hint::black_box;
use std::io;
use std::time::{Duration, Instant};

/// What watching may cost, in hundredths.
const SHARE_MAX: f64 = 2.0;
/// Objects that are read.
const OBJECTS: u64 = 500;
/// How often, in all.
const GETS: u64 = 20_000;
/// Times that each page is asked for.
const PAGES: u32 = 50;
/// How often Prometheus asks, as `monitoring/prometheus/prometheus.yml` has it.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(5);
/// Recordings whose price is taken together.
const RECORDINGS: u32 = 200_000;
/// Recordings by which a request is told of.
const TOLD_BY: f64 = 3.0;
/// Counts requests that were told of.
const TOLD: &str = "http_requests_total";
/// Counters that a read raises by one. Others are raised by as many as there were, and by workers.
const COUNTERS: [&str; 3] = [TOLD, "cache_requests_total", "file_downloads_total"];

impl Suite<'_> {
    /// Both shares.
    pub(super) fn watching(&mut self) -> io::Result<()> {
        let objects = Objects::new(vec![4096]);
        let put = self.load("4 KiB PUT, 16 clients", &objects, 0, 16, Operation::Put, Stop::Count(OBJECTS));
        if put.errors() > 0 {
            self.add(Row::skipped("watching", "no PUT succeeded"));
            return Ok(());
        }
        let before = self.pages()?;
        let gets = self.load("4 KiB GET, 16 clients", &objects, OBJECTS, 16, Operation::Get, Stop::Count(GETS));
        let after = self.pages()?;
        let per_get = |counted: fn(&str) -> bool| (sum(&after, counted) - sum(&before, counted)) / GETS as f64;
        let (all, requests) = (per_get(is_one_each), per_get(|name| name == TOLD));
        let besides = (all - TOLD_BY * requests).max(0.0);
        let recording = requests * price_of(told).as_secs_f64() + besides * price_of(looked_up).as_secs_f64();
        let share = 100.0 * recording * 1e3 / gets.server_cpu_ms_per_operation().max(f64::EPSILON);
        self.add(Row::figure("4 KiB GET: recordings of metrics", Quantity(all, Unit::Times)));
        self.share("4 KiB GET: recording of metrics, of all server CPU", share);

        tell("pages of metrics");
        let (asked, cost) = self.cluster.servers.charge(|| (0..PAGES).try_for_each(|_| self.pages().map(drop)));
        asked?;
        let a_core = SCRAPE_INTERVAL.as_secs_f64() * f64::from(PAGES);
        let share = 100.0 * cost.server_cpu.as_secs_f64() / a_core;
        self.share("pages of metrics of all processes every 5 s, of one core", share);
        Ok(())
    }

    fn share(&mut self, what: &str, percent: f64) {
        let most = Quantity(SHARE_MAX, Unit::Percent);
        self.add(Row::at_most(what, Quantity(percent, Unit::Percent), most, ""));
    }

    /// The pages of all processes, one after the other.
    fn pages(&self) -> io::Result<String> {
        let pages: io::Result<Vec<String>> = self.cluster.endpoints().map(page).collect();
        Ok(pages?.concat())
    }
}

/// Whether each recording raises the series by one, besides what is told of a process itself.
fn is_one_each(name: &str) -> bool {
    name.ends_with("_count") || COUNTERS.contains(&name)
}

/// What these series of the pages come to.
fn sum(pages: &str, counted: fn(&str) -> bool) -> f64 {
    let values = pages.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let name = series.split('{').next()?;
        value.parse::<f64>().ok().filter(|_| counted(name))
    });
    values.sum()
}

fn page(endpoint: &Endpoint) -> io::Result<String> {
    let (status, body) = call(endpoint, "GET", "/metrics", "", b"")?;
    match status {
        200 => Ok(String::from_utf8_lossy(&body).into_owned()),
        status => Err(io::Error::other(format!("/metrics of {}: status {status}", endpoint.authority))),
    }
}

/// What `each` costs, done with each of so many numbers.
fn price_of(each: fn(&PrometheusRecorder) -> Duration) -> Duration {
    let buckets = [0.001, 0.01, 0.1, 1.0];
    let builder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &buckets);
    let recorder = builder.expect("there are buckets").build_recorder();
    metrics::with_local_recorder(&recorder, || each(&recorder))
}

/// A request is told of.
fn told(recorder: &PrometheusRecorder) -> Duration {
    let requests = Requests::new("bench");
    timed(recorder, |seconds| requests.answered("GET", "/download", 200, seconds))
}

/// A measurement with two labels is looked up and recorded, the dearest there is.
fn looked_up(recorder: &PrometheusRecorder) -> Duration {
    timed(recorder, |seconds| {
        metrics::histogram!("bench_seconds", "node" => "n1", "operation" => "get").record(seconds)
    })
}

fn timed(recorder: &PrometheusRecorder, record: impl Fn(f64)) -> Duration {
    let begun = Instant::now();
    for number in 0..RECORDINGS {
        record(f64::from(black_box(number % 100)) / 1e4);
        if number % 10_000 == 0 {
            recorder.handle().run_upkeep();
        }
    }
    begun.elapsed() / RECORDINGS
}
