//! `GET /admin/documents/hot-fields`: which fields are hot, and why.

use super::super::Door;
use actix_web::{HttpResponse, web};
use serde_json::json;

pub(super) async fn hot_fields(door: web::Data<Door>) -> HttpResponse {
    let hot = &door.objects.hot_fields;
    let (collections, keys) = hot.observed();
    HttpResponse::Ok().json(json!({
        "configured": hot.configured().collect::<Vec<_>>(),
        "collections": collections,
        "keys": keys,
    }))
}
