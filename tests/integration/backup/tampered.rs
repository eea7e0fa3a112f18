//! Sealed backups that are cut off near their end, and databases inside of a backup that no server of this store made.

use std::fs;
use std::io::Write as _;
use std::iter;

use rusqlite::Connection;
use schema::backup::{Host, Part};
use tests::server::SECRET;

use super::damage::{entries, pack};
use super::refused::refused;
use super::{Scene, Vault};

/// Bytes of a sealed file that are opened at once, and the mark behind them.
const CHUNK: usize = 64 << 10;
const MARK: usize = 16;

/// Seals to the holder of the vault, as the program does.
fn seal(vault: &Vault, archive: &[u8]) -> Vec<u8> {
    let recipient: age::x25519::Recipient = vault.recipient.parse().expect("a recipient");
    let encryptor = age::Encryptor::with_recipients(iter::once(&recipient as &dyn age::Recipient));
    let mut sealed = encryptor.expect("a recipient").wrap_output(Vec::new()).expect("in memory");
    sealed.write_all(archive).expect("in memory");
    sealed.finish().expect("in memory")
}

#[test]
fn what_is_cut_off_near_its_end_is_not_used() {
    let (scene, vault) = (Scene::new(), Vault::new());
    let whole = entries(&vault.keep_open(&scene.store, "open", &[]));
    let mut host: Host = serde_json::from_slice(&whole[0].1).expect("the host's files");
    host.settings += &format!("proxy.device-auth.secret: {SECRET}\n");
    let text = serde_json::to_string(&host).expect("plain values");
    let mut tried = 0;
    for last in [0, 512, 1024] {
        // So many blocks of text that the last chunk holds the end of the archive alone, or a part of it.
        let padded = |blocks: usize| {
            let mut entries = whole.clone();
            let length = (text.len().next_multiple_of(512)) + 512 * blocks;
            entries[0].1 = format!("{text:<length$}").into_bytes();
            pack(&entries)
        };
        let archive = (0..CHUNK / 512).map(padded).find(|archive| archive.len() % CHUNK == last);
        let archive = archive.expect("one of the sizes fits");
        let sealed = seal(&vault, &archive);
        let end = if last == 0 { CHUNK } else { last } + MARK;
        for short in [1, MARK, MARK + 1, end / 2, end - 1, end, end + 1, end + CHUNK, end + CHUNK + MARK] {
            fs::write(vault.path("cut"), &sealed[..sealed.len() - short]).expect("it can be written");
            let complaint = refused(&vault, "cut", &vault.path("host"), &[]);
            assert!(complaint.contains("damaged, or cut off"), "{last} {short}: {complaint}");
            tried += 1;
        }
        // Zeros after the archive belong to it for other programs; what is cut off in them is cut off.
        let mut longer = archive.clone();
        longer.resize(archive.len() + 3 * CHUNK, 0);
        let longer = seal(&vault, &longer);
        for short in [1, MARK, CHUNK / 2, CHUNK + MARK, 2 * (CHUNK + MARK)] {
            fs::write(vault.path("cut"), &longer[..longer.len() - short]).expect("it can be written");
            let complaint = refused(&vault, "cut", &vault.path("host"), &[]);
            assert!(complaint.contains("damaged, or cut off"), "{last} {short}: {complaint}");
            tried += 1;
        }
        fs::write(vault.path("whole"), &sealed).expect("it can be written");
        let host = format!("host-{last}");
        let _ = vault.restore("whole", &vault.path(&host), &[]).ok();
    }
    println!("{tried} sealed backups that were cut off: refused, nothing left");
}

#[test]
fn a_database_that_is_not_the_store_s_is_not_used() {
    let (scene, vault) = (Scene::new(), Vault::new());
    let whole = entries(&vault.keep_open(&scene.store, "open", &[]));
    let secrets = vault.settings("secrets.yaml", &format!("proxy.device-auth.secret: {SECRET}\n"));
    let host = vault.path("host");
    let try_with = |database: Vec<u8>, what: &str, wanted: &str| {
        let mut changed = whole.clone();
        changed[2] = (Part::Database, database);
        fs::write(vault.path("bad"), pack(&changed)).expect("it can be written");
        let complaint = refused(&vault, "bad", &host, &["--secrets", &secrets]);
        assert!(complaint.contains(wanted), "{what}: {complaint}");
    };
    let file = vault.path("changed.db");
    let with = |script: &str| {
        fs::write(&file, &whole[2].1).expect("it can be written");
        let database = Connection::open(&file).expect("a database");
        database.pragma_update(None, "journal_mode", "DELETE").expect("one file");
        database.pragma_update(None, "foreign_keys", false).expect("a setting");
        database.execute_batch(script).unwrap_or_else(|error| panic!("{script}: {error}"));
        drop(database);
        fs::read(&file).expect("a database")
    };
    for (script, wanted) in [
        ("CREATE TRIGGER t AFTER INSERT ON audit BEGIN DELETE FROM audit; END", "its trigger t is not"),
        ("CREATE VIEW v AS SELECT * FROM meta", "its view v is not"),
        ("CREATE INDEX i ON meta (value)", "its index i is not"),
        ("CREATE TABLE more (x INTEGER)", "its table more is not"),
        ("DROP TABLE grants", "its table grants is not"),
        ("ALTER TABLE meta ADD COLUMN more TEXT", "its table meta is not"),
        ("ALTER TABLE meta RENAME COLUMN value TO other", "its table meta is not"),
        (
            "DROP TABLE meta; CREATE VIEW meta AS SELECT 'restored' AS name, '' AS value",
            "its view meta is not",
        ),
        (
            "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE name = 'meta'",
            "its table meta is not",
        ),
        ("DELETE FROM schema_migrations", "it holds no store"),
        ("DELETE FROM schema_migrations WHERE version > 1", "its"),
        ("DELETE FROM blobs", "it reports damage"),
        ("UPDATE assertions SET content = x'00'", "cannot read a stored assertion"),
        ("UPDATE revisions SET epoch = 'none'", "cannot"),
    ] {
        try_with(with(script), script, wanted);
    }
    try_with(Vec::new(), "empty", "it holds no store");
    try_with(b"no database at all\n".repeat(1000), "text", "it reports damage");
    try_with(whole[2].1[..whole[2].1.len() / 2].to_vec(), "half", "it reports damage");
    fs::remove_file(&file).expect("it is there");
    Connection::open(&file).and_then(|made| made.execute_batch("VACUUM")).expect("an empty database");
    try_with(fs::read(&file).expect("a database"), "without tables", "it holds no store");
    let _ = vault.rebuild("open", "host", &["--secrets", &secrets]);
}
