//! `config`: shows, reads and changes the configuration.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use schema::api::admin::calls::ListConfigHistory;
use schema::api::admin::{ConfigChanged, ConfigHistory};
use schema::causes::one_line;
use schema::config::{
    ConfigError, Key, Kind, REDACTED, SettingChange, Settings, key, keys_below, settings_page,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::apply::apply;
use crate::commands::usage;
use crate::context::Context;
use crate::documents::read_document;
use crate::output::{note, table};
use crate::stdin::shown;

/// Show, read or change the configuration
///
/// Without arguments: all keys with their values, secrets hidden. With KEYs: their plain values, one after the other.
/// With KEY=VALUEs: sets all of them or none; an empty value clears a key.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy config
  proxy config proxy.tls.cert > tls-cert.crt
  proxy config proxy.domain=snaps.internal proxy.port.http=8080
  proxy config --describe proxy.tls
  proxy config --history proxy.domain
  proxy config --set-from-stdin proxy.key.private < identity.pem
  proxy config --export-yaml > store-config.yaml
  proxy config --import-yaml store-config.yaml")]
pub(crate) struct Args {
    /// Keys to print or describe, or assignments to set
    #[arg(value_name = "KEY[=VALUE]", group = "form")]
    items: Vec<String>,

    /// Say what keys are for instead of printing their values: meaning, default, example, when a change applies
    #[arg(long, conflicts_with_all = ["export_yaml", "import_yaml", "set_from_stdin"])]
    describe: bool,

    /// List who changed KEY or all keys below it, when and from what; secrets are shown as fingerprints
    #[arg(long, conflicts_with_all = ["describe", "export_yaml", "import_yaml", "set_from_stdin"])]
    history: bool,

    /// Describe all keys as the page settings.md
    #[arg(long, requires = "describe", conflicts_with = "items", hide = true)]
    page: bool,

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
    if args.history {
        return history(&args.items, context).await;
    }
    if args.describe {
        return describe(&args, context);
    }
    if args.export_yaml {
        return Ok(context.out.raw(&context.settings()?.to_yaml())?);
    }
    if let Some(file) = args.import_yaml {
        let shown = shown(&file);
        let pairs = Settings::yaml_pairs_of(&read_document(&file)?);
        let pairs = pairs.map_err(|error| in_file(error, &shown))?;
        return import(context, pairs, &shown).await;
    }
    if let Some(name) = args.set_from_stdin {
        let text = read_stdin().with_context(|| {
            format!("cannot set {name} from standard input; `proxy config {name}=` clears it")
        })?;
        // Only PEM text keeps its final line feed.
        let is_pem = key(&name).is_some_and(|key| key.kind == Kind::Pem);
        let value = if is_pem { &text } else { text.trim_end_matches(['\r', '\n']) };
        return change(context, BTreeMap::from([(name, value.to_owned())])).await;
    }
    if let Some(way) = args.items.iter().find_map(|item| way_of_others(item)) {
        anyhow::bail!("{way}");
    }
    match &args.items[..] {
        [verb, key, values @ ..] if verb == "set" && !key.contains('=') => anyhow::bail!(
            "a key and its value are one word here: `proxy config {key}={}`",
            values.first().map_or("VALUE", String::as_str)
        ),
        [verb, rest @ ..] if ["set", "get"].contains(&verb.as_str()) => {
            let rest = rest.join(" ");
            anyhow::bail!(
                "there is no {verb} here: `proxy config {}`",
                if rest.is_empty() { "KEY" } else { &rest }
            )
        }
        _ => {}
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

/// What to type instead of a key of another product, whose documents operators bring along.
fn way_of_others(item: &str) -> Option<&'static str> {
    match item.split('=').next().unwrap_or_default() {
        "http.cert_path" | "http.key_path" | "ssl_cert" | "ssl_key" => Some(
            "certificate and key are set together, from their files: `proxy import-certificate CERTIFICATE-FILE KEY-FILE`, \
             which needs no restart",
        ),
        "http.ca_path" | "ssl_ca" => Some(
            "clients must show a certificate of an authority with `proxy config proxy.tls.client-ca=/FILE-OR-FOLDER \
             proxy.tls.client-auth=required`, which needs no restart",
        ),
        _ => None,
    }
}

/// One key in the output of `--describe --json`.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Described {
    key: &'static str,
    meaning: &'static str,
    has_effect: bool,
    secret: bool,
    value: &'static str,
    default: Value,
    example: Option<String>,
    applies: &'static str,
    since: &'static str,
}

impl From<&'static Key> for Described {
    fn from(key: &'static Key) -> Self {
        Self {
            key: key.name,
            meaning: key.help,
            has_effect: key.has_effect(),
            secret: key.secret,
            value: key.kind.expects(),
            default: typed(key.name, key.default),
            example: key.command(),
            applies: key.applies_when(),
            since: key.since,
        }
    }
}

fn describe(args: &Args, context: &Context) -> anyhow::Result<()> {
    if args.page {
        return Ok(context.out.raw(&settings_page())?);
    }
    let mut found: Vec<&Key> = Vec::new();
    for name in &args.items {
        let below: Vec<&Key> = keys_below(Some(name)).collect();
        if below.is_empty() {
            return Err(ConfigError::UnknownKey(name.chars().take(80).collect()).into());
        }
        found.extend(below);
    }
    if args.items.is_empty() {
        found.extend(keys_below(None));
    }
    let described: Vec<Described> = found.iter().map(|key| Described::from(*key)).collect();
    Ok(context.out.report(&described, |_| {
        let lines = found.iter().flat_map(|key| {
            let facts =
                key.facts().into_iter().map(|(word, text)| format!("  {:<9} {text}", format!("{word}:")));
            [key.name.to_owned(), format!("  {}", key.help)].into_iter().chain(facts)
        });
        lines.collect()
    })?)
}

async fn history(keys: &[String], context: &Context) -> anyhow::Result<()> {
    if keys.len() > 1 {
        return Err(usage(context.program, "config", "--history takes one KEY, or none for all"));
    }
    let key = keys.first().map(|key| ("key", key));
    let history: ConfigHistory = context.admin().await?.ask_for::<ListConfigHistory>(key).await?;
    Ok(context.out.report(&history, |history| {
        let shown = |value: &Value| match value {
            Value::Null => "(not set)".to_owned(),
            Value::String(text) => text.clone(),
            Value::Bool(true) => "True".to_owned(),
            Value::Bool(false) => "False".to_owned(),
            other => other.to_string(),
        };
        let rows = history.changes.iter().map(|recorded| {
            let SettingChange { key, old, new } = &recorded.change;
            let change = format!("{} -> {}", shown(old), shown(new));
            [recorded.at.clone(), recorded.who.clone(), key.clone(), change]
        });
        table(["Time", "Who", "Key", "Change"], rows.collect())
    })?)
}

fn read_stdin() -> anyhow::Result<String> {
    let text = String::from_utf8(read_document(Path::new("-"))?);
    text.map_err(|_| anyhow::anyhow!("cannot read standard input as text"))
}

async fn dump(context: &Context) -> anyhow::Result<()> {
    let mut shown = context.values().await?;
    for (name, value) in &mut shown {
        // A secret that a remote server hides stays hidden.
        if let Some(key) = key(name).filter(|_| !value.contains(REDACTED)) {
            *value = key.redact(value);
        }
    }
    report(context, &shown)
}

/// Accepts exports and dumps. Values that a dump hides, or shows only as defaults, stay unchanged.
async fn import(context: &Context, pairs: BTreeMap<String, String>, file: &str) -> anyhow::Result<()> {
    context.lock().await?;
    let (held, mut wanted) = (context.values().await?, Settings::default());
    let (mut hidden, mut missing) = (Vec::new(), Vec::new());
    for (name, value) in pairs {
        let known = key(&name).ok_or_else(|| ConfigError::UnknownKey(name.chars().take(80).collect()));
        let known = known.map_err(|error| in_file(error, file))?;
        let now = held.get(&name).map(String::as_str).unwrap_or_default();
        let hides = value.contains(REDACTED);
        if hides && known.may_hide() {
            missing.extend(now.is_empty().then(|| name.clone()));
            hidden.push(name);
        } else if hides {
            anyhow::bail!(
                "cannot use {file}: cannot set {name}: {REDACTED} stands for a secret, it is not one"
            );
        } else if value != known.default || value != now {
            wanted.set(&name, &value).map_err(|error| in_file(error, file))?;
        }
    }
    if !hidden.is_empty() {
        note(format!("the YAML hides these, so they stay as they are: {}", hidden.join(", ")));
    }
    if !missing.is_empty() {
        note(format!(
            "not set here, each is taken by `proxy config --set-from-stdin KEY < FILE`: {}",
            missing.join(", ")
        ));
    }
    let values = wanted.entries().map(|(name, value)| (name.to_owned(), value.to_owned()));
    change(context, values.collect()).await
}

/// The error with the file that is at fault, whose name stands for `FILE` in what to type.
fn in_file(error: impl std::error::Error + Send + Sync + 'static, file: &str) -> anyhow::Error {
    let text = one_line(&error).replace("FILE`", &format!("{file}`"));
    anyhow::anyhow!("cannot use {file}: {text}")
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
        return report(
            context,
            &values.into_iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
        );
    }
    // Printed unchanged, since it is often saved to a file: PEM text includes its final line feed.
    let text: String =
        values.iter().map(|(_, value)| format!("{}\n", value.strip_suffix('\n').unwrap_or(value))).collect();
    Ok(context.out.raw(&text)?)
}

async fn change(context: &Context, values: BTreeMap<String, String>) -> anyhow::Result<()> {
    let changed: ConfigChanged = apply(context, values).await?;
    if context.out.is_json() {
        let values: BTreeMap<_, _> =
            changed.values.iter().map(|(name, value)| (name, typed(name, value))).collect();
        let report =
            json!({ "values": values, "after-restart": changed.after_restart, "warnings": changed.warnings });
        return Ok(context.out.report(&report, |_| Vec::new())?);
    }
    report(context, &changed.values)
}

fn report(context: &Context, values: &BTreeMap<String, String>) -> anyhow::Result<()> {
    let typed: BTreeMap<&String, Value> =
        values.iter().map(|(name, value)| (name, typed(name, value))).collect();
    Ok(context.out.report(&typed, |_| values.iter().map(|(name, value)| line(name, value)).collect())?)
}

/// A value as programs read it: what is true or false is a boolean.
fn typed(name: &str, value: &str) -> Value {
    match (key(name).map(|key| key.kind), value) {
        (Some(Kind::Switch), "True") => true.into(),
        (Some(Kind::Switch), "False") => false.into(),
        _ => value.into(),
    }
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
