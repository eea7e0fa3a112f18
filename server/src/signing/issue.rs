//! From a request to a signed serial: reserved, signed, kept, and only then answered.

use std::sync::Arc;

use aws_lc_rs::rand::SecureRandom as _;
use schema::assertion::{
    Assertion, AssertionSource as _, AssertionType, Builder, Checker, KeyTime, Ref, is_strict_serial,
};
use schema::store::DeviceId;
use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio_util::bytes::Bytes;
use tracing::{info, warn};

use super::Signing;
use super::check::{self, Check, Checked, Refusal};
use super::helper::SignerError;
use crate::approvals::{self, Answer, ApprovalError, Ask, Kind};
use crate::catalog::Catalog;
use crate::clock;
use crate::sessions::{Presented, SessionError, Sessions, request_digest};
use crate::storage::Database;
use crate::storage::error::StorageError;
use crate::storage::records::AuditEvent;
use crate::storage::serials::{Asking, Reserved, SerialRecord, SerialsWhere, Wanted};

/// What a request counts as that failed for no fault of the device.
const UNAVAILABLE: &str = "unavailable";

/// Longest request that is checked where it arrives, in bytes: its one or two signatures take little more than the way to
/// another thread and back.
const SHORT: usize = 8 << 10;

/// The value of a header of a request.
type Header = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;

/// Why a device gets no serial.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum IssueError {
    /// It may not have one.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// An operator has to approve it first.
    #[error("the serial waits for an approval, as request {0}")]
    Waiting(i64),
    /// The approval.
    #[error("cannot ask for the approval of the serial")]
    Approval(#[from] ApprovalError),
    /// Too many devices ask.
    #[error("too many devices ask for a serial at the moment")]
    Busy,
    /// The signer.
    #[error("cannot sign the serial")]
    Signer(#[from] SignerError),
    /// The database.
    #[error("cannot record the serial")]
    Storage(#[from] StorageError),
    /// The request id.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The system has no randomness, or a task failed.
    #[error("the store could not make a serial")]
    Ours,
}

impl Signing {
    /// The stream for a device that asks for its serial: the serial, after the account and keys that vouch for it. The
    /// same device key of the same model always gets the same serial.
    pub(crate) async fn issue(
        &self,
        sessions: &Sessions,
        database: &Database,
        catalog: Arc<Catalog>,
        header: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static,
        body: Bytes,
    ) -> Result<Vec<u8>, IssueError> {
        let issued = self.decide(sessions, database, catalog, Arc::new(header), body).await;
        match &issued {
            Err(IssueError::Refused(refusal)) => {
                self.refusals.note(refusal.model(), refusal.check().name(), refusal.to_string());
            }
            Err(IssueError::Signer(failure)) => {
                self.refusals.note("", UNAVAILABLE, schema::causes::one_line(failure));
            }
            _ => {}
        }
        issued
    }

    async fn decide(
        &self,
        sessions: &Sessions,
        database: &Database,
        catalog: Arc<Catalog>,
        header: Arc<Header>,
        body: Bytes,
    ) -> Result<Vec<u8>, IssueError> {
        let _place = self.room.try_acquire().map_err(|_| IssueError::Busy)?;
        let request_digest = request_digest(&body);
        let mut checked = self.check(sessions, &catalog, &header, &body, false).await;
        if let Err(IssueError::Refused(refusal)) = &checked
            && refusal.check() == Check::RequestId
            && database.awaits_approval(&request_digest, clock::micros()).await?
        {
            // The device polls with the request that it began with, for longer than a request id lasts.
            checked = self.check(sessions, &catalog, &header, &body, true).await;
        }
        let checked = checked?;
        if let Some(nonce) = &checked.nonce
            && !sessions.spend_on(nonce, &body).await?
        {
            let why = "its request id was used for another request: ask for a new one";
            return Err(Refusal::new(Check::RequestId, why).into());
        }
        let asking = Asking {
            brand: checked.policy.brand.clone(),
            model: checked.policy.model.clone(),
            device_key: checked.device_key.id().to_owned(),
            signed_by: checked.key.label.name.clone(),
            request_digest,
            at_micros: clock::micros(),
        };
        if let Some(original) = &checked.original {
            still_its_own(database, original, &asking.device_key).await?;
        }
        let wanted = match &checked.wanted {
            Ok(wanted) => wanted.clone(),
            // A device that has its serial keeps it, whatever it proposes by now.
            Err(refusal) => match database.serial_of_key(&asking).await? {
                Some(held) => Wanted::Exactly(held.device.serial),
                None => return Err(refusal.clone().into()),
            },
        };
        let granted = match checked.policy.approvals.max(checked.key.approvals) {
            0 => None,
            needed => approved(database, &asking, &checked, needed).await?,
        };
        let held = self.reserve(database, &asking, wanted).await?;
        check::not_blocked(&catalog, &checked.policy, &held.device.serial)?;
        // What the device would refuse by now, because its key has ended, is signed again by the key of today.
        let good = |serial: &Assertion| {
            as_a_device_checks_it(&catalog, &checked.model, serial, clock::now()).is_ok()
        };
        let signed = held.document.as_deref().and_then(|document| of(document, &asking.device_key));
        let serial = match signed.filter(good) {
            Some(serial) => serial,
            None => match self.sign_and_keep(database, &catalog, &asking, &checked, &held).await {
                Err(IssueError::Signer(limit @ SignerError::DayLimit { .. })) => {
                    let refusal = Refusal::new(Check::DayLimit, limit.to_string());
                    return Err(refusal.of(&asking.brand, &asking.model).into());
                }
                signed => signed?,
            },
        };
        if let Some((id, digest)) = granted {
            // The device has its serial from now on, whether this is noted or not.
            let _ = approvals::spend(database, id, &digest).await?;
        }
        info!(device = ?held.device.to_string(), key = held.signed_by, "A device has its serial");
        Ok(stream(&catalog, &serial))
    }

    async fn check(
        &self,
        sessions: &Sessions,
        catalog: &Arc<Catalog>,
        header: &Arc<Header>,
        body: &Bytes,
        waits: bool,
    ) -> Result<Checked, IssueError> {
        let ids = sessions.nonces()?;
        let (catalog, header, text) = (Arc::clone(catalog), Arc::clone(header), body.clone());
        let now = clock::now();
        let open = move |id: &str| if waits { Ok(None) } else { ids.open(id).map(Some) };
        let _permit = self.permits.acquire().await;
        let (guesses, proven) = (Arc::clone(&self.guesses), Arc::clone(&self.proven));
        let is_short = text.len() <= SHORT;
        let work = move || check::check(&text, &catalog, open, |name| header(name), (&guesses, &proven), now);
        if is_short {
            return Ok(work()?);
        }
        Ok(tokio::task::spawn_blocking(work).await.map_err(|_| IssueError::Ours)??)
    }

    async fn reserve(
        &self,
        database: &Database,
        asking: &Asking,
        wanted: Wanted,
    ) -> Result<SerialRecord, IssueError> {
        let wanted = match wanted {
            Wanted::Exactly(serial) if serial.is_empty() => Wanted::Exactly(self.random_serial()?),
            wanted => wanted,
        };
        let reserved = {
            let _one_at_a_time = self.reserving.lock().await;
            database.reserve_serial(asking, &wanted).await?
        };
        let (check, why) = match reserved {
            Reserved::Held(held) => return Ok(held),
            Reserved::Taken(serial) => {
                (Check::SerialTaken, format!("serial {serial} belongs to another device"))
            }
            Reserved::NotListed => (Check::SerialNotListed, "it is not on the list of its model".to_owned()),
            Reserved::OtherHardware(serial) => {
                (Check::SerialNotListed, format!("serial {serial} is listed for other hardware"))
            }
            Reserved::UsedUp => {
                (Check::SerialsUsedUp, "every serial of the list of its model is given out".to_owned())
            }
        };
        Err(Refusal::new(check, why).of(&asking.brand, &asking.model).into())
    }

    async fn sign_and_keep(
        &self,
        database: &Database,
        catalog: &Catalog,
        asking: &Asking,
        checked: &Checked,
        held: &SerialRecord,
    ) -> Result<Assertion, IssueError> {
        let now = clock::now();
        // A device in place of another one.
        let before = held.document.as_deref();
        let revision = before.and_then(|text| Assertion::decode(text.as_bytes()).ok());
        let revision = revision.map_or(0, |before| before.revision() + 1);
        let document = Builder::new(AssertionType::Serial)
            .revision(revision)
            .header("authority-id", checked.key.label.account.as_str())
            .header("brand-id", held.device.brand.as_str())
            .header("model", held.device.model.as_str())
            .header("serial", held.device.serial.as_str())
            .header("device-key", checked.device_key.encode())
            .header("device-key-sha3-384", checked.device_key.id())
            .header(
                "timestamp",
                now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default(),
            );
        let signed = self.sign(database, &checked.key, document).await?;
        as_a_device_checks_it(catalog, &checked.model, &signed, now)?;
        let event = AuditEvent::new("proxyd", "issue-serial", held.device.to_string()).detail(json!({
            "key": checked.key.label.name, "key-id": checked.key.key_id, "device-key": asking.device_key,
            "request": asking.request_digest, "type": "serial",
            "sha256": check::hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, signed.bytes()).as_ref()),
        }));
        let text = String::from_utf8_lossy(signed.bytes());
        let kept = database.keep_serial(asking, &held.device.serial, before, &text, &event).await?;
        match kept {
            Some(kept) if kept == text => Ok(signed),
            kept => kept.and_then(|kept| of(&kept, &asking.device_key)).ok_or(IssueError::Ours),
        }
    }

    /// A random serial: a UUID, which no other store and no restored copy of this one makes again.
    fn random_serial(&self) -> Result<String, IssueError> {
        let mut bytes = [0; 16];
        self.random.fill(&mut bytes).map_err(|_| IssueError::Ours)?;
        bytes[6] = bytes[6] & 0x0F | 0x40;
        bytes[8] = bytes[8] & 0x3F | 0x80;
        let text = check::hex(&bytes);
        Ok([&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-"))
    }
}

/// The approval of a device's serial, with the digest of what was approved; `None` if the device has its serial already.
async fn approved(
    database: &Database,
    asking: &Asking,
    checked: &Checked,
    needed: u32,
) -> Result<Option<(i64, String)>, IssueError> {
    let held = database.serial_of_key(asking).await?;
    if held.is_some_and(|held| held.document.is_none_or(|text| of(&text, &asking.device_key).is_some())) {
        return Ok(None);
    }
    let Asking { brand, model, device_key, request_digest, .. } = asking;
    let kept = checked.original.as_ref().map(|original| &*original.serial);
    let proposed = checked.proposed.as_deref().or(kept).filter(|serial| is_strict_serial(serial));
    let subject = format!("{brand}/{model} {}", proposed.unwrap_or("(a new serial)"));
    let mut detail = json!({
        "model": format!("{brand}/{model}"), "device-key": device_key, "proposes": checked.proposed,
        "hardware-id": checked.hardware,
    });
    if let Some(original) = &checked.original {
        detail["was"] = original.to_string().into();
    }
    let digest = approvals::digest(&detail);
    let ask = Ask { kind: Kind::Serial, subject, digest: digest.clone(), needed, who: "proxyd", detail };
    match approvals::ask(database, ask).await? {
        Answer::Approved(id) => Ok(id.map(|id| (id, digest))),
        Answer::Waiting(id) => {
            database.await_approval(request_digest, id).await?;
            Err(IssueError::Waiting(id))
        }
        Answer::Refused(_) => {
            Err(Refusal::new(Check::NotApproved, "the store's operators refused it").into())
        }
    }
}

/// Whether a serial that this store gave out has not been taken from its device since. One of another store is the device's as
/// long as its signature holds.
async fn still_its_own(database: &Database, device: &DeviceId, device_key: &str) -> Result<(), IssueError> {
    let DeviceId { brand, model, serial } = device.clone();
    let of = SerialsWhere { brand: Some(brand), model: Some(model), serial: Some(serial), after: None };
    let given = database.serials(of, 1).await?.into_iter().next();
    match given.is_none_or(|given| given.of_device() == Some(device_key)) {
        true => Ok(()),
        false => {
            let why = format!("its earlier serial, {device}, was taken from it for another device");
            Err(Refusal::new(Check::Original, why).into())
        }
    }
}

/// The serial in a document, if it is for this device key.
fn of(document: &str, device_key: &str) -> Option<Assertion> {
    let serial = Assertion::decode(document.as_bytes()).ok();
    serial.filter(|serial| serial.text("device-key-sha3-384") == Some(device_key))
}

/// Checks a signed serial like the device that gets it, with everything that this store holds. Its signature was checked when the
/// signer answered it.
fn as_a_device_checks_it(
    catalog: &Catalog,
    model: &Assertion,
    signed: &Assertion,
    now: OffsetDateTime,
) -> Result<(), Refusal> {
    let presented = Presented { model, held: &catalog.assertions };
    let time = KeyTime::Strict { now };
    let checker = Checker { anchors: &catalog.anchors, source: &presented, time };
    checker.check_signed(signed).map(drop).map_err(|error| {
        warn!(why = %error.problem, "Devices would refuse a serial that this store signed");
        Refusal::new(Check::SerialAuthority, format!("devices would not accept it: {}", error.problem))
    })
}

/// A signed document after everything that a device needs to check it, up to what every device trusts.
pub(super) fn stream(catalog: &Catalog, signed: &Assertion) -> Vec<u8> {
    let signer = Ref { kind: AssertionType::AccountKey, key: vec![signed.sign_key_id().to_owned()] };
    let chain = catalog.assertions.closure(signer);
    let known = |at: &Assertion| catalog.anchors.find(&at.reference()).is_some();
    let mut texts: Vec<&[u8]> =
        chain.iter().filter(|document| !known(document)).map(|document| document.bytes()).collect();
    texts.push(signed.bytes());
    texts.join(&b'\n')
}
