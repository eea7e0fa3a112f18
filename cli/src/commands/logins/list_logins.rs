//! `list-logins`: lists service logins.

use schema::api::admin::Logins;
use schema::api::admin::calls::ListLogins;

use crate::context::Context;
use crate::output::table;

/// List service logins, without their secrets
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy list-logins")]
pub(crate) struct Args {}

pub(crate) async fn run(_: Args, context: &Context) -> anyhow::Result<()> {
    let logins: Logins = context.admin().await?.ask::<ListLogins>().await?;
    Ok(context.out.report(&logins, |logins| {
        let rows = logins.logins.iter().map(|login| {
            let acls: Vec<&str> = login.acls.iter().map(|acl| acl.as_str()).collect();
            let (id, store) =
                (login.id.clone(), login.store.as_ref().map_or("-".to_owned(), ToString::to_string));
            let key = login.key.clone().unwrap_or_else(|| "-".to_owned());
            let [created, expires, state] = [&login.created, &login.expires, &login.state].map(Clone::clone);
            let by = login.made_by.clone().unwrap_or_else(|| "-".to_owned());
            [id, store, acls.join(","), created, expires, by, key, state]
        });
        let heading = ["Login", "Store", "Permissions", "Created", "Expires", "Made by", "Key", "State"];
        table(heading, rows.collect())
    })?)
}
