//! `create-login`: creates a service login for a brand store or for the whole site.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use schema::api::admin::calls::{CreateLogin, RevokeLogin};
use schema::api::admin::{CreatedLogin, Login, LoginRequest};
use schema::service_login::Acl;
use schema::store::StoreId;
use serde_json::json;

use crate::context::Context;
use crate::output::note;

/// Create a login for machines that are not devices
///
/// With --store, build machines and the fetch commands of another site can see what the store grants to its devices
/// (package_access) and read the store's metadata (store_admin). For the whole site, programs can change overrides
/// over HTTP (overrides), and do an operator's work over HTTPS at proxy.admin.address: everything (admin), reading
/// (admin:read), pushing (admin:imports) or approving what others ask (approve), which is not part of admin. Anybody who
/// holds the login has this access, so it is written to FILE, which only its owner can read, or to stdout. `revoke-login`
/// revokes it.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy create-login --store AcmeDevices --acl package_access,store_admin viewer.login
  proxy create-login --store AcmeDevices --acl package_access --expires 7d --form E
  proxy create-login --acl overrides --expires 30d overrides.login
  proxy create-login --acl admin:imports,admin:read pipeline.login
  proxy create-login --acl admin,approve alice.login")]
pub(crate) struct Args {
    /// Store for package_access and store_admin; its metadata must have been imported
    #[arg(long, value_name = "ID")]
    store: Option<StoreId>,

    /// Permission: package_access, store_admin; or overrides, admin, admin:read, admin:imports, approve
    #[arg(long = "acl", value_name = "ACL", required = true, value_delimiter = ',')]
    acls: Vec<Acl>,

    /// Lifetime: a number of s, m, h or d
    #[arg(long, value_name = "DURATION", default_value = "90d", value_parser = duration)]
    expires: u64,

    /// Output format
    #[arg(long, value_enum, ignore_case = true, default_value = "J")]
    form: Form,

    /// File to write [default: stdout]
    file: Option<PathBuf>,
}

/// The forms of login files that hold one token.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Form {
    /// base64 for UBUNTU_STORE_AUTH, sent as `Macaroon`
    #[value(name = "E")]
    Macaroon,
    /// base64 for UBUNTU_STORE_AUTH, sent as `Bearer`
    #[value(name = "F")]
    Bearer,
    /// JSON, {"macaroon": TOKEN}
    #[value(name = "H")]
    Json,
    /// The bare token
    #[value(name = "J")]
    Bare,
}

impl Form {
    fn write(self, token: &str) -> String {
        match self {
            Self::Macaroon => STANDARD.encode(json!({ "t": "macaroon", "v": token }).to_string()),
            Self::Bearer => STANDARD.encode(json!({ "t": "bearer", "v": token }).to_string()),
            Self::Json => json!({ "macaroon": token }).to_string(),
            Self::Bare => token.to_owned(),
        }
    }
}

fn duration(text: &str) -> Result<u64, &'static str> {
    schema::config::seconds(text).ok_or("expected a number of s, m, h or d, at most ten years")
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    // Open the file before the login exists: a login that cannot be written out is useless.
    let file = args.file.as_ref().map(|path| {
        let opened = File::options().write(true).create_new(true).mode(0o600).open(path);
        opened.with_context(|| format!("cannot make {}", path.display()))
    });
    let file = file.transpose()?;
    let acls: BTreeSet<Acl> = args.acls.iter().copied().collect();
    let wanted = LoginRequest { store: args.store, acls, lifetime_seconds: args.expires };
    let made: Result<CreatedLogin, _> = match context.admin().await {
        Ok(mut admin) => admin.send::<CreateLogin>(&wanted).await,
        Err(error) => Err(error),
    };
    let clear = || {
        if let Some(path) = &args.file {
            // Created above, and useless without the login.
            let _ = std::fs::remove_file(path);
        }
    };
    let made = made.inspect_err(|_| clear())?;
    let text = args.form.write(&made.token);
    let login = &made.login;
    let handed = match file.zip(args.file.as_ref()) {
        None => context.out.only_copy(&made, &text).map_err(anyhow::Error::new),
        Some((mut file, path)) => writeln!(file, "{text}")
            .and_then(|()| file.sync_all())
            .with_context(|| format!("cannot write {}", path.display())),
    };
    if let Err(why) = handed {
        clear();
        return Err(take_back(context, &login.id, why).await);
    }
    let Some(path) = &args.file else {
        note(format!("login {} for {} ends {}", login.id, login.place(), login.expires));
        return Ok(());
    };
    Ok(context.out.report(login, |login| {
        vec![format!(
            "Login {} for {}, until {}, written to {}",
            login.id,
            login.place(),
            login.expires,
            path.display()
        )]
    })?)
}

/// A login that nobody received must not stay valid.
async fn take_back(context: &Context, id: &str, why: anyhow::Error) -> anyhow::Error {
    let revoked: anyhow::Result<Login> =
        async { Ok(context.admin().await?.ask_of::<RevokeLogin>(id).await?) }.await;
    match revoked {
        Ok(_) => why.context(format!("login {id} was made, could not be handed over, and is revoked again")),
        Err(error) => why.context(format!(
            "login {id} was made, could not be handed over, and cannot be revoked now ({error:#}): it is valid until \
             `{} revoke-login {id}`",
            context.program
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_holds_the_token() {
        let base64 = |kind: &str| STANDARD.encode(format!(r#"{{"t":"{kind}","v":"abc"}}"#));
        for (form, wanted) in [
            (Form::Macaroon, base64("macaroon")),
            (Form::Bearer, base64("bearer")),
            (Form::Json, r#"{"macaroon":"abc"}"#.into()),
            (Form::Bare, "abc".into()),
        ] {
            assert_eq!(form.write("abc"), wanted);
        }
    }
}
