//! The store as devices and operators meet it: the real server, real databases, real clients.

mod acme;
mod answers;
mod archives;
mod crash;
mod fetch;
mod fleet;
mod fuzz;
mod gc;
mod hostile;
mod isolation;
mod life;
mod logins;
mod overrides;
mod relay;
mod removing;
mod replay;
mod rotate;
mod sessions;
mod snap_tool;
mod verify;
