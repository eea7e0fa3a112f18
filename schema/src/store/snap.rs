//! Snap types and confinement.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::NameError;

/// The type of a snap, as the device API spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SnapType {
    /// An application, the kind of most snaps.
    App,
    /// A base that applications stand on.
    Base,
    /// The device's boot assets and defaults.
    Gadget,
    /// The device's kernel.
    Kernel,
    /// The first operating system snap, `core`.
    Os,
    /// snapd itself.
    Snapd,
}

impl SnapType {
    /// The spelling on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            SnapType::App => "app",
            SnapType::Base => "base",
            SnapType::Gadget => "gadget",
            SnapType::Kernel => "kernel",
            SnapType::Os => "os",
            SnapType::Snapd => "snapd",
        }
    }
}

impl fmt::Display for SnapType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SnapType {
    type Err = NameError;

    /// Also reads `application` and `core`, as snap.yaml files spell them.
    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text {
            "app" | "application" => SnapType::App,
            "base" => SnapType::Base,
            "gadget" => SnapType::Gadget,
            "kernel" => SnapType::Kernel,
            "os" | "core" => SnapType::Os,
            "snapd" => SnapType::Snapd,
            _ => return Err(NameError::new("snap type", text, "app, base, gadget, kernel, os or snapd")),
        })
    }
}

/// The confinement of a snap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Confinement {
    /// Confined.
    Strict,
    /// Not confined; needs the user's consent.
    Classic,
    /// Not confined, for developers.
    Devmode,
}

impl Confinement {
    /// The spelling on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Confinement::Strict => "strict",
            Confinement::Classic => "classic",
            Confinement::Devmode => "devmode",
        }
    }
}

impl FromStr for Confinement {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Ok(match text {
            "strict" => Confinement::Strict,
            "classic" => Confinement::Classic,
            "devmode" => Confinement::Devmode,
            _ => return Err(NameError::new("confinement", text, "strict, classic or devmode")),
        })
    }
}
