//! Files of a parcel as differences to what the site has, where that is smaller.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Seek as _, SeekFrom, Write};
use std::path::Path;

use anyhow::Context as _;
use schema::difference::{DifferenceError, apply, make, read_head};
use schema::digest::Sha3_384;
use tempfile::NamedTempFile;

use crate::digest::file_digest;
use crate::output::note;
use crate::sender::{Destination, SenderHome};
use crate::upstream::Link;

/// How many earlier revisions are tried.
const TRIED: usize = 2;

/// A difference that gave its target.
pub(crate) struct Difference {
    /// Where it is until the parcel is written.
    pub(crate) file: NamedTempFile,
    /// Its bytes.
    pub(crate) size: u64,
    /// Its own digest, in hexadecimal.
    pub(crate) digest: String,
    /// The digest of the file that the site has, in hexadecimal.
    pub(crate) base: String,
}

/// The differences of a parcel, by the digests of their targets in hexadecimal.
pub(crate) type Differences = BTreeMap<String, Difference>;

/// The smallest difference to a file that the site has and this host kept, if it is smaller than the file.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn smallest(
    home: &SenderHome,
    site: &Destination,
    (name, link): (&str, &Link),
    (path, scratch): (&Path, &Path),
) -> anyhow::Result<Option<Difference>> {
    let Some((stem, number)) = revision(name) else { return Ok(None) };
    let target = Sha3_384::from_hex(&link.sha3_384)?;
    let mut bases: Vec<_> = home
        .kept()
        .into_iter()
        .filter_map(|(digest, other, path)| {
            Some((revision(&other).filter(|it| it.0 == stem)?.1, digest, path))
        })
        .filter(|(_, digest, _)| *digest != target && site.has(digest))
        .collect();
    // The nearest revisions are the likeliest.
    bases.sort_by_key(|(other, ..)| other.abs_diff(number));
    let mut best: Option<Difference> = None;
    for (_, digest, base) in bases.into_iter().take(TRIED) {
        let made = between((&base, &digest), (path, &target), scratch)
            .with_context(|| format!("cannot compare {name} with {}", base.display()))?;
        let Some(made) = made else { continue };
        if made.size < best.as_ref().map_or(link.size, |best| best.size) {
            best = Some(made);
        }
    }
    Ok(best)
}

/// The name before a revision's number, with what comes behind it, and the number: `jq_7.snap` is `jq.snap` and 7.
fn revision(name: &str) -> Option<(String, u32)> {
    let (stem, rest) = name.rsplit_once('_')?;
    let (number, end) = rest.split_once('.')?;
    Some((format!("{stem}.{end}"), number.parse().ok()?))
}

/// A difference that was applied and gave its target; `None` where the files cannot be compared.
fn between(
    (base, base_digest): (&Path, &Sha3_384),
    (target, target_digest): (&Path, &Sha3_384),
    scratch: &Path,
) -> anyhow::Result<Option<Difference>> {
    if file_digest(File::open(base)?)? != *base_digest {
        note(format!("{} is damaged, so nothing is compared with it: remove it", base.display()));
        return Ok(None);
    }
    let mut file = NamedTempFile::new_in(scratch)?;
    let made = {
        let (mut old, mut new) = (File::open(base)?, File::open(target)?);
        let mut out = BufWriter::new(file.as_file_mut());
        make((&mut old, base_digest), (&mut new, target_digest), &mut out).and_then(|()| Ok(out.flush()?))
    };
    match made {
        Ok(()) => {}
        Err(DifferenceError::Unfit) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    file.as_file_mut().seek(SeekFrom::Start(0))?;
    let mut difference = BufReader::new(file.as_file());
    let mut rebuilt = NamedTempFile::new_in(scratch)?;
    let applied = read_head(&mut difference)
        .and_then(|head| apply(&head, difference, &mut File::open(base)?, rebuilt.as_file_mut()));
    rebuilt.as_file_mut().seek(SeekFrom::Start(0))?;
    // What does not give its target here would give it nowhere.
    if applied.is_err() || file_digest(rebuilt.reopen()?)? != *target_digest {
        note(format!("a difference to {} does not give its target: not used", base.display()));
        return Ok(None);
    }
    let size = file.as_file().metadata()?.len();
    let digest = file_digest(file.reopen()?)?.to_hex();
    Ok(Some(Difference { file, size, digest, base: base_digest.to_hex() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_of_one_file_are_known_by_their_names() {
        assert_eq!(revision("jq_7.snap"), Some(("jq.snap".to_owned(), 7)));
        assert_eq!(revision("jq+extra_2.comp"), Some(("jq+extra.comp".to_owned(), 2)));
        assert_ne!(revision("jq_7.snap").map(|it| it.0), revision("jq_7.comp").map(|it| it.0));
        assert_eq!(revision("jq.snap"), None);
    }
}
