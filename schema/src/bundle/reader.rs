//! Reads a bundle member by member.

use std::collections::HashSet;
use std::io::{self, Read};

use super::decode::Decoded;
use super::error::quote;
use super::names::{MemberKind, Name};
use super::tar::{self, BLOCK, Kind};
use super::{BundleError, Limits, pax};
use crate::looks;

/// Reads a bundle front to back, in bounded memory.
pub struct BundleReader<R: Read> {
    data: Decoded<R>,
    limits: Limits,
    /// Unread bytes of the current entry, plus its padding.
    left: u64,
    padding: u64,
    entries: u32,
    documents: u64,
    /// Names seen so far, in lower case: full names, and the last parts of meaningful ones.
    seen: HashSet<String>,
    ended: bool,
}

/// One file of a bundle. Unread content is skipped.
pub struct Member<'a, R: Read> {
    bundle: &'a mut BundleReader<R>,
    name: Name,
    size: u64,
}

/// Extension headers, held for the entry they describe.
#[derive(Default)]
struct Extensions {
    gnu_name: Option<Vec<u8>>,
    pax: Option<pax::Records>,
}

impl<R: Read> BundleReader<R> {
    /// Starts reading; the first bytes show whether the bundle is compressed.
    pub fn new(read: R, limits: Limits) -> Result<Self, BundleError> {
        Ok(Self {
            data: Decoded::new(read, limits)?,
            limits,
            left: 0,
            padding: 0,
            entries: 0,
            documents: 0,
            seen: HashSet::new(),
            ended: false,
        })
    }

    /// The next file; folders are skipped. `None` comes only after everything up to the last byte was checked: until
    /// then, nothing that was read may be used.
    pub fn next_member(&mut self) -> Result<Option<Member<'_, R>>, BundleError> {
        let mut extensions = Extensions::default();
        while !self.ended {
            self.skip_rest()?;
            let position = self.data.position();
            let bad = |rule| BundleError::Header { position, rule };
            let Some(block) = self.next_block()? else {
                if extensions.gnu_name.is_some() || extensions.pax.is_some() {
                    return Err(bad("an extension speaks of no entry"));
                }
                self.ended = true;
                break;
            };
            let header = match tar::header(&block) {
                Ok(header) => header,
                Err(_) if position == 0 => return Err(no_bundle(&block)),
                Err(rule) => return Err(bad(rule)),
            };
            self.entries += 1;
            if self.entries > self.limits.entries {
                return Err(BundleError::TooLarge { what: "entries", limit: self.limits.entries.into() });
            }
            self.left = header.size;
            self.padding = header.size.next_multiple_of(BLOCK as u64) - header.size;
            match header.kind {
                Kind::File | Kind::Folder => {
                    let folder = header.kind == Kind::Folder;
                    let name = self.name(header, std::mem::take(&mut extensions), position)?;
                    if !folder {
                        return self.member(name).map(Some);
                    }
                }
                Kind::GnuName if extensions.gnu_name.is_none() => {
                    let data = self.extension()?;
                    let name = data.strip_suffix(b"\0").filter(|name| !name.is_empty());
                    extensions.gnu_name = Some(name.ok_or(bad("a malformed long name"))?.to_vec());
                }
                Kind::PaxNext if extensions.pax.is_none() => {
                    extensions.pax = Some(pax::records(&self.extension()?).map_err(bad)?);
                }
                Kind::PaxGlobal => {
                    if pax::records(&self.extension()?).map_err(bad)? != pax::Records::default() {
                        return Err(bad("an extension that changes what is read, or might"));
                    }
                }
                Kind::GnuName | Kind::PaxNext => return Err(bad("an extension is there twice")),
                Kind::Other(kind) => {
                    return Err(BundleError::EntryType {
                        name: quote(&header.name),
                        what: tar::describe(kind),
                    });
                }
            }
        }
        Ok(None)
    }

    /// The underlying reader, fully read once [`BundleReader::next_member`] has returned `None`.
    #[must_use]
    pub fn into_inner(self) -> R {
        self.data.into_inner()
    }

    /// The entry's name after its extensions are applied, if it was not seen before.
    fn name(
        &mut self,
        header: tar::Header,
        extensions: Extensions,
        position: u64,
    ) -> Result<Name, BundleError> {
        let bad = |rule| BundleError::Header { position, rule };
        let records = extensions.pax.unwrap_or_default();
        if records.size.is_some_and(|size| size != header.size) {
            return Err(bad("its extension says another size"));
        }
        if header.size > self.limits.entry {
            return Err(BundleError::TooLarge { what: "bytes in one entry", limit: self.limits.entry });
        }
        let raw = match (records.path, extensions.gnu_name) {
            (Some(_), Some(_)) => return Err(bad("two extensions name the entry")),
            (Some(name), None) | (None, Some(name)) => name,
            (None, None) => header.name,
        };
        let name = Name::new(&raw, header.kind == Kind::Folder)?;
        let mut new = self.seen.insert(name.path.to_lowercase());
        if !matches!(name.kind, MemberKind::Other | MemberKind::Metadata) && header.kind == Kind::File {
            new &= self.seen.insert(format!("/{}", name.last().to_lowercase()));
        }
        match new {
            true => Ok(name),
            false => Err(BundleError::Duplicate { name: quote(&raw) }),
        }
    }

    fn member(&mut self, name: Name) -> Result<Member<'_, R>, BundleError> {
        let size = self.left;
        if name.kind.is_document() {
            let limit = self.limits.document;
            if size > limit {
                return Err(BundleError::TooLarge { what: "bytes in one document", limit });
            }
            self.documents += size;
            let limit = self.limits.documents;
            if self.documents > limit {
                return Err(BundleError::TooLarge { what: "bytes in all documents", limit });
            }
        }
        Ok(Member { bundle: self, name, size })
    }

    /// The content of an extension header.
    fn extension(&mut self) -> Result<Vec<u8>, BundleError> {
        let limit = self.limits.extension;
        match usize::try_from(self.left) {
            Ok(size) if self.left <= limit => self.content(size),
            _ => Err(BundleError::TooLarge { what: "bytes in one extension header", limit }),
        }
    }

    /// The whole current entry, whose size was checked.
    fn content(&mut self, size: usize) -> Result<Vec<u8>, BundleError> {
        let mut content = vec![0; size];
        self.data.read_exact(&mut content)?;
        self.left = 0;
        Ok(content)
    }

    fn read(&mut self, buf: &mut [u8]) -> Result<usize, BundleError> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        match self.data.read(&mut buf[..most])? {
            0 => Err(BundleError::Truncated),
            count => {
                self.left -= count as u64;
                Ok(count)
            }
        }
    }

    /// Skips to the next header. Padding may hold anything: no reader looks at it.
    fn skip_rest(&mut self) -> Result<(), BundleError> {
        self.left += std::mem::take(&mut self.padding);
        let mut scratch = [0; 16 << 10];
        while self.left > 0 {
            self.read(&mut scratch)?;
        }
        Ok(())
    }

    /// The next header, or `None` at the end: two blocks of zeros, and zeros to the end of the file.
    fn next_block(&mut self) -> Result<Option<[u8; BLOCK]>, BundleError> {
        let mut block = [0; BLOCK];
        let (first, count) = (self.data.position() == 0, self.data.read_most(&mut block)?);
        if count < BLOCK {
            // A header pads its fields with zeros, and texts contain none.
            let is_header = count > 100 && block[..100].contains(&0);
            return Err(if first && !is_header {
                no_bundle(&block[..count])
            } else {
                BundleError::Truncated
            });
        }
        if block.iter().any(|&byte| byte != 0) {
            return Ok(Some(block));
        }
        self.data.read_exact(&mut block)?;
        let mut rest = [0; 16 << 10];
        let mut last: &[u8] = &block;
        loop {
            if last.iter().any(|&byte| byte != 0) {
                return Err(BundleError::TrailingData);
            }
            match self.data.read(&mut rest) {
                Ok(0) => return Ok(None),
                Ok(count) => last = &rest[..count],
                // Another gzip member should begin here, and none does.
                Err(BundleError::Gzip(error)) if error.to_string().contains("header") => {
                    return Err(BundleError::AfterEnd);
                }
                Err(BundleError::Truncated) => return Err(BundleError::AfterEnd),
                Err(error) => return Err(error),
            }
        }
    }
}

/// The error for input that does not begin like an archive.
fn no_bundle(start: &[u8]) -> BundleError {
    looks::like(start).map_or(BundleError::NotABundle, BundleError::Looks)
}

impl<R: Read> Member<'_, R> {
    /// The member's kind.
    #[must_use]
    pub fn kind(&self) -> MemberKind {
        self.name.kind
    }

    /// Its name without folders. At most one snap, component, manifest or assertion document has it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.last()
    }

    /// Its name with folders, for people.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.name.path
    }

    /// Bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The whole document.
    pub fn document(self) -> Result<Vec<u8>, BundleError> {
        let limit = self.bundle.limits.document;
        match usize::try_from(self.bundle.left) {
            Ok(size) if self.bundle.left <= limit => self.bundle.content(size),
            _ => Err(BundleError::TooLarge { what: "bytes in one document", limit }),
        }
    }

    /// The next bytes, 0 at the end. An archive that ends early is an error.
    pub fn read_some(&mut self, buf: &mut [u8]) -> Result<usize, BundleError> {
        self.bundle.read(buf)
    }
}

/// As [`Member::read_some`], with the error wrapped.
impl<R: Read> Read for Member<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_some(buf).map_err(io::Error::other)
    }
}
