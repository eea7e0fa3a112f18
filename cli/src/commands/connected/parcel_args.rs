//! The options by which `fetch-…` commands write parcels.

use std::path::PathBuf;

use crate::context::Context;
use crate::sender::{Destination, SenderHome};

/// A parcel instead of bundles.
#[derive(Debug, clap::Args)]
pub(crate) struct ParcelArgs {
    /// Write a parcel with exactly what this site lacks: its receipt, or the code that `receipt --code` shows there
    #[arg(long = "for", id = "for_site", value_name = "RECEIPT|CODE")]
    pub(crate) for_site: Option<PathBuf>,

    /// Largest part of the parcel; K, M and G are powers of 1024 [default: a single part]
    #[arg(long, value_name = "SIZE", value_parser = size, requires = "for_site")]
    pub(crate) part_size: Option<u64>,

    /// Carry whole files, even where a difference to what the site has is smaller
    #[arg(long, requires = "for_site")]
    pub(crate) whole_files: bool,

    /// Take the receipt of a site that was restored, or has another key than before
    #[arg(long, requires = "for_site")]
    site_changed: bool,
}

impl ParcelArgs {
    /// Whether a parcel is wanted.
    pub(crate) fn is_given(&self) -> bool {
        self.for_site.is_some()
    }

    /// The sender on this host, and the site.
    pub(crate) fn open(
        &self,
        context: &Context,
    ) -> anyhow::Result<(Option<SenderHome>, Option<Box<Destination>>)> {
        let Some(told) = &self.for_site else { return Ok((None, None)) };
        let home = SenderHome::of(context)?;
        let site = Destination::open(&home, told, self.site_changed)?;
        Ok((Some(home), Some(Box::new(site))))
    }
}

/// Smallest part in bytes; anything less would create thousands of parts.
const SMALLEST: u64 = 1 << 20;

/// A size with its unit.
pub(crate) fn size(text: &str) -> Result<u64, &'static str> {
    let (digits, factor) = match text.char_indices().next_back() {
        Some((at, 'K' | 'k')) => (&text[..at], 1 << 10),
        Some((at, 'M' | 'm')) => (&text[..at], 1 << 20),
        Some((at, 'G' | 'g')) => (&text[..at], 1 << 30),
        _ => (text, 1),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
    bytes.filter(|bytes| *bytes >= SMALLEST).ok_or("expected a size of at least 1M, such as 3900M")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(size("3900M"), Ok(3900 << 20));
        assert_eq!(size("4g"), Ok(4 << 30));
        assert_eq!(size("2048K"), Ok(2 << 20));
        assert_eq!(size("1048576"), Ok(1 << 20));
        for bad in ["", "M", "1023K", "-1G", "1.5G", "99999999999999G", "1T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
