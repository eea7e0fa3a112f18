//! Plans the addition and removal of trust anchors.

use schema::api::admin::{TrustAnchor, TrustAnchors};
use schema::assertion::{Anchors, AssertionType, Fingerprint};
use serde_json::json;

use super::receive::decode;
use super::{Context, ImportError, KnownState};
use crate::storage::records::Change;

/// Plans to trust one account with its self-signed root key. Answers the anchor, also when it is trusted already.
pub(crate) fn plan_trust(
    known: &dyn KnownState,
    bytes: &[u8],
    cx: &Context,
) -> Result<(Change, TrustAnchors), ImportError> {
    let roots = decode(bytes, "the file")?;
    let mut kinds: Vec<_> = roots.iter().map(schema::assertion::Assertion::kind).collect();
    kinds.sort_unstable();
    if kinds != [AssertionType::Account, AssertionType::AccountKey] {
        return Err(ImportError::NotAnchor);
    }
    // It has to stand on its own, or it would fall with another one; and it may not contradict any.
    let alone = Anchors::none().with(roots.clone())?;
    known.anchors().clone().with(roots)?;
    let [fingerprint] = alone.fingerprints() else { return Err(ImportError::NotAnchor) };
    let text = String::from_utf8_lossy(bytes).into_owned();
    let mut change =
        cx.change("trust-add", fingerprint.key_id.clone(), json!({ "account-id": fingerprint.account_id }));
    if !known.anchors().fingerprints().contains(fingerprint) {
        change.anchors_added.push((fingerprint.key_id.clone(), text));
    }
    Ok((change, TrustAnchors { anchors: vec![shown(fingerprint)] }))
}

/// Plans not to trust a root key any more that was added. Answers the added ones that are left. What was
/// accepted because of it stays; nothing new is.
pub(crate) fn plan_trust_removal(
    known: &dyn KnownState,
    key_id: &str,
    cx: &Context,
) -> Result<(Change, TrustAnchors), ImportError> {
    let built_in = Anchors::production();
    let added = known.anchors().fingerprints().iter().filter(|one| !built_in.fingerprints().contains(one));
    let (removed, left): (Vec<_>, Vec<_>) = added.partition(|one| one.key_id == key_id);
    let [removed] = &removed[..] else {
        return Err(ImportError::UnknownAnchor(key_id.chars().take(80).collect()));
    };
    let mut change =
        cx.change("trust-remove", removed.key_id.clone(), json!({ "account-id": removed.account_id }));
    change.anchors_removed.push(removed.key_id.clone());
    let mut anchors: Vec<_> = left.into_iter().map(shown).collect();
    anchors.sort();
    Ok((change, TrustAnchors { anchors }))
}

fn shown(fingerprint: &Fingerprint) -> TrustAnchor {
    TrustAnchor { fingerprint: fingerprint.key_id.clone(), account_id: fingerprint.account_id.clone() }
}
