//! `whoami`: shows a login's account and permissions, never its secret.

use schema::login::Facts;
use serde::Serialize;
use serde_json::Value;

use crate::context::Context;
use crate::output::warning;
use crate::upstream::{LoginArgs, Upstream, UpstreamError};

/// Show a login's form, account and permissions, and whether the store accepts it
#[derive(Debug, clap::Args)]
#[command(before_help = "Example:
  proxy whoami --auth viewer.login")]
pub(crate) struct Args {
    #[command(flatten)]
    login: LoginArgs,
}

#[derive(Serialize)]
struct Report {
    form: &'static str,
    description: &'static str,
    /// Whether the store confirmed the rest.
    confirmed: bool,
    #[serde(flatten)]
    facts: Facts,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let Some(login) = args.login.read()? else {
        anyhow::bail!("there is no login: give --auth FILE or set SNAPCRAFT_STORE_CREDENTIALS");
    };
    let form = login.form();
    let mut facts = login.facts();
    let upstream = Upstream::new(&context.settings()?, context.client.as_ref(), Some(login), None)?;
    let (confirmed, refusal) = match upstream.whoami().await {
        Ok(answer) => {
            answer.iter().for_each(|answer| take(&mut facts, answer));
            (answer.is_some(), None)
        }
        Err(error @ (UpstreamError::Void { .. } | UpstreamError::Expired(_))) => (false, Some(error)),
        Err(error) => {
            warning(anyhow::Error::from(error));
            (false, None)
        }
    };
    let report = Report { form: form.letter(), description: form.describe(), confirmed, facts };
    context.out.report(&report, lines)?;
    refusal.map_or(Ok(()), |refusal| Err(refusal.into()))
}

/// The dashboard's answer overrides the login's own claims.
fn take(facts: &mut Facts, answer: &Value) {
    let texts = |value: &Value| -> Vec<String> {
        let list = value.as_array().map(Vec::as_slice).unwrap_or_default();
        list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let account = &answer["account"];
    if let Some(name) = account["username"].as_str().or(account["id"].as_str()).or(account.as_str()) {
        facts.account = Some(name.to_owned());
    }
    if answer["permissions"].is_array() {
        facts.permissions = texts(&answer["permissions"]);
    }
    for key in ["stores", "store_ids"] {
        if answer[key].is_array() {
            facts.stores = texts(&answer[key]);
        }
    }
    if let Some(expires) = answer["expires"].as_str() {
        facts.expires = Some(expires.to_owned());
    }
}

fn lines(report: &Report) -> Vec<String> {
    let list = |texts: &[String]| if texts.is_empty() { "not limited".to_owned() } else { texts.join(", ") };
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "not said".to_owned());
    vec![
        format!("Form: {} ({})", report.form, report.description),
        format!("Account: {}", text(&report.facts.account)),
        format!("Permissions: {}", list(&report.facts.permissions)),
        format!("Stores: {}", list(&report.facts.stores)),
        format!("Expires: {}", text(&report.facts.expires)),
        format!("Confirmed by the store: {}", if report.confirmed { "yes" } else { "no" }),
    ]
}
