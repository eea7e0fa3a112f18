//! `import-certificate`: sets the store's certificate and key.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use anyhow::Context as _;
use schema::config::REDACTED;
use schema::tls::{ImportError, Imported, Pair, Stamp, expiry, further, self_signed};
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use zeroize::Zeroizing;

use crate::apply::apply;
use crate::context::Context;
use crate::output::warning;
use crate::pem_files::{PemFiles, read_passphrase};

/// Validity of a self-signed certificate, in days.
const SELF_SIGNED_DAYS: u32 = 3650;

/// Set the store's certificate and key, which enables HTTPS
///
/// PEM text in any order, from FILEs or standard input: the certificate, its intermediates, and one private key
/// (PKCS#8, PKCS#1 or SEC1). Takes effect at once. An unusable certificate is refused and the old one stays. `config
/// proxy.tls.key= proxy.tls.cert=` goes back to HTTP.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  cat fullchain.pem privkey.pem | proxy import-certificate
  proxy import-certificate tls.crt tls.key intermediates.pem
  proxy import-certificate store.pem --passphrase-file passphrase.txt
  proxy import-certificate --further old-name.pem old-name.key
  proxy import-certificate --forget old-store.internal
  proxy import-certificate --selfsigned")]
pub(crate) struct Args {
    /// PEM files; none or `-` is standard input
    #[arg(value_name = "FILE", conflicts_with = "selfsigned")]
    files: Vec<PathBuf>,

    /// Create a self-signed certificate for proxy.domain
    #[arg(long)]
    selfsigned: bool,

    /// Serve it beside the store's certificate, to clients that ask for a name that only this one covers
    #[arg(long, conflicts_with = "selfsigned")]
    further: bool,

    /// Drop every further certificate for NAME; one without names goes by its subject
    #[arg(long, value_name = "NAME", conflicts_with_all = ["files", "selfsigned", "further", "force", "passphrase_file"])]
    forget: Option<String>,

    /// Accept a certificate that has expired, is not valid yet or is for another host
    #[arg(long)]
    force: bool,

    /// File with the passphrase of an encrypted key; without it, you are asked on the terminal
    #[arg(long, value_name = "FILE", conflicts_with = "selfsigned")]
    passphrase_file: Option<PathBuf>,
}

/// The installed certificate.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Installed {
    subject: String,
    names: Vec<String>,
    issuer: String,
    chain_length: usize,
    not_before: String,
    not_after: String,
    days_left: i64,
    warnings: Vec<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let held = context.values().await?;
    let domain = held.get("proxy.domain").map(String::as_str).unwrap_or_default();
    if let Some(name) = &args.forget {
        context.lock().await?;
        let held = context.values().await?;
        return forget(name, held.get(FURTHER).map(String::as_str).unwrap_or_default(), context).await;
    }
    if args.selfsigned {
        let pair = self_signed(domain, SELF_SIGNED_DAYS, stamp()?)?;
        let imported = Imported { pair, problems: Vec::new(), warnings: Vec::new() };
        return install(imported, args.force, context).await;
    }
    let files = PemFiles::read(&args.files)?;
    let given = args.passphrase_file.as_deref().map(read_passphrase).transpose()?;
    let import = |passphrase: Option<&Zeroizing<String>>| {
        let passphrase = passphrase.map(|text| text.as_str());
        let now = OffsetDateTime::now_utc();
        match args.further {
            false => Pair::import(&files.sources(), passphrase, domain, now),
            true => Pair::import_further(&files.sources(), passphrase, now),
        }
    };
    let imported = match import(given.as_ref()) {
        Err(ImportError::Encrypted(place)) if std::io::stderr().is_terminal() => {
            let text = rpassword::prompt_password(format!("Passphrase of the key at {place}: "));
            import(Some(&Zeroizing::new(text.context("cannot ask for the passphrase")?)))
        }
        done => done,
    };
    let imported = imported.context("cannot take the certificate")?;
    match args.further {
        false => install(imported, args.force, context).await,
        true => {
            context.lock().await?;
            let held = context.values().await?;
            let setting = |name: &str| held.get(name).map(String::as_str).unwrap_or_default();
            anyhow::ensure!(
                !setting("proxy.tls.cert").is_empty(),
                "the store has no certificate yet: `{} import-certificate FILE...` sets its own first",
                context.program
            );
            let own = Pair::from_settings(setting("proxy.tls.cert"), setting("proxy.tls.key")).ok().flatten();
            if let Some(why) = own.and_then(|own| further::never_shown(&own, &imported.pair)) {
                anyhow::bail!("cannot take the certificate: no client would be shown it, since {why}");
            }
            let all = further::with(further_pairs(setting(FURTHER))?, &imported.pair);
            put(imported, args.force, context, [(FURTHER, all.as_str().to_owned())]).await
        }
    }
}

/// Drops the further certificates for a name, and says which they are.
async fn forget(name: &str, held: &str, context: &Context) -> anyhow::Result<()> {
    let held = further_pairs(held)?;
    let (kept, gone) = further::without(&held, name).with_context(|| {
        format!("no further certificate is for {name}: `{} status` lists them", context.program)
    })?;
    apply(context, BTreeMap::from([(FURTHER.to_owned(), kept.as_str().to_owned())])).await?;
    let told = |pair: &&Pair| -> anyhow::Result<serde_json::Value> {
        let until = pair.not_after().format(&Rfc3339)?;
        Ok(serde_json::json!({ "subject": pair.subject(), "names": pair.names(), "not-after": until }))
    };
    let certificates = gone.iter().map(told).collect::<anyhow::Result<Vec<_>>>()?;
    let report = serde_json::json!({ "forgotten": name, "certificates": certificates });
    let line = |pair: &&Pair| {
        let names = if pair.names().is_empty() { "no host".into() } else { pair.names().join(", ") };
        let (subject, last) = (pair.subject(), pair.not_after().date());
        format!("The certificate of {subject} for {names}, valid to {last}, is no longer served")
    };
    Ok(context.out.report(&report, |_| gone.iter().map(line).collect())?)
}

/// The setting of certificates for further names.
const FURTHER: &str = "proxy.tls.further";

fn further_pairs(held: &str) -> anyhow::Result<Vec<Pair>> {
    anyhow::ensure!(
        held != REDACTED,
        "{FURTHER} holds keys, which do not leave the store's host: run this command there, without --server"
    );
    Ok(further::parse(held)?)
}

/// Sets both halves of a pair at once, or neither, and reports the result.
pub(crate) async fn install(imported: Imported, force: bool, context: &Context) -> anyhow::Result<()> {
    let pair = &imported.pair;
    let values = [("proxy.tls.cert", pair.cert_pem()), ("proxy.tls.key", pair.key_pem().as_str().to_owned())];
    put(imported, force, context, values).await
}

async fn put<const N: usize>(
    imported: Imported,
    force: bool,
    context: &Context,
    values: [(&str, String); N],
) -> anyhow::Result<()> {
    let Imported { pair, problems, warnings } = imported;
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    anyhow::ensure!(
        force || problems.is_empty(),
        "cannot take the certificate: {}; `{} import-certificate --force` takes it all the same",
        problems.join("; "),
        context.program
    );
    let warnings: Vec<String> =
        problems.into_iter().chain(warnings.iter().map(ToString::to_string)).collect();
    warnings.iter().for_each(warning);
    apply(context, BTreeMap::from(values.map(|(name, value)| (name.to_owned(), value)))).await?;
    let installed = Installed {
        subject: pair.subject().to_owned(),
        names: pair.names().to_owned(),
        issuer: pair.issuer().to_owned(),
        chain_length: pair.chain().len(),
        not_before: pair.not_before().format(&Rfc3339)?,
        not_after: pair.not_after().format(&Rfc3339)?,
        days_left: expiry(&pair, OffsetDateTime::now_utc()).days,
        warnings,
    };
    Ok(context.out.report(&installed, |installed| {
        let mut lines = lines(installed);
        lines.push(crate::commands::device_kit::next(context.program));
        lines
    })?)
}

fn lines(installed: &Installed) -> Vec<String> {
    let Installed { subject, names, issuer, chain_length, not_before, not_after, days_left, .. } = installed;
    let names = if names.is_empty() { "no host".to_owned() } else { names.join(", ") };
    let length = if *chain_length == 1 { "1 certificate" } else { &format!("{chain_length} certificates") };
    let day = |time: &str| time.get(..10).unwrap_or(time).to_owned();
    vec![
        format!("Certificate of {subject} for {names}"),
        format!("Issued by {issuer}, chain of {length}"),
        format!("Valid from {} to {}, {days_left} days left", day(not_before), day(not_after)),
    ]
}

/// The moment, and fresh randomness for a serial number.
pub(super) fn stamp() -> anyhow::Result<Stamp> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).ok().context("cannot get random bytes from the system")?;
    Ok(Stamp { now: OffsetDateTime::now_utc(), serial })
}
