//! Keys on a PKCS#11 token: made and used there, never read.
//!
//! The vendor's library runs in the signer's process. What it answers is not believed: `proxyd` checks each signature with the
//! public key that it recorded when the key was made.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use schema::assertion::PublicKey;
use schema::signing::KeyPlace;

use super::BITS;

const EXPONENT: [u8; 3] = [1, 0, 1];

/// Why a token does nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum TokenError {
    /// The operator names something that is not there.
    #[error("{0}")]
    Absent(String),
    /// The PIN is wrong or locked: another try may lock it for good.
    #[error("the token refuses the PIN ({0:?})")]
    Pin(RvError),
    /// Anything else: the library is loaded anew before it is asked again.
    #[error("the PKCS#11 module failed: {0}")]
    Failed(String),
}

impl From<Error> for TokenError {
    fn from(error: Error) -> Self {
        use RvError::{PinExpired, PinIncorrect, PinInvalid, PinLenRange, PinLocked};
        match error {
            Error::Pkcs11(code @ (PinExpired | PinIncorrect | PinInvalid | PinLenRange | PinLocked), _) => {
                Self::Pin(code)
            }
            // The texts of the codes are paragraphs.
            Error::Pkcs11(code, of) => Self::Failed(format!("{of:?} answers {code:?}")),
            other => Self::Failed(other.to_string()),
        }
    }
}

/// A loaded module.
pub(super) struct Tokens {
    module: Pkcs11,
    pin: AuthPin,
    /// By the token's label.
    open: HashMap<String, Open>,
}

/// A session with a token.
struct Open {
    session: Session,
    /// What the token can do: it pads a digest, or else it hashes as well.
    pads: bool,
    /// The private keys that were used, by their label.
    keys: HashMap<String, ObjectHandle>,
}

impl Tokens {
    /// Loads a module.
    pub(super) fn load(module: &Path, pin: &str) -> Result<Self, TokenError> {
        let loaded = Pkcs11::new(module)?;
        loaded.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
        Ok(Self { module: loaded, pin: pin.into(), open: HashMap::new() })
    }

    /// Makes a key, or takes the one that is there under this label.
    pub(super) fn create(&mut self, place: &KeyPlace) -> Result<PublicKey, TokenError> {
        let slot = self.slot(&place.token)?;
        let open = self.open(&place.token)?;
        if find(&open.session, ObjectClass::PRIVATE_KEY, &place.object)?.is_empty() {
            let writing = self.module.open_rw_session(slot)?;
            let (label, bits) = (place.object.as_bytes(), BITS as u64);
            let named = [Attribute::Token(true), Attribute::Label(label.into()), Attribute::Id(label.into())];
            let public = [
                Attribute::Verify(true),
                Attribute::ModulusBits(bits.into()),
                Attribute::PublicExponent(EXPONENT.into()),
            ];
            let private = [
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
            ];
            let (public, private) = ([&named[..], &public].concat(), [&named[..], &private].concat());
            let _ = writing.generate_key_pair(&Mechanism::RsaPkcsKeyPairGen, &public, &private)?;
        }
        let key = self.public(place, None)?;
        if key.bits() < BITS {
            return Err(TokenError::Absent(format!("key {place} has {} bits, and needs {BITS}", key.bits())));
        }
        Ok(key)
    }

    /// The public half of a key, if the private half is there: of the one with the `known` public half where several have its label.
    pub(super) fn public(
        &mut self,
        place: &KeyPlace,
        known: Option<&PublicKey>,
    ) -> Result<PublicKey, TokenError> {
        let open = self.open(&place.token)?;
        let private = open.key(place, known)?;
        // Some tokens tell a private key's numbers, others those of the public one only.
        if let Some(public) = numbers(&open.session, private)? {
            return Ok(public);
        }
        let public = find(&open.session, ObjectClass::PUBLIC_KEY, &place.object)?;
        match only(&open.session, &public, known)? {
            Some(object) => numbers(&open.session, object)?,
            None => None,
        }
        .ok_or_else(|| TokenError::Absent(format!("the token does not tell the public half of {place}")))
    }

    /// The RSA value for a signature: of `info` where the token pads, of `bytes` where it insists on hashing itself.
    pub(super) fn sign(
        &mut self,
        place: &KeyPlace,
        known: &PublicKey,
        info: &[u8],
        bytes: Option<&[u8]>,
    ) -> Result<Vec<u8>, TokenError> {
        let open = self.open(&place.token)?;
        let key = open.key(place, Some(known))?;
        match bytes.filter(|_| !open.pads) {
            Some(bytes) => Ok(open.session.sign(&Mechanism::Sha512RsaPkcs, key, bytes)?),
            None => Ok(open.session.sign(&Mechanism::RsaPkcs, key, info)?),
        }
    }

    fn slot(&self, label: &str) -> Result<Slot, TokenError> {
        let (mut found, mut others) = (Vec::new(), Vec::new());
        for slot in self.module.get_slots_with_initialized_token()? {
            let info = self.module.get_token_info(slot)?;
            match info.label() == label {
                true => found.push((slot, info.serial_number().to_owned())),
                false => others.push(info.label().to_owned()),
            }
        }
        match &found[..] {
            [(slot, _)] => Ok(*slot),
            [] => {
                let there = if others.is_empty() { "none".to_owned() } else { others.join(", ") };
                Err(TokenError::Absent(format!("there is no token {label}; those there are: {there}")))
            }
            several => {
                let numbers: Vec<&str> = several.iter().map(|(_, number)| &**number).collect();
                Err(TokenError::Absent(format!(
                    "several tokens have the label {label}: leave only one of them connected (their serial numbers: {})",
                    numbers.join(", ")
                )))
            }
        }
    }

    fn open(&mut self, token: &str) -> Result<&mut Open, TokenError> {
        let slot = match self.open.contains_key(token) {
            true => None,
            false => Some(self.slot(token)?),
        };
        Ok(match (self.open.entry(token.to_owned()), slot) {
            (Entry::Vacant(free), Some(slot)) => {
                let session = self.module.open_ro_session(slot)?;
                match session.login(UserType::User, Some(&self.pin)) {
                    Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
                    Err(error) => return Err(error.into()),
                }
                let pads = self.module.get_mechanism_list(slot)?.contains(&MechanismType::RSA_PKCS);
                free.insert(Open { session, pads, keys: HashMap::new() })
            }
            (Entry::Occupied(open), _) => open.into_mut(),
            (Entry::Vacant(_), None) => return Err(TokenError::Failed("the session is gone".to_owned())),
        })
    }
}

impl Open {
    fn key(&mut self, place: &KeyPlace, known: Option<&PublicKey>) -> Result<ObjectHandle, TokenError> {
        if let Some(known) = self.keys.get(&place.object) {
            return Ok(*known);
        }
        let found = find(&self.session, ObjectClass::PRIVATE_KEY, &place.object)?;
        let found = match (only(&self.session, &found, known)?, found.len()) {
            (Some(found), _) => found,
            (None, 0) => {
                return Err(TokenError::Absent(format!(
                    "there is no RSA key {place}: bring it back with the vendor's tool, or make another key with `proxy keys create`"
                )));
            }
            (None, _) => {
                let why = format!(
                    "the token has several keys {place}: take another label with --pkcs11-label, or remove those that \
                     are too many with the vendor's tool"
                );
                return Err(TokenError::Absent(why));
            }
        };
        self.keys.insert(place.object.clone(), found);
        Ok(found)
    }
}

/// The RSA keys of this class and label.
fn find(session: &Session, class: ObjectClass, label: &str) -> Result<Vec<ObjectHandle>, TokenError> {
    let wanted = [
        Attribute::Class(class),
        Attribute::KeyType(KeyType::RSA),
        Attribute::Label(label.as_bytes().into()),
    ];
    Ok(session.find_objects(&wanted)?)
}

/// The only one of these, or the one with the known public half.
fn only(
    session: &Session,
    found: &[ObjectHandle],
    known: Option<&PublicKey>,
) -> Result<Option<ObjectHandle>, TokenError> {
    if let [one] = found {
        return Ok(Some(*one));
    }
    let Some(known) = known else { return Ok(None) };
    for object in found {
        if numbers(session, *object)?.is_some_and(|told| told.id() == known.id()) {
            return Ok(Some(*object));
        }
    }
    Ok(None)
}

/// The public half that an object tells.
fn numbers(session: &Session, object: ObjectHandle) -> Result<Option<PublicKey>, TokenError> {
    let (mut modulus, mut exponent) = (Vec::new(), Vec::new());
    for attribute in
        session.get_attributes(object, &[AttributeType::Modulus, AttributeType::PublicExponent])?
    {
        match attribute {
            Attribute::Modulus(number) => modulus = number,
            Attribute::PublicExponent(number) => exponent = number,
            _ => {}
        }
    }
    let told = !modulus.is_empty() && !exponent.is_empty();
    Ok(told.then(|| PublicKey::from_numbers(&modulus, &exponent)))
}
