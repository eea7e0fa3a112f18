//! The rules of each assertion type, and a typed view of the types that a store reads.
//!
//! Fields are named after their headers. Headers without a rule are ignored, so that future assertions still decode.
//! See `schema/docs/assertions.md#types`.

mod accounts;
mod device;
mod messages;
mod model;
mod model_snaps;
mod resources;
mod snaps;
mod store;
mod system;
mod validation;

pub use self::system::is_user_name;
pub use accounts::{Account, AccountKey, AccountKeyRequest};
pub use device::{DeviceSessionRequest, Serial, SerialRequest};
pub use model::{Model, ModelValidationSet};
pub use resources::{SnapResourcePair, SnapResourceRevision};
pub use snaps::{RevisionAuthority, SnapDeclaration, SnapRevision};
pub use store::Store;
pub use validation::{Validation, ValidationSet, ValidationSetSnap};

use super::decode_error::DecodeReason;
use super::fields::Fields;
use super::kind::AssertionType as T;

/// The typed view of an assertion.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "each variant is the assertion type of its name")]
#[non_exhaustive]
pub enum Details {
    Account(Account),
    AccountKey(Box<AccountKey>),
    AccountKeyRequest(AccountKeyRequest),
    SnapDeclaration(SnapDeclaration),
    SnapRevision(SnapRevision),
    SnapResourceRevision(SnapResourceRevision),
    SnapResourcePair(SnapResourcePair),
    Model(Box<Model>),
    Serial(Serial),
    DeviceSessionRequest(DeviceSessionRequest),
    SerialRequest(SerialRequest),
    Store(Store),
    Validation(Validation),
    ValidationSet(ValidationSet),
    /// A type whose headers are checked but which a store never reads.
    Other,
}

/// The input of a type's rules. The common rules have already passed.
#[derive(Debug, Clone)]
pub(super) struct Draft<'a> {
    pub(super) kind: T,
    pub(super) format: u32,
    pub(super) fields: Fields<'a>,
    pub(super) body: &'a str,
}

/// Applies the rules of the type.
pub(super) fn read(draft: &Draft<'_>) -> Result<Details, DecodeReason> {
    let fields = &draft.fields;
    match draft.kind {
        T::Account => Ok(Details::Account(accounts::account(fields)?)),
        T::AccountKey => Ok(Details::AccountKey(Box::new(accounts::account_key(draft)?))),
        T::AccountKeyRequest => Ok(Details::AccountKeyRequest(accounts::account_key_request(draft)?)),
        T::SnapDeclaration => Ok(Details::SnapDeclaration(snaps::snap_declaration(fields)?)),
        T::SnapRevision => Ok(Details::SnapRevision(snaps::snap_revision(fields)?)),
        T::SnapResourceRevision => {
            Ok(Details::SnapResourceRevision(resources::snap_resource_revision(fields)?))
        }
        T::SnapResourcePair => Ok(Details::SnapResourcePair(resources::snap_resource_pair(fields)?)),
        T::Model => Ok(Details::Model(Box::new(model::model(fields)?))),
        T::Serial => Ok(Details::Serial(device::serial(fields)?)),
        T::DeviceSessionRequest => Ok(Details::DeviceSessionRequest(device::device_session_request(fields)?)),
        T::SerialRequest => Ok(Details::SerialRequest(device::serial_request(fields)?)),
        T::Store => Ok(Details::Store(store::store(fields)?)),
        T::Validation => Ok(Details::Validation(validation::validation(fields)?)),
        T::ValidationSet => Ok(Details::ValidationSet(validation::validation_set(fields)?)),
        T::BaseDeclaration => other(system::base_declaration(fields)?),
        T::SnapBuild => other(snaps::snap_build(fields)?),
        T::SnapDeveloper => other(snaps::snap_developer(fields)?),
        T::SystemUser => other(system::system_user(draft)?),
        T::Repair => other(system::repair(fields)?),
        T::Preseed => other(system::preseed(fields)?),
        T::ConfdbSchema => other(system::confdb_schema(draft)?),
        T::ConfdbControl => other(device::confdb_control(fields)?),
        T::Cluster => other(system::cluster(fields)?),
        T::HardwareIdentity => other(device::hardware_identity(fields)?),
        T::RequestMessage => other(messages::request_message(draft)?),
        T::ResponseMessage => other(messages::response_message(fields)?),
    }
}

fn other((): ()) -> Result<Details, DecodeReason> {
    Ok(Details::Other)
}

/// Rejects an item that repeats, because names and ids in lists must be unique.
fn unique<'a>(
    seen: &mut std::collections::BTreeSet<&'a str>,
    fields: &Fields<'_>,
    name: &str,
    value: &'a str,
) -> super::fields::Result<()> {
    if seen.insert(value) { Ok(()) } else { Err(fields.error(name, "is listed twice")) }
}
