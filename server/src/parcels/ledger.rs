//! Who may send parcels, and which of theirs were taken. Both are facts of the database, written with the import itself.

use schema::digest::Sha3_384;
use schema::parcel::{Parcel, PublicKey, SenderFile};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Refusal;
use crate::catalog::Catalog;
use crate::storage::records::{AuditEvent, Change};

/// A sender. Stored as the fact `sender.KEY`; a removed one stays, so that its old parcels stay old.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SenderRecord {
    /// What people call it.
    pub(crate) name: String,
    /// Its key.
    pub(crate) key: PublicKey,
    /// Whether its parcels are refused.
    #[serde(default)]
    pub(crate) removed: bool,
    /// Its last parcel that was imported.
    #[serde(default)]
    pub(crate) accepted: Option<AcceptedRecord>,
}

/// A parcel that was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AcceptedRecord {
    /// Its number.
    pub(crate) sequence: u64,
    /// Its id.
    pub(crate) parcel: String,
    /// When, in microseconds since 1970.
    pub(crate) at: i64,
}

impl SenderRecord {
    /// The prefix of these facts' names, before the key.
    pub(crate) const PREFIX: &'static str = "sender.";

    fn fact(&self) -> (String, String) {
        (format!("{}{}", Self::PREFIX, self.key), json!(self).to_string())
    }
}

/// Every sender that was ever trusted.
fn all(catalog: &Catalog) -> impl Iterator<Item = SenderRecord> {
    let facts = catalog.meta.range(SenderRecord::PREFIX.to_owned()..);
    let own = facts.take_while(|(name, _)| name.starts_with(SenderRecord::PREFIX));
    own.filter_map(|(_, value)| serde_json::from_str(value).ok())
}

/// The senders that are trusted, by name.
pub(crate) fn senders(catalog: &Catalog) -> Vec<SenderRecord> {
    let mut trusted: Vec<SenderRecord> = all(catalog).filter(|sender| !sender.removed).collect();
    trusted.sort_by(|one, other| one.name.cmp(&other.name));
    trusted
}

/// Plans to take the parcels of a sender.
pub(crate) fn plan_sender(
    catalog: &Catalog,
    file: &SenderFile,
    who: &str,
    now: i64,
) -> Result<Change, Refusal> {
    if senders(catalog).iter().any(|known| known.name == file.name && known.key != file.key) {
        return Err(Refusal::Name(file.name.clone()));
    }
    let known = all(catalog).find(|known| known.key == file.key);
    let accepted = known.and_then(|known| known.accepted);
    let sender = SenderRecord { name: file.name.clone(), key: file.key.clone(), removed: false, accepted };
    Ok(changed(&sender, "trust-sender", who, now))
}

/// Plans to refuse the parcels of a sender from now on.
pub(crate) fn plan_removal(catalog: &Catalog, name: &str, who: &str, now: i64) -> Result<Change, Refusal> {
    let known = senders(catalog).into_iter().find(|known| known.name == name);
    let known = known.ok_or_else(|| Refusal::NoSender(name.chars().take(80).collect()))?;
    Ok(changed(&SenderRecord { removed: true, ..known }, "distrust-sender", who, now))
}

fn changed(sender: &SenderRecord, what: &str, who: &str, now: i64) -> Change {
    let event = AuditEvent::new(who, what, &*sender.name).detail(json!({ "key": sender.key }));
    let mut change = Change::new(event, now);
    change.meta.push(sender.fact());
    change
}

/// The sender of a parcel that may be imported here, and whether it was imported before.
pub(crate) fn admit(
    catalog: &Catalog,
    site: Option<&PublicKey>,
    parcel: &Parcel,
) -> Result<(SenderRecord, bool), Refusal> {
    let sender = senders(catalog).into_iter().find(|known| known.key == parcel.sender);
    let sender = sender.ok_or_else(|| Refusal::Untrusted(parcel.sender.to_string()))?;
    if site != Some(&parcel.site) {
        return Err(Refusal::Foreign);
    }
    let (name, sequence) = (sender.name.clone(), parcel.sequence);
    let again = match &sender.accepted {
        Some(last) if sequence < last.sequence => {
            return Err(Refusal::Older { sender: name, sequence, last: last.sequence });
        }
        Some(last) if sequence == last.sequence && last.parcel != parcel.id() => {
            return Err(Refusal::Twice { sender: name, sequence });
        }
        Some(last) => sequence == last.sequence,
        None => false,
    };
    for file in &parcel.files {
        let held = |digest: &str| {
            let digest = Sha3_384::from_hex(digest).ok()?;
            catalog.blob(&digest).filter(|blob| !blob.checks.is_damaged())
        };
        // A file that is here already needs nothing to be built on.
        if let Some(base) = file.base.as_deref().filter(|base| held(base).is_none())
            && !again
        {
            return Err(Refusal::Base { file: file.name.clone(), base: base.to_owned() });
        }
    }
    Ok((sender, again))
}

/// Notes in the change of an import that this parcel was the last one.
pub(crate) fn accept(change: &mut Change, sender: SenderRecord, parcel: &Parcel) {
    let (sequence, id, at) = (parcel.sequence, parcel.id(), change.at_micros);
    change.audit.detail["parcel"] = json!({ "id": id, "sender": sender.name, "sequence": sequence });
    let accepted = Some(AcceptedRecord { sequence, parcel: id, at });
    change.meta.push(SenderRecord { accepted, ..sender }.fact());
}
