//! Which assertions a client fetches before another one. See `schema/docs/assertions.md#prerequisites`.

use super::kind::AssertionType as T;
use super::reference::Ref;
use super::{Assertion, Details};

/// The series that all declarations belong to.
pub(super) const SERIES: &str = "16";

/// Prerequisites of `assertion`, apart from the account-key that signed it.
pub(super) fn of(assertion: &Assertion) -> Vec<Ref> {
    let text = |name| assertion.text(name).unwrap_or_default();
    let account = |name| Ref::of(T::Account, [text(name)]);
    let declaration =
        |name| Ref::of(T::SnapDeclaration, [assertion.text("series").unwrap_or(SERIES), text(name)]);
    match assertion.kind() {
        T::AccountKey | T::AccountKeyRequest => vec![account("account-id")],
        T::SnapDeclaration => vec![account("publisher-id")],
        T::SnapRevision | T::SnapResourceRevision => {
            vec![declaration("snap-id"), account("developer-id")]
        }
        T::SnapResourcePair => vec![declaration("snap-id")],
        T::SnapDeveloper => {
            let mut refs = vec![declaration("snap-id"), account("publisher-id")];
            refs.extend(developers(assertion).map(|id| Ref::of(T::Account, [id])));
            refs
        }
        T::Validation => vec![declaration("snap-id"), declaration("approved-snap-id")],
        T::Store => vec![account("operator-id")],
        T::ConfdbControl => vec![Ref::of(T::Serial, [text("brand-id"), text("model"), text("serial")])],
        _ => Vec::new(),
    }
}

/// The accounts that a snap-developer lists, in its order.
pub(super) fn developers(assertion: &Assertion) -> impl Iterator<Item = &str> {
    let items = assertion.headers().get("developers").and_then(|value| value.as_list()).unwrap_or_default();
    items.iter().filter_map(|item| item.as_map()?.get("developer-id")?.as_text())
}

/// Everything needed to check `assertion`: its prerequisites, the account-key that signed it, and for a serial the
/// model that says who may sign it.
pub(super) fn needed_to_check(assertion: &Assertion) -> Vec<Ref> {
    let mut refs = of(assertion);
    if assertion.authority_id().is_some() {
        refs.push(Ref::of(T::AccountKey, [assertion.sign_key_id()]));
    }
    match assertion.details() {
        Details::Serial(serial) => refs.push(Ref::of(T::Model, [SERIES, &serial.brand_id, &serial.model])),
        Details::SnapResourcePair(pair) => refs.push(Ref::of(T::Account, [&pair.developer_id])),
        _ => {}
    }
    refs
}
