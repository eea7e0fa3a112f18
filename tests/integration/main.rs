//! The store as devices and operators meet it: the real server, real databases, real clients.

mod acme;
mod answers;
mod crash;
mod hostile;
mod isolation;
mod life;
mod replay;
mod sessions;
mod snap_tool;
