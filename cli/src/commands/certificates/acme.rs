//! `acme`: obtains certificates from an ACME authority.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use schema::api::admin::calls::{DisableAcme, EnableAcme, RenewAcme, ShowAcme};
use schema::api::admin::{AcmeBinding, AcmeEnable, AcmeRenew, AcmeStatus};
use schema::tls::to_pem;

use crate::commands::Reported;
use crate::context::Context;
use crate::errors;
use crate::pem_files::{PemFiles, read_passphrase};

/// Obtain and renew certificates from an ACME authority
///
/// Meant for an authority on site. The old certificate stays in use until a new one has arrived and was checked.
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy acme status")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Get a certificate for proxy.domain and every NAME now, and renew it from then on
    ///
    /// If that fails, the exit code is 1 and the server keeps trying. A certificate that is imported later is kept
    /// until two thirds of its lifetime are over.
    #[command(before_help = "Examples:
  proxy acme enable --directory https://ca.internal/acme/directory --ca site-ca.pem
  proxy acme enable --directory https://ca.internal/dir --challenge tls-alpn-01 --contact ops@site.example
  proxy acme enable --directory https://ca.internal/dir --name old-store.internal --name 10.0.0.7
  proxy acme enable --directory https://ca.internal/dir --eab-kid kid-1 --eab-key-file eab.key")]
    Enable(Enable),
    /// Stop renewing; the certificate stays
    #[command(before_help = "Example:
  proxy acme disable")]
    Disable,
    /// Show the next renewal and the last error
    #[command(before_help = "Example:
  proxy acme status")]
    Status,
    /// Get a new certificate now
    #[command(before_help = "Examples:
  proxy acme renew
  proxy acme renew --revoke")]
    Renew {
        /// Revoke the replaced certificate once the new one is in use, as after a theft of its key
        #[arg(long)]
        revoke: bool,
    },
}

#[derive(Debug, clap::Args)]
struct Enable {
    /// The authority's directory, an https URL
    #[arg(long, value_name = "URL")]
    directory: String,

    /// PEM file with the authorities to trust for that URL; by default the same as other outgoing TLS
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// Key id of an external account binding
    #[arg(long, value_name = "KID", requires = "eab_key_file")]
    eab_kid: Option<String>,

    /// File with its key in base64url
    #[arg(long, value_name = "FILE", requires = "eab_kid")]
    eab_key_file: Option<PathBuf>,

    /// A mail address that the authority may write to; may be given again
    #[arg(long, value_name = "MAIL")]
    contact: Vec<String>,

    /// A name or address that the certificate covers beside proxy.domain; may be given again
    #[arg(long = "name", value_name = "NAME")]
    names: Vec<String>,

    /// How the store proves control of its names: over port 80 or over port 443
    #[arg(long, value_enum, default_value = "http-01")]
    challenge: Challenge,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Challenge {
    #[value(name = "http-01")]
    Http01,
    #[value(name = "tls-alpn-01")]
    TlsAlpn01,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.action {
        Action::Enable(enable) => {
            let wanted = enable.request()?;
            let status: AcmeStatus = context.admin().await?.send::<EnableAcme>(&wanted).await?;
            context.out.report(&status, lines)?;
            match &status.last_error {
                None => Ok(()),
                Some(why) => {
                    let why = anyhow::anyhow!("ACME is on, but no certificate came yet: {why}");
                    errors::report(&why);
                    Err(Reported.into())
                }
            }
        }
        Action::Disable => {
            let status: AcmeStatus = context.admin().await?.ask::<DisableAcme>().await?;
            Ok(context.out.report(&status, lines)?)
        }
        Action::Status => {
            let status: AcmeStatus = context.admin().await?.ask::<ShowAcme>().await?;
            Ok(context.out.report(&status, lines)?)
        }
        Action::Renew { revoke } => {
            let wanted = AcmeRenew { revoke };
            let status: AcmeStatus = context.admin().await?.send::<RenewAcme>(&wanted).await?;
            Ok(context.out.report(&status, lines)?)
        }
    }
}

impl Enable {
    fn request(self) -> anyhow::Result<AcmeEnable> {
        let ca = self.ca.map(|path| -> anyhow::Result<String> {
            let files = PemFiles::read(&[path])?;
            Ok(files
                .trusted()?
                .certificates
                .iter()
                .map(|certificate| to_pem("CERTIFICATE", certificate))
                .collect())
        });
        let binding = match (self.eab_kid, self.eab_key_file) {
            (Some(kid), Some(path)) => {
                Some(AcmeBinding { kid, key: read_passphrase(&path)?.trim().to_owned() })
            }
            _ => None,
        };
        let challenge = self.challenge.to_possible_value().map(|value| value.get_name().to_owned());
        Ok(AcmeEnable {
            directory: self.directory,
            ca: ca.transpose()?,
            contact: self.contact,
            names: self.names,
            challenge: challenge.unwrap_or_default(),
            binding,
        })
    }
}

fn all_names(status: &AcmeStatus) -> String {
    let names = std::iter::once(&status.domain).chain(&status.names);
    names.map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// Lines for people, also used by `status`.
pub(crate) fn lines(status: &AcmeStatus) -> Vec<String> {
    let Some(directory) = &status.directory else { return vec!["ACME: off".into()] };
    let mut lines = vec![
        format!("Directory: {directory}"),
        format!("Certificate: {} over {}", all_names(status), status.challenge),
    ];
    lines.extend(status.not_after.iter().map(|time| format!("Valid until: {time}")));
    lines.extend(status.next_renewal.iter().map(|time| format!("Next renewal: {time}")));
    let tries = if status.failures == 1 { "once".to_owned() } else { format!("{} times", status.failures) };
    lines.extend(status.last_error.iter().map(|why| format!("Last error ({tries} in a row): {why}")));
    lines
}
