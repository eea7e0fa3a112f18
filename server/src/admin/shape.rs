//! The OpenAPI description of a route, derived from its handler's signature, so the document cannot disagree with the
//! code.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use schema::api::admin::calls::Bytes;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};

use super::error::AdminError;
use super::given::{Given, Query};
use super::maintain::Streamed;
use super::{Admin, Operator};
use crate::visits::Visitor;

/// A handler's input and output in OpenAPI.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Query parameters.
    pub(super) query: Vec<Value>,
    /// The request body.
    pub(super) body: Option<Value>,
    /// The schema of a successful answer; none for bytes.
    pub(super) answer: Value,
}

/// A handler whose signature can be described; `Arguments` is the tuple of its extractors.
pub(super) trait Described<Arguments> {
    /// The type of its request's body, as in a call.
    type Request;
    /// The type of its answer's body, as in a call.
    type Answer;
    /// Its description; named types go to the generator's definitions.
    fn shape(generator: &mut SchemaGenerator) -> Shape;
}

/// An extractor.
pub(super) trait Argument {
    /// The type of the body that it reads; `()` if it reads none.
    type Request;
    /// Adds its input.
    fn describe(_: &mut SchemaGenerator, _: &mut Shape) {}
}

impl Argument for State<Admin> {
    type Request = ();
}
impl Argument for Extension<Visitor> {
    type Request = ();
}
impl Argument for Operator {
    type Request = ();
}
/// The path itself names these.
impl Argument for Path<String> {
    type Request = ();
}

impl<T: JsonSchema> Argument for Query<T> {
    type Request = ();

    fn describe(generator: &mut SchemaGenerator, shape: &mut Shape) {
        let schema = T::json_schema(generator);
        let member = |name: &str| schema.get(name);
        let required = |name: &String| {
            member("required").and_then(Value::as_array).is_some_and(|all| all.iter().any(|one| one == name))
        };
        for (name, schema) in member("properties").and_then(Value::as_object).into_iter().flatten() {
            shape.query.push(json!({
                "name": name,
                "in": "query",
                "required": required(name),
                "schema": schema,
            }));
        }
    }
}

impl<T: JsonSchema> Argument for Given<T> {
    type Request = T;

    fn describe(generator: &mut SchemaGenerator, shape: &mut Shape) {
        let schema = generator.subschema_for::<T>();
        shape.body =
            Some(json!({ "required": true, "content": { "application/json": { "schema": schema } } }));
    }
}

impl Argument for Body {
    type Request = Bytes;

    fn describe(_: &mut SchemaGenerator, shape: &mut Shape) {
        shape.body = Some(json!({ "required": true, "content": { "application/octet-stream": {} } }));
    }
}

/// A handler's result.
pub(super) trait Returned {
    /// The type of a successful answer's body, as in a call.
    type Answer;
    /// The body schema of a successful answer.
    fn schema(generator: &mut SchemaGenerator) -> Value;
}

impl<T: JsonSchema> Returned for Json<T> {
    type Answer = T;

    fn schema(generator: &mut SchemaGenerator) -> Value {
        generator.subschema_for::<T>().to_value()
    }
}

impl<T: JsonSchema> Returned for Result<Json<T>, AdminError> {
    type Answer = T;

    fn schema(generator: &mut SchemaGenerator) -> Value {
        Json::<T>::schema(generator)
    }
}

/// No schema: bytes, or lines.
impl Returned for Streamed {
    type Answer = Bytes;

    fn schema(_: &mut SchemaGenerator) -> Value {
        Value::Null
    }
}

impl Returned for Result<Streamed, AdminError> {
    type Answer = Bytes;

    fn schema(generator: &mut SchemaGenerator) -> Value {
        Streamed::schema(generator)
    }
}

/// Handlers with this many arguments; only the last one may read the body.
macro_rules! described {
    ($($argument:ident,)* ; $last:ident) => {
        impl<F, Fut, $($argument,)* $last> Described<($($argument,)* $last,)> for F
        where
            F: FnOnce($($argument,)* $last) -> Fut,
            Fut: Future<Output: Returned>,
            $($argument: Argument<Request = ()>,)*
            $last: Argument,
        {
            type Request = $last::Request;
            type Answer = <Fut::Output as Returned>::Answer;

            fn shape(generator: &mut SchemaGenerator) -> Shape {
                let mut shape = Shape { answer: Fut::Output::schema(generator), ..Shape::default() };
                $($argument::describe(generator, &mut shape);)*
                $last::describe(generator, &mut shape);
                shape
            }
        }
    };
}

described!(; A);
described!(A, ; B);
described!(A, B, ; C);
described!(A, B, C, ; D);
