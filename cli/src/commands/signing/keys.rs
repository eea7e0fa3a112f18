//! `keys`: keys that sign on site, from their making to their end.

use clap::{Subcommand, ValueEnum};
use schema::api::admin::calls::{CreateKey, LimitKey, ListKeys, RequestKey, RetireKey};
use schema::api::admin::{KeyLimit, KeyRegistration, SigningKeyInfo, SigningKeyRequest, SigningKeys};
use schema::signing::{KeyPlace, Purpose};

use crate::context::Context;
use crate::output::{note, table};

/// Make, register and retire the keys that sign serials and users on site
///
/// A private key is made on this store and never leaves it: a process of its own holds it, sealed with
/// proxy.signing.secret, or an HSM does (proxy.signing.pkcs11.module). It signs once its account-key assertion is here: carry the request out, register it with
/// `register-key`, and carry the account's keys in with `push-account-keys`.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy keys create factory-2026 --for serial --account acme
  proxy keys create factory-2026 --for serial --account acme --pkcs11 factory
  proxy keys request factory-2026 > factory-2026.request
  proxy keys list")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key
    #[command(before_help = "Example:
  proxy keys create factory-2026 --for serial --account acme")]
    Create {
        /// Its name, which no other key of the account has or had: with site and year, for example
        name: String,
        /// What it signs
        #[arg(long = "for", value_name = "PURPOSE", value_enum)]
        purpose: For,
        /// The account that it signs for: a brand, or one that a model names as its serial-authority
        #[arg(long, value_name = "ACCOUNT")]
        account: String,
        /// How many people have to approve each signature (`proxy approvals`) [default: 2 for system-user, else 0]
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(..=2))]
        approvals: Option<u32>,
        /// Have a PKCS#11 token make and keep it: the token's label
        #[arg(long, value_name = "TOKEN")]
        pkcs11: Option<String>,
        /// The key's label on the token; a key that is there already is taken [default: NAME]
        #[arg(long, value_name = "LABEL", requires = "pkcs11")]
        pkcs11_label: Option<String>,
        /// Most signatures of a day, in UTC [default: no limit]
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
        per_day: Option<u32>,
    },
    /// Print the request to register a key, for `register-key` on a connected machine
    #[command(before_help = "Example:
  proxy keys request factory-2026 > factory-2026.request")]
    Request {
        /// The key's name
        name: String,
    },
    /// List the keys: whether they sign, until when, and how much they signed
    #[command(before_help = "Example:
  proxy keys list")]
    List,
    /// Set how many documents a key may sign on a day, in UTC
    #[command(before_help = "Examples:
  proxy keys limit factory-2026 --per-day 500
  proxy keys limit factory-2026 --none")]
    Limit {
        /// The key's name
        name: String,
        /// So many
        #[arg(long, value_name = "NUMBER", required_unless_present = "none", value_parser = clap::value_parser!(u32).range(1..))]
        per_day: Option<u32>,
        /// As many as it is asked for
        #[arg(long, conflicts_with = "per_day")]
        none: bool,
    },
    /// Take a key out of use for good
    #[command(before_help = "Example:
  proxy keys retire factory-2026")]
    Retire {
        /// The key's name, which stays taken
        name: String,
    },
}

/// What a key signs.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum For {
    /// Serials of devices
    Serial,
    /// Users of single devices, see `break-glass`
    SystemUser,
    /// Validation sets, see `train sign`
    ValidationSet,
    /// Models and what else `snap sign` signs, see `keymgr`
    Model,
}

impl For {
    const fn purpose(self) -> Purpose {
        match self {
            Self::Serial => Purpose::Serial,
            Self::SystemUser => Purpose::SystemUser,
            Self::ValidationSet => Purpose::ValidationSet,
            Self::Model => Purpose::Model,
        }
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut admin = context.admin().await?;
    match args.action {
        Action::Create { name, purpose, account, approvals, pkcs11, pkcs11_label, per_day } => {
            let place = pkcs11.map(|token| KeyPlace { token, object: pkcs11_label.unwrap_or(name.clone()) });
            let purpose = purpose.purpose();
            let wanted = SigningKeyRequest { name, account, purpose, approvals, place, per_day };
            let made: SigningKeyInfo = admin.send::<CreateKey>(&wanted).await?;
            Ok(context.out.report(&made, |key| {
                vec![
                    format!(
                        "Key {} for {} of {}: {}",
                        key.name,
                        key.purpose.plural(),
                        key.account,
                        key.key_id
                    ),
                    format!("Next: `proxy keys request {0} > {0}.request`, and carry the file out", key.name),
                ]
            })?)
        }
        Action::Request { name } => {
            let registration: KeyRegistration = admin.ask_of::<RequestKey>(&name).await?;
            if context.out.is_json() {
                return Ok(context.out.report(&registration, |_| Vec::new())?);
            }
            context.out.raw(&registration.request)?;
            note(format!("next, on a connected machine: `proxy register-key {name}.request LOGIN`"));
            Ok(())
        }
        Action::List => {
            let keys: SigningKeys = admin.ask::<ListKeys>().await?;
            Ok(context.out.report(&keys, |keys| match keys.keys.is_empty() {
                true => vec!["There is no key: `proxy keys create` makes one".to_owned()],
                false => table(
                    ["Key", "For", "Account", "State", "Ends", "Signed", "Kept by", "Id"],
                    keys.keys.iter().map(row).collect(),
                ),
            })?)
        }
        Action::Limit { name, per_day, none: _ } => {
            let limited: SigningKeyInfo = admin.send::<LimitKey>(&KeyLimit { name, per_day }).await?;
            Ok(context.out.report(&limited, |key| {
                let most =
                    key.per_day.map_or("without a limit".to_owned(), |most| format!("at most {most} a day"));
                vec![format!("Key {} signs {most}", key.name)]
            })?)
        }
        Action::Retire { name } => {
            let retired: SigningKeyInfo = admin.ask_of::<RetireKey>(&name).await?;
            Ok(context.out.report(&retired, |key| {
                let mut lines = vec![format!("Key {} signs nothing any more", key.name)];
                lines.extend(key.place.as_ref().map(|place| {
                    format!("It is still on token {place}: remove it there with the vendor's tool")
                }));
                lines
            })?)
        }
    }
}

fn row(key: &SigningKeyInfo) -> [String; 8] {
    [
        key.name.clone(),
        key.purpose.as_str().to_owned(),
        key.account.clone(),
        key.state.clone(),
        key.ends.clone().unwrap_or_else(|| "-".to_owned()),
        match (key.per_day, key.today) {
            (Some(most), Some(today)) => format!("{}; {today} of {most} today", key.signed),
            _ => key.signed.to_string(),
        },
        key.place.as_ref().map_or("this store".to_owned(), |place| format!("token {place}")),
        key.key_id.clone(),
    ]
}
