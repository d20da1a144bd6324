//! `GET /admin/diagnose`: one page in words: what is wrong, since when, what is being done, what the operator should do. From local state
//! and a bounded number of reads, so that it answers during the fault it tells of.

use super::super::html::{self, escape};
use super::super::{Door, system};
use super::diagnosis::{Finding, Scene, Urgency, findings};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use process::timestamp::rfc3339_ms;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What happened last, shown below the findings.
const EVENTS_SHOWN_MAX: usize = 20;
/// Where the alerts are explained.
const RUNBOOK: &str = "docs/operating.md";

pub(super) async fn diagnose(request: HttpRequest, door: Data<Door>) -> HttpResponse {
    let scene = look_around(&door).await;
    let found = findings(&scene);
    let events: Vec<Value> = door.events.last(EVENTS_SHOWN_MAX).iter().filter_map(|event| parse(&event.data)).collect();
    if html::is_wanted(request.headers()) {
        return html::page(&format!("Holdfast: {}", headline(&found)), &page(&found, &events));
    }
    let lines: Vec<Value> = found.iter().map(line).collect();
    HttpResponse::Ok().json(json!({
        "status": status(&found),
        "summary": headline(&found),
        "checked": rfc3339_ms(door.objects.clock.now_ms()),
        "findings": lines,
        "recent_events": events,
    }))
}

async fn look_around(door: &Door) -> Scene {
    let objects = &door.objects;
    Scene {
        nodes: system::expected(door),
        writes: objects.write_outlook(),
        catalog: objects.metadata.serves(),
        queue: objects.repair_queue().await.map_err(|error| error.message),
        workers: door.workers.status(),
        has_lease: door.workers.has_lease(),
        waits_for: door.workers.safe_mode().waits_for(),
    }
}

fn parse(event: &str) -> Option<Value> {
    serde_json::from_str(event).ok()
}

fn status(findings: &[Finding]) -> &'static str {
    match findings.first().map(|worst| worst.urgency) {
        Some(Urgency::Now) => "critical",
        Some(Urgency::Soon) => "degraded",
        Some(Urgency::Note) | None => "healthy",
    }
}

fn headline(findings: &[Finding]) -> String {
    match findings {
        [] => "nothing is wrong".to_owned(),
        [only] => only.what.clone(),
        [worst, rest @ ..] => format!("{} And {} more.", worst.what, rest.len()),
    }
}

fn line(finding: &Finding) -> Value {
    json!({
        "urgency": finding.urgency,
        "alert": finding.alert,
        "what": finding.what,
        "since": finding.since_ms.map(rfc3339_ms),
        "being_done": finding.being_done,
        "to_do": finding.to_do,
        "runbook": runbook(finding),
    })
}

fn runbook(finding: &Finding) -> String {
    format!("{RUNBOOK}#{}", finding.alert.to_ascii_lowercase())
}

fn page(findings: &[Finding], events: &[Value]) -> String {
    let mut text = String::new();
    if findings.is_empty() {
        text.push_str("<p class=\"good\">Every node answers, nothing waits for repair, and writes are accepted.</p>");
    } else {
        text.push_str(
            "<table><tr><th>act</th><th>what is wrong</th><th>since</th><th>what is being done</th><th>what to do</th></tr>",
        );
        findings.iter().for_each(|finding| row(&mut text, finding));
        text.push_str("</table>");
    }
    text.push_str("<h2>What happened last</h2><table><tr><th>when</th><th>what</th><th>more</th></tr>");
    for event in events {
        let of = |name: &str| escape(event[name].as_str().unwrap_or_default());
        let fields = escape(&event["fields"]);
        write!(text, "<tr><td>{}</td><td>{}</td><td><code>{fields}</code></td></tr>", of("timestamp"), of("message"))
            .expect("a string takes writes");
    }
    text.push_str("</table>");
    text
}

fn row(text: &mut String, finding: &Finding) {
    let act = match finding.urgency {
        Urgency::Now => "<span class=\"bad\">now</span>",
        Urgency::Soon => "today",
        Urgency::Note => "no need",
    };
    let since = finding.since_ms.map_or_else(|| "not known".to_owned(), rfc3339_ms);
    write!(
        text,
        "<tr><td>{act}</td><td>{}</td><td>{since}</td><td>{}</td><td>{}<br><small>{}</small></td></tr>",
        escape(&finding.what),
        escape(&finding.being_done),
        escape(&finding.to_do),
        escape(runbook(finding)),
    )
    .expect("a string takes writes");
}
