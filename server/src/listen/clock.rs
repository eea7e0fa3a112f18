//! The phases of one connection and the deadline of each.
//!
//! Only the connection's task advances the clock. The accept loop reads it to find who has waited longest, and gives
//! orders through it: leave, or finish the current request.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, ready};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Limits;
use super::depth::SHALLOW;

/// How many bytes the slowest peer that is never cut off reads in the longest time that it may seem to read nothing: 4 KiB/s
/// for the default of `write_stall`.
const PER_STALL: f64 = 480.0 * 1024.0;

/// The names of a connection's phases, in order.
pub(crate) const PHASES: [&str; 5] = ["handshake", "head", "request", "idle", "ending"];

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Accepted, no HTTP yet.
    Handshake,
    /// Waiting for the head of a request.
    Head,
    /// A request is being handled or answered; the time is the server's, or the body's deadline applies.
    Request,
    /// Answered, and no byte of the next request has arrived.
    Idle,
    /// Nothing more is read or answered; written data is on its way.
    Ending,
    /// The server closed its side at this moment and waits for the peer to close.
    Lingering(Instant),
}

/// Why the server closes a connection.
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

/// An order from the accept loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// Close now: another connection needs the slot.
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
    /// Since when the peer has accepted none of the bytes to be sent.
    blocked: Option<Instant>,
    /// The most bytes that the kernel may hold for the peer.
    held: u32,
    order: Option<Order>,
    /// The end of the grace period after shutdown.
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
                held: SHALLOW,
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

    /// The peer sent data.
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

    /// The last chunk of the answer is on its way.
    pub(super) fn response_ends(&self) {
        self.enter(Phase::Idle);
    }

    /// No more requests; the peer has `limits.write_stall`, and the time for what the kernel holds, to accept what was written.
    pub(super) fn ends(&self) {
        self.enter(Phase::Ending);
        self.state().blocked.get_or_insert_with(Instant::now);
    }

    /// Everything is sent, including the end of the stream.
    pub(super) fn lingers(&self) {
        let mut state = self.state();
        state.blocked = None;
        state.since = Instant::now();
        state.phase = Phase::Lingering(state.since);
    }

    /// The kernel may hold so many bytes for the peer.
    pub(super) fn holds(&self, bytes: u32) {
        self.state().held = bytes;
    }

    /// The peer does not accept data.
    pub(super) fn write_blocked(&self) {
        let mut state = self.state();
        state.blocked.get_or_insert_with(Instant::now);
    }

    /// The peer accepted data.
    pub(super) fn bytes_left(&self) {
        let mut state = self.state();
        state.blocked = None;
        if state.phase == Phase::Idle {
            state.since = Instant::now();
        }
    }

    /// The current phase, as an index into [`PHASES`].
    pub(super) fn phase(&self) -> usize {
        match self.state().phase {
            Phase::Handshake => 0,
            Phase::Head => 1,
            Phase::Request => 2,
            Phase::Idle => 3,
            Phase::Ending | Phase::Lingering(_) => 4,
        }
    }

    /// Since when the connection has had no request; `None` while it has one or an answer is on its way.
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

    /// Waits until the connection's slot is needed.
    pub(super) async fn dismissed(&self) {
        while self.ordered().await != Order::Leave {}
    }

    /// Waits until a deadline has passed.
    ///
    /// Must be polled whenever the connection was, because that is when the clock advances. The timer is reset only
    /// when a deadline moves closer, so a series of quick requests hardly touches it.
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

    /// The nearest deadline.
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
        // What the kernel holds must leave at the slowest rate that is never cut off, behind a window that may be closed:
        // half of it before it accepts more, all of it at the end.
        let leaving = if state.phase == Phase::Ending { state.held } else { state.held / 2 };
        let patience = self.limits.write_stall.mul_f64(1.0 + f64::from(leaving) / PER_STALL);
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
