//! Wire shapes: what devices send and read, and what the operator's companion asks the server.

pub mod admin;
pub mod credential;
pub mod device;
pub mod object;
pub mod range;
