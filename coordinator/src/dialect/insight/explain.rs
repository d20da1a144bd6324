//! `GET /admin/explain?bucket=&key=&version=&after=&limit=`: why a version lies where it does, as JSON or as a page.

use super::super::Door;
use super::super::html::{self, escape};
use super::super::query::Query;
use super::super::reply::Refusal;
use super::{object_in_query, version_in_query};
use crate::metadata::records::VersionRecord;
use crate::object::{EXPLAIN_LIMIT_MAX, ExplainPage, ExplainedChunk, ExplainedCopy, Failures, ObjectName};
use actix_web::{HttpRequest, HttpResponse, web};
use process::timestamp::rfc3339_ms;
use serde_json::json;
use std::fmt::Write as _;

/// Chunks in a page, if the client does not say.
const LIMIT_DEFAULT: usize = 100;

pub(super) async fn explain(request: HttpRequest, door: web::Data<Door>) -> Result<HttpResponse, Refusal> {
    let query = Query::parse(request.query_string())?;
    let name = object_in_query(&query)?;
    let limit = query.number("limit", LIMIT_DEFAULT, 1, EXPLAIN_LIMIT_MAX)?;
    let after = query.get("after").unwrap_or("0").parse();
    let after = after.map_err(|_| Refusal::bad_request("after must be an offset in bytes"))?;
    let version = version_in_query(&door, &query, &name).await?;
    let page = door.objects.explain(&name, &version, after, limit).await?;
    if html::is_wanted(request.headers()) {
        return Ok(html::page(&format!("{name} version {}", version.number), &readable(&name, &version, &page)));
    }
    Ok(HttpResponse::Ok().json(json!({
        "bucket": name.bucket().as_str(),
        "key": name.key(),
        "version": version.number,
        "versionId": version.id,
        "size": version.size,
        "sha256": version.sha256.map(hex::encode),
        "chunk_count": version.chunk_count,
        "writes": page.writes,
        "chunks": page.chunks,
        "next": page.next,
    })))
}

fn readable(name: &ObjectName, version: &VersionRecord, page: &ExplainPage) -> String {
    let writes = page.writes;
    let can = |yes: bool| if yes { "accepted" } else { "<span class=\"bad\">refused</span>" };
    let mut text = format!(
        "<p>{} bytes in {} chunks, made {}, version id <code>{}</code>, SHA-256 <code>{}</code></p>\
         <p>{} of {} nodes answer. Writes: {} now, {} after one more failure, {} after two.</p>\
         <table><tr><th>bytes</th><th>chunk</th><th>copies, and why there</th><th>if nodes fail</th><th>shared</th>\
         <th>repair</th></tr>",
        version.size,
        version.chunk_count,
        rfc3339_ms(version.created_ms),
        version.id,
        version.sha256.map_or_else(|| "-".to_owned(), hex::encode),
        writes.answering,
        writes.nodes,
        can(writes.now),
        can(writes.after_one_failure),
        can(writes.after_two_failures),
    );
    page.chunks.iter().for_each(|chunk| row(&mut text, chunk));
    text.push_str("</table>");
    if let Some(next) = page.next {
        let (bucket, key) = (encoded(name.bucket().as_str()), encoded(name.key()));
        let link = format!("?bucket={bucket}&key={key}&version={}&after={next}", version.number);
        write!(text, "<p><a href=\"{}\">more, from byte {next} on</a></p>", escape(link))
            .expect("a string takes writes");
    }
    text
}

fn row(text: &mut String, chunk: &ExplainedChunk) {
    let shared = match (chunk.shared_with.versions, chunk.shared_with.more) {
        (0, _) => "with no other version".to_owned(),
        (versions, false) => format!("with {versions} other versions"),
        (versions, true) => format!("with more than {versions} other versions"),
    };
    let repair = match &chunk.repair {
        None => "none".to_owned(),
        Some(repair) => {
            format!("<span class=\"bad\">{}</span> since {}", escape(&repair.reason), rfc3339_ms(repair.since_ms))
        }
    };
    let copies: String = chunk.copies.iter().map(copy).collect();
    write!(
        text,
        "<tr><td>{} + {}</td><td><code>{}</code><br><small>code {}, {} bytes stored{}</small></td><td>{copies}</td>\
         <td>{}one: {}<br>two: {}</td><td>{shared}</td><td>{repair}</td></tr>",
        chunk.offset,
        chunk.length,
        chunk.chunk,
        chunk.code,
        chunk.stored_length,
        if chunk.compressed { ", compressed" } else { "" },
        if chunk.readable { "" } else { "<span class=\"bad\">cannot be read now</span><br>" },
        effect(&chunk.one_failure, chunk.readable),
        effect(&chunk.two_failures, chunk.readable),
    )
    .expect("a string takes writes");
}

fn copy(copy: &ExplainedCopy) -> String {
    let state = if copy.answering { "<span class=\"good\">answers</span>" } else { "<span class=\"bad\">away</span>" };
    let rank = copy.rank.map_or_else(|| "not ranked".to_owned(), |rank| format!("rank {rank}"));
    format!("<b>{}</b> {state}, {rank}<br><small>{}</small><br>", escape(&copy.node), escape(copy.reasons.join("; ")))
}

fn effect(failures: &Failures, readable_now: bool) -> String {
    let named = |sets: &[Vec<protocol::NodeId>]| {
        let names = sets.iter().map(|set| set.iter().map(escape).collect::<Vec<String>>().join(" with "));
        names.collect::<Vec<String>>().join(", ")
    };
    let mut effects = Vec::new();
    if !failures.lost_by.is_empty() {
        effects.push(format!("<span class=\"bad\">lost by {}</span>", named(&failures.lost_by)));
    }
    if !failures.blocked_by.is_empty() {
        effects.push(format!("unreadable while away: {}", named(&failures.blocked_by)));
    }
    match (effects.is_empty(), readable_now) {
        (true, true) => "<span class=\"good\">still readable</span>".to_owned(),
        (true, false) => "nothing is lost".to_owned(),
        (false, _) => effects.join("; ") + if failures.more { " and more" } else { "" },
    }
}

fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
