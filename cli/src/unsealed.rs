//! Stands in for `seal.rs` in a build without the feature `seal`: files are written and read as they are.

use std::io::{self, BufRead as _, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

/// How every sealed file begins.
const MAGIC: &[u8] = b"age-encryption.org/";

/// What a build without seals is to be replaced by.
const OTHER_BUILD: &str = "this build has no seals: build the companion with the feature `seal`";

/// To whom a file is sealed: to nobody.
#[derive(Debug, clap::Args)]
pub(crate) struct SealArgs {}

/// A file as it is.
pub(crate) struct Seal;

impl SealArgs {
    /// Refuses what would have to be sealed.
    pub(crate) fn seal(&self, may_be_open: bool) -> anyhow::Result<Seal> {
        match may_be_open {
            true => Ok(Seal),
            false => bail!("{OTHER_BUILD}, or leave the secrets out with --without-secrets"),
        }
    }
}

/// A file that is being written.
pub(crate) struct Sealing<W: Write>(BufWriter<W>);

impl Seal {
    pub(crate) fn name(&self) -> &'static str {
        "none"
    }

    pub(crate) fn write<W: Write>(self, out: W) -> anyhow::Result<Sealing<W>> {
        Ok(Sealing(BufWriter::new(out)))
    }
}

impl<W: Write> Sealing<W> {
    pub(crate) fn finish(self) -> io::Result<W> {
        self.0.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// How a sealed file is opened: not at all.
#[derive(Debug, clap::Args)]
pub(crate) struct OpenArgs {
    /// Opens sealed files in a build with the feature `seal`
    #[arg(long, value_name = "FILE", hide = true)]
    identity: Vec<PathBuf>,
}

impl OpenArgs {
    /// The bytes of a file that is not sealed.
    pub(crate) fn open<'a>(&self, path: &Path, file: impl Read + 'a) -> anyhow::Result<Box<dyn Read + 'a>> {
        let mut file = BufReader::new(file);
        if file.fill_buf().with_context(|| format!("cannot read {}", path.display()))?.starts_with(MAGIC) {
            bail!("cannot open {}: {OTHER_BUILD}", path.display());
        }
        Ok(Box::new(file))
    }
}
