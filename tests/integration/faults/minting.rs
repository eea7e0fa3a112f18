//! The server dies, or its database fails, while it spends a nonce: the device repeats its request, as snapd does, and gets
//! its session, or is told that the nonce is void and gets one for a fresh nonce. Nobody ever gets two for one nonce.

use tests::device::session::{read_session, session_request, session_request_of};
use tests::device::{Device, Snapd};

use super::scene::{Engine, Scene};

#[test]
fn a_nonce_buys_one_session_through_every_fault() {
    let scene = Scene::new(Engine::Sqlite);
    let identity = &scene.witness.identity;
    let (mut points, mut repeated) = (0, 0);
    for fault in ["step", "fail"] {
        for step in 1.. {
            let place = scene.place();
            let doomed = place.start_doomed();
            let device = Device::new(&doomed, Snapd::V2_77, identity);
            let nonce = device.nonce().expect("a nonce");
            let triple = device.triple(&session_request(identity, &nonce), identity);
            place.arm(&format!("{fault}:{step}"));
            let answer = device.send(&device.session_post(&triple));
            let given = answer.as_ref().ok().and_then(|answer| read_session(answer).ok());
            let when = format!("{fault} at step {step}");
            if let (Ok(answer), None) = (&answer, &given) {
                assert_eq!(answer.status, 503, "{when}: {answer:?}");
            }
            let _ = if answer.is_ok() { doomed.kill() } else { doomed.wait() };
            if place.fired().is_none() {
                assert!(given.is_some(), "{when}");
                break;
            }
            points += 1;
            let store = place.start();
            let device = Device::new(&store, Snapd::V2_77, identity);
            let answer = device.send(&device.session_post(&triple)).expect("an answer");
            match read_session(&answer) {
                Ok(again) => {
                    repeated += 1;
                    assert_eq!(given.unwrap_or_else(|| again.clone()), again, "{when}");
                }
                // The store cannot tell that its database goes on where it was, so no nonce of its last life is good.
                Err(_) => {
                    assert_eq!(answer.status, 400, "{when}: the device that repeats its request: {answer:?}");
                    let fresh = session_request(identity, &device.nonce().expect("a nonce"));
                    let fresh = device.session_post(&device.triple(&fresh, identity));
                    let fresh = read_session(&device.send(&fresh).expect("an answer"));
                    fresh.unwrap_or_else(|refusal| panic!("{when}: with a fresh nonce: {refusal:?}"));
                }
            }
            let other = session_request_of(identity, &nonce).header("timestamp", "2026-11-20T18:00:00Z");
            let other = device.triple(&other.sign(&identity.key), identity);
            let refused = device.send(&device.session_post(&other)).expect("an answer");
            assert!(matches!(refused.status, 400 | 403), "{when}: {refused:?}");
        }
    }
    println!("{points} points of minting, after {repeated} of them the request could be repeated");
    assert!(repeated > 0, "no request could be repeated");
    assert!(points >= 4, "only {points} points");
}
