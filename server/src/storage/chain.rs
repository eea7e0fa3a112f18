//! The hash chain of the audit log: each row carries a digest of itself and of the row before it.
//!
//! ```text
//! hash(0) = 96 zeros
//! hash(n) = SHA3-384( hash(n-1) in hexadecimal, then the row as JSON without spaces ), in hexadecimal
//!           row: [sequence,at,"who","what","subject","outcome","detail"], texts as their columns hold them
//! ```
//!
//! A row that was changed, removed, inserted or moved breaks the chain at that point. A truncated log shows in the
//! head, which `meta` keeps as `audit-head`. Anybody who can write to the database can rebuild the whole chain, but
//! it then no longer leads to a head that was saved elsewhere.

use schema::api::admin::AuditHead;
use schema::digest::Sha3_384;

use super::Database;
use super::engine::{Lane, Mode, Reader, Row, Transaction, statements};
use super::error::StorageError;

statements! {
    SELECT_HEAD = "SELECT value FROM meta WHERE name = 'audit-head'";
    UPSERT_HEAD = "INSERT INTO meta (name, value) VALUES ('audit-head', $1)
        ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    SELECT_LINKS = "SELECT sequence, at, who, what, subject, outcome, detail, hash FROM audit
        WHERE sequence > $1 ORDER BY sequence LIMIT $2";
    SELECT_COUNT = "SELECT value FROM counters WHERE name = 'audit'";
    UPDATE_HASH = "UPDATE audit SET hash = $2 WHERE sequence = $1";
}

/// Rows read at once.
const PORTION: u32 = 1000;

/// The hashed fields of a row.
pub(super) struct Link<'a> {
    pub(super) sequence: i64,
    pub(super) at_micros: i64,
    pub(super) who: &'a str,
    pub(super) what: &'a str,
    pub(super) subject: &'a str,
    pub(super) outcome: &'a str,
    /// As its column holds it.
    pub(super) detail: &'a str,
}

impl Link<'_> {
    fn hash(&self, previous: &str) -> String {
        let Link { sequence, at_micros, who, what, subject, outcome, detail } = self;
        let row = serde_json::json!([sequence, at_micros, who, what, subject, outcome, detail]);
        Sha3_384::of(format!("{previous}{row}").as_bytes()).to_hex()
    }
}

/// The result of checking the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuditCheck {
    /// Rows that belong to the chain, up to the first that does not.
    pub(crate) rows: i64,
    /// The first row that does not, and why.
    pub(crate) broken: Option<(i64, &'static str)>,
}

impl Database {
    /// The end of the audit log.
    pub(crate) async fn audit_head(&self) -> Result<Option<AuditHead>, StorageError> {
        parse(self.engine.read(Lane::Operator, SELECT_HEAD, Vec::new()).await?)
    }

    /// Verifies the whole chain in one database snapshot. `known` is an end that was saved before.
    pub(crate) async fn check_audit(&self, known: Option<&AuditHead>) -> Result<AuditCheck, StorageError> {
        let mut on = self.engine.begin(Lane::Operator, Mode::Read).await?;
        let count = on.query(SELECT_COUNT, Vec::new()).await?.into_iter().next().unwrap_or_default();
        let count = Reader::new("counters", count).int("value")?;
        let head = parse(on.query(SELECT_HEAD, Vec::new()).await?)?;
        let (mut at, mut hash) = (0, genesis());
        let broken = loop {
            let rows = on.query(SELECT_LINKS, vec![at.into(), PORTION.into()]).await?;
            if rows.is_empty() {
                break end(at, &hash, count, head.as_ref(), known);
            }
            if let Some(broken) = follow(rows, &mut at, &mut hash, known)? {
                break Some(broken);
            }
        };
        on.commit().await?;
        Ok(AuditCheck { rows: at, broken })
    }
}

/// The digest of the next row, which becomes the head. The locked counter row makes all others wait.
pub(super) async fn extend(on: &mut Transaction, link: &Link<'_>) -> Result<String, StorageError> {
    // Without a head, the row counts as the first. If it is not, the check will report it; no change is refused for
    // it.
    let head = parse(on.query(SELECT_HEAD, Vec::new()).await?).ok().flatten();
    let hash = link.hash(&head.map_or_else(genesis, |head| head.hash));
    let head = AuditHead { sequence: link.sequence, hash: hash.clone() };
    on.query(UPSERT_HEAD, vec![head.to_string().into()]).await?;
    Ok(hash)
}

/// Computes the digests of rows that are older than the chain.
pub(super) async fn seal(on: &mut Transaction) -> Result<(), StorageError> {
    let (mut at, mut hash) = (0, genesis());
    loop {
        let rows = on.query(SELECT_LINKS, vec![at.into(), PORTION.into()]).await?;
        if rows.is_empty() {
            break;
        }
        let mut hashes = Vec::with_capacity(rows.len());
        for row in rows {
            let row = Held::read(row)?;
            hash = row.link().hash(&hash);
            at = row.sequence;
            hashes.push(vec![at.into(), hash.as_str().into()]);
        }
        on.each(UPDATE_HASH, hashes).await?;
    }
    match at {
        0 => Ok(()),
        sequence => {
            let head = AuditHead { sequence, hash };
            on.query(UPSERT_HEAD, vec![head.to_string().into()]).await.map(drop)
        }
    }
}

/// The digest before the first row.
fn genesis() -> String {
    "0".repeat(2 * Sha3_384::LEN)
}

fn parse(rows: Vec<Row>) -> Result<Option<AuditHead>, StorageError> {
    let Some(row) = rows.into_iter().next() else { return Ok(None) };
    let mut row = Reader::new("meta", row);
    let text = row.text("value")?;
    text.parse().map(Some).map_err(|error| row.corrupt("value", error))
}

/// A stored row.
struct Held {
    sequence: i64,
    at_micros: i64,
    texts: [String; 5],
    hash: String,
}

impl Held {
    fn read(row: Row) -> Result<Held, StorageError> {
        let mut row = Reader::new("audit", row);
        Ok(Held {
            sequence: row.int("sequence")?,
            at_micros: row.int("at")?,
            texts: [
                row.text("who")?,
                row.text("what")?,
                row.text("subject")?,
                row.text("outcome")?,
                row.text("detail")?,
            ],
            hash: row.text("hash")?,
        })
    }

    fn link(&self) -> Link<'_> {
        let [who, what, subject, outcome, detail] = &self.texts;
        Link { sequence: self.sequence, at_micros: self.at_micros, who, what, subject, outcome, detail }
    }
}

/// Follows these rows up to the first that does not belong.
fn follow(
    rows: Vec<Row>,
    at: &mut i64,
    hash: &mut String,
    known: Option<&AuditHead>,
) -> Result<Option<(i64, &'static str)>, StorageError> {
    for row in rows {
        let row = Held::read(row)?;
        if row.sequence != *at + 1 {
            return Ok(Some((*at + 1, "it is missing")));
        }
        if row.link().hash(hash) != row.hash {
            return Ok(Some((row.sequence, "it was changed, or does not follow the one before it")));
        }
        if known.is_some_and(|known| known.sequence == row.sequence && known.hash != row.hash) {
            return Ok(Some((row.sequence, "its digest is not the one that was written down")));
        }
        (*at, *hash) = (row.sequence, row.hash);
    }
    Ok(None)
}

/// Whether the log may end here.
fn end(
    at: i64,
    hash: &str,
    count: i64,
    head: Option<&AuditHead>,
    known: Option<&AuditHead>,
) -> Option<(i64, &'static str)> {
    if count > at
        || head.is_some_and(|head| head.sequence > at)
        || known.is_some_and(|known| known.sequence > at)
    {
        return Some((at + 1, "it is missing, with all that followed"));
    }
    let is_head = head.map_or(at == 0, |head| (head.sequence, head.hash.as_str()) == (at, hash));
    (count != at || !is_head).then_some((at, "it is not the one that the log is known to end with"))
}
