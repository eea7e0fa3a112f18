//! Devices that are refused by hand.

use schema::api::admin::DeviceBlock;

use super::By;
use crate::storage::records::{self, AuditEvent, Change};

/// Refuses a device from now on, or lets it in again.
pub(crate) fn plan_block(wanted: &DeviceBlock, by: &By) -> Change {
    let what = if wanted.blocked { "block-device" } else { "unblock-device" };
    let event = AuditEvent::new(&by.who, what, wanted.device.to_string());
    let mut change = Change::new(event, by.micros());
    change
        .device_blocks
        .push(records::DeviceBlock { device: wanted.device.clone(), blocked: wanted.blocked });
    change
}
