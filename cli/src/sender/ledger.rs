//! What is known of a site: its last receipt, and what was sent since.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use schema::digest::Sha3_384;
use schema::parcel::{CODE_LENGTH, HeldSet, Receipt, SecretKey, code_of, read_code};
use serde::{Deserialize, Serialize};

use super::SenderHome;
use crate::documents::read_limited;
use crate::documents::write_whole;
use crate::output::note;

/// Larger than any receipt, in bytes.
const MOST: u64 = 256 << 20;
/// How many parcels of a site are remembered: a site that never answers names one of the last.
const REMEMBERED: usize = 20;

/// The parcels that were sent to a site.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ledger {
    /// The registered store of the site, or where devices reach it.
    store: String,
    /// The newest generation that a receipt of it named.
    generation: i64,
    /// The number of the last parcel.
    sequence: u64,
    /// The last parcels, the newest last.
    sent: Vec<Sent>,
}

/// A parcel that was sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Sent {
    /// Its id.
    parcel: String,
    /// The generation of the receipt that it starts from.
    basis: i64,
    /// What the site holds beside that, once it imported the parcel; in hexadecimal.
    more: Vec<String>,
}

/// A site to which a parcel is sent, and what it holds.
pub(crate) struct Destination {
    /// The site's receipt, or the one that its code builds on.
    pub(crate) receipt: Receipt,
    /// The sender's key.
    pub(crate) key: SecretKey,
    /// The number of the next parcel.
    pub(crate) sequence: u64,
    held: HeldSet,
    more: HashSet<Sha3_384>,
    ledger: Ledger,
    folder: PathBuf,
}

impl Destination {
    /// The site of a receipt or a code. With `changed`, a receipt of a site with another key or an older generation counts.
    ///
    /// # Errors
    /// It is neither, a forgery, older than what is known, or of a site that took another key.
    pub(crate) fn open(home: &SenderHome, told: &Path, changed: bool) -> anyhow::Result<Self> {
        let (_, key) = home.key()?;
        if told.exists() {
            return Self::of_receipt(home, key, told, changed);
        }
        match told.to_str().and_then(read_code) {
            Some(code) => Self::of_code(home, key, &code),
            None => bail!(
                "{} is neither a file nor the code of a site, which has {CODE_LENGTH} letters and digits",
                told.display()
            ),
        }
    }

    fn of_receipt(home: &SenderHome, key: SecretKey, path: &Path, changed: bool) -> anyhow::Result<Self> {
        let what = || format!("cannot use {}", path.display());
        let file = fs::File::open(path).with_context(what)?;
        let bytes = read_limited(file, MOST).with_context(what)?;
        let (receipt, held) = Receipt::read(&bytes).with_context(what)?;
        let folder = home.folder.join("sites").join(receipt.site.to_string());
        let known = Ledger::read(&folder)?;
        let others = ledgers(home)?;
        let same_store = |(site, other): &(String, Ledger)| {
            *site != receipt.site.to_string() && other.store == receipt.store
        };
        match &known {
            Some(known) if receipt.generation < known.generation && !changed => bail!(
                "{} is older than the last receipt of {} (generation {}, known is {}): get a new one. If the site was restored \
                 from a backup, or answered only now, --site-changed takes it",
                path.display(),
                receipt.store,
                receipt.generation,
                known.generation
            ),
            None if others.iter().any(same_store) && !changed => bail!(
                "{} is signed by the key {}, and {} was known by another one: it is a forgery, unless the site lost its \
                 configuration or is another one of that store; --site-changed takes it then",
                path.display(),
                receipt.site,
                receipt.store
            ),
            None => note(format!("the first receipt of {}, whose key is {}", receipt.store, receipt.site)),
            Some(_) => {}
        }
        let mut ledger = known.unwrap_or_default();
        ledger.store.clone_from(&receipt.store);
        ledger.generation = receipt.generation;
        write_whole(&folder.join(format!("{}.receipt", receipt.generation)), &bytes)?;
        // A ledger that was lost begins where the site is.
        let own = key.public();
        let taken = receipt.accepted.iter().filter(|one| one.sender == own).map(|one| one.sequence).max();
        let sequence = ledger.sequence.max(taken.unwrap_or(0)) + 1;
        let more = HashSet::new();
        let destination = Self { receipt, key, sequence, held, more, ledger, folder };
        destination.ledger.write(&destination.folder)?;
        Ok(destination)
    }

    fn of_code(home: &SenderHome, key: SecretKey, code: &str) -> anyhow::Result<Self> {
        for (site, ledger) in ledgers(home)? {
            let folder = home.folder.join("sites").join(&site);
            let site = site.parse()?;
            let Some(sent) = ledger.sent.iter().find(|sent| code_of(&site, &sent.parcel) == code) else {
                continue;
            };
            let path = folder.join(format!("{}.receipt", sent.basis));
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let (receipt, held) = Receipt::read(&bytes)?;
            let more = sent.more.iter().filter_map(|name| Sha3_384::from_hex(name).ok()).collect();
            let sequence = ledger.sequence + 1;
            return Ok(Self { receipt, key, sequence, held, more, ledger, folder });
        }
        bail!(
            "{code} is not the code of any parcel that this host remembers: a receipt is needed (`proxy receipt` on site)"
        )
    }

    /// Whether the site has this: the digest of a file or document, or the name of a release.
    pub(crate) fn has(&self, name: &Sha3_384) -> bool {
        self.more.contains(name) || self.held.has(name)
    }

    /// Takes the next number, so that no two parcels have the same one, whatever happens from here on.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        self.ledger.sequence = self.sequence;
        self.ledger.write(&self.folder)
    }

    /// Remembers a parcel that was written, and what it brings.
    pub(crate) fn sent(
        mut self,
        parcel: String,
        brings: impl IntoIterator<Item = Sha3_384>,
    ) -> anyhow::Result<()> {
        let mut more: Vec<String> =
            self.more.iter().copied().chain(brings).map(|name| name.to_hex()).collect();
        more.sort_unstable();
        more.dedup();
        self.ledger.sent.push(Sent { parcel, basis: self.receipt.generation, more });
        let old = self.ledger.sent.len().saturating_sub(REMEMBERED);
        self.ledger.sent.drain(..old);
        self.ledger.write(&self.folder)
    }
}

impl SenderHome {
    /// Removes what no site holds any more: kept files that nothing can be compared with, and receipts that no code and no
    /// ledger builds on. A file that a site may get with a parcel under way stays.
    pub(crate) fn prune(&self) -> anyhow::Result<()> {
        let (mut sites, mut receipts) = (Vec::new(), Vec::new());
        for (site, ledger) in ledgers(self)? {
            let folder = self.folder.join("sites").join(&site);
            let path = folder.join(format!("{}.receipt", ledger.generation));
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let (_, held) = Receipt::read(&bytes)?;
            let bases = ledger.sent.iter().map(|sent| sent.basis).chain([ledger.generation]);
            let needed: HashSet<_> = bases.map(|basis| folder.join(format!("{basis}.receipt"))).collect();
            let all = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
            let is_receipt = |path: &PathBuf| path.extension().is_some_and(|end| end == "receipt");
            receipts.extend(all.filter(is_receipt).filter(|path| !needed.contains(path)));
            // Since the receipt was written; what came before is in it, or did not arrive.
            let since = ledger.sent.into_iter().filter(|sent| sent.basis == ledger.generation);
            sites.push((held, since.flat_map(|sent| sent.more).collect::<HashSet<_>>()));
        }
        let is_held = |digest: &Sha3_384| {
            sites.iter().any(|(held, more)| held.has(digest) || more.contains(&digest.to_hex()))
        };
        let files = self.kept().into_iter().filter(|(digest, ..)| !is_held(digest)).map(|(.., path)| path);
        for path in files.chain(receipts) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        Ok(())
    }
}

impl Ledger {
    fn read(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join("ledger.json");
        match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => {
                let bytes = read.with_context(|| format!("cannot read {}", path.display()))?;
                let ledger = serde_json::from_slice(&bytes);
                ledger.map(Some).with_context(|| {
                    format!("{} is damaged: remove it, and the next receipt begins a new one", path.display())
                })
            }
        }
    }

    fn write(&self, folder: &Path) -> anyhow::Result<()> {
        write_whole(&folder.join("ledger.json"), &serde_json::to_vec(self)?)
    }
}

/// The ledgers of all sites, by their keys.
fn ledgers(home: &SenderHome) -> anyhow::Result<Vec<(String, Ledger)>> {
    let entries = fs::read_dir(home.folder.join("sites")).into_iter().flatten().flatten();
    let mut all = Vec::new();
    for entry in entries {
        if let Some(ledger) = Ledger::read(&entry.path())? {
            all.push((entry.file_name().to_string_lossy().into_owned(), ledger));
        }
    }
    Ok(all)
}
