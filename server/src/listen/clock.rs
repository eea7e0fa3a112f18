//! The phases of one connection and the deadline of each.
//!
//! The connection's task alone moves the clock on. The accept loop reads it, to find who has
//! waited longest, and gives orders through it: leave, or finish what you are doing.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Limits;

/// Words for the phases of a connection, in their order.
pub(crate) const PHASES: [&str; 5] = ["handshake", "head", "request", "idle", "ending"];

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Accepted, no HTTP yet.
    Handshake,
    /// The head of a request is due.
    Head,
    /// A request is being handled or answered; time is ours, or counted for the body elsewhere.
    Request,
    /// Answered, and no byte of the next request yet.
    Idle,
    /// Nothing more is read or answered; what was written is on its way.
    Ending,
    /// We said goodbye, at this moment, and wait for the peer to do so.
    Lingering(Instant),
}

/// Why a connection is closed by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Expiry {
    #[error("the handshake took too long")]
    Handshake,
    #[error("the head of a request took too long")]
    Head,
    #[error("no request came")]
    Idle,
    #[error("the peer stopped reading")]
    WriteStall,
    #[error("the server stops")]
    Drain,
    #[error("the peer did not say goodbye")]
    Linger,
}

/// What the accept loop wants of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Close now: another connection needs the place.
    Leave,
    /// Close after the request in flight.
    Finish,
}

/// The clock of one connection.
#[derive(Debug)]
pub(super) struct Clock {
    limits: Arc<Limits>,
    state: Mutex<State>,
    ordered: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    since: Instant,
    /// Since when the peer has not taken a byte that we want to send.
    blocked: Option<Instant>,
    order: Option<Order>,
    /// The end of the grace period, once the server stops.
    last_moment: Option<Instant>,
}

impl Clock {
    pub(super) fn new(limits: Arc<Limits>) -> Clock {
        Clock {
            limits,
            state: Mutex::new(State {
                phase: Phase::Handshake,
                since: Instant::now(),
                blocked: None,
                order: None,
                last_moment: None,
            }),
            ordered: Notify::new(),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The connection carries HTTP from now on.
    pub(super) fn handshake_done(&self) {
        self.enter(Phase::Head);
    }

    /// The peer sent something.
    pub(super) fn bytes_came(&self) {
        let mut state = self.state();
        match state.phase {
            Phase::Idle => state.phase = Phase::Head,
            Phase::Lingering(_) => {}
            _ => return,
        }
        state.since = Instant::now();
    }

    /// The head of a request is complete.
    pub(super) fn request_begins(&self) {
        self.state().phase = Phase::Request;
    }

    /// The last piece of the answer is on its way.
    pub(super) fn response_ends(&self) {
        self.enter(Phase::Idle);
    }

    /// No more requests; what was written has twice `limits.write_stall` to be taken.
    pub(super) fn ends(&self) {
        self.enter(Phase::Ending);
        self.write_blocked();
    }

    /// We have said all, goodbye included.
    pub(super) fn lingers(&self) {
        let mut state = self.state();
        state.blocked = None;
        state.since = Instant::now();
        state.phase = Phase::Lingering(state.since);
    }

    /// The peer does not take what we want to send.
    pub(super) fn write_blocked(&self) {
        self.state().blocked.get_or_insert_with(Instant::now);
    }

    /// The peer took some bytes.
    pub(super) fn bytes_left(&self) {
        let mut state = self.state();
        state.blocked = None;
        if state.phase == Phase::Idle {
            state.since = Instant::now();
        }
    }

    /// The phase of this moment, as a place in [`PHASES`].
    pub(super) fn phase(&self) -> usize {
        match self.state().phase {
            Phase::Handshake => 0,
            Phase::Head => 1,
            Phase::Request => 2,
            Phase::Idle => 3,
            Phase::Ending | Phase::Lingering(_) => 4,
        }
    }

    /// Since when the connection has been without a request, or `None` while it has one or an answer is on its way.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        let state = self.state();
        let busy = matches!(state.phase, Phase::Request | Phase::Ending) || state.blocked.is_some();
        (!busy).then_some(state.since)
    }

    /// Gives the connection an order; with `Finish` it has `limits.drain` left.
    pub(super) fn order(&self, order: Order) {
        let mut state = self.state();
        state.order = Some(order);
        if order == Order::Finish {
            state.last_moment = Some(Instant::now() + self.limits.drain);
        }
        drop(state);
        self.ordered.notify_one();
    }

    /// Waits for the next order.
    pub(super) async fn ordered(&self) -> Order {
        loop {
            if let Some(order) = self.state().order.take() {
                return order;
            }
            self.ordered.notified().await;
        }
    }

    /// Waits until the place of the connection is needed.
    pub(super) async fn dismissed(&self) {
        while self.ordered().await != Order::Leave {}
    }

    /// Waits until a deadline has passed.
    ///
    /// Must be polled whenever the connection was, which is when the clock moves. The timer is set
    /// anew only when a deadline came nearer: in a row of quick requests it is hardly touched.
    pub(super) async fn expired(&self) -> Expiry {
        let mut timer = pin!(tokio::time::sleep(self.limits.handshake));
        poll_fn(|cx| {
            loop {
                let Some((deadline, expiry)) = self.deadline() else {
                    return Poll::Pending;
                };
                if timer.is_elapsed() {
                    if deadline <= Instant::now() {
                        return Poll::Ready(expiry);
                    }
                    timer.as_mut().reset(deadline);
                } else if deadline < timer.deadline() {
                    timer.as_mut().reset(deadline);
                }
                ready!(timer.as_mut().poll(cx));
            }
        })
        .await
    }

    /// The nearest deadline of the moment.
    fn deadline(&self) -> Option<(Instant, Expiry)> {
        let state = self.state();
        let phase = match state.phase {
            Phase::Handshake => Some((state.since + self.limits.handshake, Expiry::Handshake)),
            Phase::Head => Some((state.since + self.limits.head, Expiry::Head)),
            Phase::Request | Phase::Ending => None,
            Phase::Idle => Some((state.since + self.limits.idle, Expiry::Idle)),
            Phase::Lingering(begun) => {
                let quiet = state.since + self.limits.linger_quiet;
                Some((quiet.min(begun + self.limits.linger), Expiry::Linger))
            }
        };
        // At the end the kernel must send all that it holds, not just half of it before it takes more: with 128 KiB at 4 KiB/s behind
        // a window that is closed for 95 s, that takes longer than a stall may.
        let patience = self.limits.write_stall * if state.phase == Phase::Ending { 2 } else { 1 };
        let stall = state.blocked.map(|since| (since + patience, Expiry::WriteStall));
        let drain = state.last_moment.map(|at| (at, Expiry::Drain));
        [phase, stall, drain].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state();
        if state.phase == Phase::Ending {
            return;
        }
        state.phase = phase;
        state.since = Instant::now();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
