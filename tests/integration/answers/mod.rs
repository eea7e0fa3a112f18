//! Answers that crash or freeze a fleet, one test for each row of
//! `schema/docs/store-api.md#mistakes-that-break-devices`.
//!
//! [`ROWS`] maps each row to its test; a row without a test, or a missing test, fails.

mod catalogue;
mod documents;
mod promises;
mod refresh;
mod transport;

use tests::device::{Device, Snapd};
use tests::server::Server;
use tests::world::{Snap, World};

/// A row of the table and its test, or the reason why this store cannot make the mistake.
const ROWS: [(u32, &str); 36] = [
    (1, "catalogue::content_types_are_exact"),
    (2, "documents::not_found_has_its_exact_shape"),
    (3, "catalogue::content_types_are_exact"),
    (4, "catalogue::names_begin_as_the_reader_wants"),
    (5, "transport::no_success_is_empty"),
    (6, "transport::what_is_not_there_is_told_in_json"),
    (7, "transport::every_void_session_is_told_to_renew"),
    (8, "transport::creations_answer_200"),
    (9, "transport::both_families_work_everywhere"),
    (10, "transport::an_empty_accept_and_no_content_type_are_fine"),
    (11, "refresh::unknown_fields_are_ignored"),
    (12, "refresh::types_of_fields_are_exact"),
    (13, "refresh::types_of_fields_are_exact"),
    (14, "refresh::types_of_fields_are_exact"),
    (15, "refresh::results_follow_the_actions"),
    (16, "refresh::results_follow_the_actions"),
    (17, "refresh::errors_are_tied_to_their_snap"),
    (18, "refresh::nothing_new_is_the_installed_revision"),
    (19, "documents::what_a_device_holds_is_never_not_found"),
    (20, "documents::groups_echo_their_key"),
    (21, "transport::answers_come_in_time"),
    (22, "transport::nobody_is_told_to_slow_down"),
    (23, "transport::resuming_never_fails_on_our_side"),
    (24, "transport::ranges_are_exact"),
    (25, "transport::downloads_do_not_redirect"),
    (26, "transport::posts_do_not_redirect"),
    (27, "transport::icons_are_whole_and_plain"),
    (28, "refresh::digests_are_spelled_for_their_place"),
    (29, "transport::what_is_not_there_is_told_in_json"),
    (30, "transport::the_root_says_its_version"),
    (31, "transport::downloads_can_be_asked_about"),
    (32, "transport::a_connection_may_rest"),
    (33, "transport::plain_http_1_is_enough"),
    (34, "(the device's own trust store; nothing of it is ours)"),
    (35, "transport::a_session_fits_into_a_header"),
    (36, "documents::accounts_and_keys_need_no_session"),
];

#[test]
fn every_row_has_its_test() {
    assert!(ROWS.iter().enumerate().all(|(index, (row, _))| *row as usize == index + 1));
    let sources = [
        ("catalogue", include_str!("catalogue.rs")),
        ("documents", include_str!("documents.rs")),
        ("refresh", include_str!("refresh.rs")),
        ("transport", include_str!("transport.rs")),
    ];
    for (row, test) in ROWS.iter().filter(|(_, test)| !test.starts_with('(')) {
        let (module, name) = test.split_once("::").expect("a module and a test");
        let (_, source) = sources.iter().find(|(held, _)| *held == module).expect("a module of this folder");
        assert!(source.contains(&format!("#[test]\nfn {name}()")), "row {row}: there is no test {test}");
    }
}

/// A store with one public snap in two channels, and a device without a session.
struct Shop {
    world: World,
    hello: Snap,
    store: Server,
    device: Device,
}

impl Shop {
    fn new() -> Self {
        let world = World::new();
        let store = Server::start();
        store.trust(&world);
        let hello = world.snap("hello").payload(200_000);
        store.push_pair(&hello.revision(1), &["latest/stable"], "ubuntu");
        store.push_pair(&hello.revision(2), &["latest/edge"], "ubuntu");
        store.push_pair(&world.snap("other").revision(5), &["latest/stable"], "ubuntu");
        let device = Device::anonymous(&store, Snapd::V2_77).trusting(&world);
        Self { world, hello, store, device }
    }
}
