//! The harness: a throw-away world of signed documents, the real programs, and a device that speaks as snapd does.
//!
//! ```no_run
//! use tests::{device::{Device, Snapd}, server::Server, world::World};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let world = World::new();
//! let hello = world.snap("hello");
//! let store = Server::start();
//! store.trust(&world);
//! store.push_pair(&hello.revision(7), &["latest/stable"], "ubuntu");
//! let mut device = Device::anonymous(&store, Snapd::V2_77);
//! assert_eq!(device.install("hello", "stable")?.snap.revision, 7);
//! # Ok(())
//! # }
//! ```
//!
//! | Module | Subject |
//! |---|---|
//! | [`world`] | accounts, keys, models, devices, snaps and their signed documents |
//! | [`snap`] | snap files and components: real squashfs, made without outside programs |
//! | [`bundle`] | the files an operator carries in: pairs, bundles, metadata |
//! | [`server`] | the real `proxyd` on a data directory of its own, and the real `proxy` beside it |
//! | [`device`] | a device: what snapd sends, and the checks snapd makes on what it gets |
//! | [`http`] | HTTP/1.1 to the byte |
//! | [`cpu`] | the processor time of other processes |
//! | [`bucket`] | an S3 object store of the test's own |
//! | [`pebble`] | an ACME authority of the test's own |
//! | [`postgres`] | a PostgreSQL cluster of the test's own |
//! | [`prometheus`] | metrics as a monitoring system reads them |
//! | [`factory`] | devices without a serial, and the registration of a site's key |
//! | [`serials`] | a brand's device service of the test's own |
//! | [`token`] | a PKCS#11 token of the test's own |
//! | [`relay`] | a connection that fails |
//! | [`peer`] | a client in charge of its connection: TLS versions, half-closes, goodbyes |
//! | [`screen`] | a store whose pages are open, and a browser to the byte |
//! | [`pages`] | pages for people whose commands are run |
//! | [`memory`] | folders that no disk is waited for |
//! | [`keys`] | RSA keys that are made once and kept |
//! | [`soak`] | mixed load while servers and database are killed |
//! | [`attack`] | chance that can be repeated, patience, and how large an attack is |
//! | [`nginx`] | a real reverse proxy in front of the server |
//!
//! A harness that cannot go on panics with a sentence that says what is missing.

pub mod attack;
pub mod bucket;
pub mod bundle;
pub mod cpu;
pub mod device;
pub mod factory;
pub mod http;
pub mod keys;
pub mod memory;
pub mod nginx;
pub mod pages;
pub mod pebble;
pub mod peer;
pub mod postgres;
pub mod prometheus;
pub mod relay;
pub mod screen;
pub mod serials;
pub mod server;
pub mod snap;
pub mod soak;
pub mod token;
pub mod world;
