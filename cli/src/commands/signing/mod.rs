//! Keys that sign on site, and the serials that they sign.

pub(super) mod break_glass;
pub(super) mod keymgr;
pub(super) mod keys;
pub(super) mod models;
pub(super) mod register_key;
pub(super) mod serials;
