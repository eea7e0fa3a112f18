//! Which revision a channel gives.

pub(crate) mod close_channel;
pub(crate) mod delete_override;
pub(crate) mod list_overrides;
pub(crate) mod override_channel;
pub(crate) mod release;
