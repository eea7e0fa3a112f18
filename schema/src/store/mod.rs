//! The field's vocabulary: what a snap, a channel, an epoch and a store are called.
//!
//! Each type parses once, at the border, and is right from then on: a [`SnapName`] that exists is a
//! valid snap name. Texts keep the spelling they came in with.

mod channel;
mod device;
mod epoch;
mod names;
mod snap;

pub use channel::{Channel, ChannelError, ChannelRequest, Risk};
pub use device::{DeviceId, DeviceIdError};
pub use epoch::{Epoch, EpochError};
pub use names::{Architecture, Branch, NameError, SnapId, SnapName, StoreId, Track};
pub use snap::{Confinement, SnapType};

/// The id of the global store, whose public snaps everybody may see.
pub const GLOBAL_STORE: &str = "ubuntu";

/// The only series there is (store API §4.2).
pub const SERIES: &str = "16";
