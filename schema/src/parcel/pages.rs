//! A receipt as texts of a size that a QR code holds, for a site that can show something and send nothing out.
//!
//! ```text
//! AIRLOCK-RECEIPT 2/14 K7Q2ZB4A MFRGGZDF…
//! ```
//!
//! Each text has its number and how many there are, the beginning of the digest of the whole receipt, which keeps the texts
//! of two receipts apart, and a part of the receipt in base32: letters and digits that a QR code packs tightly.

use data_encoding::BASE32_NOPAD;

use super::ParcelError;
use crate::digest::Sha3_384;

/// What each text begins with.
const WORD: &str = "AIRLOCK-RECEIPT";
/// Bytes of a receipt in one text: about as many as phones read from a screen.
const PART: usize = 1400;
/// The most texts that are put together.
const MOST: usize = 10_000;

/// The texts of a receipt, in order.
#[must_use]
pub fn pages(receipt: &[u8]) -> Vec<String> {
    let (parts, check) = (receipt.chunks(PART), check(receipt));
    let count = parts.len();
    let page = |(number, part)| format!("{WORD} {number}/{count} {check} {}", BASE32_NOPAD.encode(part));
    (1..).zip(parts).map(page).collect()
}

/// Whether a file that begins so holds such texts.
pub(super) fn begins(start: &[u8]) -> bool {
    start.trim_ascii_start().starts_with(WORD.as_bytes())
}

/// The receipt of texts, a line each, in any order and as often as they were read; `None` where the file holds no such text.
///
/// # Errors
/// A line is something else or of another receipt, or texts are lacking.
pub(super) fn receipt_of(file: &[u8]) -> Result<Option<Vec<u8>>, ParcelError> {
    let Some(text) = str::from_utf8(file).ok().filter(|_| begins(file)) else {
        return Ok(None);
    };
    let mut found: Option<(&str, Vec<Option<Vec<u8>>>)> = None;
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = || ParcelError::Page(number);
        let (at, count, check, part) = read(line).ok_or_else(wrong)?;
        let (own, parts) = found.get_or_insert_with(|| (check, vec![None; count]));
        if *own != check || parts.len() != count {
            return Err(wrong());
        }
        parts[at - 1] = Some(part);
    }
    let (check_of, parts) = found.unwrap_or_default();
    let lacking: Vec<String> = (1..)
        .zip(&parts)
        .filter(|(_, part)| part.is_none())
        .map(|(number, _): (usize, _)| number.to_string())
        .collect();
    if !lacking.is_empty() {
        return Err(ParcelError::Pages(lacking.join(", "), parts.len()));
    }
    let receipt: Vec<u8> = parts.into_iter().flatten().flatten().collect();
    if check(&receipt) != check_of {
        return Err(ParcelError::Damaged("the text of the receipt"));
    }
    Ok(Some(receipt))
}

/// Number, count, check and part of a text.
fn read(line: &str) -> Option<(usize, usize, &str, Vec<u8>)> {
    let mut words = line.split_ascii_whitespace();
    words.next().filter(|word| *word == WORD)?;
    let (at, count) = words.next()?.split_once('/')?;
    let (at, count) = (at.parse().ok()?, count.parse().ok()?);
    let (check, part) = (words.next()?, BASE32_NOPAD.decode(words.next()?.as_bytes()).ok()?);
    (words.next().is_none() && (1..=count).contains(&at) && count <= MOST).then_some((at, count, check, part))
}

fn check(receipt: &[u8]) -> String {
    BASE32_NOPAD.encode(&Sha3_384::of(receipt).0[..5])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_back_in_any_order_and_more_than_once() {
        let receipt: Vec<u8> = (0..5000_u32).flat_map(u32::to_be_bytes).collect();
        let mut all = pages(&receipt);
        assert_eq!(all.len(), 15);
        let fits = |c: char| c.is_ascii_digit() || c.is_ascii_uppercase() || " -/".contains(c);
        assert!(all.iter().all(|page| page.len() < 2300 && page.chars().all(fits)));
        all.reverse();
        all.push(all[3].clone());
        let text = format!("\r\n{}\r\n\n", all.join("\r\n"));
        assert_eq!(receipt_of(text.as_bytes()), Ok(Some(receipt)));
    }

    #[test]
    fn pages_that_are_lacking_damaged_or_of_another_receipt_are_named() {
        let (one, two) = (pages(&[7; 5000]), pages(&[8; 5000]));
        let said = |lines: &[&String]| {
            let text = lines.iter().map(|line| line.as_str()).collect::<Vec<_>>().join("\n");
            receipt_of(text.as_bytes()).unwrap_err()
        };
        assert_eq!(said(&[&one[0], &one[2]]), ParcelError::Pages("2, 4".into(), 4));
        assert_eq!(said(&[&one[0], &two[1]]), ParcelError::Page(2));
        assert_eq!(said(&[&one[0], &"12:30 scanned".into()]), ParcelError::Page(2));
        // A part in which one letter was read wrong.
        let wrong = one[1].replacen("A4DQ", "A4DR", 1);
        assert_eq!(
            said(&[&one[0], &wrong, &one[2], &one[3]]),
            ParcelError::Damaged("the text of the receipt")
        );
        for line in
            ["AIRLOCK-RECEIPT 0/1 A A", "AIRLOCK-RECEIPT 2/1 A A", "AIRLOCK-RECEIPT 1/99999999999 A AA"]
        {
            assert_eq!(receipt_of(line.as_bytes()), Err(ParcelError::Page(1)), "{line}");
        }
        assert_eq!(receipt_of(b"airlock-receipt\n{}"), Ok(None));
    }
}
