//! Which connections are open, and which one makes room for a new one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Limits;
use super::clock::{Clock, Order, PHASES};
use super::counts::Counts;

/// The open connections of one listener.
pub(super) struct Admission {
    limits: Arc<Limits>,
    counts: Arc<Counts>,
    registry: Mutex<Registry>,
}

#[derive(Default)]
struct Registry {
    peers: HashMap<IpAddr, HashMap<u64, Arc<Clock>>>,
    open: usize,
    next_id: u64,
}

/// A slot for one connection, released when dropped.
pub(super) struct Admitted {
    pub(super) clock: Arc<Clock>,
    pub(super) counts: Arc<Counts>,
    admission: Arc<Admission>,
    peer: IpAddr,
    id: u64,
}

impl Admission {
    pub(super) fn new(limits: Arc<Limits>) -> Admission {
        Admission { limits, counts: Arc::default(), registry: Mutex::default() }
    }

    /// A slot for a connection of `peer`. At a cap, the connection that has waited longest without a request (of that
    /// address, or of all) is closed for it. `None` if none is waiting.
    pub(super) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Admitted> {
        let peer = accountable(peer);
        let mut registry = self.registry();
        let of_peer = registry.peers.get(&peer).map_or(0, HashMap::len);
        if of_peer >= self.limits.per_address && !self.dismiss(&mut registry, Some(peer)) {
            self.counts.refused_address();
            return None;
        }
        if registry.open >= self.limits.total && !self.dismiss(&mut registry, None) {
            self.counts.refused_total();
            return None;
        }
        self.counts.accepted();
        let clock = Arc::new(Clock::new(Arc::clone(&self.limits)));
        let id = registry.next_id;
        registry.next_id += 1;
        registry.open += 1;
        registry.peers.entry(peer).or_default().insert(id, Arc::clone(&clock));
        Some(Admitted { clock, counts: Arc::clone(&self.counts), admission: Arc::clone(self), peer, id })
    }

    /// Closes up to `count` connections, those that have waited longest without a request.
    pub(super) fn make_room(&self, count: usize) {
        let mut registry = self.registry();
        for _ in 0..count {
            if !self.dismiss(&mut registry, None) {
                break;
            }
        }
    }

    /// Tells all connections to finish; says how many there are.
    pub(super) fn drain(&self) -> usize {
        let registry = self.registry();
        for clock in registry.peers.values().flat_map(HashMap::values) {
            clock.order(Order::Finish);
        }
        registry.open
    }

    /// The counters so far.
    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// How many connections are in each phase, in the order of [`PHASES`].
    pub(super) fn phases(&self) -> [usize; PHASES.len()] {
        let mut phases = [0; PHASES.len()];
        for clock in self.registry().peers.values().flat_map(HashMap::values) {
            phases[clock.phase()] += 1;
        }
        phases
    }

    fn dismiss(&self, registry: &mut Registry, peer: Option<IpAddr>) -> bool {
        let dismissed = registry.dismiss_longest_waiting(peer);
        if dismissed {
            self.counts.made_room();
        }
        dismissed
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Registry {
    /// Checks every candidate connection. At the total cap this costs about ten microseconds per accepted connection,
    /// which slows a flood down rather than helping it.
    fn dismiss_longest_waiting(&mut self, peer: Option<IpAddr>) -> bool {
        let longest = self
            .peers
            .iter()
            .filter(|(address, _)| peer.is_none_or(|peer| peer == **address))
            .flat_map(|(address, clocks)| clocks.iter().map(move |(id, clock)| (address, id, clock)))
            .filter_map(|(address, id, clock)| Some((clock.waiting_since()?, *address, *id)))
            .min();
        let Some((_, address, id)) = longest else {
            return false;
        };
        if let Some(clock) = self.remove(address, id) {
            clock.order(Order::Leave);
        }
        true
    }

    fn remove(&mut self, peer: IpAddr, id: u64) -> Option<Arc<Clock>> {
        let clocks = self.peers.get_mut(&peer)?;
        let clock = clocks.remove(&id)?;
        if clocks.is_empty() {
            self.peers.remove(&peer);
        }
        self.open -= 1;
        Some(clock)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        // Already removed if it was dismissed.
        self.admission.registry().remove(self.peer, self.id);
    }
}

/// The address that connections are counted by: one IPv4 address, or the IPv6 /64 from which one host picks its
/// addresses.
fn accountable(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(per_address: usize, total: usize) -> Arc<Admission> {
        let limits = Limits { per_address, total, ..Limits::default() };
        Arc::new(Admission::new(Arc::new(limits)))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[tokio::test]
    async fn the_longest_waiting_makes_room_and_requests_in_flight_stay() {
        let admission = admission(8, 3);
        let busy = admission.admit(address("10.0.0.1")).expect("room");
        busy.clock.request_begins();
        let older = admission.admit(address("10.0.0.2")).expect("room");
        let newer = admission.admit(address("10.0.0.3")).expect("room");

        let fourth = admission.admit(address("10.0.0.4")).expect("room is made");
        assert_eq!(older.clock.ordered().await, Order::Leave);
        for clock in [&newer.clock, &fourth.clock] {
            clock.request_begins();
        }
        drop(older);
        assert!(admission.admit(address("10.0.0.5")).is_none(), "all busy");
        drop(newer);
        assert!(admission.admit(address("10.0.0.5")).is_some());
    }

    #[tokio::test]
    async fn one_address_makes_room_among_its_own() {
        let admission = admission(2, 8);
        let other = admission.admit(address("10.0.0.9")).expect("room");
        let first = admission.admit(address("10.0.0.1")).expect("room");
        let second = admission.admit(address("::ffff:10.0.0.1")).expect("room");
        second.clock.request_begins();
        let third = admission.admit(address("10.0.0.1")).expect("room is made");
        assert_eq!(first.clock.ordered().await, Order::Leave);
        third.clock.request_begins();
        assert!(admission.admit(address("10.0.0.1")).is_none());
        assert!(other.clock.waiting_since().is_some());
    }

    #[test]
    fn hosts_are_told_apart_by_address_or_by_ipv6_network() {
        assert_eq!(accountable(address("::ffff:10.0.0.1")), address("10.0.0.1"));
        assert_eq!(accountable(address("2001:db8:1:2:3:4:5:6")), address("2001:db8:1:2::"));
    }
}
