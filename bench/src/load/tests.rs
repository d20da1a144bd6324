//! The closed loop against a small store in memory that speaks the file dialect, and lies on request.

use super::*;
use crate::loopback::BareServer;
use actix_web::web::{self, Bytes, PayloadConfig, Query, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

/// What was uploaded, by file name; names are unique to a run, so tests share it.
static STORED: LazyLock<Mutex<HashMap<String, Bytes>>> = LazyLock::new(Mutex::default);

fn honest(config: &mut ServiceConfig) {
    config
        .app_data(PayloadConfig::new(1 << 20))
        .route("/upload", web::post().to(upload))
        .route("/download", web::get().to(download));
}

/// Answers any other name's bytes.
fn lying(config: &mut ServiceConfig) {
    let any = async || HttpResponse::Ok().body(STORED.lock().unwrap().values().next().unwrap().clone());
    config.route("/upload", web::post().to(upload)).route("/download", web::get().to(any));
}

async fn upload(request: HttpRequest, form: Bytes) -> HttpResponse {
    let boundary = request.headers().get("content-type").unwrap().to_str().unwrap().rsplit_once('=').unwrap().1;
    let parts = parts(&form, format!("--{boundary}").as_bytes());
    let (Some(name), Some(file)) = (parts.first(), parts.get(1)) else { return HttpResponse::BadRequest().finish() };
    if name.is_empty() {
        return HttpResponse::BadRequest().finish();
    }
    let name = String::from_utf8(name.to_vec()).unwrap();
    STORED.lock().unwrap().insert(name, file.clone());
    HttpResponse::Created().body("{}")
}

async fn download(query: Query<HashMap<String, String>>) -> HttpResponse {
    if query.get("version").is_some_and(|version| version.parse::<u64>().is_err()) {
        return HttpResponse::BadRequest().finish();
    }
    match STORED.lock().unwrap().get(&query["filename"]) {
        Some(file) => HttpResponse::Ok().body(file.clone()),
        None => HttpResponse::NotFound().finish(),
    }
}

/// The contents of a form's parts.
fn parts(form: &Bytes, delimiter: &[u8]) -> Vec<Bytes> {
    let find = |from: usize, what: &[u8]| {
        form[from..].windows(what.len()).position(|window| window == what).map(|at| from + at)
    };
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(head_end) = find(from, b"\r\n\r\n") {
        let end = find(head_end, delimiter).expect("a form ends with its delimiter");
        parts.push(form.slice(head_end + 4..end - 2));
        from = end;
    }
    parts
}

fn run_on(routes: fn(&mut ServiceConfig), operation: Operation, bad_percent: u8) -> Outcome {
    let server = BareServer::start(routes).unwrap();
    let objects = Objects::new(vec![0, 10, 5000]);
    let mut load = Load {
        driver: Driver::Native(server.endpoint.clone()),
        clients: 4,
        operation: Operation::Put,
        stop: Stop::Count(100),
        objects: &objects,
        stored: 0,
        part_bytes: None,
        bad_percent: 0,
        verify: Verify::Full,
        servers: &Processes::default(),
    };
    let puts = run(&load);
    assert_eq!((puts.puts.latency.count, puts.errors()), (100, 0), "{:?}", puts.messages);
    load.stored = 100;
    load.operation = operation;
    load.bad_percent = bad_percent;
    let outcome = run(&load);
    server.stop().unwrap();
    outcome
}

#[test]
fn what_was_put_is_got_and_every_request_is_counted_once() {
    let outcome = run_on(honest, Operation::Get, 0);
    assert_eq!((outcome.gets.latency.count, outcome.errors()), (100, 0), "{:?}", outcome.messages);
    assert!(outcome.gets.bytes > 0 && outcome.cost.elapsed > Duration::ZERO);
}

#[test]
fn a_mixed_load_has_puts_gets_and_refusals() {
    let outcome = run_on(honest, Operation::Mixed { get_percent: 50 }, 20);
    assert_eq!(outcome.errors(), 0, "{:?}", outcome.messages);
    let counts = [outcome.puts.latency.count, outcome.gets.latency.count, outcome.refusals.latency.count];
    assert_eq!(counts.iter().sum::<u64>(), 100);
    assert!(counts.iter().all(|&count| count > 5), "{counts:?}");
}

#[test]
fn a_server_that_changes_bytes_is_found_out() {
    let outcome = run_on(lying, Operation::Get, 0);
    assert!(outcome.errors() > 0);
    assert!(outcome.messages[0].contains("other bytes than were put"), "{:?}", outcome.messages);
}

#[test]
fn a_server_that_is_not_there_is_an_error_each_time() {
    let outcome = run(&Load {
        driver: Driver::Native("127.0.0.1:1".parse().unwrap()),
        clients: 2,
        operation: Operation::Put,
        stop: Stop::Count(6),
        objects: &Objects::new(vec![1]),
        stored: 0,
        part_bytes: None,
        bad_percent: 0,
        verify: Verify::Sampled,
        servers: &Processes::default(),
    });
    assert_eq!((outcome.operations(), outcome.errors(), outcome.messages.len()), (0, 6, 1));
}
