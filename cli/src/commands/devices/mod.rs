//! The devices that were seen, and which of them are let in.

pub(crate) mod block_device;
pub(crate) mod deltas;
pub(crate) mod device_kit;
pub(crate) mod explain;
pub(crate) mod list_devices;
pub(crate) mod list_misses;
pub(crate) mod show_device;
pub(crate) mod unblock_device;
