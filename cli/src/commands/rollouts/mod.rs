//! Groups of devices, and revisions that reach them in waves.

pub(crate) mod device;
pub(crate) mod group;
pub(crate) mod rollout;
pub(crate) mod train;

/// Reads the name of a group, a tag or a rollout.
fn name(text: &str) -> Result<String, &'static str> {
    let expected = "expected 1 to 64 letters, digits, dots, dashes and underscores, a letter first";
    if schema::rollout::is_name(text) { Ok(text.to_owned()) } else { Err(expected) }
}

/// A document in lines, for a file.
fn json(document: &impl serde::Serialize) -> Vec<String> {
    let text = serde_json::to_string_pretty(document).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}
