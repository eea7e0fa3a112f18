//! The assertion types, their primary keys and flags. See `schema/docs/assertions.md#types`.

use std::fmt;
use std::str::FromStr;

/// One of the types of assertion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the variants are the wire names in Rust spelling")]
pub enum AssertionType {
    Account,
    AccountKey,
    AccountKeyRequest,
    BaseDeclaration,
    Cluster,
    ConfdbControl,
    ConfdbSchema,
    DeviceSessionRequest,
    HardwareIdentity,
    Model,
    Preseed,
    Repair,
    RequestMessage,
    ResponseMessage,
    Serial,
    SerialRequest,
    SnapBuild,
    SnapDeclaration,
    SnapDeveloper,
    SnapResourcePair,
    SnapResourceRevision,
    SnapRevision,
    Store,
    SystemUser,
    Validation,
    ValidationSet,
}

use AssertionType as T;

/// Provenance of snaps uploaded to the store the usual way.
pub const DEFAULT_PROVENANCE: &str = "global-upload";

impl AssertionType {
    /// Every type, in order of name.
    pub const ALL: [Self; 26] = [
        T::Account,
        T::AccountKey,
        T::AccountKeyRequest,
        T::BaseDeclaration,
        T::Cluster,
        T::ConfdbControl,
        T::ConfdbSchema,
        T::DeviceSessionRequest,
        T::HardwareIdentity,
        T::Model,
        T::Preseed,
        T::Repair,
        T::RequestMessage,
        T::ResponseMessage,
        T::Serial,
        T::SerialRequest,
        T::SnapBuild,
        T::SnapDeclaration,
        T::SnapDeveloper,
        T::SnapResourcePair,
        T::SnapResourceRevision,
        T::SnapRevision,
        T::Store,
        T::SystemUser,
        T::Validation,
        T::ValidationSet,
    ];

    /// The name on the wire, such as `snap-declaration`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            T::Account => "account",
            T::AccountKey => "account-key",
            T::AccountKeyRequest => "account-key-request",
            T::BaseDeclaration => "base-declaration",
            T::Cluster => "cluster",
            T::ConfdbControl => "confdb-control",
            T::ConfdbSchema => "confdb-schema",
            T::DeviceSessionRequest => "device-session-request",
            T::HardwareIdentity => "hardware-identity",
            T::Model => "model",
            T::Preseed => "preseed",
            T::Repair => "repair",
            T::RequestMessage => "request-message",
            T::ResponseMessage => "response-message",
            T::Serial => "serial",
            T::SerialRequest => "serial-request",
            T::SnapBuild => "snap-build",
            T::SnapDeclaration => "snap-declaration",
            T::SnapDeveloper => "snap-developer",
            T::SnapResourcePair => "snap-resource-pair",
            T::SnapResourceRevision => "snap-resource-revision",
            T::SnapRevision => "snap-revision",
            T::Store => "store",
            T::SystemUser => "system-user",
            T::Validation => "validation",
            T::ValidationSet => "validation-set",
        }
    }

    /// The headers that identify an assertion of this type, in order. Empty for `serial-request`, which has no
    /// address.
    #[must_use]
    pub const fn primary_key(self) -> &'static [&'static str] {
        match self {
            T::Account => &["account-id"],
            T::AccountKey | T::AccountKeyRequest => &["public-key-sha3-384"],
            T::BaseDeclaration => &["series"],
            T::Cluster => &["cluster-id", "sequence"],
            T::ConfdbSchema => &["account-id", "name"],
            T::ConfdbControl | T::DeviceSessionRequest | T::Serial => &["brand-id", "model", "serial"],
            T::HardwareIdentity => &["issuer-id", "hardware-id-key-sha3-384"],
            T::Model => &["series", "brand-id", "model"],
            T::Preseed => &["series", "brand-id", "model", "system-label"],
            T::Repair => &["brand-id", "repair-id"],
            T::RequestMessage => &["account-id", "message-id"],
            T::ResponseMessage => &["account-id", "message-id", "device"],
            T::SerialRequest => &[],
            T::SnapBuild => &["snap-sha3-384"],
            T::SnapDeclaration => &["series", "snap-id"],
            T::SnapDeveloper => &["snap-id", "publisher-id"],
            T::SnapResourcePair => {
                &["snap-id", "resource-name", "resource-revision", "snap-revision", "provenance"]
            }
            T::SnapResourceRevision => &["snap-id", "resource-name", "resource-sha3-384", "provenance"],
            T::SnapRevision => &["snap-sha3-384", "provenance"],
            T::Store => &["store"],
            T::SystemUser => &["brand-id", "email"],
            T::Validation => &["series", "snap-id", "approved-snap-id", "approved-snap-revision"],
            T::ValidationSet => &["series", "account-id", "name", "sequence"],
        }
    }

    /// Default values of absent trailing primary key headers, matching the end of [`primary_key`](Self::primary_key).
    #[must_use]
    pub const fn key_defaults(self) -> &'static [&'static str] {
        match self {
            T::SnapResourcePair | T::SnapResourceRevision | T::SnapRevision => &[DEFAULT_PROVENANCE],
            _ => &[],
        }
    }

    /// The highest `format` that is understood.
    #[must_use]
    pub const fn max_format(self) -> u32 {
        match self {
            T::SnapDeclaration => 7,
            T::SystemUser => 2,
            T::AccountKey => 1,
            _ => 0,
        }
    }

    /// Whether the last primary key header is a sequence number: assertions that share the others form a sequence.
    #[must_use]
    pub const fn is_sequence(self) -> bool {
        matches!(self, T::Cluster | T::Repair | T::ValidationSet)
    }

    /// Whether an account vouches for assertions of this type. All others are signed by a device or by the key they
    /// carry and must not name an authority.
    #[must_use]
    pub const fn has_authority(self) -> bool {
        !matches!(
            self,
            T::AccountKeyRequest
                | T::ConfdbControl
                | T::DeviceSessionRequest
                | T::ResponseMessage
                | T::SerialRequest
        )
    }

    /// Whether the `timestamp` must lie within the validity of the signing key.
    #[must_use]
    pub const fn has_checked_timestamp(self) -> bool {
        matches!(
            self,
            T::Account
                | T::BaseDeclaration
                | T::SnapDeclaration
                | T::SnapRevision
                | T::SnapResourceRevision
                | T::SnapResourcePair
                | T::SnapBuild
                | T::Validation
                | T::ValidationSet
                | T::Store
                | T::Model
                | T::Serial
                | T::Preseed
                | T::Repair
        )
    }
}

impl fmt::Display for AssertionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text is not the name of an assertion type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown assertion type {0:?}")]
pub struct UnknownType(pub String);

impl FromStr for AssertionType {
    type Err = UnknownType;

    fn from_str(text: &str) -> Result<Self, UnknownType> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownType(text.chars().take(64).collect()))
    }
}
