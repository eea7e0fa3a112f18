//! What a request gives, read strictly: a name that the server does not know is refused, or what it asks for would be left out in
//! silence.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use schema::causes::in_words;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::error::AdminError;

/// Why a request is not taken.
#[derive(Debug, thiserror::Error)]
enum GivenError {
    #[error(
        "the request names {0}, which this server does not know there: is it misspelt, or are `proxy` and `proxyd` of different versions?"
    )]
    Unknown(String),
    #[error("cannot read {name} of the query: {why}")]
    Parameter { name: String, why: String },
}

fn refused(error: &GivenError) -> AdminError {
    AdminError::refused("invalid-request", error)
}

/// The body of a request.
pub(super) struct Given<T>(pub(super) T);

impl<T: DeserializeOwned + JsonSchema, S: Send + Sync> FromRequest<S> for Given<T> {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let (parts, body) = request.into_parts();
        let bytes = Bytes::from_request(Request::from_parts(parts.clone(), body), state).await;
        let bytes = bytes.map_err(|rejection| rejection.into_response())?;
        // First, because a misspelt name also seems to be missing.
        let given = serde_json::from_slice(&bytes).unwrap_or_default();
        if let Some(name) = unknown(&schema_of::<T>(), &given) {
            return Err(refused(&GivenError::Unknown(name)).into_response());
        }
        let read = Json::from_request(Request::from_parts(parts, bytes.into()), state).await;
        read.map(|Json(read)| Self(read)).map_err(|rejection| rejection.into_response())
    }
}

/// The query of a request.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned + JsonSchema, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = AdminError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, AdminError> {
        let query = parts.uri.query().unwrap_or_default().as_bytes();
        let pairs = || form_urlencoded::parse(query);
        let read = serde_path_to_error::deserialize(serde_urlencoded::Deserializer::new(pairs()));
        let read = read.map_err(|error| {
            let (name, why) = (error.path().to_string(), in_words(error.inner()));
            refused(&GivenError::Parameter { name, why })
        })?;
        let given: Map<String, Value> =
            pairs().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect();
        match unknown(&schema_of::<T>(), &given.into()) {
            Some(name) => Err(refused(&GivenError::Unknown(name))),
            None => Ok(Self(read)),
        }
    }
}

/// The schema of a type, with the schemas of its parts in it.
fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::default().with(|settings| settings.inline_subschemas = true);
    Schema::to_value(settings.into_generator().into_root_schema_for::<T>())
}

/// The first name in `given` that the schema does not have, with those that it lies in.
fn unknown(schema: &Value, given: &Value) -> Option<String> {
    if let Some(choices) = ["anyOf", "oneOf"].iter().find_map(|word| schema.get(word)?.as_array()) {
        let mut found: Vec<_> = choices.iter().map(|choice| unknown(choice, given)).collect();
        return if found.contains(&None) { None } else { found.swap_remove(0) };
    }
    let within = |place: &str, found: Option<String>| found.map(|name| format!("{place}.{name}"));
    match given {
        Value::Object(given) => {
            let (known, others) = (schema.get("properties"), schema.get("additionalProperties"));
            given.iter().find_map(|(name, value)| match known.and_then(|known| known.get(name)) {
                Some(schema) => within(name, unknown(schema, value)),
                None if known.is_none() && others.is_none() => None,
                None => match others {
                    Some(others) if *others != Value::Bool(false) => within(name, unknown(others, value)),
                    _ => Some(name.chars().take(80).collect()),
                },
            })
        }
        Value::Array(given) => {
            let items = schema.get("items")?;
            given.iter().find_map(|value| unknown(items, value))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Deserialize, JsonSchema)]
    struct Inner {
        #[expect(dead_code, reason = "only its name counts")]
        depth: u32,
    }

    #[derive(Deserialize, JsonSchema)]
    struct Outer {
        #[expect(dead_code, reason = "only its name counts")]
        name: String,
        #[serde(flatten)]
        #[expect(dead_code, reason = "only its names count")]
        beside: Inner,
        #[expect(dead_code, reason = "only its names count")]
        perhaps: Option<Inner>,
        #[expect(dead_code, reason = "only its names count")]
        many: Vec<Inner>,
        #[expect(dead_code, reason = "its names are free")]
        values: BTreeMap<String, String>,
        #[expect(dead_code, reason = "its names are free")]
        anything: Value,
    }

    #[test]
    fn a_name_that_nobody_knows_is_found_wherever_it_is() {
        let schema = schema_of::<Outer>();
        let good = json!({
            "name": "a", "depth": 1, "perhaps": { "depth": 1 }, "many": [{ "depth": 1 }], "values": { "x": "y" },
            "anything": { "x": { "y": 1 } },
        });
        assert_eq!(unknown(&schema, &good), None, "{schema}");
        assert_eq!(unknown(&schema, &json!({ "perhaps": null })), None);
        for (bad, name) in [
            (json!({ "nam": "a" }), "nam"),
            (json!({ "perhaps": { "dept": 1 } }), "perhaps.dept"),
            (json!({ "many": [{ "depth": 1 }, { "dept": 1 }] }), "many.dept"),
        ] {
            assert_eq!(unknown(&schema, &bad).as_deref(), Some(name), "{schema}");
        }
    }
}
