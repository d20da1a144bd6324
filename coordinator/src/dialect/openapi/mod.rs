//! `GET /openapi.json`: what the native doors take and answer, as an OpenAPI 3.1 document.
//!
//! What it keeps true: it tells of every route and method that the guard has a rule for, and of no other (a test compares them; what has
//! no rule is refused where keys are asked for).

mod doors;
mod notation;
mod operators;
mod parameters;
mod schemas;

use super::documents::MERGE_PATCH;
use super::reply::only;
use actix_web::http::StatusCode;
use actix_web::http::header::ContentType;
use actix_web::{HttpResponse, web};
use notation::{Gives, Operation, Route, Takes, named, schema};
use std::sync::LazyLock;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathsBuilder};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{
    Content, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, PathItem, Required, Response, ResponseBuilder,
    ResponsesBuilder,
};

/// What any route may answer: a broken request, no key, not with this key, too many or too long requests, a fault.
const ANY_ROUTE_REFUSES: [u16; 8] = [400, 401, 403, 429, 431, 500, 503, 507];
const BEARER: &str = "key";

/// Every route there is, by door.
const ROUTES: [&[Route]; 10] = [
    doors::FILES,
    doors::GATEWAY,
    doors::BUCKETS,
    doors::DOCUMENTS,
    operators::HEALTH,
    operators::INSIGHT,
    operators::WORKERS,
    operators::NODES,
    operators::KEYS,
    operators::BUCKET_SETTINGS,
];

/// The route of this door.
pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/openapi.json").route(web::get().to(show)).default_service(only("GET")));
}

async fn show() -> HttpResponse {
    static TEXT: LazyLock<String> =
        LazyLock::new(|| document().to_json().expect("a document of text and numbers is JSON"));
    HttpResponse::Ok().insert_header(ContentType::json()).body(TEXT.as_str())
}

fn document() -> OpenApi {
    let about = "Every native door of a Holdfast coordinator. Errors are JSON with `error` and, mostly, `detail`. \
                 HEAD is answered wherever GET is. The S3 protocol has a port of its own.";
    let info = InfoBuilder::new().title("Holdfast").version(env!("CARGO_PKG_VERSION")).description(Some(about));
    let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let mut components = ComponentsBuilder::new().security_scheme(BEARER, bearer);
    for (name, builder) in schemas::SCHEMAS.iter().map(|line| named(line)) {
        components = components.schema(name, builder);
    }
    let mut paths = PathsBuilder::new();
    for (pattern, tag, operations) in ROUTES.into_iter().flatten() {
        let mut item = PathItem::default();
        for operation in *operations {
            item.merge_operations(PathItem::new(method(operation), described(pattern, tag, operation)));
        }
        paths = paths.path(path(pattern), item);
    }
    OpenApiBuilder::new().info(info).paths(paths).components(Some(components.build())).build()
}

/// A pattern without the expressions that its names match: `/s3/{bucket}/{key:.*}` is `/s3/{bucket}/{key}`.
fn path(pattern: &str) -> String {
    pattern.replace(":.*}", "}")
}

fn method(operation: &Operation) -> HttpMethod {
    match operation.method {
        "GET" => HttpMethod::Get,
        "HEAD" => HttpMethod::Head,
        "PUT" => HttpMethod::Put,
        "POST" => HttpMethod::Post,
        "DELETE" => HttpMethod::Delete,
        "PATCH" => HttpMethod::Patch,
        other => panic!("no route has the method {other}"),
    }
}

fn described(pattern: &str, tag: &str, operation: &Operation) -> utoipa::openapi::path::Operation {
    let mut responses = ResponsesBuilder::new();
    for (status, gives) in operation.gives {
        responses = responses.response(status.to_string(), answer(operation, *status, *gives));
    }
    let of_body: &[u16] = match operation.takes {
        Takes::Json(_) | Takes::JsonOrNothing(_) | Takes::MergePatch => &[408, 413],
        Takes::Nothing | Takes::Bytes | Takes::Form => &[],
    };
    for status in ANY_ROUTE_REFUSES.iter().chain(operation.refuses).chain(of_body) {
        responses = responses.response(status.to_string(), answer(operation, *status, Gives::Json("Error")));
    }
    OperationBuilder::new()
        .tag(tag)
        .summary(Some(operation.summary))
        .operation_id(Some(format!("{} {}", operation.method, path(pattern))))
        .parameters(Some(parameters::of(pattern, operation)))
        .request_body(body(operation.takes))
        .securities(Some([SecurityRequirement::default(), SecurityRequirement::new(BEARER, [""; 0])]))
        .responses(responses.build())
        .build()
}

fn answer(operation: &Operation, status: u16, gives: Gives) -> Response {
    let words = StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let response = ResponseBuilder::new().description(words.unwrap_or("Answer"));
    // The answer to a HEAD has no body, whatever the GET's is.
    let gives = if operation.method == "HEAD" { Gives::Nothing } else { gives };
    match gives {
        Gives::Nothing => response,
        Gives::Json(name) => response.content("application/json", of(name)),
        Gives::Bytes => response.content("*/*", bytes()),
        Gives::Text(media_type) => response.content(media_type, of("text")),
        Gives::JsonOrPage(name) => response.content("application/json", of(name)).content("text/html", of("text")),
    }
    .build()
}

fn body(takes: Takes) -> Option<RequestBody> {
    let (media_type, content, required) = match takes {
        Takes::Nothing => return None,
        Takes::Json(name) => ("application/json", of(name), Required::True),
        Takes::JsonOrNothing(name) => ("application/json", of(name), Required::False),
        Takes::MergePatch => (MERGE_PATCH, of("any"), Required::True),
        Takes::Bytes => ("application/octet-stream", bytes(), Required::True),
        Takes::Form => ("multipart/form-data", form(), Required::True),
    };
    let mut body = RequestBodyBuilder::new().content(media_type, content).required(Some(required));
    if media_type == MERGE_PATCH {
        body = body.content("application/json", of("any"));
    }
    Some(body.build())
}

fn of(notation: &str) -> Content {
    ContentBuilder::new().schema(Some(schema(notation))).build()
}

fn bytes() -> Content {
    ContentBuilder::new().build()
}

fn form() -> Content {
    let file = ObjectBuilder::new().schema_type(Type::String).content_media_type("application/octet-stream");
    let form = ObjectBuilder::new().property("file", file).property("filename", schema("text")).required("file");
    ContentBuilder::new().schema(Some(form)).build()
}

#[cfg(test)]
mod tests;
