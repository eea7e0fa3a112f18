//! Archives made by hand, since no honest writer makes these.

/// One entry: a header block, and whatever follows it.
#[derive(Clone)]
pub(super) struct Entry {
    name: Vec<u8>,
    kind: u8,
    link: Vec<u8>,
    size: Vec<u8>,
    magic: &'static [u8; 8],
    data: Vec<u8>,
    checksum: bool,
}

impl Entry {
    /// A regular file.
    pub(super) fn file(name: impl AsRef<[u8]>, data: &[u8]) -> Self {
        Self {
            name: name.as_ref().to_vec(),
            kind: b'0',
            link: Vec::new(),
            size: format!("{:011o}\0", data.len()).into_bytes(),
            magic: b"ustar\x0000",
            data: data.to_vec(),
            checksum: true,
        }
    }

    /// Something else than a file.
    pub(super) fn special(kind: u8, name: &str, link: &str) -> Self {
        Self { kind, link: link.as_bytes().to_vec(), ..Self::file(name, b"") }
    }

    /// An extension header with these records, `KEY=VALUE` each.
    pub(super) fn extension(records: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let rest = key.len() + value.len() + 3;
            let length =
                (1..).map(|digits| rest + digits).find(|length| length.to_string().len() + rest == *length);
            data.extend(length.expect("a length that counts itself").to_string().into_bytes());
            data.push(b' ');
            data.extend(key.as_bytes());
            data.push(b'=');
            data.extend(*value);
            data.push(b'\n');
        }
        Self { kind: b'x', ..Self::file("PaxHeaders/x", &data) }
    }

    /// Another type byte.
    pub(super) fn kind(self, kind: u8) -> Self {
        Self { kind, ..self }
    }

    /// Another text in the size field.
    pub(super) fn size(self, text: &[u8]) -> Self {
        Self { size: text.to_vec(), ..self }
    }

    /// A checksum that does not fit.
    pub(super) fn without_checksum(self) -> Self {
        Self { checksum: false, ..self }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut block = [0u8; 512];
        let mut put = |at: usize, bytes: &[u8], room: usize| {
            let length = bytes.len().min(room);
            block[at..at + length].copy_from_slice(&bytes[..length]);
        };
        put(0, &self.name, 100);
        put(100, b"0000644\0", 8);
        put(108, b"0000000\0", 8);
        put(116, b"0000000\0", 8);
        put(124, &self.size, 12);
        put(136, b"14544562745\0", 12);
        put(148, b"        ", 8);
        put(156, &[self.kind], 1);
        put(157, &self.link, 100);
        put(257, self.magic, 8);
        let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum::<u32>() + u32::from(!self.checksum);
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend(block);
        out.extend(&self.data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
}

/// An archive that ends as archives do.
pub(super) fn archive(entries: &[Entry]) -> Vec<u8> {
    let mut out = open_archive(entries);
    out.resize(out.len() + 1024, 0);
    out
}

/// An archive without its end.
pub(super) fn open_archive(entries: &[Entry]) -> Vec<u8> {
    let mut out = Vec::new();
    entries.iter().for_each(|entry| entry.write(&mut out));
    out
}
