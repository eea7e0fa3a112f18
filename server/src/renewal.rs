//! Attempts at a certificate, from the ACME authority or the store's own, and the settings that put what came in force.

use std::path::PathBuf;
use std::time::Duration;
use std::{fs, io};

use instant_acme::{Account, RevocationReason, RevocationRequest};
use schema::config::Settings;
use schema::tls::{Authority, AuthorityError, Level, Pair, Stamp, expiry};
use tracing::{info, warn};
use zeroize::Zeroizing;

use crate::acme::account::{self, Saved};
use crate::acme::{AcmeError, order};
use crate::clock;
use crate::site::{ConfigureError, Site};

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

/// Why the store's own authority gave no new certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OwnError {
    /// A file of the authority.
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// The authority.
    #[error("the store's own authority gives no new certificate")]
    Authority(#[from] AuthorityError),
    /// The system gives no random bytes.
    #[error("cannot get random bytes from the system")]
    Random,
    /// The settings were not taken.
    #[error("cannot put the new certificate in force")]
    NotTaken(#[from] Box<ConfigureError>),
}

/// Renews a certificate of the store's own authority in the last third of its life. Where this process may not read the
/// authority's key, `proxy ca renew` does it.
pub(crate) async fn renew_own_if_due(site: &Site) -> Result<(), OwnError> {
    let settings = site.settings();
    let Ok(Some(held)) = settings.tls_pair() else { return Ok(()) };
    if settings.acme.directory.is_some()
        || settings.tls.files.is_some()
        || expiry(&held, clock::now()).level == Level::Fine
    {
        return Ok(());
    }
    let folder = site.data_dir().join("ca");
    let read = |name: &str| {
        let path = folder.join(name);
        fs::read_to_string(&path).map_err(|source| OwnError::Read { path, source })
    };
    let (Ok(cert), key) = (read("ca.pem"), read("ca.key").map(Zeroizing::new)) else { return Ok(()) };
    let key = match key {
        Err(OwnError::Read { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
            return Ok(());
        }
        key => key?,
    };
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| OwnError::Random)?;
    let authority = Authority::from_pem(&cert, &key)?;
    let Some(issued) = authority.renew(&held, Stamp { now: clock::now(), serial })? else { return Ok(()) };
    let values = [("proxy.tls.cert", &*issued.cert_pem), ("proxy.tls.key", &*issued.key_pem)];
    site.configure("ca", |settings| settings.set_all(values)).await.map_err(Box::new)?;
    info!(subject = held.subject(), "The store's own authority renewed the certificate");
    Ok(())
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
