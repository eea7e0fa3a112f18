//! Plans the import of an assertion stream: account keys, a registration, or anything else that verifies.

use aws_lc_rs::digest::{SHA256, digest};
use schema::api::admin::{PushedAssertions, StreamKind};
use schema::assertion::{Assertion, AssertionType, Details};
use serde_json::json;

use super::documents::{Documents, Proof};
use super::receive::decode;
use super::visibility::{Views, settle};
use super::{Context, ImportError, KnownState};
use crate::storage::records::{Change, ImportRecord};

/// A file of assertions, read and verified.
#[derive(Debug)]
pub(crate) struct Stream {
    file_digest: String,
    brought: Vec<Assertion>,
    proof: Proof,
}

impl Stream {
    /// Reads and verifies a file.
    pub(crate) fn check(known: &dyn KnownState, bytes: &[u8], cx: &Context) -> Result<Self, ImportError> {
        let brought = decode(bytes, "the file")?;
        let proof = Proof::check(known, &brought, &Proof::default(), "the file", cx)?;
        Ok(Self { file_digest: super::file_digest(&digest(&SHA256, bytes)), brought, proof })
    }
}

/// Plans the import, all or nothing. A registration also sets the facts `internal.store.id` and
/// `internal.store.url`.
pub(crate) fn plan_assertions(
    known: &dyn KnownState,
    stream: &Stream,
    kind: StreamKind,
    views: &Views,
    cx: &Context,
) -> Result<(Change, PushedAssertions), ImportError> {
    let Stream { file_digest, brought, proof } = stream;
    let documents = Documents::check(known, brought, proof, "the file", cx)?;
    let mut report = PushedAssertions {
        added: documents.verified.iter().map(|verified| verified.reference().to_string()).collect(),
        already_held: documents.already_held.iter().map(ToString::to_string).collect(),
        warnings: documents.warnings().collect(),
        ..PushedAssertions::default()
    };
    let mut meta = Vec::new();
    match kind {
        StreamKind::Assertions => {}
        StreamKind::AccountKeys => {
            if !brought.iter().any(|assertion| assertion.kind() == AssertionType::AccountKey) {
                return Err(ImportError::NoAccountKey);
            }
        }
        StreamKind::Registration => {
            let stores: Vec<_> = documents.brought(AssertionType::Store).collect();
            let [store] = &stores[..] else { return Err(ImportError::NotRegistration(stores.len())) };
            if let Details::Store(store) = store.details() {
                match &store.url {
                    Some(url) => meta.push(("internal.store.url".to_owned(), url.clone())),
                    None => report.warnings.push(format!(
                        "Store {} has no URL in its assertion: devices cannot be pointed at it with proxy.store",
                        store.store
                    )),
                }
                meta.push(("internal.store.id".to_owned(), store.store.clone()));
                report.store_id = Some(store.store.clone());
            }
        }
    }
    let what = match kind {
        StreamKind::AccountKeys => "push-account-keys",
        StreamKind::Assertions => "push-assertions",
        StreamKind::Registration => "register",
    };
    let subject = report.store_id.clone().unwrap_or_else(|| format!("{} assertions", brought.len()));
    let mut change = cx.change(what, subject, json!({ "file": file_digest, "added": report.added }));
    change.assertions = documents.verified;
    change.meta = meta;
    report.visibility = settle(known, &mut change, views)?;
    change.import =
        Some(ImportRecord { file_digest: file_digest.clone(), kind: what.into(), summary: json!(report) });
    Ok((change, report))
}
