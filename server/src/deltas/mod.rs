//! Deltas between revisions of a snap: which are wanted, how one is made and proven, and which are there.
//!
//! Each server makes its own, in `DATA/deltas`, from files that it holds. The names of the files say all that has to be remembered: that of
//! a delta which digest it turns into which, its own, and its format unless that is the plain one; that of an empty file what an operator
//! said of such a pair, in all formats. A backup has none of them.

mod confine;
mod contents;
mod make;
mod program;
mod wanted;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use schema::api::admin::{DeltaState, DeltaStatus, HeldDeltas};
use schema::digest::{Hashed, Sha3_384};
use schema::store::DeltaFormat;

pub(crate) use self::make::{Encoder, MakeError, Proven, Whole};
pub(crate) use self::wanted::{Wanted, wanted};
use crate::catalog::Blob;

/// How often a pair is tried that could not be made.
const TRIES: u8 = 3;

/// Which file a delta turns into which.
pub(crate) type Pair = (Sha3_384, Sha3_384);
/// One delta among all of them.
type Key = (Pair, DeltaFormat);

/// A delta that gave its target.
#[derive(Debug)]
pub(crate) struct Delta {
    /// Its own digest.
    pub(crate) digest: Sha3_384,
    /// Bytes.
    pub(crate) size: u64,
    /// As devices name it for a part of it.
    pub(crate) etag: String,
    path: PathBuf,
}

impl Delta {
    /// Opens it.
    pub(crate) fn open(&self) -> io::Result<File> {
        File::open(&self.path)
    }
}

/// What an operator said of a pair, and the ending of the file that remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// It is to be made, whether or not a device is known to need it.
    Make,
    /// It is not to be made.
    Drop,
}

impl Word {
    const ALL: [Self; 2] = [Self::Make, Self::Drop];

    fn ending(self) -> &'static str {
        match self {
            Self::Make => "make",
            Self::Drop => "drop",
        }
    }
}

/// Why a delta is not there.
#[derive(Debug, Clone)]
pub(crate) enum Lack {
    /// It would be larger than this many percent of its target.
    TooLarge(u64),
    /// It could not be made, so many times.
    Failed(u8, String),
    /// There is no room for it.
    NoRoom(String),
}

/// What is remembered of pairs.
#[derive(Default)]
struct Book {
    words: HashMap<Pair, Word>,
    lacks: HashMap<Key, Lack>,
    /// How often operators said something.
    said: u64,
}

/// The deltas of this server.
pub(crate) struct Deltas {
    folder: PathBuf,
    made: ArcSwap<HashMap<Key, Arc<Delta>>>,
    /// Held by whoever changes the folder.
    book: Mutex<Book>,
    /// The formats that are made at this time.
    formats: ArcSwap<Vec<DeltaFormat>>,
}

impl Deltas {
    /// None yet: [`Deltas::keep`] takes up those of an earlier process.
    pub(crate) fn new(data_dir: &Path) -> Self {
        Self {
            folder: data_dir.join("deltas"),
            made: ArcSwap::default(),
            book: Mutex::default(),
            formats: ArcSwap::from_pointee(vec![DeltaFormat::Plain]),
        }
    }

    /// Where they are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The formats that are made at this time.
    pub(crate) fn formats(&self) -> Arc<Vec<DeltaFormat>> {
        self.formats.load_full()
    }

    /// Makes these formats from now on.
    pub(crate) fn set_formats(&self, formats: Vec<DeltaFormat>) {
        self.formats.store(Arc::new(formats));
    }

    /// The delta from one file to another.
    pub(crate) fn between(&self, source: &Blob, target: &Blob, format: DeltaFormat) -> Option<Arc<Delta>> {
        self.made.load().get(&((source.digest, target.digest), format)).cloned()
    }

    /// How many there are, and their bytes.
    pub(crate) fn size(&self) -> (usize, u64) {
        let made = self.made.load();
        (made.len(), made.values().map(|delta| delta.size).sum())
    }

    /// What there is of each format.
    pub(crate) fn held(&self) -> Vec<HeldDeltas> {
        let made = self.made.load();
        let of = |format: DeltaFormat| {
            let sizes = made.iter().filter(|((_, of), _)| *of == format).map(|(_, delta)| delta.size);
            HeldDeltas { format, deltas: sizes.clone().count(), bytes: sizes.sum() }
        };
        DeltaFormat::ALL.map(of).into_iter().filter(|held| held.deltas > 0).collect()
    }

    /// How often operators said something.
    pub(crate) fn said(&self) -> u64 {
        self.book().said
    }

    /// The pairs that operators asked for.
    pub(crate) fn asked(&self) -> BTreeSet<Pair> {
        let book = self.book();
        book.words.iter().filter(|(_, word)| **word == Word::Make).map(|(pair, _)| *pair).collect()
    }

    /// Whether to make this one, which may have this many percent of its target.
    pub(crate) fn lacks(&self, one: &Wanted, format: DeltaFormat, percent: u64) -> bool {
        self.state(one, format, percent).0 == DeltaState::Waiting
    }

    /// Notes why one was not made.
    pub(crate) fn note(&self, pair: Pair, format: DeltaFormat, why: &MakeError, percent: u64) {
        let mut book = self.book();
        let tried = match book.lacks.get(&(pair, format)) {
            Some(Lack::Failed(tries, _)) => *tries,
            _ => 0,
        };
        let lack = match why {
            MakeError::TooLarge => Lack::TooLarge(percent),
            // Another try would end as this one.
            MakeError::Unfit(_) => Lack::Failed(TRIES, schema::causes::one_line(why)),
            why => Lack::Failed(tried + 1, schema::causes::one_line(why)),
        };
        book.lacks.insert((pair, format), lack);
    }

    /// Notes that there is no room for one.
    pub(crate) fn note_full(&self, pair: Pair, format: DeltaFormat, why: String) {
        self.book().lacks.insert((pair, format), Lack::NoRoom(why));
    }

    /// How one stands, for operators.
    pub(crate) fn status(&self, one: &Wanted, format: DeltaFormat, percent: u64) -> DeltaStatus {
        let (state, why) = self.state(one, format, percent);
        DeltaStatus {
            snap: one.snap.name.to_string(),
            snap_id: one.snap.id.to_string(),
            source: one.source.number,
            target: one.target.number,
            format,
            state,
            size: self.between(&one.source.blob, &one.target.blob, format).map(|delta| delta.size),
            full_size: one.target.blob.size,
            why,
        }
    }

    fn state(&self, one: &Wanted, format: DeltaFormat, percent: u64) -> (DeltaState, Option<String>) {
        let book = self.book();
        let pair = one.pair();
        if self.made.load().contains_key(&(pair, format)) {
            return (DeltaState::Made, None);
        }
        if book.words.get(&pair) == Some(&Word::Drop) {
            return (DeltaState::Dropped, None);
        }
        match book.lacks.get(&(pair, format)).cloned() {
            Some(Lack::TooLarge(tried)) if tried >= percent => {
                (DeltaState::TooLarge, Some(MakeError::TooLarge.to_string()))
            }
            Some(Lack::Failed(tries, why)) if tries >= TRIES => (DeltaState::Failed, Some(why)),
            Some(Lack::Failed(_, why) | Lack::NoRoom(why)) => (DeltaState::Waiting, Some(why)),
            Some(Lack::TooLarge(_)) | None => (DeltaState::Waiting, None),
        }
    }

    /// Keeps those that are wanted, most wanted first, in these formats, as far as they fit into a budget of bytes, and what was said of
    /// files that are `held`. Removes every other file. A delta that it does not know yet is hashed first. Blocks.
    pub(crate) fn keep(
        &self,
        wanted: &[Pair],
        formats: &[DeltaFormat],
        budget: u64,
        held: impl Fn(&Sha3_384) -> bool,
    ) -> io::Result<()> {
        let mut book = self.book();
        let known = self.made.load_full();
        let (mut found, mut words, mut rest) = (HashMap::new(), HashMap::new(), Vec::new());
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let path = entry?.path();
            match named(&path) {
                Some((pair, Named::Word(word))) if held(&pair.0) && held(&pair.1) => {
                    words.insert(pair, word);
                }
                Some((pair, Named::Delta(digest, format))) => {
                    if let Some((_, other)) = found.insert((pair, format), (digest, path)) {
                        rest.push(other);
                    }
                }
                _ => rest.push(path),
            }
        }
        let (mut kept, mut used) = (HashMap::new(), 0);
        let keys = wanted.iter().flat_map(|pair| formats.iter().map(|format| (*pair, *format)));
        for key in keys.clone() {
            let Some((digest, path)) = found.remove(&key) else { continue };
            let delta = match known.get(&key).filter(|delta| delta.path == path) {
                Some(delta) => Arc::clone(delta),
                None if words.get(&key.0) != Some(&Word::Drop) && hash(&path)? == digest => {
                    Arc::new(about(path.clone(), digest)?)
                }
                None => {
                    rest.push(path);
                    continue;
                }
            };
            if used + delta.size > budget {
                rest.push(path);
                continue;
            }
            used += delta.size;
            kept.insert(key, delta);
        }
        rest.extend(found.into_values().map(|(_, path)| path));
        // No answer names one by the time that it goes.
        self.made.store(Arc::new(kept));
        book.words = words;
        let wanted: HashSet<Key> = keys.collect();
        book.lacks.retain(|key, _| wanted.contains(key));
        rest.iter()
            .try_for_each(|path| if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) })
    }

    /// Takes one that gave its target, unless an operator said meanwhile that it is not to be made. Blocks.
    pub(crate) fn publish(&self, pair: Pair, format: DeltaFormat, proven: &Proven) -> io::Result<()> {
        let mut book = self.book();
        if book.words.get(&pair) == Some(&Word::Drop) {
            return Ok(());
        }
        let digest = hash(proven.path())?;
        File::open(proven.path())?.sync_all()?;
        let ending = match format {
            DeltaFormat::Plain => digest.to_base64url(),
            other => format!("{}.{}", digest.to_base64url(), other.as_str()),
        };
        let path = self.place(pair, &ending);
        fs::rename(proven.path(), &path)?;
        let delta = Arc::new(about(path, digest)?);
        self.made.rcu(|made| {
            let mut made = HashMap::clone(made);
            made.insert((pair, format), Arc::clone(&delta));
            made
        });
        book.lacks.remove(&(pair, format));
        Ok(())
    }

    /// Remembers what an operator said of a pair; a delta that is not to be there goes. Blocks.
    pub(crate) fn say(&self, pair: Pair, word: Word) -> io::Result<()> {
        let mut book = self.book();
        fs::create_dir_all(&self.folder)?;
        File::create(self.place(pair, word.ending()))?.sync_all()?;
        for other in Word::ALL.into_iter().filter(|other| *other != word) {
            remove(&self.place(pair, other.ending()))?;
        }
        book.words.insert(pair, word);
        book.lacks.retain(|(of, _), _| *of != pair);
        book.said += 1;
        if word == Word::Make {
            return Ok(());
        }
        let made = self.made.load_full();
        let mut kept = HashMap::clone(&made);
        let gone = DeltaFormat::ALL.map(|format| kept.remove(&(pair, format)));
        self.made.store(Arc::new(kept));
        gone.iter().flatten().try_for_each(|delta| remove(&delta.path))
    }

    fn place(&self, (source, target): Pair, ending: &str) -> PathBuf {
        self.folder.join([&source.to_base64url(), &target.to_base64url(), ending].join("."))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn about(path: PathBuf, digest: Sha3_384) -> io::Result<Delta> {
    Ok(Delta { digest, size: fs::metadata(&path)?.len(), etag: format!("\"{}\"", digest.to_hex()), path })
}

/// What the last part of a name says.
enum Named {
    Delta(Sha3_384, DeltaFormat),
    Word(Word),
}

/// What a name says.
fn named(path: &Path) -> Option<(Pair, Named)> {
    let mut parts = path.file_name()?.to_str()?.split('.');
    let mut digest = || Sha3_384::from_base64url(parts.next()?).ok();
    let pair = (digest()?, digest()?);
    let last = parts.next()?;
    let said = match Word::ALL.into_iter().find(|word| word.ending() == last) {
        Some(word) => Named::Word(word),
        None => {
            let format = parts.next().map_or(Ok(DeltaFormat::Plain), str::parse).ok()?;
            Named::Delta(Sha3_384::from_base64url(last).ok()?, format)
        }
    };
    parts.next().is_none().then_some((pair, said))
}

fn hash(path: &Path) -> io::Result<Sha3_384> {
    let mut file = Hashed::new(File::open(path)?);
    io::copy(&mut file, &mut io::sink())?;
    Ok(file.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(of: &str) -> Sha3_384 {
        Sha3_384::of(of.as_bytes())
    }

    /// Publishes a delta of so many bytes.
    fn publish(deltas: &Deltas, pair: Pair, size: usize) {
        fs::create_dir_all(deltas.folder()).unwrap();
        let path = deltas.folder().join("work");
        fs::write(&path, vec![0; size]).unwrap();
        deltas.publish(pair, DeltaFormat::Plain, &Proven::of(path)).unwrap();
    }

    fn files(deltas: &Deltas) -> usize {
        fs::read_dir(deltas.folder()).unwrap().count()
    }

    #[test]
    fn what_is_wanted_less_goes_when_the_budget_is_full() {
        let data = tempfile::tempdir().unwrap();
        let deltas = Deltas::new(data.path());
        let pairs = ["a", "b", "c"].map(|name| (digest(name), digest("target")));
        pairs.iter().for_each(|pair| publish(&deltas, *pair, 100));
        deltas.keep(&pairs, &DeltaFormat::ALL, 1000, |_| true).unwrap();
        assert_eq!((deltas.size(), files(&deltas)), ((3, 300), 3));
        deltas.keep(&pairs, &DeltaFormat::ALL, 250, |_| true).unwrap();
        assert_eq!((deltas.size(), files(&deltas)), ((2, 200), 2));
        assert!(!deltas.made.load().contains_key(&(pairs[2], DeltaFormat::Plain)), "the last one went");
        deltas.keep(&pairs[1..], &DeltaFormat::ALL, 250, |_| true).unwrap();
        assert!(
            deltas.made.load().contains_key(&(pairs[1], DeltaFormat::Plain)) && files(&deltas) == 1,
            "one is of no use any more"
        );
    }

    #[test]
    fn what_operators_said_outlives_the_process_and_not_the_files() {
        let data = tempfile::tempdir().unwrap();
        let (deltas, pair) = (Deltas::new(data.path()), (digest("a"), digest("b")));
        deltas.say(pair, Word::Drop).unwrap();
        publish(&deltas, pair, 100);
        assert_eq!(deltas.size(), (0, 0), "what an operator dropped was published");
        deltas.say(pair, Word::Make).unwrap();
        let deltas = Deltas::new(data.path());
        deltas.keep(&[pair], &DeltaFormat::ALL, 1000, |_| true).unwrap();
        assert!(deltas.asked().contains(&pair));
        publish(&deltas, pair, 100);
        deltas.say(pair, Word::Drop).unwrap();
        assert_eq!((deltas.size(), deltas.asked().len(), files(&deltas)), ((0, 0), 0, 1));
        deltas.keep(&[], &DeltaFormat::ALL, 1000, |held| *held != pair.0).unwrap();
        assert_eq!(files(&deltas), 0, "nobody can ask for it any more");
    }
}
