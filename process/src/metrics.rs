//! Prometheus metrics of one process: the recorder behind the `metrics` macros, and what the kernel knows of the process.
//!
//! What it keeps true: histograms have buckets, never quantiles, so that several processes can be added up; and their samples do
//! not pile up between scrapes, as long as someone runs [`Metrics::upkeep`].

use crate::readings::Readings;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use protocol::{Clock, Error, ErrorKind, Result, SystemClock};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

/// Value of `content-type` for what [`Metrics::render`] returns.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Upper bounds, in seconds, of every histogram whose name ends in `_seconds` or `_duration`.
const SECONDS_BUCKETS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// Upper bounds of every histogram whose name ends in `_bytes`: 1 KiB to 4 GiB, by fours.
const BYTES_BUCKETS: [f64; 12] = {
    let mut buckets = [1024.0; 12];
    let mut index = 1;
    while index < buckets.len() {
        buckets[index] = buckets[index - 1] * 4.0;
        index += 1;
    }
    buckets
};

/// Upper bounds of every histogram whose name ends in `_records` or `_batches`: how many share one fsync.
const COUNT_BUCKETS: [f64; 11] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// Samples are moved from the recording side into the buckets this often.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The process's metrics; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

/// The one recorder of this process, kept so that a second `install` (coordinators in one test process) shares it.
static INSTALLED: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

impl Metrics {
    /// Installs the recorder of the `metrics` macros, or returns the one already installed.
    pub fn install() -> Result<Metrics> {
        let mut installed = INSTALLED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(handle) = &*installed {
            return Ok(Metrics { handle: handle.clone() });
        }
        let handle = builder().install_recorder().map_err(|error| {
            Error::caused(ErrorKind::Conflict, format!("cannot install the metrics recorder: {error}"), error)
        })?;
        *installed = Some(handle.clone());
        Ok(Metrics { handle })
    }

    /// All metrics in Prometheus's text format, with what was read from the process's state.
    pub fn render(&self, readings: &Readings) -> String {
        let mut text = self.handle.render();
        readings.render(&mut text);
        render_process(&mut text);
        text
    }

    /// Keeps histograms small between scrapes; never returns. Run it as a task until shutdown.
    pub async fn upkeep(self) {
        loop {
            tokio::time::sleep(UPKEEP_INTERVAL).await;
            self.handle.run_upkeep();
        }
    }
}

fn builder() -> PrometheusBuilder {
    let buckets = [
        (Matcher::Suffix("_seconds".into()), &SECONDS_BUCKETS[..]),
        (Matcher::Suffix("_duration".into()), &SECONDS_BUCKETS[..]),
        (Matcher::Suffix("_bytes".into()), &BYTES_BUCKETS[..]),
        (Matcher::Suffix("_records".into()), &COUNT_BUCKETS[..]),
        (Matcher::Suffix("_batches".into()), &COUNT_BUCKETS[..]),
    ];
    buckets.into_iter().fold(PrometheusBuilder::new(), |builder, (names, bounds)| {
        builder.set_buckets_for_metric(names, bounds).expect("bucket lists are not empty")
    })
}

/// Appends the `process_*` metrics that Prometheus client libraries agree on. What the kernel does not tell is left out.
fn render_process(text: &mut String) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let boot = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
    // Minus the directory handle that the count itself opens.
    let open_fds = std::fs::read_dir("/proc/self/fd").ok().map(|fds| fds.count().saturating_sub(1) as f64);
    let cpu_seconds = cpu_ticks(&stat).map(|ticks| ticks / ticks_per_second);
    let started =
        boot_seconds(&boot).zip(stat_field(&stat, STAT_STARTTIME)).map(|(boot, ticks)| boot + ticks / ticks_per_second);
    let now = Some(SystemClock.now_ms() as f64 / 1e3);
    let kib = |name| status_number(&status, name).map(|kib| kib * 1024.0);
    let rows = [
        ("process_cpu_seconds_total", "counter", "User and system CPU time spent, in seconds.", cpu_seconds),
        ("process_resident_memory_bytes", "gauge", "Resident memory.", kib("VmRSS:")),
        ("process_resident_memory_peak_bytes", "gauge", "Largest resident memory so far.", kib("VmHWM:")),
        ("process_virtual_memory_bytes", "gauge", "Virtual memory.", kib("VmSize:")),
        ("process_open_fds", "gauge", "Open file descriptors.", open_fds),
        ("process_max_fds", "gauge", "Most file descriptors that may be open.", max_fds(&limits)),
        ("process_clock_seconds", "gauge", "This process's clock, in seconds since 1970-01-01 UTC.", now),
        ("process_start_time_seconds", "gauge", "Start of the process, in seconds since 1970-01-01 UTC.", started),
        ("process_threads", "gauge", "Threads.", status_number(&status, "Threads:")),
    ];
    for (name, kind, help, value) in rows {
        if let Some(value) = value {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n")
                .expect("a string takes writes");
        }
    }
}

/// Fields of `/proc/self/stat` as proc(5) numbers them, from 1.
const STAT_UTIME: usize = 14;
const STAT_STIME: usize = 15;
const STAT_STARTTIME: usize = 22;

/// A numeric field. Field 2 is the program's name in parentheses, which may hold spaces, so counting starts after it.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split_ascii_whitespace().nth(number - 3)?.parse().ok()
}

fn cpu_ticks(stat: &str) -> Option<f64> {
    Some(stat_field(stat, STAT_UTIME)? + stat_field(stat, STAT_STIME)?)
}

fn status_number(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn boot_seconds(stat: &str) -> Option<f64> {
    status_number(stat, "btime ")
}

fn max_fds(limits: &str) -> Option<f64> {
    status_number(limits, "Max open files")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_histogram_has_buckets() {
        let recorder = builder().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("a_seconds", "path" => "/x").record(0.003);
            metrics::histogram!("http_request_duration").record(0.003);
            metrics::histogram!("a_bytes").record(5000.0);
            metrics::histogram!("group_batches").record(3.0);
            metrics::histogram!("group_records").record(3.0);
        });
        let text = recorder.handle().render();
        assert!(text.contains("a_seconds_bucket{path=\"/x\",le=\"0.005\"} 1"), "{text}");
        assert!(text.contains("http_request_duration_bucket{le=\"0.0025\"} 0"), "{text}");
        assert!(text.contains("a_bytes_bucket{le=\"16384\"} 1"), "{text}");
        assert!(text.contains("group_batches_bucket{le=\"4\"} 1"), "{text}");
        assert!(text.contains("group_records_bucket{le=\"2\"} 0"), "{text}");
        assert!(!text.contains("quantile"), "{text}");
    }

    #[test]
    fn installing_twice_shares_one_recorder() {
        let first = Metrics::install().unwrap();
        let second = Metrics::install().unwrap();
        metrics::counter!("installed_once_total").increment(1);
        assert!(first.render(&Readings::default()).contains("installed_once_total 1"));
        assert!(second.render(&Readings::default()).contains("installed_once_total 1"));
    }

    #[test]
    fn every_process_metric_is_there_with_a_sane_value() {
        let mut text = String::new();
        render_process(&mut text);
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.split(' ').next() == Some(name));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).split_once(' ').unwrap().1.parse().unwrap()
        };
        assert!(value("process_cpu_seconds_total") >= 0.0);
        assert!(value("process_resident_memory_bytes") > 100_000.0);
        assert!(value("process_open_fds") >= 3.0);
        assert!(value("process_max_fds") >= value("process_open_fds"));
        assert!(value("process_threads") >= 1.0);
        let age_s =
            (protocol::Clock::now_ms(&protocol::SystemClock) as f64) / 1000.0 - value("process_start_time_seconds");
        assert!((-2.0..3600.0).contains(&age_s), "{age_s}");
    }

    #[test]
    fn a_program_name_with_spaces_and_parentheses_does_not_shift_fields() {
        let stat = "7 (a) b c) S 1 2 3 4 5 6 7 8 9 10 140 150 16 17 18 19 20 21 220 23";
        assert_eq!(cpu_ticks(stat), Some(290.0));
        assert_eq!(stat_field(stat, STAT_STARTTIME), Some(220.0));
    }
}
