//! `create-database`: explains what the database needs, which is nothing by default.

use schema::config::{Kind, key};
use serde::Serialize;

use crate::context::Context;

/// Explain what the database needs
///
/// The server creates the embedded database itself. A PostgreSQL database must exist and belong to the user in the
/// URL; the server creates its tables.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy create-database
  proxy create-database postgresql://snaps@db.internal:5432/snaps")]
pub(crate) struct Args {
    /// The PostgreSQL database to use
    url: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Needs {
    engine: &'static str,
    steps: Vec<String>,
}

pub(crate) fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Some(url) = args.url else {
        let nothing = Needs { engine: "sqlite", steps: Vec::new() };
        return Ok(context.out.report(&nothing, |_| {
            vec!["Nothing is needed: the server makes the embedded database in the data directory.".into()]
        })?);
    };
    // Checked after parsing, because a usage error would quote the password.
    let url = Kind::Database.check(&url)?;
    let shown = key("proxy.db.connection").map(|key| key.redact(&url)).unwrap_or_default();
    let program = context.program;
    let needs = Needs {
        engine: "postgresql",
        steps: vec![
            "make a role that may log in and a database that belongs to it".into(),
            format!("{program} config proxy.db.connection={shown}"),
            format!("{program} check-connections"),
        ],
    };
    Ok(context.out.report(&needs, |needs| {
        let steps = needs.steps.iter().enumerate().map(|(at, step)| format!("  {}. {step}", at + 1));
        let head = "The server makes its tables by itself. What is left to do:".to_owned();
        std::iter::once(head).chain(steps).collect()
    })?)
}
