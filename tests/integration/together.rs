//! Several imports at once end as one after another would have (hazard E10).

use tests::bundle::Bundle;
use tests::device::{Device, Snapd};
use tests::http::Request;
use tests::server::Server;
use tests::world::World;

/// Operators at once, and how often each pushes.
const OPERATORS: u32 = 8;
const ROUNDS: u32 = 6;

#[test]
fn imports_at_once_end_as_one_after_another() {
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    let hello = world.snap("hello").payload(20_000);
    std::thread::scope(|scope| {
        for operator in 0..OPERATORS {
            let (store, hello) = (&store, &hello);
            scope.spawn(move || {
                for round in 1..=ROUNDS {
                    // Each revision is brought by two operators, who may well do so in the same moment.
                    let revision = hello.revision(round * OPERATORS + operator / 2);
                    let own = format!("track-{operator}/stable");
                    store.push_pair(&revision, &[&own, "latest/edge"], "ubuntu");
                }
            });
        }
    });
    let mut device = Device::anonymous(&store, Snapd::V2_77).trusting(&world);
    for operator in 0..OPERATORS {
        let outcome = device.install("hello", &format!("track-{operator}/stable")).expect("its own channel");
        assert_eq!(
            outcome.snap.revision,
            ROUNDS * OPERATORS + operator / 2,
            "the last word of operator {operator}"
        );
        device.fetch_and_check(&outcome).expect("its file and documents");
    }
    let edge = device.install("hello", "edge").expect("the channel of all").snap.revision;
    assert!(
        (ROUNDS * OPERATORS..ROUNDS * OPERATORS + OPERATORS / 2).contains(&edge),
        "{edge} was nobody's last word"
    );
    let events = store.proxy(&["audit", "--json"]).ok();
    let pushes =
        events.lines().filter(|line| line.contains("push-snaps") && line.contains("\"done\"")).count();
    assert_eq!(pushes, usize::try_from(OPERATORS * ROUNDS).expect("a small number"));
    let _ = store.proxy(&["verify"]).ok();
}

/// Each map replaces what is held for its architecture and keeps the rest as it is: whatever another one has just brought.
#[test]
fn maps_brought_at_once_lose_no_architecture() {
    const ARCHITECTURES: [&str; 4] = ["amd64", "arm64", "armhf", "riscv64"];
    let (world, store) = (World::new(), Server::start());
    store.trust(&world);
    std::thread::scope(|scope| {
        for (revision, architecture) in (1..).zip(ARCHITECTURES) {
            let (store, snap) = (&store, world.snap("hello").architectures(&[architecture]));
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let revision = snap.revision(round * OPERATORS + revision);
                    let mut bundle = Bundle::new(&snap, &[(&revision, &["latest/stable"])]);
                    architecture.clone_into(&mut bundle.releases[0].architecture);
                    store.push_bundle(&bundle);
                }
            });
        }
    });
    for (revision, architecture) in (1_u32..).zip(ARCHITECTURES) {
        let target = format!("/v2/snaps/info/hello?architecture={architecture}&fields=channel-map");
        let info = store.send(&Request::new("GET", &target, store.host())).json();
        let last = (ROUNDS - 1) * OPERATORS + revision;
        assert_eq!(info["channel-map"][0]["revision"], last, "the last word for {architecture}: {info}");
    }
}
