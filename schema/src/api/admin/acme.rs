//! Certificates from an ACME authority.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where certificates are to come from (RFC 8555).
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AcmeEnable {
    /// The authority's directory, an `https` URL.
    pub directory: String,
    /// PEM certificates to trust the directory with; none: as other outgoing TLS.
    pub ca: Option<String>,
    /// Who the authority may write to, mail addresses.
    pub contact: Vec<String>,
    /// How the store shows that it has its name: `http-01` or `tls-alpn-01`.
    pub challenge: String,
    /// What ties the account to one that the authority knows already.
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

/// Asks for a new certificate now.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AcmeRenew {
    /// Have the certificate of before revoked once the new one is in use.
    #[serde(default)]
    pub revoke: bool,
}

/// How certificates come from an ACME authority.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AcmeStatus {
    /// The authority's directory; none while ACME is off.
    pub directory: Option<String>,
    /// How the store shows that it has its name: `http-01` or `tls-alpn-01`.
    pub challenge: String,
    /// The name or address that certificates are for.
    pub domain: String,
    /// Who the authority may write to.
    pub contact: Vec<String>,
    /// The key id of the external account binding.
    pub eab_kid: Option<String>,
    /// The last moment of the certificate in use, RFC 3339; none while there is none.
    pub not_after: Option<String>,
    /// When a new certificate is asked for next, RFC 3339; none while ACME is off.
    pub next_renewal: Option<String>,
    /// Why the last attempt was in vain; none when it was not.
    pub last_error: Option<String>,
    /// Attempts in vain since the last success or start.
    pub failures: u32,
}
