//! Every route of the native doors is walked: none answers without a key, or with one that may not, but those that are meant to.

use super::access::{Need, RULES, need};
use super::admit::HEADER_BYTES_MAX;
use super::{Guard, admit};
use crate::config::Config;
use crate::dialect::{Door, DoorSettings, every_route};
use crate::identity::seal::Sealer;
use crate::identity::{Action, Identity, NewKey};
use crate::limits::Limits;
use crate::metadata::Metadata;
use crate::metadata::memory::MemoryMetadata;
use crate::metadata::records::{BucketRecord, GrantRecord};
use crate::nodes::Nodes;
use crate::nodes::registry::Registry;
use crate::object::budget::{BUDGET_BYTES_MIN, Budget};
use crate::object::{
    BucketName, ChunkCache, Clients, Compute, Heat, HotFields, LostVersions, NewBucket, Objects, Profiles, Prover,
    Tasks, Usage,
};
use crate::worker::{Running, Tiering, WorkerSettings};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::Method;
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, init_service};
use actix_web::{App, HttpRequest, HttpResponse, web};
use clap::Parser;
use futures_util::future::{FutureExt, LocalBoxFuture};
use process::requests::Requests;
use protocol::routes::HEADER_SECRET;
use protocol::{Clock, ClusterFile, ClusterId, SystemClock};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use uuid::Uuid;

const METHODS: [&str; 8] = ["GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "TRACE"];

fn objects() -> Objects {
    let metadata: Arc<dyn Metadata> = Arc::new(MemoryMetadata::default());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let registry = Arc::new(Registry::new(metadata.clone(), clock.clone()));
    Objects {
        metadata,
        nodes: Arc::new(Nodes::new(Vec::new(), ClusterId(Uuid::from_u128(7)), registry, clock.clone())),
        clock,
        tasks: Tasks::new(Handle::current()),
        compute: Compute::Threads,
        prover: Prover::default(),
        budget: Budget::new(BUDGET_BYTES_MIN),
        read_budget: Budget::new(BUDGET_BYTES_MIN),
        clients: Clients::default(),
        cache: ChunkCache::new(0),
        usage: Usage::default(),
        heat: Heat::default(),
        hot_fields: HotFields::default(),
        profiles: Profiles::DEFAULT,
        lost: LostVersions::default(),
    }
}

/// A door with flags, no nodes and an empty catalog.
fn door(flags: &[&str]) -> Door {
    let config = Config::parse_from(std::iter::once("coordinator").chain(flags.iter().copied()));
    let objects = objects();
    let sealer = Sealer::of_key(&"k".repeat(32)).unwrap();
    let identity = Identity::new(objects.metadata.clone(), objects.clock.clone(), sealer, config.trusts_all());
    let day = Duration::from_secs(86_400);
    let settings = WorkerSettings {
        process: "test".to_owned(),
        trash_window: day,
        orphan_grace: day,
        upload_expires: day,
        node_lost_after: day,
        scrub_interval: day,
        census_interval: day,
        scrub_bytes_per_s: 0,
        repair_bytes_per_s: 0,
        tiering: Tiering::DEFAULT,
    };
    Door {
        workers: Running::start(&objects, &settings).workers,
        objects,
        settings: DoorSettings {
            body_stall: Duration::from_secs(1),
            upload_bytes_max: None,
            hostname: "here".to_owned(),
            server_id: "test".to_owned(),
            workers: 1,
            cluster: ClusterFile { cluster: ClusterId(Uuid::from_u128(7)), secret: "s".repeat(40) },
            cors_origins: config.cors_origin.clone(),
        },
        metrics: process::metrics::Metrics::install().unwrap(),
        requests: Arc::new(Requests::new("test")),
        guard: Arc::new(Guard { identity, limits: Limits::new(&config.access), audit: None }),
        events: process::events::Events::new("test"),
    }
}

/// What the router knows, as it tells itself: a route that the rules do not name is found here, too.
async fn patterns(request: HttpRequest) -> HttpResponse {
    HttpResponse::Ok().body(format!("{:?}", request.resource_map()))
}

/// The native doors, without a socket.
struct Application(Box<dyn Fn(TestRequest) -> LocalBoxFuture<'static, ServiceResponse>>);

impl Application {
    async fn of(door: &Door) -> Application {
        let application = App::new()
            .app_data(web::Data::new(door.clone()))
            .wrap(from_fn(admit))
            .configure(every_route)
            .default_service(web::to(patterns));
        let service = Rc::new(init_service(application).await);
        Application(Box::new(move |request| {
            let service = service.clone();
            async move { service.call(request.to_request()).await.unwrap().map_into_boxed_body() }.boxed_local()
        }))
    }

    async fn call(&self, request: TestRequest) -> ServiceResponse {
        (self.0)(request).await
    }

    async fn status(&self, method: &str, path: &str, headers: &[(&str, String)]) -> u16 {
        let request = TestRequest::with_uri(path).method(Method::from_bytes(method.as_bytes()).unwrap());
        let add = |request: TestRequest, (name, value): &(&str, String)| request.append_header((*name, value.as_str()));
        self.call(headers.iter().fold(request, add)).await.status().as_u16()
    }
}

async fn key(door: &Door, buckets: &str, actions: &[Action], any_owner: bool) -> (&'static str, String) {
    let actions = actions.iter().fold(0, |bits, action| bits | *action as u8);
    let grants = vec![GrantRecord { buckets: vec![buckets.to_owned()], actions, any_owner }];
    let new = NewKey { name: "test".to_owned(), owner: None, grants, expires_ms: 0 };
    let fresh = door.guard.identity.create(new).await.unwrap();
    ("authorization", format!("Bearer {}", fresh.token.reveal()))
}

/// A path that the pattern matches, about the bucket `files` or `buc`.
fn path_of(pattern: &str) -> String {
    let path = pattern.replace("{bucket}", "buc").replace("{key:.*}", "a/b").replace("{filename:.*}", "a");
    let path = path.replace("{id}", "HFNOBODY").replace("{name}", "repair");
    match pattern {
        "/receipt" => format!("{path}?filename=a"),
        _ => path,
    }
}

#[actix_web::test]
async fn the_rules_name_every_route_that_the_router_has() {
    let door = door(&[]);
    let application = Application::of(&door).await;
    let request = TestRequest::with_uri("/no/such/path");
    let told = application.call(request).await.into_body();
    let told = actix_web::body::to_bytes(told).await.map_err(|_| "a body").unwrap();
    let told = String::from_utf8(told.to_vec()).unwrap();
    let routed: BTreeSet<&str> = told
        .split("Single(\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .filter(|one| !one.is_empty())
        .collect();
    let ruled: BTreeSet<&str> = RULES.iter().map(|(pattern, _)| *pattern).collect();
    assert!(routed.len() > 20, "{told}");
    assert_eq!(routed, ruled, "each route says in access.rs what it needs");
}

#[actix_web::test]
async fn no_route_answers_without_a_key_or_with_one_that_may_not() {
    let door = door(&["--auth=on"]);
    let application = Application::of(&door).await;
    let powerless = key(&door, "other", &Action::ALL, false).await;
    let wrong = ("authorization", format!("Bearer s3_key_{}", "x".repeat(43)));
    for (pattern, _) in RULES {
        for method in METHODS {
            let path = path_of(pattern);
            let rule = need(pattern, method);
            let (none, bad, weak) = (
                application.status(method, &path, &[]).await,
                application.status(method, &path, std::slice::from_ref(&wrong)).await,
                application.status(method, &path, std::slice::from_ref(&powerless)).await,
            );
            let told = format!("{method} {path}: {none} {bad} {weak}");
            assert_eq!(bad == 401, !matches!(rule, Some(Ok(Need::Nothing))), "{told}");
            match rule {
                // It is not ready: it has no nodes.
                Some(Ok(Need::Nothing)) if path == "/health/ready" => assert_eq!([none, bad, weak], [503; 3], "{told}"),
                Some(Ok(Need::Nothing)) => assert_eq!([none, bad, weak], [200; 3], "{told}"),
                Some(Ok(Need::AnyKey)) => assert!(none == 401 && weak == 200, "{told}"),
                // In what is nobody's, or another's, it finds nothing.
                Some(Ok(Need::Each(_))) => assert!(none == 401 && matches!(weak, 200 | 422), "{told}"),
                Some(Ok(Need::Admin | Need::SecretOrAdmin | Need::On(..) | Need::Read(_))) => {
                    assert_eq!((none, weak), (401, 403), "{told}")
                }
                Some(Err(_)) => assert_eq!((none, weak), (401, 405), "{told}"),
                None => panic!("{told}: it has no rule"),
            }
        }
    }
    assert_eq!(application.status("GET", "/no/such/path", &[]).await, 401);
    assert_eq!(application.status("GET", "/no/such/path", &[powerless]).await, 404);
}

#[actix_web::test]
async fn each_action_opens_its_routes_and_no_other() {
    let door = door(&["--auth=on"]);
    let application = Application::of(&door).await;
    // Nobody's, or the first that writes would make it its own.
    door.objects.create_bucket(&BucketName::parse("buc").unwrap(), NewBucket::default()).await.unwrap();
    for action in Action::ALL {
        let narrow = key(&door, "*", &[action], false).await;
        for (pattern, methods) in RULES {
            for (method, need) in methods.iter() {
                let Need::On(needed, _) = need else { continue };
                let answered = application.status(method, &path_of(pattern), std::slice::from_ref(&narrow)).await;
                assert_eq!(answered == 403, *needed != action, "{action:?}: {method} {pattern} answered {answered}");
                assert_ne!(answered, 401);
            }
        }
    }
}

#[actix_web::test]
async fn no_spelling_of_a_path_gets_past_its_rule() {
    let door = door(&["--auth=on"]);
    let application = Application::of(&door).await;
    let reader = key(&door, "pub*", &[Action::Read], false).await;
    for path in [
        "/%61dmin/keys",
        "/admin%2Fkeys",
        "/admin/keys/",
        "//admin/keys",
        "/./admin/keys",
        "/ADMIN/keys",
        "/s3/public/../secret/a",
        "/s3/%73ecret/a",
        "/s3/secret%2Fa/b",
        "/%733/secret/a",
        "/s3//secret/a",
        "/files/%2e%2e/s3/public/a",
        "/download?filename=a&bucket=public",
        "/receipt?filename=a&bucket=public&key=a",
        "/receipt?bucket=public&bucket=secret&key=a&filename=b",
    ] {
        for headers in [&[][..], std::slice::from_ref(&reader)] {
            let answered = application.status("GET", path, headers).await;
            // `/s3/public/../secret/a` is a key of the bucket `public` (names are opaque), and is missing there.
            let opaque = path.starts_with("/s3/public/") && !headers.is_empty() && answered == 404;
            assert!(opaque || matches!(answered, 400 | 401 | 403 | 404), "{path}: {answered}");
            assert!(!headers.is_empty() || answered == 401, "{path}: {answered}");
        }
    }
}

#[actix_web::test]
async fn a_node_joins_by_the_secret_and_by_nothing_less() {
    let door = door(&["--auth=on"]);
    let application = Application::of(&door).await;
    let secret = |text: String| [(HEADER_SECRET, text)];
    let join = |headers: Vec<(&'static str, String)>| {
        let application = &application;
        async move { application.status("POST", "/admin/nodes", &headers).await }
    };
    assert_eq!(join(Vec::new()).await, 401);
    assert_eq!(join(secret("x".repeat(40)).to_vec()).await, 403);
    assert_eq!(join(secret("s".repeat(40)).to_vec()).await, 400, "it may, and says no url");
    let ordinary = key(&door, "*", &Action::ALL, false).await;
    assert_eq!(join(vec![ordinary]).await, 403);
    let admin = key(&door, "*", &[Action::Admin], true).await;
    assert_eq!(join(vec![admin]).await, 400);
    assert_eq!(application.status("GET", "/admin/keys", &secret("s".repeat(40))).await, 401, "it opens nothing else");
}

#[actix_web::test]
async fn where_everybody_is_trusted_nothing_is_asked_and_nothing_else_changes() {
    let door = door(&[]);
    let application = Application::of(&door).await;
    for headers in [&[][..], &[("authorization", "Bearer nonsense".to_owned())]] {
        assert_eq!(application.status("GET", "/admin/keys", headers).await, 200);
        assert_eq!(application.status("GET", "/s3/buc/missing", headers).await, 404);
        assert_eq!(application.status("PATCH", "/upload", headers).await, 405);
    }
}

#[actix_web::test]
async fn limits_refuse_before_anything_else_is_looked_at() {
    let door = door(&["--rate-per-ip=3", "--rate-per-key=2", "--auth=on"]);
    let application = Application::of(&door).await;
    let ask = |peer: &'static str, path: &'static str, headers: Vec<(&'static str, String)>| {
        let request = TestRequest::with_uri(path).peer_addr(peer.parse().unwrap());
        let request = headers.into_iter().fold(request, |request, header| request.append_header(header));
        let application = &application;
        async move { application.call(request).await }
    };
    for _ in 0..3 {
        assert_eq!(ask("10.0.0.1:1", "/files", Vec::new()).await.status(), 401);
    }
    let refused = ask("10.0.0.1:2", "/files", Vec::new()).await;
    assert_eq!(refused.status(), 429);
    let seconds: u64 = refused.headers().get("retry-after").unwrap().to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds));
    assert_eq!(ask("10.0.0.1:1", "/health", Vec::new()).await.status(), 200, "probes are not counted");
    let reader = key(&door, "*", &[Action::List], false).await;
    let mut answers = Vec::new();
    for peer in ["10.0.1.1:1", "10.0.2.1:1", "10.0.3.1:1"] {
        answers.push(ask(peer, "/files", vec![reader.clone()]).await.status().as_u16());
    }
    assert_eq!(answers, [200, 200, 429], "the key's own limit, from wherever it comes");
    let long = ask("10.0.9.1:1", "/files", vec![("x-long", "x".repeat(HEADER_BYTES_MAX))]).await;
    assert_eq!(long.status(), 431);
}

#[actix_web::test]
async fn a_place_is_taken_until_the_answer_has_been_sent() {
    let door = door(&["--requests-max=1"]);
    let application = Application::of(&door).await;
    let held = application.call(TestRequest::with_uri("/health")).await;
    let refused = application.call(TestRequest::with_uri("/health")).await;
    assert_eq!((refused.status().as_u16(), refused.headers().contains_key("retry-after")), (503, true));
    let body = actix_web::body::to_bytes(refused.into_body()).await.unwrap();
    assert!(String::from_utf8_lossy(&body).contains("SlowDown"));
    drop(held);
    assert_eq!(application.status("GET", "/health", &[]).await, 200);
}

#[actix_web::test]
async fn another_s_bucket_is_closed_and_an_open_one_is_read_by_anybody() {
    let door = door(&["--auth=on"]);
    let application = Application::of(&door).await;
    let name = BucketName::parse("buc").unwrap();
    let new = NewBucket { owner: "HFSOMEBODYELSE".to_owned(), ..NewBucket::default() };
    door.objects.create_bucket(&name, new).await.unwrap();
    let mine = key(&door, "*", &Action::ALL, false).await;
    let everybody_s = key(&door, "*", &Action::ALL, true).await;
    let get = |headers: Vec<(&'static str, String)>| {
        let application = &application;
        async move { application.status("GET", "/s3/buc/a", &headers).await }
    };
    assert_eq!((get(Vec::new()).await, get(vec![mine.clone()]).await), (401, 403));
    assert_eq!(get(vec![everybody_s]).await, 404, "it may look, and there is nothing");

    let open = |record: &mut BucketRecord| {
        record.public_read = true;
        Ok(())
    };
    door.objects.change_bucket(&name, open).await.unwrap();
    assert_eq!((get(Vec::new()).await, get(vec![mine.clone()]).await), (404, 404));
    // What was there before, and what is told of it, is the owner's.
    let closed = ["/s3/buc/a?versionId=null", "/s3/buc/a?versions", "/buckets/buc/objects/a?version=1"]
        .map(|path| ("GET", path));
    let closed =
        closed.into_iter().chain([("GET", "/receipt?bucket=buc&key=a"), ("HEAD", "/s3/buc/a?%76ersionId=null")]);
    for (method, path) in closed.chain([("PUT", "/s3/buc/a"), ("DELETE", "/s3/buc/a"), ("GET", "/s3/buc")]) {
        assert_eq!(application.status(method, path, &[]).await, 401, "{method} {path}");
        assert_eq!(application.status(method, path, std::slice::from_ref(&mine)).await, 403, "{method} {path}");
    }
}

#[actix_web::test]
async fn a_page_of_another_origin_changes_nothing_where_no_key_is_asked_for() {
    async fn asked_at(host: &str, flags: &[&str], method: &'static str, origin: &str) -> u16 {
        let application = Application::of(&door(flags)).await;
        let headers = [("origin", origin.to_owned()), ("host", host.to_owned())];
        application.status(method, "/admin/workers/census", &headers).await
    }
    let asked = async |flags: &[&str], method, origin: &str| asked_at("localhost:8080", flags, method, origin).await;
    for host in ["127.0.0.1:8080", "[::1]:8080"] {
        assert_ne!(asked_at(host, &[], "POST", &format!("http://{host}")).await, 403, "{host}");
    }
    let rebound = asked_at("evil.example:8080", &[], "POST", "http://evil.example:8080").await;
    assert_eq!(rebound, 403, "whoever has a name can have it lead here");
    for origin in ["https://evil.example", "null", "http://localhost:8081", "https://localhost:8080.evil.example"] {
        assert_eq!(asked(&[], "POST", origin).await, 403, "{origin}");
        assert_eq!(asked(&["--cors-origin=https://a.example"], "POST", origin).await, 403, "{origin}");
    }
    assert_ne!(asked(&[], "POST", "http://localhost:8080").await, 403, "its own page");
    assert_ne!(asked(&["--cors-origin=https://a.example"], "POST", "https://a.example").await, 403);
    assert_ne!(asked(&["--cors-origin=*"], "POST", "https://evil.example").await, 403, "as it was told");
    assert_ne!(asked(&[], "GET", "https://evil.example").await, 403, "it cannot see the answer");
    assert_ne!(asked(&["--auth=on"], "POST", "https://evil.example").await, 403, "a key is asked for");
}
