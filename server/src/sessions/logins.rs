//! Service logins: made for an operator, accepted from whoever holds one, as long as it is not over or taken back.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::rand;
use schema::service_login::{LoginError, LoginKey, ServiceLogin};

use crate::catalog::Catalog;
use crate::storage::records::LoginRecord;

/// Why no login was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CreateError {
    /// There is no secret to make it with.
    #[error("proxy.auth.secret is not set: run `proxy enable-airgap-mode`, which makes one")]
    NoSecret,
    /// The system gave no random bytes.
    #[error("cannot get random bytes from the system")]
    Random,
    /// The login cannot be written.
    #[error(transparent)]
    Login(#[from] LoginError),
}

/// What makes and accepts logins.
#[derive(Default)]
pub(crate) struct Logins {
    key: ArcSwapOption<LoginKey>,
}

impl Logins {
    /// Takes the key in force; without one, no login is made or accepted.
    pub(crate) fn configure(&self, key: Option<LoginKey>) {
        self.key.store(key.map(Arc::new));
    }

    /// Makes a login for what `record` says, and its token.
    pub(crate) fn create(&self, record: &LoginRecord) -> Result<(String, String), CreateError> {
        let key = self.key.load_full().ok_or(CreateError::NoSecret)?;
        let mut random = [0; 12];
        rand::fill(&mut random).map_err(|_| CreateError::Random)?;
        let login = ServiceLogin {
            id: ServiceLogin::id_of(random),
            store: record.store.clone(),
            acls: record.acls.clone(),
            expires: record.expires,
        };
        let token = login.mint(&key)?;
        Ok((login.id, token))
    }

    /// The login that a token stands for at `now` (seconds since 1970); `None` for anything else.
    pub(crate) fn accept(&self, token: &str, catalog: &Catalog, now: u64) -> Option<Arc<ServiceLogin>> {
        let mut login = ServiceLogin::open(token, self.key.load().as_deref()?, now).ok()?;
        // What the database does not know was made by somebody who got hold of the secret alone.
        let known = catalog.logins().get(&login.id)?;
        login.acls.retain(|acl| known.acls.contains(acl));
        let stands = !known.revoked && known.store == login.store;
        stands.then(|| Arc::new(login))
    }
}
