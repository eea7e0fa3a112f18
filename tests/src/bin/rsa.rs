//! What one check of an RSA-4096 signature costs here: the CPU microseconds, for the benchmarks.

use std::fs;

use anyhow::{Context, anyhow};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair, RSA_PKCS1_2048_8192_SHA512, RSA_PKCS1_SHA512, RsaKeyPair, UnparsedPublicKey,
};

/// Checks to measure.
const CHECKS: u32 = 20_000;

fn main() -> anyhow::Result<()> {
    let failed = |_| anyhow!("cannot use RSA");
    let key = RsaKeyPair::generate(KeySize::Rsa4096).map_err(failed)?;
    let mut signature = vec![0; key.public_modulus_len()];
    let content = b"a document";
    key.sign(&RSA_PKCS1_SHA512, &SystemRandom::new(), content, &mut signature).map_err(failed)?;
    let public = key.public_key().as_ref();
    let before = cpu_nanoseconds()?;
    for _ in 0..CHECKS {
        // The key is parsed each time, as each device brings its own.
        UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA512, public)
            .verify(content, &signature)
            .map_err(failed)?;
    }
    let spent = cpu_nanoseconds()? - before;
    println!("{:.3}", spent as f64 / 1000.0 / f64::from(CHECKS));
    Ok(())
}

/// What this thread has spent on a CPU so far.
fn cpu_nanoseconds() -> anyhow::Result<u64> {
    let stat = fs::read_to_string("/proc/thread-self/schedstat")?;
    let first = stat.split_whitespace().next();
    first.and_then(|text| text.parse().ok()).context("cannot read the scheduler's account")
}
