//! What each route of the native doors needs: one line for every route and method. What is not here is refused where authentication is
//! on, whatever a door says: a new route is closed until somebody says here what opens it.

use super::admit::Subject;
use crate::dialect::reply::Refusal;
use crate::dialect::{bucket_settings, buckets, documents, files, gateway, insight};
use crate::identity::Action;
use actix_web::HttpRequest;

/// Finds what a request is about. What cannot be parsed is refused as the door would.
pub type About = fn(&HttpRequest) -> Result<Subject, Refusal>;

/// What a request needs.
#[derive(Clone, Copy, Debug)]
pub enum Need {
    /// Nothing: it says that the process lives, and numbers.
    Nothing,
    /// Any key.
    AnyKey,
    /// A key that administers the cluster.
    Admin,
    /// The cluster's secret, which the handler checks; or a key that administers the cluster.
    SecretOrAdmin,
    /// This action on each bucket that its body or its answer names: the handler asks.
    Each(Action),
    /// This action on the bucket that the request names.
    On(Action, About),
    /// To read the object that the request names. Where that bucket is open to all, so is the newest version.
    Read(About),
}

impl Need {
    /// The action on the bucket that the request names.
    pub fn on(self) -> Option<(Action, About)> {
        match self {
            Need::On(action, about) => Some((action, about)),
            Need::Read(about) => Some((Action::Read, about)),
            _ => None,
        }
    }
}

/// A route, as the doors register it, and what each of its methods needs.
pub type Rule = (&'static str, &'static [(&'static str, Need)]);

const READ_FILE: Need = Need::Read(files::subject);
const READ: Need = Need::Read(gateway::subject);
const READ_OBJECT: Need = Need::Read(buckets::subject);
const LIST: &[(&str, Need)] = &[("GET", Need::On(Action::List, gateway::subject))];
const LIST_OBJECTS: &[(&str, Need)] = &[("GET", Need::On(Action::List, buckets::subject))];
const HEALTH: &[(&str, Need)] = &[("GET", Need::AnyKey), ("HEAD", Need::AnyKey)];
const OPEN: &[(&str, Need)] = &[("GET", Need::Nothing), ("HEAD", Need::Nothing)];
const ADMIN_GET: &[(&str, Need)] = &[("GET", Need::Admin)];
const ADMIN_POST: &[(&str, Need)] = &[("POST", Need::Admin)];

/// Every route there is.
pub const RULES: &[Rule] = &[
    ("/health", OPEN),
    ("/health/live", OPEN),
    ("/health/ready", OPEN),
    ("/metrics", OPEN),
    ("/openapi.json", &[("GET", Need::Nothing)]),
    ("/system/health", HEALTH),
    ("/system/nodes", HEALTH),
    ("/node_status", &[("GET", Need::AnyKey)]),
    ("/storage_usage", &[("GET", Need::AnyKey)]),
    ("/upload", &[("POST", Need::On(Action::Write, files::subject))]),
    ("/download", &[("GET", READ_FILE), ("HEAD", READ_FILE)]),
    ("/files", &[("GET", Need::On(Action::List, files::subject))]),
    ("/files/{filename:.*}", &[("GET", READ_FILE), ("HEAD", READ_FILE)]),
    ("/versions", &[("GET", Need::On(Action::Read, files::subject))]),
    ("/delete", &[("DELETE", Need::On(Action::Delete, files::subject))]),
    ("/s3/{bucket}", LIST),
    ("/s3/{bucket}/", LIST),
    (
        "/s3/{bucket}/{key:.*}",
        &[
            ("GET", READ),
            ("HEAD", READ),
            ("PUT", Need::On(Action::Write, gateway::subject)),
            ("DELETE", Need::On(Action::Delete, gateway::subject)),
        ],
    ),
    ("/buckets", &[("GET", Need::Each(Action::List)), ("POST", Need::Each(Action::Write))]),
    (
        "/buckets/{bucket}",
        &[
            ("GET", Need::On(Action::List, buckets::subject)),
            ("HEAD", Need::On(Action::List, buckets::subject)),
            ("DELETE", Need::On(Action::Delete, buckets::subject)),
        ],
    ),
    ("/buckets/{bucket}/objects", LIST_OBJECTS),
    ("/buckets/{bucket}/objects/", LIST_OBJECTS),
    (
        "/buckets/{bucket}/objects/{key:.*}",
        &[
            ("GET", READ_OBJECT),
            ("HEAD", READ_OBJECT),
            ("PUT", Need::On(Action::Write, buckets::subject)),
            ("DELETE", Need::On(Action::Delete, buckets::subject)),
        ],
    ),
    ("/objects", &[("GET", Need::Each(Action::List))]),
    ("/write", &[("POST", Need::On(Action::Write, documents::subject))]),
    ("/read/{key:.*}", &[("GET", Need::Read(documents::subject))]),
    ("/delete/{key:.*}", &[("DELETE", Need::On(Action::Delete, documents::subject))]),
    ("/documents/{key:.*}", &[("PATCH", Need::On(Action::Write, documents::subject))]),
    ("/admin/documents/hot-fields", ADMIN_GET),
    ("/receipt", &[("GET", Need::On(Action::Read, insight::subject))]),
    ("/admin/explain", ADMIN_GET),
    ("/admin/diagnose", ADMIN_GET),
    ("/admin/events", ADMIN_GET),
    ("/admin/transitions", &[("GET", Need::Admin), ("POST", Need::Admin)]),
    ("/admin/savings", ADMIN_GET),
    ("/admin/verify", &[("GET", Need::Admin), ("POST", Need::Admin)]),
    ("/admin/verify/{id}", ADMIN_GET),
    ("/admin/workers", ADMIN_GET),
    ("/admin/workers/{name}", ADMIN_POST),
    ("/admin/safe-mode", &[("GET", Need::Admin), ("DELETE", Need::Admin)]),
    ("/admin/nodes", &[("GET", Need::Admin), ("POST", Need::SecretOrAdmin)]),
    ("/admin/nodes/{id}", &[("GET", Need::Admin), ("DELETE", Need::Admin)]),
    ("/admin/nodes/{id}/decommission", ADMIN_POST),
    ("/admin/nodes/{id}/recommission", ADMIN_POST),
    ("/admin/nodes/{id}/weight", ADMIN_POST),
    ("/admin/buckets/{bucket}", &[("GET", Need::Admin), ("POST", Need::Admin)]),
    (
        "/admin/buckets/{bucket}/public-read",
        &[
            ("PUT", Need::On(Action::Admin, bucket_settings::subject)),
            ("DELETE", Need::On(Action::Admin, bucket_settings::subject)),
        ],
    ),
    ("/admin/keys", &[("GET", Need::Admin), ("POST", Need::Admin)]),
    ("/admin/keys/{id}", &[("GET", Need::Admin), ("DELETE", Need::Admin)]),
    ("/admin/keys/{id}/disable", ADMIN_POST),
    ("/admin/keys/{id}/enable", ADMIN_POST),
    ("/admin/keys/{id}/rotate", ADMIN_POST),
    ("/admin/keys/{id}/expire", ADMIN_POST),
    ("/admin/keys/{id}/policy", ADMIN_POST),
];

/// What `method` needs on a route; `Err` names the methods that the route has.
pub fn need(pattern: &str, method: &str) -> Option<Result<Need, String>> {
    let (_, methods) = RULES.iter().find(|(known, _)| *known == pattern)?;
    let found = methods.iter().find(|(known, _)| *known == method).map(|(_, need)| *need);
    Some(found.ok_or_else(|| methods.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")))
}
