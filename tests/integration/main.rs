//! The store as devices and operators meet it: the real server, real databases, real clients.

mod answers;
mod crash;
mod gc;
mod hostile;
mod isolation;
mod life;
mod replay;
mod rotate;
mod sessions;
mod snap_tool;
mod verify;
