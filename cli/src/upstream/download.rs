//! Downloads that resume after an interruption.
//!
//! A part is the beginning of a file with a known digest. It is hashed as it grows, and a part from an earlier run is
//! hashed again before it continues, so a file is complete only if its SHA3-384 matches. Wrong bytes are discarded
//! and fetched once more from the start; a second mismatch is an error.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;

use aws_lc_rs::digest::{Context as Hash, SHA3_384};
use hyper::body::Bytes;
use hyper::http::StatusCode;
use reqwest::Response;
use reqwest::header::{CONTENT_RANGE, RANGE};
use schema::digest::Sha3_384;
use schema::looks;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use url::Url;

use super::error::{AnswerError, UpstreamError};
use super::{Link, Upstream};

/// How many chunks may wait for the disk.
const AHEAD: usize = 32;

/// A part on disk, hashed up to its current end.
struct Part {
    file: File,
    length: u64,
    hash: Hash,
}

/// How one response ended.
enum End {
    /// The file is complete.
    Whole,
    /// The connection broke.
    Broken(UpstreamError),
    /// The bytes do not match the request.
    Wrong,
    /// It is a web page.
    Page(&'static str),
}

impl Upstream {
    /// Downloads into a file, resuming an earlier run; `progress` is called with the number of bytes so far, and with 0
    /// before it starts over.
    ///
    /// # Errors
    /// The store cannot be reached, refuses, or sends other bytes than `link` promises.
    pub(crate) async fn download(
        &self,
        link: &Link,
        what: &str,
        (file, path): (File, &Path),
        progress: impl Fn(u64) + Clone + Send + 'static,
    ) -> Result<(), UpstreamError> {
        let disk = |source| UpstreamError::Disk { path: path.to_owned(), source };
        let digest = Sha3_384::from_hex(&link.sha3_384)
            .map_err(|error| refused(what, format!("the store gives no digest: {error}")))?;
        let url = Url::parse(&link.url).map_err(|_| refused(what, "the store gives no URL".into()))?;
        let most = link.size;
        let mut part = blocking(move || Part::read(file, most)).await.map_err(disk)?;
        let (mut failures, mut wrong) = (0, 0);
        loop {
            progress(part.length);
            if part.length == link.size && part.digest() == digest {
                return Ok(());
            }
            let end = if part.length == link.size {
                End::Wrong
            } else {
                let before = part.length;
                let (after, end) = self.some(&url, what, part, link.size, &progress).await?;
                part = after.map_err(disk)?;
                if part.length > before {
                    failures = 0;
                }
                end
            };
            match end {
                End::Whole => {}
                End::Broken(error) => {
                    failures += 1;
                    if !self.retry.again(failures, &error).await {
                        return Err(error);
                    }
                }
                End::Page(looks) => return Err(UpstreamError::answer(what, AnswerError::Looks(looks))),
                End::Wrong => {
                    wrong += 1;
                    progress(0);
                    part.restart().map_err(disk)?;
                    if wrong == 2 {
                        return Err(UpstreamError::Damaged { what: what.to_owned() });
                    }
                }
            }
        }
    }

    /// Requests the missing bytes and stores what arrives.
    async fn some(
        &self,
        url: &Url,
        what: &str,
        mut part: Part,
        size: u64,
        progress: &(impl Fn(u64) + Clone + Send + 'static),
    ) -> Result<(io::Result<Part>, End), UpstreamError> {
        let from = part.length;
        let sent = self.send(|http| {
            let mut request = http.get(url.clone());
            if from > 0 {
                request = request.header(RANGE, format!("bytes={from}-"));
            }
            match &self.store {
                Some(store) => request.header("X-Ubuntu-Store", store.as_str()),
                None => request,
            }
        });
        let response = match sent.await {
            Ok(response) => response,
            Err(error) if error.is_passing() => return Ok((Ok(part), End::Broken(error))),
            Err(error) => return Err(error),
        };
        match response.status() {
            StatusCode::PARTIAL_CONTENT if from > 0 && begins_at(&response) == Some(from) => {}
            // The server sent another range or has none left: start over.
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                return Ok((Ok(part), End::Wrong));
            }
            // A new part is left alone: ext4 sends a file to the disk when it is closed, once it was emptied.
            StatusCode::OK if from == 0 => {}
            StatusCode::OK => {
                progress(0);
                if let Err(error) = part.restart() {
                    return Ok((Err(error), End::Wrong));
                }
            }
            status => {
                let body = super::read(response, 64 << 10).await.ok().unwrap_or_default();
                return Err(self.refusal(what, status, &body));
            }
        }
        Ok(take(response, part, size, progress.clone()).await)
    }
}

/// Writes on one thread and hashes on another while the next bytes arrive.
async fn take(
    mut response: Response,
    part: Part,
    size: u64,
    progress: impl Fn(u64) + Send + 'static,
) -> (io::Result<Part>, End) {
    let (to_disk, mut for_disk) = mpsc::channel::<Bytes>(AHEAD);
    let (to_hash, mut for_hash) = mpsc::channel::<Bytes>(AHEAD);
    let Part { mut file, length: before, mut hash } = part;
    let mut length = before;
    let writer = blocking(move || {
        let mut length = before;
        while let Some(chunk) = for_disk.blocking_recv() {
            file.write_all(&chunk)?;
            length += chunk.len() as u64;
            progress(length);
        }
        Ok((file, length))
    });
    let hasher = blocking(move || {
        while let Some(chunk) = for_hash.blocking_recv() {
            hash.update(&chunk);
        }
        Ok(hash)
    });
    let url = response.url().clone();
    let read = async move {
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    if let Some(looks) = page(&chunk).filter(|_| length == 0) {
                        return End::Page(looks);
                    }
                    length += chunk.len() as u64;
                    if length > size {
                        return End::Wrong;
                    }
                    // If nobody takes the chunk, the writer has failed and reports why.
                    if to_hash.send(chunk.clone()).await.is_err() || to_disk.send(chunk).await.is_err() {
                        return End::Whole;
                    }
                }
                Ok(None) if length == size => return End::Whole,
                // Shorter than signed although it ended cleanly: it may still be the file's beginning.
                Ok(None) => return End::Broken(UpstreamError::CutOff { url }),
                Err(source) => return End::Broken(UpstreamError::connection(url, source)),
            }
        }
    };
    let (written, hash, end) = tokio::join!(writer, hasher, read);
    let part = written.and_then(|(file, length)| Ok(Part { file, length, hash: hash? }));
    (part, end)
}

impl Part {
    fn read(file: File, most: u64) -> io::Result<Self> {
        let mut part = Self { file, length: 0, hash: Hash::new(&SHA3_384) };
        if part.file.metadata()?.len() > most {
            part.restart()?;
        }
        let mut buffer = vec![0; 1 << 20];
        loop {
            match part.file.read(&mut buffer) {
                Ok(0) => return Ok(part),
                Ok(count) => {
                    part.hash.update(&buffer[..count]);
                    part.length += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn restart(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.seek(SeekFrom::Start(0))?;
        self.hash = Hash::new(&SHA3_384);
        self.length = 0;
        Ok(())
    }

    fn digest(&self) -> Sha3_384 {
        let mut digest = [0; Sha3_384::LEN];
        digest.copy_from_slice(self.hash.clone().finish().as_ref());
        Sha3_384(digest)
    }
}

/// What a login or an error of the network looks like in place of a file.
fn page(start: &[u8]) -> Option<&'static str> {
    looks::like(start).filter(|what| looks::like(b"<html>") == Some(*what))
}

fn refused(what: &str, reason: String) -> UpstreamError {
    UpstreamError::Refused { what: what.to_owned(), reason }
}

/// The offset of a partial response.
fn begins_at(response: &Response) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}
