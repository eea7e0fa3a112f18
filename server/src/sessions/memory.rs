//! Remembers successful verifications: tokens by their text, assertions by their digest.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use foldhash::quality::RandomState;
use schema::session::Session;

use super::enrolled::Enrolled;

/// Most entries per kind; enough for a fleet, a few megabytes. A full memory is cleared.
const MOST: usize = 8192;

/// A session, and the time in seconds since 1970 at which its token must be checked again.
type Remembered = (Arc<Session>, u64);

/// Bounded memory of valid signatures. Failures are never remembered.
#[derive(Default)]
pub(crate) struct Memory {
    /// Only tokens that this store signed get in, so nobody chooses the keys, and a hash whose seed nobody knows will do.
    sessions: RwLock<HashMap<Box<str>, Remembered, RandomState>>,
    documents: Mutex<Option<Documents>>,
}

/// Model and serial pairs that verified with the keys of one catalog.
#[derive(Clone)]
pub(crate) struct Documents {
    generation: i64,
    pairs: Arc<Mutex<HashMap<[u8; 32], Arc<Enrolled>>>>,
}

impl Memory {
    /// Clears everything, for example when the accepted keys change.
    pub(crate) fn clear(&self) {
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).clear();
        *self.documents.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// A previously accepted token, and when it must be checked again.
    pub(crate) fn session(&self, token: &str) -> Option<Remembered> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    /// Remembers an accepted token until `until`, in seconds since 1970.
    pub(crate) fn remember_session(&self, token: &str, session: Arc<Session>, until: u64) {
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        if sessions.len() >= MOST {
            sessions.clear();
        }
        sessions.insert(token.into(), (session, until));
    }

    /// The pairs that verified in this catalog generation. Another generation starts empty, because a key may have
    /// been revoked.
    pub(crate) fn documents(&self, generation: i64) -> Documents {
        let mut current = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        match &*current {
            Some(documents) if documents.generation == generation => documents.clone(),
            _ => current.insert(Documents { generation, pairs: Arc::default() }).clone(),
        }
    }
}

impl Documents {
    /// An empty memory.
    #[cfg(test)]
    pub(crate) fn none() -> Self {
        Self { generation: 0, pairs: Arc::default() }
    }

    /// What this pair says, if it was verified.
    pub(crate) fn find(&self, digest: &[u8; 32]) -> Option<Arc<Enrolled>> {
        self.pairs.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    /// Records what a pair says that was verified.
    pub(crate) fn remember(&self, digest: [u8; 32], says: Arc<Enrolled>) {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        if pairs.len() >= MOST {
            pairs.clear();
        }
        pairs.insert(digest, says);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_known_while_the_catalog_is_the_same() {
        let (memory, digest) = (Memory::default(), [7; 32]);
        let (says, knows) = (Enrolled::any(), |documents: Documents| documents.find(&digest).is_some());
        memory.documents(1).remember(digest, says.clone());
        assert!(knows(memory.documents(1)) && memory.documents(1).find(&[8; 32]).is_none());
        assert!(!knows(memory.documents(2)), "a key may have been revoked");
        memory.documents(2).remember(digest, says);
        memory.clear();
        assert!(!knows(memory.documents(2)));
    }

    #[test]
    fn a_full_memory_is_forgotten_whole() {
        let (memory, documents) = (Memory::default(), Documents::none());
        let session = Arc::new(Session {
            device: "acme/gateway/GW-1".parse().unwrap(),
            store: None,
            verified: true,
            issued: 0,
            expires: 2,
        });
        let digest = |number: usize| -> [u8; 32] { std::array::from_fn(|at| (number >> (at % 4 * 8)) as u8) };
        let says = Enrolled::any();
        for number in 0..=MOST {
            memory.remember_session(&number.to_string(), session.clone(), 9);
            documents.remember(digest(number), says.clone());
            let most = number < MOST;
            assert_eq!(
                (memory.session("0").is_some(), documents.find(&digest(0)).is_some()),
                (most, most),
                "{number}"
            );
            assert_eq!(memory.session(&number.to_string()), Some((session.clone(), 9)));
        }
        memory.clear();
        assert_eq!(memory.session(&MOST.to_string()), None);
    }
}
