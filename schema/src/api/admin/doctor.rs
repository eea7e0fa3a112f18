//! What the store's doctor finds.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a finding keeps devices from being served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Urgency {
    /// Already: some device does not get what it should.
    Now,
    /// Within 90 days, or as soon as something else goes wrong.
    Soon,
    /// Not by itself.
    Advice,
}

/// What is wrong, why it matters, and what mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// A stable word for programs.
    pub code: String,
    /// When it keeps devices from being served.
    pub urgency: Urgency,
    /// What is wrong, in a full sentence.
    pub what: String,
    /// Why it matters, in a full sentence.
    pub why: String,
    /// The command that mends it, with words in capitals for what only the operator knows.
    pub mend: String,
}

/// Everything that is found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Findings {
    /// Most urgent first.
    pub findings: Vec<Finding>,
}

impl Findings {
    /// Is there a finding that is at least this urgent?
    #[must_use]
    pub fn any(&self, urgency: Urgency) -> bool {
        self.findings.iter().any(|finding| finding.urgency <= urgency)
    }
}

/// In one line, for the report on everything.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, mend, .. } = self;
        if what.contains(mend) { f.write_str(what) } else { write!(f, "{what} Run `{mend}`.") }
    }
}
