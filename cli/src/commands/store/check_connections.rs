//! `check-connections`: checks that everything the store needs can be reached.

use std::time::Duration;

use schema::api::admin::Status;
use schema::api::admin::calls::ShowStatus;
use schema::causes::one_line;
use schema::config::{Backend, Settings, Storage};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use crate::commands::Reported;
use crate::context::Context;

/// How long to wait for a host.
const PATIENCE: Duration = Duration::from_secs(5);

/// Check that the database, the place of the files, the services and the allowed device services can be reached
///
/// Exit code 0 if all can be reached, else 1.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy check-connections")]
pub(crate) struct Args {}

#[derive(Serialize)]
struct Report {
    connections: Vec<Connection>,
}

#[derive(Serialize)]
struct Connection {
    kind: &'static str,
    target: String,
    /// `OK`, or the error.
    outcome: String,
}

pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    let settings = context.settings()?;
    let status: Status = context.admin().await?.ask::<ShowStatus>().await?;
    let mut connections = Vec::new();
    for target in settings.device_auth.services.iter().map(ToString::to_string) {
        let outcome = reach(&target).await.unwrap_or_else(|reason| reason);
        connections.push(Connection { kind: "http", target, outcome });
    }
    connections.push(database(&status, &settings));
    connections.push(storage(&status, &settings));
    for (name, state) in status.services {
        let outcome = if state == "running" { OK.to_owned() } else { state };
        connections.push(Connection { kind: "service", target: name, outcome });
    }
    let all_ok = connections.iter().all(|connection| connection.outcome == OK);
    context.out.report(&Report { connections }, |report| {
        let line = |c: &Connection| format!("{}: {}: {}", c.kind, c.target, c.outcome);
        let end = if all_ok { "All connections appear to be accessible" } else { "Some connections failed" };
        report.connections.iter().map(line).chain([end.to_owned()]).collect()
    })?;
    if all_ok { Ok(()) } else { Err(Reported.into()) }
}

const OK: &str = "OK";

fn database(status: &Status, settings: &Settings) -> Connection {
    let outcome = if status.database == "ok" { OK.to_owned() } else { status.database.clone() };
    match settings.database.url.as_ref().map(|url| Url::parse(url)) {
        Some(Ok(url)) => {
            let target = url.host_str().unwrap_or("localhost").to_owned();
            Connection { kind: "postgres", target, outcome }
        }
        _ => Connection { kind: "sqlite", target: "embedded".into(), outcome },
    }
}

fn storage(status: &Status, settings: &Settings) -> Connection {
    let outcome = if status.storage == "ok" { OK.to_owned() } else { status.storage.clone() };
    let Storage { backend, path, bucket } = &settings.storage;
    match (backend, path) {
        (Backend::S3, _) => Connection { kind: "bucket", target: bucket.name.clone(), outcome },
        (Backend::Local, Some(path)) => {
            Connection { kind: "folder", target: path.display().to_string(), outcome }
        }
        (Backend::Local, None) => Connection { kind: "folder", target: "data directory".into(), outcome },
    }
}

/// Opens a connection to a URL's host and closes it again.
async fn reach(target: &str) -> Result<String, String> {
    let url = Url::parse(target).map_err(|error| one_line(&error))?;
    let host = url.host_str().ok_or("it names no host")?.trim_matches(['[', ']']).to_owned();
    let port = url.port_or_known_default().ok_or("it names no port")?;
    match timeout(PATIENCE, TcpStream::connect((host, port))).await {
        Ok(Ok(_)) => Ok(OK.to_owned()),
        Ok(Err(error)) => Err(one_line(&error)),
        Err(_) => Err(format!("no answer within {} seconds", PATIENCE.as_secs())),
    }
}
