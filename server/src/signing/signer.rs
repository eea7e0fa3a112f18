//! The signer: a process of its own, and the only one in which a private key is ever open.
//!
//! `proxyd` starts it as `proxyd signer` with one end of a socket pair as standard input and no other descriptor. It ends when
//! `proxyd` does. There are two kinds, each in its own process:
//!
//! * The signer of sealed keys has an empty environment and takes away its own right to open anything, so it has no file and
//!   no network besides that socket.
//! * The signer of a PKCS#11 module loads the vendor's library, which needs files, and perhaps devices and a network. It knows
//!   no sealed key and not the secret that they are sealed with.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use nix::sched::{CloneFlags, unshare};
use rustix::process::{Resource, Rlimit, Signal, set_parent_process_death_signal, setrlimit};
use schema::assertion::{PublicKey, SigningKey, Unsigned};
use schema::signing::{KeyPlace, Label, Purpose, SealingKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::BITS;
use super::token::{TokenError, Tokens};
use super::wire::{self, Reply, Request};

/// How many keys are kept open.
const OPEN: usize = 64;

/// Answers `proxyd` until it is gone.
///
/// # Errors
/// Standard input is no socket, or what comes over it makes no sense.
pub(crate) fn run(of_a_module: bool) -> anyhow::Result<()> {
    let socket = io::stdin().as_fd().try_clone_to_owned().context("there is no socket as standard input")?;
    let mut socket = UnixStream::from(socket);
    give_up(Resource::Core)?;
    // What a token makes for a store that is gone would stay there. The thread that starts a signer lasts as long as proxyd.
    set_parent_process_death_signal(Some(Signal::KILL)).context("cannot follow proxyd to its end")?;
    let Some(Request::Begin { secret, sealed_by, module }) = wire::read(&mut socket)? else {
        anyhow::bail!("the signer is started by proxyd only");
    };
    anyhow::ensure!(module.is_some() == of_a_module, "the signer is started by proxyd only");
    let secret = Zeroizing::new(STANDARD.decode(secret.as_bytes()).context("the secret is not base64")?);
    let secret: &[u8; 32] = secret.as_slice().try_into().context("the secret has another length")?;
    let sealing = SealingKey::new(secret).context("cannot use the secret")?;
    let (tokens, begun) = match module {
        None => {
            // A user and a network of its own where the system has them to give: as root it could else take back what it gives up.
            let _ = unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNET);
            give_up(Resource::Nofile)?;
            (None, Ok(Reply::Ready))
        }
        Some(module) => match Tokens::load(&module.library, &module.pin) {
            Ok(tokens) => (Some(tokens), Ok(Reply::Ready)),
            Err(error) => (None, Err(error.into())),
        },
    };
    let mut signer = Signer { sealing, sealed_by, tokens, open: HashMap::new() };
    wire::write(&mut socket, &begun.unwrap_or_else(refusal))?;
    while let Some(request) = wire::read(&mut socket)? {
        let reply = signer.answer(&request).unwrap_or_else(refusal);
        wire::write(&mut socket, &reply)?;
    }
    Ok(())
}

fn give_up(resource: Resource) -> anyhow::Result<()> {
    let nothing = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(resource, nothing).with_context(|| format!("cannot give up {resource:?}"))
}

fn refusal(error: anyhow::Error) -> Reply {
    let why = schema::causes::one_line(error.as_ref());
    match error.downcast_ref::<TokenError>() {
        Some(TokenError::Pin(_)) => Reply::PinRefused { why },
        // Many modules see a token that comes back only when they are loaded anew.
        Some(TokenError::Absent(_) | TokenError::Failed(_)) => Reply::Failed { why },
        None => Reply::Refused { why },
    }
}

/// The secret, and the keys that are open.
struct Signer {
    sealing: SealingKey,
    sealed_by: String,
    tokens: Option<Tokens>,
    /// By the sealed text.
    open: HashMap<String, Arc<Held>>,
}

/// A key that was unsealed.
enum Held {
    Here(Box<SigningKey>),
    There(OnToken),
}

/// What is sealed of a key on a token: so nobody who can change the database gives another key of the token a purpose.
#[derive(Serialize, Deserialize)]
struct OnToken {
    place: KeyPlace,
    /// The public key in text form.
    public: String,
}

impl Held {
    fn public(&self) -> anyhow::Result<PublicKey> {
        match self {
            Self::Here(key) => Ok(key.public().clone()),
            Self::There(key) => Ok(PublicKey::decode(&key.public)?),
        }
    }
}

impl Signer {
    fn answer(&mut self, request: &Request) -> anyhow::Result<Reply> {
        Ok(match request {
            Request::Begin { .. } => anyhow::bail!("the signer has its secret already"),
            Request::Create { label, place } => {
                let text = match place {
                    None => SigningKey::generate(BITS)?.to_pkcs8_pem()?,
                    Some(place) => {
                        let public = self.tokens()?.create(place)?.encode();
                        Zeroizing::new(serde_json::to_string(&OnToken { place: place.clone(), public })?)
                    }
                };
                let sealed = self.sealing.seal(label, &text).context("the system has no randomness")?;
                // What cannot be opened again is no key.
                let public = self.opened(label, &sealed)?.public()?.encode();
                Reply::Created { sealed, public, sealed_by: self.sealed_by.clone() }
            }
            Request::Sign { label, sealed, content, at } => {
                let key = self.opened(label, sealed)?;
                anyhow::ensure!(
                    allows(label, key.public()?.id(), content),
                    "key {} is not for this document",
                    label.name
                );
                let signature = match &*key {
                    Held::Here(key) => key.sign(content.as_bytes(), *at),
                    Held::There(there) => {
                        let unsigned = Unsigned::new(content.as_bytes(), *at);
                        let (info, bytes) = (unsigned.digest_info(), unsigned.bytes());
                        let value = self.tokens()?.sign(&there.place, &key.public()?, &info, Some(&bytes))?;
                        unsigned.text(&value)
                    }
                };
                Reply::Signed { signature }
            }
            Request::SignDigest { label, sealed, info } => {
                anyhow::ensure!(label.purpose == Purpose::Model, "key {} signs documents only", label.name);
                let key = self.opened(label, sealed)?;
                let value = match &*key {
                    Held::Here(key) => key.sign_digest_info(info).context("it is no SHA-512 digest")?,
                    Held::There(there) => self.tokens()?.sign(&there.place, &key.public()?, info, None)?,
                };
                Reply::SignedDigest { value }
            }
            Request::Prove { label, sealed } => {
                let key = self.opened(label, sealed)?;
                let public = key.public()?;
                let key_id = match &*key {
                    Held::Here(_) => public.id().to_owned(),
                    Held::There(there) => self.tokens()?.public(&there.place, Some(&public))?.id().to_owned(),
                };
                Reply::Proved { key_id }
            }
        })
    }

    fn tokens(&mut self) -> anyhow::Result<&mut Tokens> {
        self.tokens.as_mut().context("this signer has no PKCS#11 module")
    }

    fn opened(&mut self, label: &Label, sealed: &str) -> anyhow::Result<Arc<Held>> {
        // The label is checked each time: it is what the key may be used for.
        let text =
            self.sealing.open(label, sealed).with_context(|| format!("cannot open key {}", label.name));
        let text = text.map_err(|error| anyhow::anyhow!(schema::causes::one_line(error.as_ref())))?;
        if let Some(key) = self.open.get(sealed) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(match text.starts_with('{') {
            true => Held::There(serde_json::from_str(&text)?),
            false => Held::Here(Box::new(SigningKey::from_pkcs8_pem(&text)?)),
        });
        if self.open.len() >= OPEN {
            self.open.clear();
        }
        self.open.insert(sealed.to_owned(), Arc::clone(&key));
        Ok(key)
    }
}

/// Whether a key of this label may sign a document: its own registration, or what its purpose names, for its account only.
fn allows(label: &Label, key_id: &str, content: &str) -> bool {
    let head = content.split("\n\n").next().unwrap_or_default();
    let says = |name: &str, value: &str| {
        let mut found = head.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        found.next() == Some(value) && found.next().is_none()
    };
    let purpose = match label.purpose {
        Purpose::Serial => says("type", "serial") && says("authority-id", &label.account),
        // Never for every device of a model.
        Purpose::SystemUser => {
            says("type", "system-user")
                && says("authority-id", &label.account)
                && head.lines().any(|line| line == "serials:")
        }
        Purpose::ValidationSet => {
            says("type", "validation-set")
                && says("authority-id", &label.account)
                && says("account-id", &label.account)
        }
        // What it signs is hashed elsewhere.
        Purpose::Model => false,
    };
    let registration = says("type", "account-key-request")
        && says("account-id", &label.account)
        && says("name", &label.name)
        && says("public-key-sha3-384", key_id);
    says("sign-key-sha3-384", key_id) && (purpose || registration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_what_it_is_for_and_nothing_else() {
        let label = Label { name: "factory".into(), account: "acme".into(), purpose: Purpose::Serial };
        let serial =
            "type: serial\nauthority-id: acme\nbrand-id: acme\nmodel: m\nserial: 1\nsign-key-sha3-384: K";
        assert!(allows(&label, "K", serial));
        let request = "type: account-key-request\npublic-key-sha3-384: K\naccount-id: acme\nname: factory\n\
                       body-length: 3\nsign-key-sha3-384: K\n\nabc";
        assert!(allows(&label, "K", request));
        for (from, to) in [
            ("type: serial", "type: model"),
            ("type: serial", "type: serial\ntype: model"),
            ("type: serial", "kind: x"),
            ("authority-id: acme", "authority-id: bolt"),
            ("authority-id: acme\n", ""),
            ("sign-key-sha3-384: K", "sign-key-sha3-384: L"),
            ("\nserial: 1", "\n\nserial: 1"),
        ] {
            assert!(!allows(&label, "K", &serial.replace(from, to)), "{from} → {to}");
        }
        let users = Label { purpose: Purpose::SystemUser, ..label.clone() };
        let user = "type: system-user\nauthority-id: acme\nserials:\n  - 1\nsign-key-sha3-384: K";
        assert!(allows(&users, "K", user));
        assert!(!allows(&users, "K", serial) && !allows(&label, "K", user));
        for (from, to) in [("serials:\n  - 1\n", ""), ("serials:\n  - 1", "name: serials:"), ("acme", "bolt")]
        {
            assert!(!allows(&users, "K", &user.replace(from, to)), "{from} → {to}");
        }
        let sets = Label { purpose: Purpose::ValidationSet, ..label.clone() };
        let set = "type: validation-set\nauthority-id: acme\nseries: 16\naccount-id: acme\nname: line7\nsign-key-sha3-384: K";
        assert!(allows(&sets, "K", set));
        assert!(!allows(&sets, "K", serial) && !allows(&label, "K", set) && !allows(&users, "K", set));
        for (from, to) in [("account-id: acme", "account-id: bolt"), ("validation-set", "model")] {
            assert!(!allows(&sets, "K", &set.replace(from, to)), "{from} → {to}");
        }
        for (from, to) in [
            ("account-id: acme", "account-id: bolt"),
            ("name: factory", "name: other"),
            ("384: K\na", "384: L\na"),
        ] {
            assert!(!allows(&label, "K", &request.replace(from, to)), "{from} → {to}");
        }
    }

    #[test]
    fn another_label_opens_no_key_that_is_open() {
        let sealing = SealingKey::new(&[1; 32]).expect("a key");
        let label =
            |account: &str| Label { name: "k".into(), account: account.into(), purpose: Purpose::Serial };
        let key = SigningKey::generate(2048).expect("randomness");
        let sealed = sealing.seal(&label("acme"), &key.to_pkcs8_pem().expect("text")).expect("randomness");
        let mut signer = Signer { sealing, sealed_by: String::new(), tokens: None, open: HashMap::new() };
        let prove = |account: &str| Request::Prove { label: label(account), sealed: sealed.clone() };
        assert!(
            matches!(signer.answer(&prove("acme")), Ok(Reply::Proved { key_id }) if key_id == key.public().id())
        );
        assert!(signer.answer(&prove("bolt")).is_err());
        let info = schema::assertion::Unsigned::new(b"type: serial", 0).digest_info();
        let digest = Request::SignDigest { label: label("acme"), sealed: sealed.clone(), info };
        assert!(signer.answer(&digest).is_err(), "a key for serials signs no digest of something else");
        let again = Request::Begin { secret: Zeroizing::default(), sealed_by: String::new(), module: None };
        assert!(signer.answer(&again).is_err());
    }
}
