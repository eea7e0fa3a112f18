//! What is remembered of a device's verified documents.

use schema::assertion::{PublicKey, Ref};
use schema::store::DeviceId;

/// What model and serial say about a device, as far as later sessions need it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Enrolled {
    /// The device.
    pub(super) device: DeviceId,
    /// Its key.
    pub(super) device_key: PublicKey,
    /// The store that the model names.
    pub(super) store: Option<String>,
    /// The serial's revision; a newer one may replace it.
    pub(super) revision: u32,
    /// The serial's address.
    pub(super) serial: Ref,
}
