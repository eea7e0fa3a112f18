//! Which change is chosen: put into the copy that the changes are planted in.

use std::sync::LazyLock;

static CHOSEN: LazyLock<Option<u32>> = LazyLock::new(|| std::env::var("MUTANT").ok()?.parse().ok());

/// Is it this one?
pub fn on(id: u32) -> bool {
    *CHOSEN == Some(id)
}
