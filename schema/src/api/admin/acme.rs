//! Certificates from an ACME authority.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where the store gets its certificates from (RFC 8555).
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AcmeEnable {
    /// The authority's directory, an `https` URL.
    pub directory: String,
    /// PEM certificates to trust the directory with; without them it is trusted like other outgoing TLS.
    pub ca: Option<String>,
    /// Mail addresses that the authority may write to.
    pub contact: Vec<String>,
    /// Names and addresses that certificates cover beside `proxy.domain`.
    #[serde(default)]
    pub names: Vec<String>,
    /// How the store proves control of its name: `http-01` or `tls-alpn-01`.
    pub challenge: String,
    /// Binds the account to one that the authority already has.
    pub binding: Option<AcmeBinding>,
}

/// An external account binding (RFC 8555 §7.3.4).
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AcmeBinding {
    /// The key id.
    pub kid: String,
    /// The key in base64url.
    pub key: String,
}

/// Requests a new certificate now.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AcmeRenew {
    /// Revoke the replaced certificate once the new one is in use.
    #[serde(default)]
    pub revoke: bool,
}

/// The state of certificates from an ACME authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AcmeStatus {
    /// The authority's directory; `None` while ACME is off.
    pub directory: Option<String>,
    /// How the store proves control of its name: `http-01` or `tls-alpn-01`.
    pub challenge: String,
    /// The name or address that certificates are for.
    pub domain: String,
    /// Names and addresses that they cover beside it.
    #[serde(default)]
    pub names: Vec<String>,
    /// Mail addresses that the authority may write to.
    pub contact: Vec<String>,
    /// The key id of the external account binding.
    pub eab_kid: Option<String>,
    /// When the certificate in use expires, RFC 3339; `None` without a certificate.
    pub not_after: Option<String>,
    /// When the next certificate is requested, RFC 3339; `None` while ACME is off.
    pub next_renewal: Option<String>,
    /// Why the last attempt failed; `None` if it succeeded.
    pub last_error: Option<String>,
    /// Failed attempts since the last success or start.
    pub failures: u32,
}
