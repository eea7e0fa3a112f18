//! Changing the configuration: through the server while it runs, in the file while it is down.

use std::collections::BTreeMap;

use anyhow::Context as _;
use schema::api::admin::calls::ChangeConfig;
use schema::api::admin::{ConfigChange, ConfigChanged};
use schema::config::{Key, Noted, REDACTED, SettingChange, UnseenChange, key};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::admin::AdminError;
use crate::context::Context;
use crate::output::{changed, note, warning};

/// Sets all values or none, immediately where the server can; reports on stderr what waits for its next start.
pub(crate) async fn apply(
    context: &Context,
    values: BTreeMap<String, String>,
) -> anyhow::Result<ConfigChanged> {
    // The placeholder for a secret must never become its value.
    if let Some((name, _)) = values.iter().find(|(_, value)| value.contains(REDACTED)) {
        anyhow::bail!("cannot set {name}: {REDACTED} stands for a secret, it is not one");
    }
    context.lock().await?;
    let changed = match context.admin().await {
        Ok(mut admin) => {
            let changed: ConfigChanged =
                admin.send::<ChangeConfig>(&ConfigChange { values, seen: BTreeMap::new() }).await?;
            if !changed.after_restart.is_empty() {
                note(format!("restart the server to apply {}", changed.after_restart.join(", ")));
            }
            changed.warnings.iter().for_each(warning);
            changed
        }
        Err(AdminError::NotRunning(_)) => apply_to_file(context, &values).await?,
        Err(error) => return Err(error.into()),
    };
    let set = changed.values.iter().filter(|(name, value)| !value.is_empty() && !has_effect(name));
    let idle: Vec<&str> = set.map(|(name, _)| name.as_str()).collect();
    if !idle.is_empty() {
        note(format!("kept for exports of the original product, without effect here: {}", idle.join(", ")));
    }
    Ok(changed)
}

/// Keys that only a newer server knows are not reported.
fn has_effect(name: &str) -> bool {
    key(name).is_none_or(Key::has_effect)
}

async fn apply_to_file(
    context: &Context,
    values: &BTreeMap<String, String>,
) -> anyhow::Result<ConfigChanged> {
    let pairs = || values.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    context.settings()?.set_all(pairs())?;
    context.make_data_dir().with_context(|| format!("cannot make {}", context.data_dir.display()))?;
    // A folder that was made just now could not be locked before.
    context.lock().await?;
    let before = context.settings()?;
    let mut settings = before.clone();
    settings.set_all(pairs())?;
    let changes = SettingChange::between(&before, &settings);
    let noted = match changes.is_empty() {
        true => None,
        false => Some(note_unseen(context, changes).with_context(|| {
            format!(
                "cannot write to {}, where the change is noted for the audit log",
                context.data_dir.display()
            )
        })?),
    };
    if let Err(error) = settings.save(&context.data_dir) {
        if let Some(noted) = noted {
            noted.take_back()?;
        }
        return Err(error.into());
    }
    changed();
    settings.waiting().filter(|text| values.keys().any(|name| text.contains(name.as_str()))).for_each(note);
    let shown = values.keys().filter_map(|name| key(name)).map(|key| {
        let value = settings.get(key.name).unwrap_or_default();
        (key.name.to_owned(), key.redact(value))
    });
    Ok(ConfigChanged { values: shown.collect(), after_restart: Vec::new(), warnings: Vec::new() })
}

/// The next start of the server records the change in the audit log.
fn note_unseen(context: &Context, changes: Vec<SettingChange>) -> anyhow::Result<Noted> {
    let who = format!("uid {}", rustix::process::getuid().as_raw());
    let at = OffsetDateTime::now_utc().truncate_to_second().format(&Rfc3339)?;
    Ok(UnseenChange { who, at, changes }.note(&context.data_dir)?)
}
