//! `revoke-login`: revokes a service login.

use schema::api::admin::Login;
use schema::api::admin::calls::RevokeLogin;
use schema::service_login::ServiceLogin;

use crate::context::Context;
use crate::output::warning;

/// Revoke a service login from its next request on
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy revoke-login hIedp1AvrWlcDI4u")]
pub(crate) struct Args {
    /// Id of the login, as `list-logins` shows it
    #[arg(value_name = "ID", value_parser = id, allow_hyphen_values = true)]
    id: String,
}

fn id(text: &str) -> Result<String, &'static str> {
    if ServiceLogin::is_id(text) { Ok(text.to_owned()) } else { Err("expected 16 letters, digits, - and _") }
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let revoked: Login = context.admin().await?.ask_of::<RevokeLogin>(&args.id).await?;
    for id in &revoked.made {
        warning(format!("login {id}, which it made, stays valid: `proxy revoke-login {id}` revokes it, too"));
    }
    Ok(context
        .out
        .report(&revoked, |login| vec![format!("Revoked login {} for {}", login.id, login.place())])?)
}
