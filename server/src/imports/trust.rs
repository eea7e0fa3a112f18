//! Plans the addition and removal of trust anchors.

use schema::api::admin::{TrustAnchor, TrustAnchors};
use schema::assertion::{Anchors, AssertionType, Fingerprint};
use serde_json::json;

use super::receive::decode;
use super::{Context, ImportError, KnownState};
use crate::storage::records::Change;

/// Plans to trust one account with its self-signed root keys. Returns the anchors, including those already trusted.
pub(crate) fn plan_trust(
    known: &dyn KnownState,
    bytes: &[u8],
    cx: &Context,
) -> Result<(Change, TrustAnchors), ImportError> {
    let roots = decode(bytes, "the file")?;
    let (accounts, keys): (Vec<_>, Vec<_>) =
        roots.iter().cloned().partition(|root| root.kind() == AssertionType::Account);
    let [account] = &accounts[..] else { return Err(ImportError::NotAnchor) };
    if keys.is_empty() || keys.iter().any(|key| key.kind() != AssertionType::AccountKey) {
        return Err(ImportError::NotAnchor);
    }
    // Together they must not contradict any anchor.
    known.anchors().clone().with(roots)?;
    let mut change = cx.change("trust-add", account.reference().key_text(), json!({}));
    let mut anchors = Vec::with_capacity(keys.len());
    for key in keys {
        // Each key is stored with its own copy of the account, or it would be removed along with another one.
        let text = [account.bytes(), key.bytes()].join(&b'\n');
        let alone = Anchors::none().with(vec![account.clone(), key])?;
        let [fingerprint] = alone.fingerprints() else { return Err(ImportError::NotAnchor) };
        if !known.anchors().fingerprints().contains(fingerprint) {
            let text = String::from_utf8_lossy(&text).into_owned();
            change.anchors_added.push((fingerprint.key_id.clone(), text));
        }
        anchors.push(shown(fingerprint));
    }
    anchors.sort();
    Ok((change, TrustAnchors { anchors }))
}

/// Plans to remove an added root key. Returns the remaining added anchors. What was accepted because of it stays;
/// nothing new is accepted.
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
