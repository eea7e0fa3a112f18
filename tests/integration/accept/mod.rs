//! The accept loop of the real server under attack: floods, slow peers, spent descriptors, malformed requests, odd framing,
//! and headers that lie (hazards G1 to G11).
//!
//! Deadlines are shortened with the build that takes other limits, never skipped; `AIRLOCK_ATTACK=long tests/run accept::`
//! runs everything at the size of the hazards.

mod descriptors;
mod endings;
mod errors;
mod floods;
mod framing;
mod lies;
mod malformed;
mod ranges;
mod readers;

use tests::device::{Device, Snapd};
use tests::http::Request;
use tests::server::{Server, Setup};
use tests::world::{Revision, World};

/// A store with one public snap, and a device that nobody knows.
struct Gate {
    store: Server,
    device: Device,
    snap: Revision,
}

impl Gate {
    fn on(setup: Setup, payload: usize) -> Self {
        let world = World::new();
        let store = setup.start();
        store.trust(&world);
        let snap = world.snap("hello").payload(payload).revision(1);
        store.push_pair(&snap, &["latest/stable"], "ubuntu");
        let device = Device::anonymous(&store, Snapd::V2_77);
        Self { store, device, snap }
    }

    /// What a well-behaved device asks.
    fn question(&self) -> Request {
        self.device.info_get("hello", "download")
    }

    /// The whole file.
    fn download(&self) -> Request {
        let target = format!("/api/v1/snaps/download/{}_1.snap", self.snap.snap.id);
        self.device.download_request("GET", &target, None)
    }

    /// Is a newcomer served?
    fn serves(&self) -> bool {
        tests::http::exchange(self.store.address, &self.question()).is_ok_and(|answer| answer.status == 200)
    }

    /// The connections to it that are not over, as the kernel sees them.
    fn connections(&self) -> usize {
        let port = format!(":{:04X} ", self.store.address.port());
        let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table of connections");
        // The local side is the second word; 0A listens, 06 waits for stray packets.
        let open = table.lines().filter(|line| {
            let mut words = line.split_whitespace().skip(1);
            let local = words.next().is_some_and(|local| format!("{local} ").ends_with(&port));
            let state = words.nth(1);
            local && !matches!(state, Some("0A" | "06"))
        });
        open.count()
    }
}

/// A bare request.
fn get(gate: &Gate, target: &str) -> Request {
    Request::new("GET", target, gate.store.host())
}
