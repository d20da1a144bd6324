//! The report of a verification, as JSON and as a page.

use super::super::html::escape;
use crate::metadata::records::{FindingRecord, VerifyCounts};
use crate::worker::verify::FINDINGS_MAX;
use crate::worker::verify::job::{FindingsPage, VerifyJob};
use process::timestamp::rfc3339_ms;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// All but the findings.
pub(super) fn summary(job: &VerifyJob) -> Value {
    let record = &job.record;
    json!({
        "id": job.id,
        "state": state(job),
        "clean": record.finished_ms > 0 && record.findings == 0,
        "bucket": record.bucket,
        "prefix": record.prefix,
        "bytes_per_s": record.bytes_per_s,
        "requested": rfc3339_ms(record.requested_ms),
        "finished": (record.finished_ms > 0).then(|| rfc3339_ms(record.finished_ms)),
        "counts": record.counts,
        "finding_count": record.findings,
    })
}

fn state(job: &VerifyJob) -> &'static str {
    match (job.record.finished_ms, job.record.position.is_empty()) {
        (0, true) => "queued",
        (0, false) => "running",
        _ => "done",
    }
}

/// The body of the page.
pub(super) fn page_of(job: &VerifyJob, found: &FindingsPage) -> String {
    let record = &job.record;
    let verdict = match (record.finished_ms, record.findings) {
        (0, _) => "<b>under way</b>: what follows is what was found so far".to_owned(),
        (_, 0) => "<span class=\"good\">Every copy is there and is what was stored.</span>".to_owned(),
        (_, findings @ ..=FINDINGS_MAX) => format!("<span class=\"bad\">{findings} findings</span>"),
        (_, findings) => {
            format!("<span class=\"bad\">{findings} findings, of which the first {FINDINGS_MAX} are listed</span>")
        }
    };
    let mut text = format!("<p>{verdict}</p><p>asked for {}", rfc3339_ms(record.requested_ms));
    if record.finished_ms > 0 {
        write!(text, ", ended {}", rfc3339_ms(record.finished_ms)).expect("a string takes writes");
    }
    text.push_str("</p><table>");
    for (what, count) in rows(record.counts) {
        write!(text, "<tr><th>{what}</th><td>{count}</td></tr>").expect("a string takes writes");
    }
    text.push_str("</table>");
    if !found.findings.is_empty() {
        text.push_str(
            "<h2>Findings</h2><table><tr><th>what</th><th>where</th><th>node</th><th>more</th><th>repair</th></tr>",
        );
        found.findings.iter().for_each(|finding| row(&mut text, finding));
        text.push_str("</table>");
    }
    if let Some(next) = found.next {
        write!(text, "<p><a href=\"?after={next}\">more findings</a></p>").expect("a string takes writes");
    }
    text
}

fn rows(counts: VerifyCounts) -> [(&'static str, u64); 11] {
    [
        ("objects", counts.objects),
        ("versions", counts.versions),
        ("chunks", counts.chunks),
        ("chunks not read again, being shared", counts.chunks_seen_before),
        ("copies", counts.copies),
        ("bytes read", counts.bytes),
        ("copies missing", counts.missing),
        ("copies corrupt", counts.corrupt),
        ("copies out of reach", counts.unreachable),
        ("chunks below redundancy", counts.below_redundancy),
        ("chunks unreadable", counts.unreadable),
    ]
}

fn row(text: &mut String, finding: &FindingRecord) {
    let kind = serde_json::to_value(finding.kind).unwrap_or_default();
    let chunk = finding.chunk.map_or_else(|| "no chunk".to_owned(), |chunk| format!("chunk {chunk}"));
    write!(
        text,
        "<tr><td class=\"bad\">{}</td><td>{}/{} version {}<br><small>byte {}, <code>{chunk}</code></small></td>\
         <td>{}</td><td>{}</td><td>{}</td></tr>",
        escape(kind.as_str().unwrap_or_default().replace('_', " ")),
        escape(&finding.bucket),
        escape(&finding.key),
        finding.version,
        finding.offset,
        finding.node.as_ref().map(escape).unwrap_or_default(),
        escape(&finding.detail),
        if finding.repair_queued { "queued" } else { "nothing to queue" },
    )
    .expect("a string takes writes");
}
