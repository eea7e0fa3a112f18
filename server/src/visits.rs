//! Browsers that were let in: links that open the pages once, and the visits that they or a login began. All of it is in memory and ends
//! with the process.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schema::service_login::{Acl, ServiceLogin};
use sha2::{Digest, Sha256};

/// Seconds that a link waits to be opened.
pub(crate) const LINK: u64 = 300;
/// Seconds without anything done by a person after which a visit ends that may change something.
const IDLE: u64 = 30 * 60;
/// Seconds after which every visit ends.
const LONGEST: u64 = 24 * 3600;
/// Links and visits at a time; the oldest make room.
const MOST: usize = 1000;

/// Who asks: what a visit may do is decided anew at each call.
#[derive(Debug, Clone)]
pub(crate) enum Visitor {
    /// A user of this host, who reached a socket.
    User {
        /// As the audit log names them.
        name: String,
        /// Whether the socket was the one for reading.
        reads: bool,
    },
    /// The holder of a service login.
    Login(Arc<ServiceLogin>),
}

impl Visitor {
    /// Whether they have one of these permissions, provided that their login still stands.
    pub(crate) fn may(&self, any_of: &[Acl]) -> bool {
        match self {
            Self::User { reads, .. } => !reads || any_of.contains(&Acl::AdminRead),
            Self::Login(login) => login.may(any_of),
        }
    }

    /// Whether they are a user of the server's host.
    pub(crate) fn is_on_host(&self) -> bool {
        matches!(self, Self::User { .. })
    }

    /// Whether they can only look.
    fn only_reads(&self) -> bool {
        !self.may(&[Acl::AdminImports]) && !self.may(&[Acl::Overrides])
    }
}

impl fmt::Display for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User { name, .. } => f.write_str(name),
            Self::Login(login) => write!(f, "login {}", login.id),
        }
    }
}

/// What the next page tells.
#[derive(Debug, Clone)]
pub(crate) struct Notice {
    /// Whether it went well.
    pub(crate) well: bool,
    /// What happened.
    pub(crate) text: String,
}

struct Visit {
    visitor: Visitor,
    begun: u64,
    used: u64,
    notice: Option<Notice>,
}

impl Visit {
    fn is_over(&self, now: u64) -> bool {
        let idle = now.saturating_sub(self.used) >= IDLE && !self.visitor.only_reads();
        idle || now.saturating_sub(self.begun) >= LONGEST
    }
}

/// A secret is remembered by its digest only.
type Print = [u8; 32];

/// Open links and visits.
#[derive(Default)]
pub(crate) struct Visits {
    links: Mutex<HashMap<Print, (Visitor, u64)>>,
    visits: Mutex<HashMap<Print, Visit>>,
}

impl Visits {
    /// A secret that begins a visit once; `None` if the system has no random numbers.
    pub(crate) fn invite(&self, visitor: Visitor, now: u64) -> Option<String> {
        let secret = secret()?;
        let mut links = lock(&self.links);
        links.retain(|_, (_, made)| now.saturating_sub(*made) < LINK);
        make_room(&mut links, |(_, made)| *made);
        links.insert(print(&secret), (visitor, now));
        Some(secret)
    }

    /// Takes a link: nobody can take it again.
    pub(crate) fn accept(&self, secret: &str, now: u64) -> Option<Visitor> {
        let (visitor, made) = lock(&self.links).remove(&print(secret))?;
        (now.saturating_sub(made) < LINK).then_some(visitor)
    }

    /// Begins a visit and answers its secret; `None` if the system has no random numbers.
    pub(crate) fn begin(&self, visitor: Visitor, now: u64) -> Option<String> {
        let secret = secret()?;
        let mut visits = lock(&self.visits);
        visits.retain(|_, visit| !visit.is_over(now));
        make_room(&mut visits, |visit| visit.used);
        visits.insert(print(&secret), Visit { visitor, begun: now, used: now, notice: None });
        Some(secret)
    }

    /// Whose visit this is, while it lasts. What a page does by itself does not make it last.
    pub(crate) fn visitor(&self, secret: &str, by_person: bool, now: u64) -> Option<Visitor> {
        let mut visits = lock(&self.visits);
        let visit = visits.get_mut(&print(secret)).filter(|visit| !visit.is_over(now))?;
        if by_person {
            visit.used = now;
        }
        Some(visit.visitor.clone())
    }

    /// Ends a visit.
    pub(crate) fn end(&self, secret: &str) {
        lock(&self.visits).remove(&print(secret));
    }

    /// Has the next page tell something.
    pub(crate) fn tell(&self, secret: &str, notice: Notice) {
        if let Some(visit) = lock(&self.visits).get_mut(&print(secret)) {
            visit.notice = Some(notice);
        }
    }

    /// What is to be told, once.
    pub(crate) fn told(&self, secret: &str) -> Option<Notice> {
        lock(&self.visits).get_mut(&print(secret))?.notice.take()
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn make_room<K: Hash + Eq + Copy, V>(all: &mut HashMap<K, V>, age: impl Fn(&V) -> u64) {
    if all.len() >= MOST
        && let Some(oldest) = all.iter().min_by_key(|(_, one)| age(one)).map(|(key, _)| *key)
    {
        all.remove(&oldest);
    }
}

fn secret() -> Option<String> {
    let mut random = [0; 32];
    rand::fill(&mut random).ok()?;
    Some(URL_SAFE_NO_PAD.encode(random))
}

fn print(secret: &str) -> Print {
    Sha256::digest(secret).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(reads: bool) -> Visitor {
        Visitor::User { name: "uid 0".into(), reads }
    }

    #[test]
    fn a_link_opens_once_and_for_five_minutes() {
        let visits = Visits::default();
        let link = visits.invite(user(false), 1000).unwrap();
        assert!(visits.accept("another", 1000).is_none());
        assert!(visits.accept(&link, 1000 + LINK - 1).is_some());
        assert!(visits.accept(&link, 1000).is_none(), "a link that was opened");
        let late = visits.invite(user(false), 1000).unwrap();
        assert!(visits.accept(&late, 1000 + LINK).is_none());
    }

    #[test]
    fn a_visit_ends_when_nobody_is_there() {
        let visits = Visits::default();
        let secret = visits.begin(user(false), 0).unwrap();
        assert!(visits.visitor(&secret, true, IDLE - 1).is_some());
        // The page alone does not prolong it.
        assert!(visits.visitor(&secret, false, 2 * IDLE - 2).is_some());
        assert!(visits.visitor(&secret, true, 2 * IDLE - 1).is_none());
        let screen = visits.begin(user(true), 0).unwrap();
        assert!(visits.visitor(&screen, false, LONGEST - 1).is_some(), "a screen on a wall");
        assert!(visits.visitor(&screen, true, LONGEST).is_none());
        let ended = visits.begin(user(false), 0).unwrap();
        visits.end(&ended);
        assert!(visits.visitor(&ended, true, 0).is_none());
    }

    #[test]
    fn the_oldest_makes_room() {
        let visits = Visits::default();
        let first = visits.begin(user(false), 0).unwrap();
        let others: Vec<_> = (0..MOST).map(|_| visits.begin(user(false), 1).unwrap()).collect();
        assert!(visits.visitor(&first, true, 1).is_none());
        assert!(visits.visitor(&others[0], true, 1).is_some());
    }

    #[test]
    fn a_notice_is_told_once() {
        let visits = Visits::default();
        let secret = visits.begin(user(false), 0).unwrap();
        visits.tell(&secret, Notice { well: true, text: "Paused".into() });
        assert_eq!(visits.told(&secret).unwrap().text, "Paused");
        assert!(visits.told(&secret).is_none());
    }
}
