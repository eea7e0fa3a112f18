//! Standard input among the files of a command line.

use std::path::Path;

/// The name that stands for it.
const STDIN: &str = "-";

/// Whether a path stands for standard input.
pub(crate) fn is_stdin(path: &Path) -> bool {
    path == Path::new(STDIN)
}

/// What messages call a file.
pub(crate) fn shown(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

/// Refuses standard input where a file is needed: its length goes before it, or others lie beside it.
pub(crate) fn not_stdin(path: &Path) -> anyhow::Result<()> {
    anyhow::ensure!(
        !is_stdin(path),
        "cannot read standard input here: write it to a file, and name that file instead of -"
    );
    Ok(())
}
