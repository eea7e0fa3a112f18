//! Which change is chosen, and which ones a program meets: put into the copy that the changes are planted in.

use std::fs::File;
use std::io::Write as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// More than there are changes.
const MOST: usize = 1 << 15;

static CHOSEN: LazyLock<Option<u32>> = LazyLock::new(|| std::env::var("MUTANT").ok()?.parse().ok());

static MET: LazyLock<Option<Met>> = LazyLock::new(|| {
    let file = File::options().create(true).append(true).open(std::env::var_os("MUTANTS_REACHED")?).ok()?;
    Some(Met { file, before: (0..MOST / 64).map(|_| AtomicU64::new(0)).collect() })
});

/// The file that is to know what was met, and what it knows already from this process.
struct Met {
    file: File,
    before: Vec<AtomicU64>,
}

/// Is it this one?
pub fn on(id: u32) -> bool {
    if let Some(met) = &*MET {
        met.note(id);
    }
    *CHOSEN == Some(id)
}

impl Met {
    /// Written at once and in one piece: tests kill their servers, and several write to one file.
    fn note(&self, id: u32) {
        let bit = 1 << (id % 64);
        let Some(word) = self.before.get(id as usize / 64) else { return };
        if word.load(Ordering::Relaxed) & bit == 0 && word.fetch_or(bit, Ordering::Relaxed) & bit == 0 {
            let _ = (&self.file).write_all(format!("{id}\n").as_bytes());
        }
    }
}
