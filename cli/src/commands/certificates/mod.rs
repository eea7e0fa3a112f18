//! Certificates of the server and authorities that it trusts.

pub(crate) mod acme;
pub(crate) mod ca;
pub(crate) mod import_certificate;
pub(crate) mod remove_ca_certs;
pub(crate) mod use_ca_certs;
