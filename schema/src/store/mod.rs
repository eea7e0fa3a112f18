//! The field's vocabulary: snaps, channels, epochs and stores.
//!
//! Each type is parsed once, at the border, and is valid from then on: a [`SnapName`] that exists is a valid snap
//! name. Texts keep their original spelling.

mod channel;
mod delta;
mod device;
mod epoch;
mod names;
mod snap;

pub use channel::{Channel, ChannelError, ChannelRequest, Risk};
pub use delta::{DeltaFormat, DeltaFormatError};
pub use device::{DeviceId, DeviceIdError};
pub use epoch::{Epoch, EpochError};
pub use names::{Architecture, Branch, NameError, SnapId, SnapName, StoreId, Track};
pub use snap::{Confinement, SnapType};

/// The id of the global store, whose public snaps every device may see.
pub const GLOBAL_STORE: &str = "ubuntu";

/// The only series.
pub const SERIES: &str = "16";
