//! What `proxyd` and its signer say to each other: frames of JSON with their length in front.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use schema::signing::{KeyPlace, Label};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

/// Largest frame: an assertion with its body has far less.
pub(super) const LARGEST: usize = 1 << 20;

/// What is asked of the signer.
#[derive(Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(super) enum Request {
    /// First, once: what the signer seals with, and the module whose keys it uses.
    Begin {
        /// The secret of the sealed keys, in base64.
        secret: Zeroizing<String>,
        /// The name of the secret that a new key is recorded with.
        sealed_by: String,
        /// None for a signer of sealed keys, which then may open nothing.
        module: Option<Module>,
    },
    /// Make a key.
    Create {
        /// What it is for.
        label: Label,
        /// Where, if not sealed.
        place: Option<KeyPlace>,
    },
    /// Sign a document that the label allows.
    Sign {
        /// What the key is for.
        label: Label,
        /// The sealed key.
        sealed: String,
        /// The content to sign.
        content: String,
        /// The time for the signature packet, in seconds since 1970.
        at: u32,
    },
    /// Sign a digest that a tool outside made.
    SignDigest {
        /// What the key is for.
        label: Label,
        /// The sealed key.
        sealed: String,
        /// The digest in its DigestInfo.
        info: Vec<u8>,
    },
    /// Prove that the key opens.
    Prove {
        /// What the key is for.
        label: Label,
        /// The sealed key.
        sealed: String,
    },
}

/// A PKCS#11 module.
#[derive(Serialize, Deserialize)]
pub(super) struct Module {
    /// The vendor's library.
    pub(super) library: PathBuf,
    /// What opens its tokens.
    pub(super) pin: Zeroizing<String>,
}

/// What the signer answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "kebab-case")]
pub(super) enum Reply {
    /// The secret was taken.
    Ready,
    /// A key was made.
    Created {
        /// The private key, sealed.
        sealed: String,
        /// The public key in text form.
        public: String,
        /// The id of the secret that it was sealed with.
        sealed_by: String,
    },
    /// The signature text.
    Signed {
        /// Without a final line feed.
        signature: String,
    },
    /// The RSA value over a digest.
    SignedDigest {
        /// As long as the key's modulus.
        value: Vec<u8>,
    },
    /// The key opens.
    Proved {
        /// The id of its public key.
        key_id: String,
    },
    /// The token refuses the PIN: it is not tried again.
    PinRefused {
        /// For the operator.
        why: String,
    },
    /// The token failed: it is asked again by another process.
    Failed {
        /// For the operator.
        why: String,
    },
    /// The signer did nothing.
    Refused {
        /// For the operator.
        why: String,
    },
}

/// A frame with a message; it may hold a secret.
pub(super) fn frame(message: &impl Serialize) -> io::Result<Zeroizing<Vec<u8>>> {
    let body = Zeroizing::new(serde_json::to_vec(message)?);
    let length = u32::try_from(body.len()).ok().filter(|length| *length as usize <= LARGEST);
    let length = length.ok_or(io::ErrorKind::InvalidData)?;
    Ok(Zeroizing::new([&length.to_be_bytes()[..], &body].concat()))
}

/// The length that a frame begins with.
pub(super) fn length(head: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(head) as usize;
    if length <= LARGEST { Ok(length) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// Reads a message; `None` when the other side is gone.
pub(super) fn read<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<Option<T>> {
    let mut head = [0; 4];
    match from.read_exact(&mut head) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut body = Zeroizing::new(vec![0; length(head)?]);
    from.read_exact(&mut body)?;
    Ok(Some(serde_json::from_slice(&body)?))
}

/// Writes a message.
pub(super) fn write(to: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    to.write_all(&frame(message)?)
}
