//! Attempts at a certificate: the order at the ACME authority, and the settings that put what came in force.

use std::time::Duration;

use instant_acme::{Account, RevocationReason, RevocationRequest};
use schema::config::Settings;
use schema::tls::Pair;
use tracing::{info, warn};

use crate::acme::account::{self, Saved};
use crate::acme::{AcmeError, order};
use crate::site::Site;

/// The longest that one attempt may take.
const LONGEST: Duration = Duration::from_secs(600);
/// How often one attempt begins anew after what is cured by that.
const BEGINNINGS: usize = 4;

/// Gets a certificate if one is due, unless the last attempt was too short a time ago. How it ended is in the status
/// and in the log too.
pub(crate) async fn renew_if_due(site: &Site) -> Result<(), AcmeError> {
    let _one_at_a_time = site.acme().working.lock().await;
    if !site.acme().is_due(&site.settings()) {
        return Ok(());
    }
    attempt(site).await.map(drop)
}

/// Gets a certificate now. With `revoke` the one it replaces is revoked once the new one is in use.
///
/// # Errors
/// Whatever stands in the way; the old certificate is in use then, but after [`AcmeError::NotRevoked`].
pub(crate) async fn renew(site: &Site, revoke: bool) -> Result<(), AcmeError> {
    let _one_at_a_time = site.acme().working.lock().await;
    let before = site.settings().tls_pair().ok().flatten();
    let account = attempt(site).await?;
    if let (true, Some(before)) = (revoke, &before) {
        let reason = Some(RevocationReason::Superseded);
        let request = RevocationRequest { certificate: &before.chain()[0], reason };
        account.revoke(&request).await.map_err(AcmeError::NotRevoked)?;
        info!(subject = before.subject(), "The replaced certificate was revoked");
    }
    Ok(())
}

/// Tries once, and notes how it ended.
async fn attempt(site: &Site) -> Result<Account, AcmeError> {
    let settings = site.settings();
    if settings.acme.directory.is_none() {
        return Err(AcmeError::Off);
    }
    let stop = site.acme().interruption();
    let obtaining = tokio::time::timeout(LONGEST, obtain(site, &settings));
    let done = match stop.run_until_cancelled(obtaining).await {
        None => Err(AcmeError::Interrupted),
        Some(Err(_)) => Err(AcmeError::Slow(LONGEST)),
        Some(Ok(Err(error))) => Err(error),
        Some(Ok(Ok((account, pair)))) => put_in_force(site, &pair).await.map(|()| account),
    };
    site.acme().note(done.as_ref().err());
    done
}

/// A checked certificate, and the account that it was made for.
async fn obtain(site: &Site, settings: &Settings) -> Result<(Account, Pair), AcmeError> {
    let folder = &site.acme().folder;
    for _ in 1..BEGINNINGS {
        match obtain_once(site, settings).await {
            Err(error) if error.is_bad_nonce() => {}
            Err(error) if error.is_unknown_account() => {
                warn!("The ACME authority does not know the account any more: making a new one");
                Saved::forget(folder)?;
            }
            done => return done,
        }
    }
    obtain_once(site, settings).await
}

async fn obtain_once(site: &Site, settings: &Settings) -> Result<(Account, Pair), AcmeError> {
    let account = account::open(&site.acme().folder, settings, site.data_dir()).await?;
    let pair = order::fulfil(&account, settings, site.tls().challenges()).await?;
    Ok((account, pair))
}

async fn put_in_force(site: &Site, pair: &Pair) -> Result<(), AcmeError> {
    let (cert, key) = (pair.cert_pem(), pair.key_pem());
    let values = [("proxy.tls.cert", cert.as_str()), ("proxy.tls.key", key.as_str())];
    let done = site.configure("acme", |settings| settings.set_all(values)).await;
    done.map_err(|error| AcmeError::NotTaken(Box::new(error)))?;
    Saved::mark(&site.acme().folder, true)?;
    info!(
        subject = pair.subject(),
        not_after = %pair.not_after(),
        "A certificate came from the ACME authority, valid until {}",
        pair.not_after()
    );
    Ok(())
}
