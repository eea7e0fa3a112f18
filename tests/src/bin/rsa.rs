//! What the signatures behind a session cost here: the CPU microseconds, for the benchmarks.
//!
//! `rsa one` checks one RSA-4096 signature, as for a known device; `rsa first` also checks the two of its brand, and signs once
//! with Ed25519.

use std::fs;

use anyhow::{Context, anyhow, bail};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    Ed25519KeyPair, KeyPair as _, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA512, RsaKeyPair, UnparsedPublicKey,
};

/// How often the signatures are measured.
const TIMES: u32 = 10_000;

/// What is signed.
const CONTENT: &[u8] = b"a document";

fn main() -> anyhow::Result<()> {
    let brand = match std::env::args().nth(1).as_deref() {
        Some("one") => 0,
        Some("first") => 2,
        _ => bail!("usage: rsa one|first"),
    };
    let failed = |_| anyhow!("cannot use RSA");
    let (device, model) = (Signed::new(KeySize::Rsa4096), Signed::new(KeySize::Rsa2048));
    let (device, model) = (device.map_err(failed)?, model.map_err(failed)?);
    let session = Ed25519KeyPair::from_seed_unchecked(&[7; 32])?;
    let before = cpu_nanoseconds()?;
    for _ in 0..TIMES {
        device.check().map_err(failed)?;
        for _ in 0..brand {
            model.check().map_err(failed)?;
        }
        if brand > 0 {
            std::hint::black_box(session.sign(CONTENT));
        }
    }
    let spent = cpu_nanoseconds()? - before;
    println!("{:.3}", spent as f64 / 1000.0 / f64::from(TIMES));
    Ok(())
}

/// A key and what it signed.
struct Signed {
    key: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    fn new(size: KeySize) -> Result<Self, Unspecified> {
        let key = RsaKeyPair::generate(size)?;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), CONTENT, &mut signature)?;
        Ok(Self { key: key.public_key().as_ref().to_owned(), signature })
    }

    /// The key is parsed each time, as each device brings its own.
    fn check(&self) -> Result<(), Unspecified> {
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA512, &self.key).verify(CONTENT, &self.signature)
    }
}

/// What this thread has spent on a CPU so far.
fn cpu_nanoseconds() -> anyhow::Result<u64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = stat.split_whitespace().next();
    first.and_then(|text| text.parse().ok()).context("cannot read the scheduler's account")
}
