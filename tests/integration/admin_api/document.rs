//! The OpenAPI document: the one in the repository is the one that is served, and real answers are what it says.

use std::collections::BTreeSet;
use std::process::Command;

use schema::api::admin::calls::CALLS;
use serde_json::Value;
use tests::server::{Ran, Server, program};
use tests::world::World;

const KEPT: &str = include_str!("../../../packaging/openapi.json");

#[test]
fn the_document_in_the_repository_is_the_servers() {
    let printed: Ran = Command::new(program("proxyd"))
        .arg("--print-openapi")
        .output()
        .expect("proxyd can be started")
        .into();
    assert!(
        printed.ok() == KEPT,
        "packaging/openapi.json is not what the code says: run `proxyd --print-openapi > packaging/openapi.json`"
    );
    let document: Value = serde_json::from_str(KEPT).expect("JSON");
    let mut routes = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let methods = methods.as_object().expect("operations").keys();
        routes.extend(methods.map(|method| format!("{} {path}", method.to_ascii_uppercase())));
    }
    let calls = CALLS.iter().map(|(method, path)| format!("{} {path}", method.as_str())).collect();
    assert_eq!(routes, calls, "schema/src/api/admin/calls.rs declares other calls");
}

#[test]
fn real_answers_are_what_the_document_says() {
    let world = World::new();
    let store = Server::start();
    store.trust(&world);
    let snap = world.snap("hello").publisher("acme");
    store.push_pair(&snap.revision(1), &["latest/stable"], "AcmeStore");
    store.push_brand(&world.brand("acme"));
    store.push_store("AcmeStore", "acme", &[&snap]);
    let _ = store.proxy(&["override", "hello", "edge=1"]).ok();
    let _ = store.login("AcmeStore", "package_access");
    let served = store.admin("GET", "/v1/openapi.json", b"").json();
    let document: Value = serde_json::from_str(KEPT).expect("JSON");
    assert_eq!(served, document);
    let mut checked = 0;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        let operation = &methods["get"];
        let needs = operation["parameters"].as_array().into_iter().flatten();
        if operation.is_null() || needs.into_iter().any(|one| one["required"] == true) {
            continue;
        }
        let answer = store.admin("GET", path, b"");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        let schema = &operation["responses"]["200"]["content"]["application/json"]["schema"];
        if let Err(why) = check(&document, schema, &answer.json()) {
            panic!("GET {path}: {why}");
        }
        checked += 1;
    }
    assert!(checked >= 13, "{checked}");
    let refused = store.admin("GET", "/v1/device?device=a/b/c", b"");
    let failure = &document["components"]["responses"]["Failure"]["content"]["application/json"]["schema"];
    assert_eq!(check(&document, failure, &refused.json()), Ok(()));
    // The check itself tells right from wrong.
    assert!(check(&document, failure, &serde_json::json!({ "code": 1, "message": "" })).is_err());
    assert!(check(&document, failure, &serde_json::json!({ "code": "x" })).is_err());
    assert!(
        check(&document, failure, &serde_json::json!({ "code": "x", "message": "", "more": 1 })).is_err()
    );
}

/// Is a value what a schema says, and nothing beyond that? Knows the part of JSON Schema that the document uses.
fn check(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    let told = |what: &str| Err(format!("{what}: {value} is not {schema}"));
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#'));
        return check(document, target.ok_or_else(|| format!("nothing at {reference}"))?, value);
    }
    for either in ["anyOf", "oneOf"] {
        if let Some(all) = schema[either].as_array()
            && !all.iter().any(|one| check(document, one, value).is_ok())
        {
            return told(either);
        }
    }
    if schema["const"] != Value::Null && schema["const"] != *value {
        return told("const");
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return told("enum");
    }
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    };
    let fits = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(is),
        _ => true,
    };
    if !fits {
        return told("type");
    }
    for item in value.as_array().into_iter().flatten().filter(|_| schema["items"].is_object()) {
        check(document, &schema["items"], item)?;
    }
    let Some(members) = value.as_object().filter(|_| schema["type"] == "object") else { return Ok(()) };
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.into_iter().find(|name| !members.contains_key(*name)) {
        return told(missing);
    }
    for (name, member) in members {
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, more) if more.is_object() => check(document, more, member)?,
            (Value::Null, Value::Bool(true)) => {}
            (Value::Null, _) => return told(name),
            (schema, _) => check(document, schema, member)?,
        }
    }
    Ok(())
}
