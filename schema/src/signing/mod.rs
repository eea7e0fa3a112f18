//! What it takes to sign on site: sealed keys, and the lists of serials that a factory may give out.

mod list;
mod pattern;
mod place;
mod seal;
mod ssh;

pub use list::{ListError, ListedSerial, MAX_LISTED, read_list};
pub use pattern::{Pattern, PatternError};
pub use place::KeyPlace;
pub use seal::{Label, OpenError, Purpose, SealingKey, secret_for_tokens};
pub use ssh::{SshKey, SshKeyError};
