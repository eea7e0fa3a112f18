//! The list of serials that a factory may give out: CSV with a serial and, if it belongs to one piece of hardware, its id.
//!
//! ```text
//! serial,hardware-id
//! FG2-000417,00:16:3e:5a:11:07
//! FG2-000418
//! ```

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::assertion::is_strict_serial;

/// Most lines of a list.
pub const MAX_LISTED: usize = 200_000;
/// Longest serial or hardware id, in bytes.
const LONGEST: usize = 128;

/// A serial that may be given out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ListedSerial {
    /// The serial.
    pub serial: String,
    /// The hardware that it belongs to; empty for any device of the model.
    #[serde(default)]
    pub hardware_id: String,
}

/// Why a text is no list of serials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ListError {
    /// A line has another form.
    #[error("line {0}: expected SERIAL or SERIAL,HARDWARE-ID, without quotes")]
    Line(usize),
    /// A serial that other documents cannot carry.
    #[error(
        "line {0}: {1:?} cannot be a serial: letters and digits, with single dashes, colons or plus signs between them"
    )]
    Serial(usize, String),
    /// A serial or hardware id occurs twice.
    #[error("line {0}: {1:?} is listed twice")]
    Twice(usize, String),
    /// There is no serial.
    #[error("there is no serial in it")]
    Empty,
    /// It is too long.
    #[error("it has more than {MAX_LISTED} lines")]
    TooLong,
}

/// Reads a list; empty lines and a heading that begins with `serial` are skipped.
///
/// # Errors
/// [`ListError`] names the line.
pub fn read_list(text: &str) -> Result<Vec<ListedSerial>, ListError> {
    let (mut list, mut serials, mut hardware) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
        let line = line.trim();
        let (serial, hardware_id) = line.split_once(',').unwrap_or((line, ""));
        let (serial, hardware_id) = (serial.trim(), hardware_id.trim());
        if line.is_empty() || (list.is_empty() && serial == "serial") {
            continue;
        }
        let plain = |text: &str| text.len() <= LONGEST && text.bytes().all(|b| b.is_ascii_graphic());
        if !plain(hardware_id) || hardware_id.contains([',', '"']) || serial.contains('"') {
            return Err(ListError::Line(number));
        }
        if !plain(serial) || !is_strict_serial(serial) {
            return Err(ListError::Serial(number, serial.chars().take(LONGEST).collect()));
        }
        if !serials.insert(serial) {
            return Err(ListError::Twice(number, serial.to_owned()));
        }
        if !hardware_id.is_empty() && !hardware.insert(hardware_id) {
            return Err(ListError::Twice(number, hardware_id.to_owned()));
        }
        if list.len() == MAX_LISTED {
            return Err(ListError::TooLong);
        }
        list.push(ListedSerial { serial: serial.to_owned(), hardware_id: hardware_id.to_owned() });
    }
    if list.is_empty() { Err(ListError::Empty) } else { Ok(list) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_serials_and_hardware() {
        let listed = |serial: &str, hardware: &str| ListedSerial {
            serial: serial.to_owned(),
            hardware_id: hardware.to_owned(),
        };
        let text = "serial,hardware-id\r\nFG2-1,00:16:3e\r\n\r\n FG2-2 , \nFG2-3";
        let wanted = [listed("FG2-1", "00:16:3e"), listed("FG2-2", ""), listed("FG2-3", "")];
        assert_eq!(read_list(text).expect("a list"), wanted);
        for (bad, wanted) in [
            ("", ListError::Empty),
            ("serial\n", ListError::Empty),
            ("a/b", ListError::Serial(1, "a/b".to_owned())),
            ("a\nb--c", ListError::Serial(2, "b--c".to_owned())),
            ("a,b,c", ListError::Line(1)),
            ("\"a\",b", ListError::Line(1)),
            ("a\nserial\na", ListError::Twice(3, "a".to_owned())),
            ("a,x\nb,x", ListError::Twice(2, "x".to_owned())),
        ] {
            assert_eq!(read_list(bad), Err(wanted), "{bad:?}");
        }
    }
}
