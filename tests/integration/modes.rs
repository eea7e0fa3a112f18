//! Files with secrets are their owner's alone (hazard J3).

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use tests::server::{Server, Setup};

#[test]
fn a_configuration_that_others_may_read_ends_the_start() {
    let store = Server::start();
    let path = store.data_dir.join("airlock.yaml");
    let mode = || fs::metadata(&path).expect("the configuration").permissions().mode() & 0o7777;
    let _ = store.proxy(&["config", "proxy.log.level=info"]).ok();
    assert_eq!(mode(), 0o600, "whatever the umask");
    for name in ["airlock.db", "airlock.db-wal"] {
        let meta = fs::metadata(store.data_dir.join(name)).expect("the database");
        assert_eq!(meta.permissions().mode() & 0o7777, 0o600, "{name}");
    }
    let data_dir = store.data_dir.clone();
    let _stopped = store.stop();
    for open in [0o640, 0o604, 0o644, 0o660] {
        fs::set_permissions(&path, Permissions::from_mode(open)).expect("a file of our own");
        let refused = Setup::empty().start_at(&data_dir).err().expect("the start is refused");
        assert!(
            refused.contains("airlock.yaml can be read by others") && refused.contains("chmod 600"),
            "{refused}"
        );
        assert_eq!(mode(), open, "nothing is changed in passing");
    }
    fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a file of our own");
    drop(Setup::empty().start_at(&data_dir).expect("now it starts"));
}
