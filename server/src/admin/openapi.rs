//! The admin API as an OpenAPI 3.1 document, generated from the table of routes and the handlers' types.
//!
//! It is served, and kept in the repository: `proxyd --print-openapi > packaging/openapi.json` regenerates it.

use axum::http::Method;
use schema::api::admin::Failure;
use schema::service_login::Acl;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::route::Route;

/// The whole document.
pub(super) fn document(routes: &[Route]) -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.definitions_path = "/components/schemas".into();
    });
    let mut generator = settings.into_generator();
    let failure = generator.subschema_for::<Failure>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route, &mut generator);
    }
    let permissions: Vec<&str> =
        Acl::ALL.into_iter().filter(|acl| acl.is_of_site()).map(Acl::as_str).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Airlock admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "What an operator does with the store. On the Unix socket `admin.sock` in the data \
                directory every user that the file system lets in may do all of it; over HTTPS, at the address of \
                `proxy.admin.address`, a request carries the token of a service login with one of the permissions \
                that its operation names. `proxy create-login --acl PERMISSION` makes one.",
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "responses": {
                "Failure": {
                    "description": "Refused or failed, and nothing has changed. 401: the login is missing, or not \
                        or no longer good. 403: it lacks the permission. 422: the request cannot be done. 503: the \
                        fault is the server's.",
                    "content": { "application/json": { "schema": failure } },
                },
            },
            "securitySchemes": {
                "login": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": format!("A service login of the whole site; permissions: {}.", permissions.join(", ")),
                },
            },
        },
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator) -> Value {
    let shape = (route.shape)(generator);
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let in_path = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let parameters: Vec<Value> = in_path.chain(shape.query).collect();
    let security: Vec<Value> = route.needs.iter().map(|acl| json!({ "login": [acl] })).collect();
    let content = match shape.answer {
        Value::Null => json!({ "application/octet-stream": {} }),
        schema => json!({ "application/json": { "schema": schema } }),
    };
    let mut operation = json!({
        "operationId": operation_id(&route.method, route.path),
        "summary": route.summary,
        "security": security,
        "responses": {
            "200": {
                "description": "Done",
                "content": content,
            },
            "default": { "$ref": "#/components/responses/Failure" },
        },
    });
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = shape.body {
        operation["requestBody"] = body;
    }
    operation
}

/// `get-v1-trust`: built from method and path, so it is unique and stable.
fn operation_id(method: &Method, path: &str) -> String {
    let parts =
        path.split(['/', '.']).filter(|part| !part.is_empty()).map(|part| part.trim_matches(['{', '}']));
    std::iter::once(method.as_str().to_ascii_lowercase().as_str()).chain(parts).collect::<Vec<_>>().join("-")
}
