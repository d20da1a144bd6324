//! What one run of `bench load` prints.

use crate::latency::Latency;
use crate::load::{Outcome, Side};
use crate::processes::Processes;
use std::time::Duration;

/// The run in a few lines.
pub fn lines(outcome: &Outcome, servers: &Processes) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, side) in [
        ("put", &outcome.puts),
        ("get", &outcome.gets),
        ("list", &outcome.lists),
        ("delete", &outcome.deletes),
        ("refused", &outcome.refusals),
    ] {
        if side.latency.count + side.errors > 0 {
            lines.push(side_line(name, side, outcome.cost.elapsed));
        }
    }
    lines.push(format!(
        "client   {:.2} CPU-s, {:.3} ms per operation",
        outcome.cost.client_cpu.as_secs_f64(),
        outcome.cost.client_cpu.as_secs_f64() * 1e3 / outcome.operations().max(1) as f64
    ));
    if !servers.is_empty() {
        // Lists and deletes carry no bytes of objects.
        let per_gib = match outcome.bytes() {
            0 => String::new(),
            _ => format!(", {:.2} s per GiB", outcome.server_cpu_s_per_gib()),
        };
        lines.push(format!(
            "servers  {:.2} CPU-s, {:.3} ms per operation{per_gib}",
            outcome.cost.server_cpu.as_secs_f64(),
            outcome.server_cpu_ms_per_operation()
        ));
        let peaks = servers.peaks().into_iter().map(|(name, bytes)| format!("{name} {} MiB", bytes >> 20));
        lines.push(format!("peak RSS {}", peaks.collect::<Vec<_>>().join(", ")));
        let ended = servers.ended();
        if !ended.is_empty() {
            lines.push(format!("ended    {}: not in the servers' figures", ended.join(", ")));
        }
    }
    lines.extend(outcome.messages.iter().map(|message| format!("error    {message}")));
    lines
}

fn side_line(name: &str, side: &Side<Latency>, elapsed: Duration) -> String {
    let Latency { count, p50, p90, p99, max, .. } = side.latency;
    let [p50, p90, p99, max] = [p50, p90, p99, max].map(|latency| latency.as_secs_f64() * 1e3);
    let seconds = elapsed.as_secs_f64();
    format!(
        "{name:8} {count} in {seconds:.1} s = {:.0}/s, {:.1} MB/s; ms p50 {p50:.2} p90 {p90:.2} p99 {p99:.2} max {max:.1}; \
         errors {}",
        count as f64 / seconds,
        side.bytes as f64 / 1e6 / seconds,
        side.errors
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::processes::Cost;

    #[test]
    fn a_run_is_told_in_a_few_lines() {
        let ms = Duration::from_millis;
        let latency = Latency { count: 1000, p50: ms(1), p90: ms(2), p95: ms(2), p99: ms(3), max: ms(40) };
        let outcome = Outcome {
            puts: Side { latency, bytes: 4_096_000, errors: 2 },
            gets: Side::default(),
            lists: Side::default(),
            deletes: Side::default(),
            refusals: Side::default(),
            messages: vec!["put: status 503: no quorum".to_owned()],
            cost: Cost { elapsed: ms(2000), client_cpu: ms(500), server_cpu: ms(0) },
        };
        let expected = [
            "put      1000 in 2.0 s = 500/s, 2.0 MB/s; ms p50 1.00 p90 2.00 p99 3.00 max 40.0; errors 2",
            "client   0.50 CPU-s, 0.500 ms per operation",
            "error    put: status 503: no quorum",
        ];
        assert_eq!(lines(&outcome, &Processes::default()), expected);
    }
}
