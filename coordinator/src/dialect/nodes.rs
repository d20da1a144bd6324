//! The nodes for operators, and the door by which a node joins: `/admin/nodes`.

use super::Door;
use super::guard::principal;
use super::query::body_json;
use super::reply::{Refusal, only};
use super::system::line;
use crate::identity::{Action, Resource, authorize};
use crate::metadata::records::NodeRecord;
use crate::nodes::NodeReport;
use crate::nodes::registry::Registry;
use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use process::timestamp::rfc3339_ms;
use protocol::routes::{ADMIN_NODES, HEADER_CLUSTER, HEADER_SECRET, base_url};
use protocol::{ClusterFile, Error, ErrorKind, NodeId, secrets_match};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;

/// The routes of this door.
pub fn routes(config: &mut web::ServiceConfig) {
    let below = |path: &str| web::resource(format!("{ADMIN_NODES}{path}"));
    config
        .service(below("").route(web::get().to(list)).route(web::post().to(join)).default_service(only("GET, POST")))
        .service(
            below("/{id}")
                .route(web::get().to(show))
                .route(web::delete().to(remove))
                .default_service(only("GET, DELETE")),
        )
        .service(below("/{id}/decommission").route(web::post().to(decommission)).default_service(only("POST")))
        .service(below("/{id}/recommission").route(web::post().to(recommission)).default_service(only("POST")))
        .service(below("/{id}/weight").route(web::post().to(weigh)).default_service(only("POST")));
}

/// `GET /admin/nodes`: what each node is to the cluster, and how it fares.
async fn list(door: Data<Door>) -> Result<HttpResponse, Refusal> {
    let records = door.objects.nodes.records().await?;
    let mut reports = door.objects.nodes.status();
    let mut nodes: Vec<Value> = Vec::new();
    for record in records {
        let at = reports.iter().position(|report| report.id.as_ref() == Some(&record.node));
        nodes.push(node(&record, at.map(|at| reports.remove(at))));
    }
    // Named by a flag, and never heard of.
    let unknown = reports.into_iter().filter(|report| report.id.is_none());
    nodes.extend(unknown.map(|report| json!({ "id": null, "url": report.url, "state": null, "report": line(report) })));
    Ok(HttpResponse::Ok().json(json!({ "nodes": nodes })))
}

/// `GET /admin/nodes/{id}`: the same of one.
async fn show(door: Data<Door>, id: Path<String>) -> Result<HttpResponse, Refusal> {
    let record = registry(&door).record(&parse(&id)?).await?;
    Ok(HttpResponse::Ok().json(present(&door, &record)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Announcement {
    url: String,
}

/// `POST /admin/nodes` with `{"url":…}`: the node there joins, or says where it is now; 201 if it is new.
async fn join(door: Data<Door>, request: HttpRequest, payload: Payload) -> Result<HttpResponse, Refusal> {
    let header = |name: &str| request.headers().get(name).map(|value| value.as_bytes().to_vec());
    let (secret, cluster) = (header(HEADER_SECRET), header(HEADER_CLUSTER));
    let is_admin = authorize(&principal(&request), Action::Admin, Resource::Cluster).is_ok();
    may_announce(&door.settings.cluster, is_admin, secret.as_deref(), cluster.as_deref())?;
    let announcement: Announcement = body_json(payload, door.settings.body_stall).await?;
    let url =
        base_url(&announcement.url).map_err(|why| Refusal::bad_request(format!("url {:?} {why}", announcement.url)))?;
    let before = door.objects.nodes.records().await?;
    let health = door.objects.nodes.join(&url).await.map_err(refused)?;
    let record = registry(&door).record(&health.node).await?;
    door.objects.nodes.refresh().await?;
    let is_new = before.iter().all(|known| known.node != record.node);
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok(HttpResponse::build(status).json(present(&door, &record)))
}

/// `POST /admin/nodes/{id}/decommission`: what it holds moves elsewhere, then it may be switched off.
async fn decommission(door: Data<Door>, id: Path<String>) -> Result<HttpResponse, Refusal> {
    let record =
        registry(&door).decommission(&parse(&id)?, door.objects.profiles.replication).await.map_err(refused)?;
    ordered(&door, record, "is to be emptied").await
}

/// `POST /admin/nodes/{id}/recommission`: it stays after all.
async fn recommission(door: Data<Door>, id: Path<String>) -> Result<HttpResponse, Refusal> {
    let record = registry(&door).recommission(&parse(&id)?).await.map_err(refused)?;
    ordered(&door, record, "stays in use").await
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object")]
struct Weight {
    weight: u32,
}

/// `POST /admin/nodes/{id}/weight` with `{"weight":N}`: its part, in percent of an ordinary node's.
async fn weigh(door: Data<Door>, id: Path<String>, payload: Payload) -> Result<HttpResponse, Refusal> {
    let Weight { weight } = body_json(payload, door.settings.body_stall).await?;
    let record = registry(&door).weigh(&parse(&id)?, weight).await.map_err(refused)?;
    ordered(&door, record, "has another weight").await
}

/// `DELETE /admin/nodes/{id}`: it is none of the cluster's any more.
async fn remove(door: Data<Door>, id: Path<String>) -> Result<HttpResponse, Refusal> {
    let id = parse(&id)?;
    registry(&door).remove(&door.objects.nodes, &id).await.map_err(refused)?;
    warn!(target: "degradation", node = %id, "the operator took a node out");
    Ok(HttpResponse::Ok().json(json!({ "message": format!("node {id} is taken out") })))
}

async fn ordered(door: &Door, record: NodeRecord, what: &str) -> Result<HttpResponse, Refusal> {
    warn!(target: "degradation", node = %record.node, state = ?record.state, "by the operator, the node {what}");
    door.objects.nodes.refresh().await?;
    Ok(HttpResponse::Ok().json(present(door, &record)))
}

fn registry(door: &Door) -> Registry {
    Registry::new(door.objects.metadata.clone(), door.objects.clock.clone())
}

fn parse(id: &str) -> Result<NodeId, Refusal> {
    id.parse().map_err(|error: Error| Refusal::not_found(error.message))
}

/// A conflict at this door is one with how things are, not with a condition of the client's; so is a node that is refused.
fn refused(error: Error) -> Refusal {
    match error.kind {
        ErrorKind::Conflict | ErrorKind::Denied => Refusal::conflict(error.message),
        _ => error.into(),
    }
}

/// A node shows that it knows the secret. An operator who does not must be one who administers the cluster.
fn may_announce(
    ours: &ClusterFile,
    is_admin: bool,
    secret: Option<&[u8]>,
    cluster: Option<&[u8]>,
) -> Result<(), Refusal> {
    if cluster.is_some_and(|cluster| cluster != ours.cluster.to_string().as_bytes()) {
        return Err(Refusal::conflict(format!("this is cluster {}", ours.cluster)));
    }
    match secret {
        Some(secret) if secrets_match(secret, ours.secret.as_bytes()) => Ok(()),
        None if is_admin => Ok(()),
        _ => Err(Refusal::new(StatusCode::FORBIDDEN, "the cluster secret is missing or wrong")),
    }
}

fn present(door: &Door, record: &NodeRecord) -> Value {
    let report = door.objects.nodes.status().into_iter().find(|report| report.id.as_ref() == Some(&record.node));
    node(record, report)
}

fn node(record: &NodeRecord, report: Option<NodeReport>) -> Value {
    json!({
        "id": record.node,
        "url": record.url,
        "state": record.state,
        "state_since": rfc3339_ms(record.state_since_ms),
        "decommissioned": record.decommissioned,
        "unproved": record.unproved,
        "zone": record.zone,
        "disk": record.disk,
        "weight": record.weight,
        "known_since": rfc3339_ms(record.known_since_ms),
        "report": report.map(line),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ClusterId;
    use uuid::Uuid;

    #[test]
    fn who_lets_a_node_join_knows_the_secret_or_administers() {
        let ours = ClusterFile { cluster: ClusterId(Uuid::from_u128(7)), secret: "s".repeat(40) };
        let (right, id) = ("s".repeat(40), ours.cluster.to_string());
        let status = |is_admin: bool, secret: Option<&str>, cluster: Option<&str>| {
            let outcome = may_announce(&ours, is_admin, secret.map(str::as_bytes), cluster.map(str::as_bytes));
            outcome.map_or_else(|refusal| actix_web::ResponseError::status_code(&refusal).as_u16(), |()| 200)
        };
        assert_eq!(status(false, Some(&right), Some(&id)), 200);
        assert_eq!(status(false, Some(&right), None), 200);
        assert_eq!((status(true, None, None), status(false, None, None)), (200, 403));
        assert_eq!((status(true, Some("x"), None), status(false, Some("x"), None)), (403, 403));
        assert_eq!(status(true, Some(&right), Some("another")), 409);
    }
}
