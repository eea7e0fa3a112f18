//! How an import changes what devices see and get.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The revision of one channel before and after an import.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ChannelMove {
    /// `TRACK/RISK[/BRANCH]`.
    pub channel: String,
    /// The architecture of the devices, or `all`.
    pub architecture: String,
    /// The revision before; `None` if the channel was closed.
    pub before: Option<u32>,
    /// The revision after; `None` if the channel is now closed.
    pub after: Option<u32>,
}

/// `latest/stable amd64 1 → 3`
impl fmt::Display for ChannelMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |revision: Option<u32>| revision.map_or("none".to_owned(), |number| number.to_string());
        let Self { channel, architecture, before, after } = self;
        write!(f, "{channel} {architecture} {} → {}", shown(*before), shown(*after))
    }
}

/// A [`ChannelMove`] of a named snap.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SnapMove {
    /// The snap's name.
    pub snap: String,
    /// What changes.
    #[serde(flatten)]
    pub moved: ChannelMove,
}

/// `core24 latest/stable amd64 1 → 3`
impl fmt::Display for SnapMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.snap, self.moved)
    }
}

/// The default track of a snap before and after an import: devices that name no track follow it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrackMove {
    /// The track before.
    pub before: String,
    /// The track after.
    pub after: String,
}

/// `default track latest → 2`
impl fmt::Display for TrackMove {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "default track {} → {}", self.before, self.after)
    }
}

/// A change in which devices see a snap.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ViewChange {
    /// The snap's name.
    pub name: String,
    /// The snap's id.
    pub snap_id: String,
    /// The store whose devices are affected; `None` for devices without a brand store.
    pub store: Option<String>,
    /// The brand of that store, if known.
    pub brand: Option<String>,
    /// Whether they see it from now on.
    pub seen: bool,
    /// The push is refused unless the operator names the snap with `--widen`: neither the signed declaration nor the
    /// metadata of the snap's own store allows the change.
    pub refused: bool,
}

/// `acme-app: seen by the devices of store BoltStore (brand bolt)`
impl fmt::Display for ViewChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, store, brand, seen, refused, .. } = self;
        write!(f, "{name}: {} by ", if *seen { "seen" } else { "no longer seen" })?;
        match (store, brand) {
            (None, _) => f.write_str("devices without a brand store")?,
            (Some(store), None) => write!(f, "the devices of store {store}")?,
            (Some(store), Some(brand)) => write!(f, "the devices of store {store} (brand {brand})")?,
        }
        if *refused { write!(f, " (refused without --widen {name})") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_lines() {
        let one = |before, after| {
            ChannelMove { channel: "latest/stable".into(), architecture: "amd64".into(), before, after }
                .to_string()
        };
        assert_eq!(one(Some(1), Some(3)), "latest/stable amd64 1 → 3");
        assert_eq!(one(None, Some(3)), "latest/stable amd64 none → 3");
        assert_eq!(one(Some(1), None), "latest/stable amd64 1 → none");
        let track = TrackMove { before: "latest".into(), after: "2".into() };
        assert_eq!(track.to_string(), "default track latest → 2");
        let mut view = ViewChange {
            name: "app".into(),
            snap_id: "id".into(),
            store: None,
            brand: None,
            seen: true,
            refused: true,
        };
        assert_eq!(
            view.to_string(),
            "app: seen by devices without a brand store (refused without --widen app)"
        );
        (view.store, view.brand) = (Some("Acme".into()), Some("acme".into()));
        (view.seen, view.refused) = (false, false);
        assert_eq!(view.to_string(), "app: no longer seen by the devices of store Acme (brand acme)");
    }
}
