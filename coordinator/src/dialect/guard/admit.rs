//! The middleware before every native route: is there room, does this address ask too often, who is it, may it do that?
//!
//! What it keeps true:
//! - In this order, and each refusal is told: 503, 431, 403 (another origin's page), 429, 401, 429 (of the key), 404 and 405 (no rule), 403.
//! - The route that is judged is the one that the router takes: both look at the same decoded path.
//! - Whatever comes of a request, the audit log hears of it, where there is one.

use super::access::{Need, need};
use super::ask::permit;
use super::held::Held;
use crate::audit::Line;
use crate::dialect::Door;
use crate::dialect::cors::allowed;
use crate::dialect::query::Query;
use crate::dialect::reply::Refusal;
use crate::identity::{Action, Principal, Resource, authorize};
use crate::limits::{Admission, Refused};
use crate::metadata::Serves;
use crate::names;
use crate::nodes::request_id;
use crate::object::BucketName;
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::StatusCode;
use actix_web::http::header::{AUTHORIZATION, HOST, HeaderMap, ORIGIN};
use actix_web::http::uri::Authority;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpRequest, ResponseError, web};
use metrics::counter;
use process::timestamp::rfc3339_ms;
use protocol::routes::HEADER_SECRET;
use std::net::IpAddr;
use tokio::time::Instant;

/// The most bytes of header names and values: more than any client of these doors has to say.
pub const HEADER_BYTES_MAX: usize = 16 << 10;

/// What a request is about, for the audit log; where the head does not tell, the handler does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Subject {
    /// The bucket.
    pub bucket: String,
    /// The key, if it is about one.
    pub key: Option<String>,
}

/// What is known of a request so far.
struct Entry {
    principal: Principal,
    pattern: Option<String>,
    action: Option<Action>,
}

/// The middleware.
pub async fn admit<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<Held<B>>>, Error> {
    let began = Instant::now();
    let door = request.app_data::<web::Data<Door>>().cloned().expect("every application has its door");
    let under_way = door.requests.begin();
    let mut entry = Entry { principal: Principal::Anonymous, pattern: None, action: None };
    let response = match enter(&door, &request, &mut entry).await {
        Err(refusal) => request.into_response(refusal.error_response()).map_into_right_body(),
        Ok(admission) => {
            request.extensions_mut().insert(entry.principal.clone());
            let answered = next.call(request).await?;
            answered.map_body(|_, body| EitherBody::left(Held::new(body, admission, under_way)))
        }
    };
    tell(&door, &response, &entry, began);
    Ok(response)
}

/// Lets in what asks for nothing but whether it may ask, and is asked for no key: within the limits, as everything is.
pub fn admit_preflight(door: &Door, request: &ServiceRequest) -> Result<Admission, Refusal> {
    let limits = &door.guard.limits;
    let admission = limits.admit().map_err(|refused| limited(refused, "requests"))?;
    refuse_long_head(request.headers())?;
    refuse_bad_host(request.headers())?;
    if let Some(peer) = request.peer_addr() {
        let local = request.app_config().local_addr().ip();
        limits.of_address(peer.ip(), local).map_err(|refused| limited(refused, "address"))?;
    }
    Ok(admission)
}

/// Who sent a request that was let in.
pub fn principal(request: &HttpRequest) -> Principal {
    request.extensions().get::<Principal>().cloned().unwrap_or(Principal::Anonymous)
}

async fn enter(door: &Door, request: &ServiceRequest, entry: &mut Entry) -> Result<Admission, Refusal> {
    let guard = &door.guard;
    let admission = guard.limits.admit().map_err(|refused| limited(refused, "requests"))?;
    refuse_long_head(request.headers())?;
    refuse_bad_host(request.headers())?;
    refuse_foreign_page(door, request)?;
    require_catalog(door, request)?;
    let local = request.app_config().local_addr().ip();
    if guard.identity.trusts_all() && guard.audit.is_none() && !guard.limits.counts(local) {
        entry.principal = Principal::Trusted;
        return Ok(admission); // Nobody asks what it is about.
    }
    // The router looks at this path, in which harmless escapes are undone, and so must the rules.
    entry.pattern = request.resource_map().match_pattern(request.match_info().as_str());
    let is_probe = matches!(judged(entry, request.method().as_str()), Some(Ok(Need::Nothing)));
    if is_probe {
        // Whatever it says of itself: a balancer with an old key must not take the cluster for gone.
        entry.principal = if guard.identity.trusts_all() { Principal::Trusted } else { Principal::Anonymous };
        return Ok(admission);
    }
    if let Some(peer) = request.peer_addr() {
        guard.limits.of_address(peer.ip(), local).map_err(|refused| limited(refused, "address"))?;
    }
    let mut given = request.headers().get_all(AUTHORIZATION);
    let authorization = given.next().map(|value| value.as_bytes());
    if given.next().is_some() {
        return Err(Refusal::unauthenticated("there is more than one Authorization header"));
    }
    entry.principal = guard.identity.bearer(authorization)?;
    if let Principal::Key(key) = &entry.principal {
        guard.limits.of_key(&key.record.id).map_err(|refused| limited(refused, "key"))?;
    }
    may(door, request, entry).await?;
    Ok(admission)
}

fn judged(entry: &Entry, method: &str) -> Option<Result<Need, String>> {
    need(entry.pattern.as_deref()?, method)
}

/// Whether the route's rule lets this principal do what it asks for. Where authentication is off, the rule still tells the audit log
/// what it is about.
async fn may(door: &Door, request: &ServiceRequest, entry: &mut Entry) -> Result<(), Refusal> {
    let principal = entry.principal.clone();
    let trusted = matches!(principal, Principal::Trusted);
    let rule = match judged(entry, request.method().as_str()) {
        Some(Ok(rule)) => rule,
        _ if trusted => return Ok(()), // The router says what is wrong, if something is.
        // Whoever proved nothing does not learn what routes there are.
        _ if matches!(principal, Principal::Anonymous) => {
            return Err(Refusal::unauthenticated("a key is needed"));
        }
        None => return Err(Refusal::not_found("no such path; see the README for what there is")),
        Some(Err(methods)) => return Err(Refusal::method_not_allowed(&methods)),
    };
    match rule {
        Need::Nothing => Ok(()),
        Need::Each(action) => {
            entry.action = Some(action);
            Ok(authorize(&principal, action, Resource::Buckets)?)
        }
        Need::AnyKey => Ok(authorize(&principal, Action::Read, Resource::Health)?),
        Need::SecretOrAdmin if request.headers().contains_key(HEADER_SECRET) => Ok(()),
        Need::Admin | Need::SecretOrAdmin => {
            entry.action = Some(Action::Admin);
            Ok(authorize(&principal, Action::Admin, Resource::Cluster)?)
        }
        Need::On(..) | Need::Read(_) => {
            let (action, about) = rule.on().expect("it is about a bucket");
            entry.action = Some(action);
            let subject = match about(request.request()) {
                Ok(subject) => subject,
                Err(_) if trusted => return Ok(()),
                Err(refusal) if matches!(principal, Principal::Key(_)) => return Err(refusal),
                Err(_) => return Err(Refusal::unauthenticated("a key is needed")),
            };
            let bucket = subject.bucket.clone();
            request.extensions_mut().insert(subject);
            match trusted {
                true => Ok(()), // Spares a lookup.
                false => {
                    let of_newest = matches!(rule, Need::Read(_)) && !names_a_version(request.query_string());
                    may_in(door, &principal, action, &bucket, of_newest).await
                }
            }
        }
    }
}

/// Whether it may do that in this bucket, whosever that is.
async fn may_in(
    door: &Door,
    principal: &Principal,
    action: Action,
    bucket: &str,
    of_newest: bool,
) -> Result<(), Refusal> {
    let name = BucketName::parse(bucket)?;
    let record = door.objects.bucket(&name).await?;
    Ok(permit(principal, action, &name, record.as_ref(), of_newest)?)
}

/// Whether a query asks for one version of an object, or for all of them. What cannot be parsed may be anything.
fn names_a_version(query: &str) -> bool {
    let Ok(query) = Query::parse(query) else { return true };
    ["version", "versionId", "versions"].into_iter().any(|name| query.get(name).is_some())
}

/// Of a catalog that cannot be read nothing is told: not even that something is not there.
fn require_catalog(door: &Door, request: &ServiceRequest) -> Result<(), Refusal> {
    let Serves::Nothing(why) = door.objects.metadata.serves() else { return Ok(()) };
    let pattern = request.resource_map().match_pattern(request.match_info().as_str());
    match pattern.and_then(|pattern| need(&pattern, request.method().as_str())) {
        Some(Ok(Need::On(..) | Need::Read(_) | Need::Each(_))) => Err(protocol::Error::unavailable(why).into()),
        _ => Ok(()),
    }
}

/// Where nobody is asked for a key, a page of another origin could change things in its reader's name: browsers send forms, and whatever is
/// as simple, without asking first. Pages that `--cors-origin` names may.
fn refuse_foreign_page(door: &Door, request: &ServiceRequest) -> Result<(), Refusal> {
    let headers = request.headers();
    let changes = ![Method::GET, Method::HEAD, Method::OPTIONS].contains(request.method());
    let Some(origin) = headers.get(ORIGIN).filter(|_| changes && door.guard.identity.trusts_all()) else {
        return Ok(());
    };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    // HTTP/2 tells it in the target.
    let told = request.uri().authority().map(|authority| authority.as_str());
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).or(told);
    // A name may be anybody's, who has it lead here: `evil.example` has pages of its own.
    let is_own = authority.zip(host).is_some_and(|(one, other)| one.eq_ignore_ascii_case(other) && names_machine(one));
    match is_own || allowed(&door.settings.cors_origins, headers).is_some() {
        true => Ok(()),
        false => {
            let why = "a page of another origin may not change anything here: name its origin by --cors-origin, or have keys asked for";
            Err(Refusal::new(StatusCode::FORBIDDEN, why).headed("Forbidden"))
        }
    }
}

/// Whether this is an address, or `localhost`, which nobody else can have for a page of theirs.
fn names_machine(authority: &str) -> bool {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || address.parse::<IpAddr>().is_ok()
}

/// RFC 9112, 3.2; that there is one and no more, the server has seen to.
fn refuse_bad_host(headers: &HeaderMap) -> Result<(), Refusal> {
    let host = headers.get(HOST).map_or(&b""[..], |host| host.as_bytes());
    let is_host = |host| Authority::try_from(host).is_ok_and(|host| !host.as_str().contains('@'));
    match host.is_empty() || is_host(host) {
        true => Ok(()),
        false => Err(Refusal::bad_request("the Host header is not a host, or a host and its port")),
    }
}

fn refuse_long_head(headers: &HeaderMap) -> Result<(), Refusal> {
    let bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    match bytes > HEADER_BYTES_MAX {
        true => Err(Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            format!("the headers have {bytes} bytes, at most {HEADER_BYTES_MAX} are taken"),
        )),
        false => Ok(()),
    }
}

fn limited(refused: Refused, limit: &'static str) -> Refusal {
    counter!(names::REQUESTS_LIMITED_TOTAL, "limit" => limit).increment(1);
    refused.into()
}

fn tell<B>(door: &Door, response: &ServiceResponse<B>, entry: &Entry, began: Instant) {
    let Some(audit) = &door.guard.audit else { return };
    let request = response.request();
    let extensions = request.extensions();
    let (mut action, mut subject) = (entry.action, extensions.get::<Subject>().cloned());
    if action.is_none()
        && let Some(Ok(need)) = judged(entry, request.method().as_str())
        && let Some((needed, about)) = need.on()
    {
        // It was refused before anybody asked what it is about.
        (action, subject) = (Some(needed), about(request).ok());
    }
    let proves_nothing = matches!(entry.principal, Principal::Anonymous);
    let shown = request.headers().get(AUTHORIZATION).filter(|_| proves_nothing);
    let claimed_key = shown.and_then(|shown| door.guard.identity.named(shown.as_bytes()));
    let peer = request.peer_addr().map(|address| address.ip().to_string()).unwrap_or_default();
    audit.tell(&Line {
        time: rfc3339_ms(door.objects.clock.now_ms()),
        request_id: &request_id::current().unwrap_or_else(|| "none".into()),
        who: entry.principal.id(),
        claimed_key: claimed_key.as_deref(),
        from: &peer,
        door: "native",
        method: request.method().as_str(),
        operation: entry.pattern.as_deref().unwrap_or("unmatched"),
        action: action.map_or("", Action::as_str),
        bucket: subject.as_ref().map(|subject| subject.bucket.as_str()),
        key: subject.as_ref().and_then(|subject| subject.key.as_deref()),
        status: response.status().as_u16(),
        ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
}
