//! `list-account-keys`: lists the keys that verify devices.

use schema::api::admin::calls::ListAccountKeys;
use schema::api::admin::{AccountKey, AccountKeys};

use crate::context::Context;
use crate::output::table;

/// List the imported account keys
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy list-account-keys")]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    let keys: AccountKeys = context.admin().await?.ask::<ListAccountKeys>().await?;
    Ok(context.out.report(&keys, |keys| {
        let rows = keys.account_keys.iter().map(|key| {
            let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
            let (name, until) = (text(&key.name), text(&key.until));
            let id = key.public_key_sha3_384.clone();
            [key.account_id.clone(), name, key.since.clone(), until, key.state.clone(), id]
        });
        table(["Account", "Name", "Since", "Until", "State", "Key"], rows.collect())
    })?)
}

/// A key on one line.
pub(crate) fn summary(key: &AccountKey) -> String {
    let name = key.name.as_ref().map(|name| format!(" {name}")).unwrap_or_default();
    let day = |until: &String| until.split('T').next().unwrap_or_default().to_owned();
    let until = key.until.as_ref().map(|until| format!(", until {}", day(until))).unwrap_or_default();
    let state = if key.state == "valid" { String::new() } else { format!(" ({})", key.state) };
    format!("{}: {}{name}{until}{state}", key.public_key_sha3_384, key.account_id)
}
