//! What is asked for: by name on the command line, or in a list.
//!
//! ```yaml
//! packages:
//!   - name: charmed-postgresql
//!     revision: 96
//!     push_channel: 14/edge      # where it is released on site; need not exist upstream
//!   - name: jq
//!     channel: latest/candidate  # else as the command line says
//! ```

use anyhow::Context as _;
use schema::store::{Channel, ChannelRequest, SnapName};
use serde::Deserialize;

use crate::upstream::ChannelOrRevision;

/// One snap, and the revisions to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Order {
    pub(crate) name: SnapName,
    pub(crate) picks: Vec<Pick>,
    /// The snap that needs it, unless it was named explicitly.
    pub(crate) needed_by: Option<String>,
}

/// One revision of a snap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) wanted: ChannelOrRevision,
    /// On-site channels beside the upstream ones.
    pub(crate) release_to: Vec<Channel>,
}

impl Pick {
    /// The revision of a channel.
    pub(crate) fn channel(channel: ChannelRequest) -> Self {
        Self { wanted: ChannelOrRevision::Channel(channel), release_to: Vec::new() }
    }

    /// A revision, to be released to these channels on site.
    pub(crate) fn revision(number: u32, release_to: Vec<Channel>) -> Self {
        Self { wanted: ChannelOrRevision::Revision(number), release_to }
    }
}

/// Adds orders and merges those of one snap.
pub(crate) fn merge(orders: &mut Vec<Order>, more: impl IntoIterator<Item = Order>) {
    for order in more {
        match orders.iter_mut().find(|known| known.name == order.name) {
            Some(known) => {
                let new = order.picks.into_iter().filter(|pick| !known.picks.contains(pick));
                let new: Vec<Pick> = new.collect();
                known.picks.extend(new);
            }
            None => orders.push(order),
        }
    }
}

/// Adds the revisions that validation sets pin for a requested snap.
pub(crate) fn pin(order: &mut Order, wished: &[Order]) {
    let of_it = wished.iter().filter(|wish| wish.name == order.name);
    let pinned = of_it
        .flat_map(|wish| &wish.picks)
        .filter(|pick| matches!(pick.wanted, ChannelOrRevision::Revision(_)));
    for pick in pinned {
        if !order.picks.contains(pick) {
            order.picks.push(pick.clone());
        }
    }
}

/// Reads a list; missing fields default to the command line.
///
/// # Errors
/// The text is not such a list.
pub(crate) fn read_list(text: &[u8], channels: &[ChannelRequest]) -> anyhow::Result<Vec<Order>> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct List {
        packages: Vec<Entry>,
    }
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Entry {
        name: String,
        revision: Option<u32>,
        push_channel: Option<String>,
        channel: Option<String>,
    }
    let text = std::str::from_utf8(text).context("it is not text")?;
    let list: List = serde_saphyr::from_str(text).map_err(|error| anyhow::anyhow!(in_words(&error)))?;
    let mut orders = Vec::new();
    for entry in list.packages {
        let of_it = |field: &str| format!("{field} of {}", entry.name);
        let release_to: Option<Channel> =
            entry.push_channel.map(|text| text.parse()).transpose().with_context(|| of_it("push_channel"))?;
        let release_to: Vec<Channel> = release_to.into_iter().collect();
        let picks = match (entry.revision, entry.channel) {
            (Some(_), Some(_)) => {
                anyhow::bail!("{} has both revision and channel: keep one", entry.name)
            }
            (Some(0), None) => anyhow::bail!("{} has revision 0: revisions count from 1", entry.name),
            (Some(number), None) => vec![Pick::revision(number, release_to)],
            (None, Some(channel)) => {
                let channel = channel.parse().with_context(|| of_it("channel"))?;
                vec![Pick { wanted: ChannelOrRevision::Channel(channel), release_to }]
            }
            (None, None) => channels
                .iter()
                .map(|channel| Pick {
                    wanted: ChannelOrRevision::Channel(channel.clone()),
                    release_to: release_to.clone(),
                })
                .collect(),
        };
        merge(&mut orders, [Order { name: entry.name.parse()?, picks, needed_by: None }]);
    }
    Ok(orders)
}

/// What is wrong where. The parser's own message takes several lines.
fn in_words(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as E;
    let place = error.location().map(|at| format!("line {}: ", at.line())).unwrap_or_default();
    let what = match error.without_snippet() {
        E::SerdeUnknownField { field, expected, .. } => {
            format!("there is no field {field}, only {}", expected.join(", "))
        }
        E::SerdeMissingField { field, .. } => format!("the field {field} is missing"),
        _ => "it is not such as `packages: [{name: jq, revision: 96, push_channel: latest/edge}]`".to_owned(),
    };
    format!("{place}{what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_other_tools_write_it() {
        let text =
            b"packages:\n  - name: charmed-postgresql\n    revision: 96\n    push_channel: 14/edge\n  \
            - name: jq\n  - name: jq\n    channel: edge\n";
        let stable = [ChannelRequest::default()];
        let orders = read_list(text, &stable).unwrap();
        assert_eq!(orders.len(), 2);
        assert_eq!(orders[0].picks, [Pick::revision(96, vec!["14/edge".parse().unwrap()])]);
        assert_eq!(
            orders[1].picks,
            [Pick::channel(stable[0].clone()), Pick::channel("edge".parse().unwrap())]
        );
        for (bad, wanted) in [
            ("packages: 5", "line 1: it is not such as"),
            ("- name: jq", "line 1: it is not such as"),
            (
                "packages:\n  - nam: jq",
                "line 2: there is no field nam, only name, revision, push_channel, channel",
            ),
            ("packages:\n  - name: ../jq", "../jq"),
            ("packages:\n  - name: jq\n    revision: 0", "jq has revision 0"),
            ("packages:\n  - name: jq\n    revision: x", "line 3: it is not such as"),
            ("packages:\n  - revision: 1", "line 2: the field name is missing"),
            ("packages:\n  - name: jq\n    push_channel: a/b", "push_channel of jq: "),
            ("packages:\n  - name: jq\n    channel: a/b", "channel of jq: "),
            ("packages:\n  - name: jq\n    revision: 1\n    channel: edge", "jq has both"),
            ("", "it is not such as"),
        ] {
            let refusal = format!("{:#}", read_list(bad.as_bytes(), &stable).unwrap_err());
            assert!(refusal.contains(wanted) && !refusal.contains('\n'), "{bad}: {refusal}");
        }
    }
}
