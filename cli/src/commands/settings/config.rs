//! `config`: shows, reads and changes the configuration.

use std::collections::BTreeMap;
use std::io::stdin;
use std::path::PathBuf;

use anyhow::Context as _;
use schema::api::admin::ConfigChanged;
use schema::config::{ConfigError, Kind, REDACTED, Settings, key};

use crate::apply::apply;
use crate::commands::usage;
use crate::context::Context;
use crate::documents::{read_document, read_limited};
use crate::output::note;

/// Larger than any configuration, in bytes.
const MAX_INPUT: u64 = 16 << 20;

/// Show, read or change the configuration
///
/// Without arguments: all keys with their values, secrets hidden. With KEYs: their plain values, one after the other.
/// With KEY=VALUEs: sets all of them or none; an empty value clears a key.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy config
  proxy config proxy.tls.cert > tls-cert.crt
  proxy config proxy.domain=snaps.internal proxy.port.http=8080
  proxy config --set-from-stdin proxy.key.private < identity.pem
  proxy config --export-yaml > store-config.yaml
  proxy config --import-yaml store-config.yaml")]
pub(crate) struct Args {
    /// Keys to print, or assignments to set
    #[arg(value_name = "KEY[=VALUE]", group = "form")]
    items: Vec<String>,

    /// Print all set values as YAML, including secrets
    #[arg(long, group = "form")]
    export_yaml: bool,

    /// Set the keys of the YAML in FILE, or on standard input; keys that are missing, empty or hidden stay unchanged
    #[arg(long, value_name = "FILE", group = "form", num_args = 0..=1, default_missing_value = "-")]
    import_yaml: Option<PathBuf>,

    /// Set KEY to the text on standard input, hidden from other users of this host
    #[arg(long, value_name = "KEY", group = "form")]
    set_from_stdin: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    if args.export_yaml {
        return Ok(context.out.raw(&context.settings()?.to_yaml())?);
    }
    if let Some(file) = args.import_yaml {
        let text = String::from_utf8(read_document(&file)?);
        return import(context, &text.context("cannot read the YAML as text")?).await;
    }
    if let Some(name) = args.set_from_stdin {
        let text = read_stdin()?;
        // Only PEM text keeps its final line feed.
        let is_pem = key(&name).is_some_and(|key| key.kind == Kind::Pem);
        let value = if is_pem { &text } else { text.trim_end_matches(['\r', '\n']) };
        return change(context, BTreeMap::from([(name, value.to_owned())])).await;
    }
    let pairs: Vec<(&str, &str)> = args.items.iter().filter_map(|item| item.split_once('=')).collect();
    if args.items.is_empty() {
        dump(context).await
    } else if pairs.is_empty() {
        get(context, &args.items).await
    } else if pairs.len() == args.items.len() {
        change(context, pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()).await
    } else {
        Err(usage(context.program, "config", "either read keys (KEY) or set them (KEY=VALUE), not both"))
    }
}

fn read_stdin() -> anyhow::Result<String> {
    let bytes = read_limited(stdin().lock(), MAX_INPUT).context("cannot read standard input")?;
    String::from_utf8(bytes).context("cannot read standard input as text")
}

async fn dump(context: &Context) -> anyhow::Result<()> {
    let mut shown = context.values().await?;
    for (name, value) in &mut shown {
        // A secret that a remote server hides stays hidden.
        if let Some(key) = key(name).filter(|_| !value.contains(REDACTED)) {
            *value = key.redact(value);
        }
    }
    Ok(context.out.report(&shown, |shown| shown.iter().map(|(name, value)| line(name, value)).collect())?)
}

/// Accepts exports and dumps. Values that a dump hides, or shows only as defaults, stay unchanged.
async fn import(context: &Context, text: &str) -> anyhow::Result<()> {
    let (held, mut wanted, mut hidden) = (context.values().await?, Settings::default(), Vec::new());
    for (name, value) in Settings::yaml_pairs(text)? {
        let known = key(&name).ok_or_else(|| ConfigError::UnknownKey(name.chars().take(80).collect()))?;
        let now = held.get(&name).map(String::as_str).unwrap_or_default();
        let hides = value.contains(REDACTED);
        if hides && (known.secret || value == now || value == known.redact(now)) {
            hidden.push(name);
        } else if hides {
            anyhow::bail!("cannot set {name}: {REDACTED} stands for a secret, it is not one");
        } else if value != known.default || value != now {
            wanted.set(&name, &value)?;
        }
    }
    if !hidden.is_empty() {
        note(format!("the YAML hides these, so they stay as they are: {}", hidden.join(", ")));
    }
    let values = wanted.entries().map(|(name, value)| (name.to_owned(), value.to_owned()));
    change(context, values.collect()).await
}

async fn get(context: &Context, names: &[String]) -> anyhow::Result<()> {
    let held = context.values().await?;
    let mut values = Vec::new();
    for name in names {
        let value = held.get(name).ok_or_else(|| ConfigError::UnknownKey(name.clone()))?;
        anyhow::ensure!(
            context.remote.is_none() || !value.contains(REDACTED),
            "cannot print {name}: a secret is told on the server's host only"
        );
        values.push((name, value));
    }
    if context.out.is_json() {
        let values: BTreeMap<_, _> = values.into_iter().collect();
        return Ok(context.out.report(&values, |_| Vec::new())?);
    }
    // Printed unchanged, since it is often saved to a file: PEM text includes its final line feed.
    let text: String =
        values.iter().map(|(_, value)| format!("{}\n", value.strip_suffix('\n').unwrap_or(value))).collect();
    Ok(context.out.raw(&text)?)
}

async fn change(context: &Context, values: BTreeMap<String, String>) -> anyhow::Result<()> {
    let changed: ConfigChanged = apply(context, values).await?;
    Ok(context
        .out
        .report(&changed, |changed| changed.values.iter().map(|(name, value)| line(name, value)).collect())?)
}

/// One key per line, as YAML: quoted if it would otherwise be read differently.
fn line(name: &str, value: &str) -> String {
    let plain = format!("{name}: {}", value.replace('\n', "\\n"));
    let read = Settings::yaml_pairs(&plain).unwrap_or_default();
    match read.get(name).is_some_and(|read| read == value) {
        true => plain,
        false => format!("{name}: {}", serde_json::Value::from(value)),
    }
}
