//! `proxy` as an operator uses it: the real program, and a server that answers from a table.

mod acme;
mod certificates;
mod config;
mod fetch;
mod manners;
mod push;
mod report;
mod support;
