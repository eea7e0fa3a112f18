//! The operator's pages use no word of the field that they do not explain.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The page that explains the words.
const TERMS: &str = "terms.md";

/// Words of the field that a page may use, and that a reader may not know.
const FIELD: &[&str] = &[
    "account key",
    "assertion",
    "audit log",
    "base",
    "brand",
    "brand store",
    "bundle",
    "channel",
    "cohort",
    "component",
    "confinement",
    "delta",
    "device session",
    "digest",
    "epoch",
    "four eyes",
    "gadget",
    "generation",
    "grant",
    "login",
    "macaroon",
    "model",
    "nonce",
    "override",
    "parcel",
    "receipt",
    "refresh",
    "release",
    "remodel",
    "revision",
    "risk",
    "rollout",
    "sequence",
    "serial",
    "snap",
    "soak",
    "store assertion",
    "sub-store",
    "system-user",
    "track",
    "train",
    "validation set",
    "wave",
];

/// Names of files, which are no abbreviations.
const NAMES: &[&str] = &["ARCHITECTURE", "CHANGELOG", "HAZARDS", "LICENSE"];

/// The words that the page explains: what is bold.
fn explained(terms: &str) -> BTreeSet<String> {
    terms.split("**").skip(1).step_by(2).map(str::to_owned).collect()
}

/// The page's text without code.
fn prose(page: &str) -> String {
    let mut text = String::new();
    let mut in_block = false;
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block && !line.starts_with("    ") {
            let outside = line.split('`').step_by(2).flat_map(str::split_whitespace);
            // Addresses and the frame of PEM text stand for themselves.
            for word in outside.filter(|word| !word.contains("://") && !word.contains("-----")) {
                text.push_str(word);
                text.push(' ');
            }
        }
    }
    text
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_alphanumeric() || c == '-')).filter(|word| !word.is_empty())
}

/// Abbreviations in the text, in the singular.
fn abbreviations(text: &str) -> BTreeSet<String> {
    let is_one =
        |word: &&str| word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    let alone =
        words(text).flat_map(|word| word.split('-')).map(|word| word.strip_suffix('s').unwrap_or(word));
    let found = alone.filter(is_one).filter(|word| word.starts_with(|c: char| c.is_ascii_uppercase()));
    // SHA3, PKCS1 and the like are known by their family.
    found
        .map(|word| if word == "S3" { word } else { word.trim_end_matches(|c: char| c.is_ascii_digit()) })
        .filter(|word| word.len() > 1)
        .map(str::to_owned)
        .collect()
}

/// Words of the field in the text, in the singular.
fn of_the_field(text: &str) -> BTreeSet<&'static str> {
    let spaced = format!(" {} ", words(&text.to_lowercase()).collect::<Vec<_>>().join(" "));
    let has = |word: &str| spaced.contains(&format!(" {word} ")) || spaced.contains(&format!(" {word}s "));
    FIELD.iter().copied().filter(|word| has(word)).collect()
}

/// What a reader of each page would have to ask somebody.
fn unexplained(pages: &BTreeMap<String, String>) -> Vec<String> {
    let explained = explained(pages.get(TERMS).map(String::as_str).unwrap_or_default());
    let mut missing = Vec::new();
    for (name, page) in pages {
        let text = prose(page);
        let mut used: BTreeSet<String> = of_the_field(&text).into_iter().map(str::to_owned).collect();
        used.extend(abbreviations(&text).into_iter().filter(|word| !NAMES.contains(&&**word)));
        let leads_there = name == TERMS || page.contains("terms.md)");
        let unknown = used.into_iter().filter(|word| !(explained.contains(word) && leads_there));
        missing.extend(unknown.map(|word| format!("{name}: {word}")));
    }
    missing
}

fn pages() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let docs = fs::read_dir(root.join("packaging/docs")).expect("the pages");
    let paths = docs.map(|entry| entry.expect("a page").path()).chain([root.join("README.md")]);
    let pages = paths.filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages
        .map(|path| {
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(path).expect("text"))
        })
        .collect()
}

#[test]
fn every_word_of_the_field_is_explained() {
    let missing = unexplained(&pages());
    assert!(missing.is_empty(), "explain in packaging/docs/terms.md, or lead there: {missing:#?}");
}

#[test]
fn a_word_that_nobody_explains_is_found() {
    let page = |text: &str| ("page.md".to_owned(), text.to_owned());
    let terms = (TERMS.to_owned(), "* **epoch**: …\n* **TLS**: …\n".to_owned());
    let of = |text: &str| unexplained(&BTreeMap::from([page(text), terms.clone()]));
    assert_eq!(of("The epochs over TLS, see [terms](terms.md)."), [""; 0]);
    assert_eq!(of("The epoch over TLS."), ["page.md: TLS", "page.md: epoch"]);
    assert_eq!(of("A cohort in an XYZ, see [terms](terms.md)."), ["page.md: XYZ", "page.md: cohort"]);
    assert_eq!(of("`cohort` and\n```\nXYZ\n```\n    XYZ\n"), [""; 0]);
}
