//! One block of a tar archive, read strictly: anything that two readers could interpret differently is rejected.
//!
//! ```text
//!   0 name 100 · mode 8 · uid 8 · gid 8 · size 12 · mtime 12 · checksum 8 · type 1 · link name 100
//! 257 magic 6 · version 2 · user 32 · group 32 · device 16 · prefix 155 · padding 12
//! ```
//!
//! Three forms share this layout: the oldest (no magic, nothing after the link name), POSIX ustar, and GNU's, which
//! uses the prefix for other things. Source: POSIX.1-2024, pax, "ustar Interchange Format".

/// Bytes of a block; headers are one, contents are padded to a multiple.
pub(super) const BLOCK: usize = 512;

/// What a header announces.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The raw name; not empty.
    pub(super) name: Vec<u8>,
    /// Bytes of content after the header.
    pub(super) size: u64,
    pub(super) kind: Kind,
}

/// The forms of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Oldest,
    Posix,
    Gnu,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Folder,
    /// PAX records for the next entry.
    PaxNext,
    /// PAX records for all entries that follow.
    PaxGlobal,
    /// The next entry's name, GNU's way.
    GnuName,
    /// Anything else; the type byte.
    Other(u8),
}

/// Reads a header that is not all zeros; the error is the broken rule.
pub(super) fn header(block: &[u8; BLOCK]) -> Result<Header, &'static str> {
    let sum: u64 = block.iter().map(|&byte| u64::from(byte)).sum();
    let field: u64 = block[148..156].iter().map(|&byte| u64::from(byte)).sum();
    if octal(&block[148..156])? != sum - field + 8 * u64::from(b' ') {
        return Err("the checksum is wrong");
    }
    let mut name = text(&block[..100])?.to_vec();
    let form = match &block[257..265] {
        b"ustar\x0000" => {
            let prefix = text(&block[345..500])?;
            if !prefix.is_empty() {
                name = [prefix, b"/", &name].concat();
            }
            zeros(&block[500..])?;
            Form::Posix
        }
        b"ustar  \0" => {
            zeros(&block[345..])?;
            Form::Gnu
        }
        _ => {
            zeros(&block[257..])?;
            Form::Oldest
        }
    };
    let kind = match block[156] {
        b'0' | 0 => Kind::File,
        b'5' => Kind::Folder,
        b'x' => Kind::PaxNext,
        b'g' => Kind::PaxGlobal,
        b'L' => Kind::GnuName,
        other => Kind::Other(other),
    };
    // Readers disagree about extensions in a header of another form: some ignore them.
    match (kind, form) {
        (Kind::PaxNext | Kind::PaxGlobal, Form::Oldest) | (Kind::GnuName, Form::Oldest | Form::Posix) => {
            return Err("this kind of header has no such extension");
        }
        _ => {}
    }
    if name.is_empty() {
        return Err("the name is empty");
    }
    if kind == Kind::File && block[157] != 0 {
        return Err("a regular file names a link target");
    }
    let size = octal(&block[124..136])?;
    if kind == Kind::Folder && size != 0 {
        return Err("a folder has content");
    }
    Ok(Header { name, size, kind })
}

/// Describes a type byte that is not accepted.
pub(super) fn describe(kind: u8) -> String {
    match kind {
        b'1' => "a hard link".into(),
        b'2' => "a symbolic link".into(),
        b'3' | b'4' => "a device".into(),
        b'6' => "a fifo".into(),
        b'S' => "a sparse file".into(),
        other => format!("of type {:?}", char::from(other)),
    }
}

/// A field up to its first NUL; nothing but NULs may follow.
fn text(field: &[u8]) -> Result<&[u8], &'static str> {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    match zeros(&field[end..]) {
        Ok(()) => Ok(&field[..end]),
        Err(_) => Err("a name goes on behind its end"),
    }
}

/// Spaces, octal digits, then at least one NUL or space. The binary form for sizes from 8 GiB on is rejected: PAX and
/// older readers disagree about it.
fn octal(field: &[u8]) -> Result<u64, &'static str> {
    const RULE: &str = "a number is not written in octal digits (entries from 8 GiB on cannot be read)";
    let (Some(start), Some(end)) = (
        field.iter().position(|&byte| byte != b' '),
        field.iter().rposition(|&byte| byte != b' ' && byte != 0),
    ) else {
        return Err(RULE);
    };
    let digits = field.get(start..=end).unwrap_or_default();
    if end + 1 == field.len() || digits.is_empty() || !digits.iter().all(|byte| (b'0'..=b'7').contains(byte))
    {
        return Err(RULE);
    }
    Ok(digits.iter().fold(0, |number, &digit| number * 8 + u64::from(digit - b'0')))
}

fn zeros(field: &[u8]) -> Result<(), &'static str> {
    match field.iter().all(|&byte| byte == 0) {
        true => Ok(()),
        false => Err("there is data in fields that this kind of header does not have"),
    }
}
