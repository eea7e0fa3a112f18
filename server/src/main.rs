//! proxyd
#[cfg_attr(not(test), expect(dead_code, reason = "the routes come next"))]
mod http;
#[cfg_attr(not(test), expect(dead_code, reason = "the start-up comes next"))]
mod listen;

fn main() {}
