//! Login files: what an operator exports on the connected side to read a store with.
//!
//! | Form | What | Sent as |
//! |---|---|---|
//! | A | INI, `[login.ubuntu.com]` with `macaroon` and `unbound_discharge` | a pair |
//! | B | base64 of A | a pair |
//! | C | base64 of `{"r": ROOT, "d": DISCHARGE}` | a pair |
//! | D | base64 of `{"t": "u1-macaroon", "v": {"r": ROOT, "d": DISCHARGE}}` | a pair |
//! | E | base64 of `{"t": "macaroon", "v": TOKEN}` | `Macaroon TOKEN` |
//! | F | base64 of `{"t": "bearer", "v": TOKEN}` | `Bearer TOKEN` |
//! | G | `{"macaroon": ROOT, "discharges": [DISCHARGE, ...]}` | a pair |
//! | H | `{"macaroon": TOKEN}` | `Macaroon TOKEN` |
//! | I | `{"root": ROOT, "discharge": DISCHARGE or null, "store": ..., "type": ...}` | a pair |
//! | J | a bare serialised macaroon | `Macaroon TOKEN` |
//!
//! A pair is sent as `Macaroon root="ROOT", discharge="BOUND"`, where BOUND is computed from the discharge for each
//! request.

mod facts;
mod forms;
mod macaroon;

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

pub use facts::Facts;
pub use forms::LoginError;
pub use macaroon::{Macaroon, NotAMacaroon};

/// Largest login file in bytes.
pub const MAX_LOGIN: u64 = 64 << 10;

/// One of the forms of a login file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the table of the module describes them")]
pub enum Form {
    A,
    B,
    C,
    D,
    E,
    F,
    G,
    H,
    I,
    J,
}

impl Form {
    /// The letter that stands for the form in reports.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Form::A => "A",
            Form::B => "B",
            Form::C => "C",
            Form::D => "D",
            Form::E => "E",
            Form::F => "F",
            Form::G => "G",
            Form::H => "H",
            Form::I => "I",
            Form::J => "J",
        }
    }

    /// A description for people.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Form::A => "snapcraft login file (before version 7)",
            Form::B => "snapcraft login (before version 7), in base64",
            Form::C => "snapcraft login of early version 7",
            Form::D => "snapcraft login",
            Form::E => "macaroon login",
            Form::F => "bearer token",
            Form::G => "auth.json as `snap login` writes it",
            Form::H => "developer token",
            Form::I => "surl login",
            Form::J => "serialised macaroon",
        }
    }
}

/// A login. It holds secrets and is never printed.
#[derive(Clone)]
pub struct Login {
    form: Form,
    credential: Credential,
}

#[derive(Clone)]
enum Credential {
    /// A root and its unbound discharges.
    Pair { root: SecretString, discharges: Vec<SecretString> },
    /// A macaroon that needs no discharge.
    Macaroon(SecretString),
    /// An opaque token.
    Bearer(SecretString),
}

impl Login {
    /// Reads a login in any of its forms; `what` names it in errors, as in `file "viewer.login"`.
    ///
    /// # Errors
    /// [`LoginError`], which quotes nothing of the text.
    pub fn parse(text: &[u8], what: &str) -> Result<Self, LoginError> {
        forms::parse(text, what)
    }

    /// Which form it was read from.
    #[must_use]
    pub fn form(&self) -> Form {
        self.form
    }

    /// The value of the `Authorization` header for a request made now.
    #[must_use]
    pub fn authorization(&self) -> Zeroizing<String> {
        Zeroizing::new(match &self.credential {
            Credential::Bearer(token) => format!("Bearer {}", token.expose_secret()),
            Credential::Macaroon(token) => format!("Macaroon {}", token.expose_secret()),
            Credential::Pair { root, discharges } => {
                let mut header = format!("Macaroon root=\"{}\"", root.expose_secret());
                let macaroon = Macaroon::parse(root.expose_secret());
                for discharge in discharges {
                    // Both were parsed before.
                    let discharge = Macaroon::parse(discharge.expose_secret());
                    if let (Ok(root), Ok(discharge)) = (&macaroon, discharge) {
                        header.push_str(", discharge=\"");
                        header.push_str(&discharge.bound_to(root));
                        header.push('"');
                    }
                }
                header
            }
        })
    }

    /// The discharges as read, for renewal; none if the form has none.
    pub fn discharges(&self) -> impl Iterator<Item = &str> {
        let discharges = match &self.credential {
            Credential::Pair { discharges, .. } => &discharges[..],
            _ => &[],
        };
        discharges.iter().map(|discharge| discharge.expose_secret())
    }

    /// Replaces the discharges with renewed ones.
    ///
    /// # Errors
    /// [`NotAMacaroon`] if one of them does not parse; the old ones stay.
    pub fn replace_discharges(&mut self, new: Vec<SecretString>) -> Result<(), NotAMacaroon> {
        for discharge in &new {
            Macaroon::parse(discharge.expose_secret())?;
        }
        if let Credential::Pair { discharges, .. } = &mut self.credential {
            *discharges = new;
        }
        Ok(())
    }

    /// The login's claims, unverified.
    #[must_use]
    pub fn facts(&self) -> Facts {
        match &self.credential {
            Credential::Bearer(_) => Facts::default(),
            Credential::Macaroon(token) => Facts::of(token.expose_secret(), self.discharges()),
            Credential::Pair { root, .. } => Facts::of(root.expose_secret(), self.discharges()),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("form", &self.form).finish_non_exhaustive()
    }
}
