//! The store as devices and operators meet it: the real server, real databases, real clients.

mod acme;
mod admin_api;
mod answers;
mod archives;
mod crash;
mod faults;
mod fetch;
mod fleet;
mod fuzz;
mod gc;
mod hostile;
mod isolation;
mod life;
mod logins;
mod observe;
mod overrides;
mod overrides_api;
mod relay;
mod removing;
mod replay;
mod rotate;
mod sessions;
mod snap_tool;
mod two_servers;
mod verify;
