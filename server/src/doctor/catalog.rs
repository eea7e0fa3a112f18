//! What the store holds: keys, stores, snaps and their files.

use schema::api::admin::Urgency::{Advice, Now, Soon};
use time::OffsetDateTime;

use super::Found;
use super::host::{STORAGE_SETTINGS, shown};

/// What the store holds, as far as something may be wrong with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Holdings {
    /// Stores, and which of their snaps were not pushed.
    pub(crate) stores: Vec<StoreFacts>,
    /// Keys of accounts that end some day.
    pub(crate) keys: Vec<KeyFacts>,
    /// Does a document count no more once its key has ended?
    pub(crate) strict: bool,
    /// Snaps of which a file is damaged, with what is damaged.
    pub(crate) damaged: Vec<(String, String)>,
    /// What devices get meanwhile, in sentences.
    pub(crate) stand_ins: Vec<String>,
    /// Files that are not there: the snap and its revision.
    pub(crate) absent: Vec<(String, u32)>,
    /// The number of revisions.
    pub(crate) revisions: usize,
    /// Where their files are kept, for people.
    pub(crate) place: String,
    /// Snaps that no device sees, with the stores that they were pushed for.
    pub(crate) unseen: Vec<(String, Vec<String>)>,
    /// Bases that are not held, with the snaps that need them.
    pub(crate) bases: Vec<(String, Vec<String>)>,
    /// Bases that are held and that a store does not grant: the base, the store, and the snaps of the store that need it.
    pub(crate) bases_not_granted: Vec<(String, String, Vec<String>)>,
    /// Stores that models of devices name and whose metadata was not imported: the brand, the store, and how many devices.
    pub(crate) stores_not_imported: Vec<(String, String, usize)>,
    /// The newest time in a signed document.
    pub(crate) newest: Option<OffsetDateTime>,
}

/// A store whose metadata was imported.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoreFacts {
    /// Its id.
    pub(crate) id: String,
    /// Its brand.
    pub(crate) brand: String,
    /// Does the brand have a key here?
    pub(crate) has_keys: bool,
    /// Does it hand out nothing, not even through another store?
    pub(crate) is_empty: bool,
    /// Names of snaps that it grants and that were not pushed.
    pub(crate) missing: Vec<String>,
}

/// A key that ends.
#[derive(Debug, Clone)]
pub(crate) struct KeyFacts {
    /// Its name.
    pub(crate) name: String,
    /// Whose it is.
    pub(crate) account: String,
    /// When it ends.
    pub(crate) until: OffsetDateTime,
    /// A key of the same account that began later and lives longer.
    pub(crate) successor: Option<String>,
}

pub(super) fn examine(held: &Holdings, now: OffsetDateTime, found: &mut Found) {
    for store in &held.stores {
        let id = &store.id;
        if !store.missing.is_empty() {
            let missing = store.missing.join(", ");
            let what = format!("Store {id} grants snaps that were not pushed yet: {missing}.");
            found.add(
                Now,
                "grants-not-pushed",
                what,
                "Its devices ask for them and get nothing.",
                "proxy push-snap BUNDLE",
            );
        }
        if !store.has_keys {
            let what = format!(
                "No account key of brand {} was pushed: its devices cannot prove who they are (`proxy push-account-keys`).",
                store.brand
            );
            let why = "A device whose serial cannot be checked gets no session.";
            found.add(Now, "brand-without-keys", what, why, "proxy push-account-keys FILE");
        }
        if store.is_empty {
            let what = format!("Store {id} grants no snap.");
            let why = "Its devices see nothing but snapd and the boot bases.";
            found.add(Soon, "store-grants-nothing", what, why, "proxy push-brand-store-metadata FILE");
        }
    }
    for (brand, store, devices) in &held.stores_not_imported {
        let what = format!(
            "The metadata of store {store} of brand {brand} was not imported; the model of {devices} devices that were seen in the last 30 days names it."
        );
        let why = "They do not see what their store grants.";
        found.add(Soon, "store-not-imported", what, why, "proxy push-brand-store-metadata FILE");
    }
    ending_keys(held, now, found);
    let push = |snap: &str| format!("proxy push-snap BUNDLE_WITH_{snap}");
    let why = "Devices are refused this file, or offered an older revision.";
    for (snap, lost) in &held.damaged {
        let what = format!("The file of {snap} {lost} is damaged: push it again (`proxy push-snap`).");
        found.add(Now, "file-damaged", what, why, "proxy push-snap BUNDLE");
    }
    for text in &held.stand_ins {
        found.add(Now, "revision-stands-in", text, why, "proxy push-snap BUNDLE");
    }
    if held.absent.len() == held.revisions && held.revisions > 1 {
        let what = format!("Of {} revisions, no file is in {}.", held.revisions, held.place);
        let why = "Devices get no snap. A disk may not be mounted there, or the setting names another place than before.";
        found.add(Now, "file-absent", what, why, STORAGE_SETTINGS);
    } else {
        for (snap, revision) in &held.absent {
            let what = format!("The file of {snap} revision {revision} is not there.");
            let why = "Devices that ask for it get an error.";
            found.add(Now, "file-absent", what, why, push(snap));
        }
    }
    for (snap, stores) in &held.unseen {
        let what = format!("No device sees {snap}: no store whose metadata is held grants it.");
        let why = "It was pushed, and nobody can install it.";
        let mend = "proxy push-brand-store-metadata FILE";
        let what =
            if stores.is_empty() { what } else { format!("{what} It was pushed for {}.", stores.join(", ")) };
        found.add(Soon, "snap-seen-by-nobody", what, why, mend);
    }
    let why = "A device that does not have the base already cannot install them.";
    for (base, store, snaps) in &held.bases_not_granted {
        let what = format!(
            "The base {base} is held, and store {store} does not grant it; {} need it.",
            snaps.join(", ")
        );
        let mend = format!("proxy push-brand-store-metadata FILE_THAT_GRANTS_{base}");
        found.add(Soon, "base-not-granted", what, why, mend);
    }
    for (base, snaps) in &held.bases {
        let what = format!("The base {base} is not held; {} need it.", snaps.join(", "));
        found.add(Advice, "base-not-held", what, why, push(base));
    }
    if let Some(newest) = held.newest.filter(|newest| now < *newest) {
        let what = format!(
            "The clock is behind: it shows {}, and a signed document is of {}.",
            shown(now),
            shown(newest)
        );
        let why = "Certificates seem not to be valid yet, and keys are judged by the wrong day.";
        found.add(Soon, "clock-behind", what, why, "timedatectl set-time 'YYYY-MM-DD HH:MM:SS'");
    }
}

/// Account keys that end soon, and what that means here; in the last seven days it is urgent.
fn ending_keys(held: &Holdings, now: OffsetDateTime, found: &mut Found) {
    let then = match held.strict {
        true => "documents that it signed are refused from then on (proxy.device-auth.strict-key-expiry)",
        false => "documents that it signed before stay good",
    };
    for KeyFacts { name, account, until, successor } in held.keys.iter().filter(|key| now < key.until) {
        let days = (*until - now).whole_days();
        let urgency = match days {
            90.. => continue,
            7.. => Soon,
            _ => Now,
        };
        let (urgency, next) = match successor {
            Some(key) => (Advice, format!("Key {key} began later and lives longer: is it the successor?")),
            None => (urgency, "Push its successor with `proxy push-account-keys`.".into()),
        };
        let what = format!(
            "Account key {name} of {account} ends in {days} days, on {}; {then}. {next}",
            until.date()
        );
        let why = "What it signs after that day is refused everywhere.";
        found.add(urgency, "account-key-ends", what, why, "proxy push-account-keys FILE");
    }
}
