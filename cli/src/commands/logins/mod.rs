//! Service logins.

pub(crate) mod create_login;
pub(crate) mod list_logins;
pub(crate) mod revoke_login;
