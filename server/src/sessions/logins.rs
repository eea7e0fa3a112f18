//! Service logins: created for an operator, accepted from any holder until they expire or are revoked.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::rand;
use schema::service_login::{LoginError, LoginKey, ServiceLogin};

use super::AcceptedKey;
use crate::catalog::Catalog;
use crate::storage::records::LoginRecord;

/// Why a login was not created.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CreateError {
    /// There is no secret to sign it with.
    #[error("proxy.auth.secret is not set: run `proxy enable-airgap-mode`, which makes one")]
    NoSecret,
    /// The system provided no random bytes.
    #[error("cannot get random bytes from the system")]
    Random,
    /// The login cannot be encoded.
    #[error(transparent)]
    Login(#[from] LoginError),
}

/// A new login.
pub(crate) struct Made {
    /// Its id.
    pub(crate) id: String,
    /// The bearer token.
    pub(crate) token: String,
    /// The id of the signing key.
    pub(crate) key: String,
}

/// Creates and verifies logins.
#[derive(Default)]
pub(crate) struct Logins {
    /// The signing key, then older accepted keys; empty before air-gapped mode.
    keys: ArcSwap<Vec<AcceptedKey<LoginKey>>>,
}

impl Logins {
    /// Sets the keys, starting with the signing key; without any, no login is created or accepted.
    pub(crate) fn configure(&self, keys: Vec<AcceptedKey<LoginKey>>) {
        self.keys.store(Arc::new(keys));
    }

    /// The keys accepted now, the signing key first.
    pub(crate) fn accepted_keys(&self) -> Vec<AcceptedKey<LoginKey>> {
        AcceptedKey::good(&self.keys.load())
    }

    /// Creates the login described by `record`.
    pub(crate) fn create(&self, record: &LoginRecord) -> Result<Made, CreateError> {
        let keys = self.keys.load();
        let key = &keys.first().ok_or(CreateError::NoSecret)?.key;
        let mut random = [0; 12];
        rand::fill(&mut random).map_err(|_| CreateError::Random)?;
        let login = ServiceLogin {
            id: ServiceLogin::id_of(random),
            store: record.store.clone(),
            acls: record.acls.clone(),
            expires: record.expires,
        };
        Ok(Made { token: login.mint(key)?, id: login.id, key: key.id().to_owned() })
    }

    /// The login behind a token at `now` (seconds since 1970); `None` if it is not accepted.
    pub(crate) fn accept(&self, token: &str, catalog: &Catalog, now: u64) -> Option<Arc<ServiceLogin>> {
        let keys = self.keys.load();
        let good = keys.iter().filter(|accepted| accepted.is_good(now)).map(|accepted| &accepted.key);
        let open = |key| ServiceLogin::open(token, key, now).ok().map(|login| (login, key));
        let (mut login, key) = { good }.find_map(open)?;
        // A login that the database does not know was created by somebody who only has the secret. So was one with
        // another key than the recorded one, which a leaked old secret would allow.
        let known = catalog.logins().get(&login.id)?;
        login.acls.retain(|acl| known.acls.contains(acl));
        let made_so = known.key.as_ref().is_none_or(|made_with| made_with == key.id());
        (made_so && stands(&login, known)).then(|| Arc::new(login))
    }

    /// Whether a login that was accepted before still is.
    pub(crate) fn still_accept(&self, login: &ServiceLogin, catalog: &Catalog, now: u64) -> bool {
        let by_known_key = |key: &String| self.accepts_key(key);
        let holds = |known: &LoginRecord| known.key.as_ref().is_none_or(by_known_key) && stands(login, known);
        now < login.expires && catalog.logins().get(&login.id).is_some_and(holds)
    }

    /// Whether logins signed with the key of this id are still accepted.
    pub(crate) fn accepts_key(&self, id: &str) -> bool {
        self.accepted_keys().iter().any(|accepted| accepted.key.id() == id)
    }
}

/// Whether what is recorded of a login lets it through.
fn stands(login: &ServiceLogin, known: &LoginRecord) -> bool {
    !known.revoked && known.store == login.store
}
