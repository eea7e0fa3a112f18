//! Wire types: what devices send and receive, and the operator's API between `proxy` and the server.

pub mod admin;
pub mod credential;
pub mod device;
pub mod object;
pub mod range;
pub mod text;
