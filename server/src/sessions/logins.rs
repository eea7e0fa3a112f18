//! Service logins: made for an operator, accepted from whoever holds one, as long as it is not over or taken back.

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::rand;
use schema::service_login::{LoginError, LoginKey, ServiceLogin};

use super::AcceptedKey;
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

/// A login that was just made.
pub(crate) struct Made {
    /// Names it.
    pub(crate) id: String,
    /// Whoever has it, has the login.
    pub(crate) token: String,
    /// The id of the key that made it.
    pub(crate) key: String,
}

/// What makes and accepts logins.
#[derive(Default)]
pub(crate) struct Logins {
    /// The key that makes them, then those that are still accepted; empty before air-gapped mode.
    keys: ArcSwap<Vec<AcceptedKey<LoginKey>>>,
}

impl Logins {
    /// Takes the keys, which begin with the one in force; without any, no login is made or accepted.
    pub(crate) fn configure(&self, keys: Vec<AcceptedKey<LoginKey>>) {
        self.keys.store(Arc::new(keys));
    }

    /// The keys that are accepted at this moment, the one in force first.
    pub(crate) fn accepted_keys(&self) -> Vec<AcceptedKey<LoginKey>> {
        AcceptedKey::good(&self.keys.load())
    }

    /// Makes a login for what `record` says.
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

    /// The login that a token stands for at `now` (seconds since 1970); `None` for anything else.
    pub(crate) fn accept(&self, token: &str, catalog: &Catalog, now: u64) -> Option<Arc<ServiceLogin>> {
        let keys = self.keys.load();
        let good = keys.iter().filter(|accepted| accepted.is_good(now)).map(|accepted| &accepted.key);
        let open = |key| ServiceLogin::open(token, key, now).ok().map(|login| (login, key));
        let (mut login, key) = { good }.find_map(open)?;
        // What the database does not know was made by somebody who got hold of the secret alone; so was one whose key
        // is another than the login's, which is what a secret of before that leaked would be good for.
        let known = catalog.logins().get(&login.id)?;
        login.acls.retain(|acl| known.acls.contains(acl));
        let made_so = known.key.as_ref().is_none_or(|made_with| made_with == key.id());
        let stands = made_so && !known.revoked && known.store == login.store;
        stands.then(|| Arc::new(login))
    }

    /// Is a login still accepted that was made with the key of this id?
    pub(crate) fn accepts_key(&self, id: &str) -> bool {
        self.accepted_keys().iter().any(|accepted| accepted.key.id() == id)
    }
}
