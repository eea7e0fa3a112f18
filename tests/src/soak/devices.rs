//! Devices of two brands and of none: their requests, and whether the answers are allowed.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::site::Site;
use super::{Cast, Counts, Line};
use crate::attack::{Chance, until};
use crate::device::actions::{Action, Wanted};
use crate::device::{Device, Snapd, Trouble};
use crate::server::proxy;

/// The longest until the database is back after the last crash.
const SETTLED: Duration = Duration::from_secs(10);

/// How a turn ended that was not all right.
enum Odd {
    Trouble(Trouble),
    Wrong(String),
}

impl From<Trouble> for Odd {
    fn from(trouble: Trouble) -> Self {
        Self::Trouble(trouble)
    }
}

/// Is this a failure that a server or database that is away explains?
fn outage(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Connection(_)) || trouble.status().is_some_and(|status| status >= 500)
}

/// A device, what it may see and what it may not.
struct Owner<'a> {
    device: Device,
    own: Vec<&'a Line>,
    foreign: Vec<&'a Line>,
}

/// The device of a number: brands and none in turn, of both versions of snapd.
fn owner<'a>(cast: &'a Cast, site: &Site, who: usize) -> Owner<'a> {
    let snapd = Snapd::ALL[who / 3 % 2];
    let (address, url) = site.place(0);
    let mut device = Device::at(address, &url, snapd).trusting(&cast.world);
    let [acme, bolt, common, moved] = &cast.lines;
    let (own, foreign) = match who % 3 {
        2 => (vec![common, moved], vec![acme, bolt]),
        brand => {
            let line = &cast.lines[brand];
            let model = cast.brands[brand].model_in("gateway", line.store);
            device.identity = Some(cast.brands[brand].device(&model, &format!("SN-{who}")));
            device.store = Some(line.store.to_owned());
            (vec![line], vec![&cast.lines[1 - brand]])
        }
    };
    Owner { device, own, foreign }
}

/// A server that joins voids earlier nonces, and the others learn of it soon: waits until a device can log in at
/// each.
pub(super) fn until_known(cast: &Cast, site: &Site) {
    let mut device = owner(cast, site, 0).device;
    for server in 0..site.servers() {
        let (address, url) = site.place(server);
        device.follow(address, &url);
        let _ = until("a device can log in", SETTLED, || device.renew().is_ok());
    }
}

/// Asks until the run is over.
pub(super) fn live(cast: &Cast, site: &Site, counts: &Counts, who: usize, mut chance: Chance) {
    let mut owner = owner(cast, site, who);
    while !site.is_over() {
        let server = chance.below(site.servers());
        let begun = Instant::now();
        let (address, url) = site.place(server);
        owner.device.follow(address, &url);
        match turn(&mut owner, site, server, &mut chance) {
            Ok(()) => drop(counts.answers.fetch_add(1, Ordering::Relaxed)),
            Err(Odd::Trouble(trouble)) if outage(&trouble) && site.excuses(server, begun) => {
                counts.excused.fetch_add(1, Ordering::Relaxed);
                site.pause(Duration::from_millis(50));
            }
            Err(Odd::Trouble(trouble)) => site.fail(format!("device {who} at server {server}: {trouble}")),
            Err(Odd::Wrong(why)) => site.fail(format!("device {who} at server {server}: {why}")),
        }
    }
}

fn turn(owner: &mut Owner<'_>, site: &Site, server: usize, chance: &mut Chance) -> Result<(), Odd> {
    let asked = Instant::now();
    let own = *chance.of(&owner.own);
    let foreign = *chance.of(&owner.foreign);
    let device = &mut owner.device;
    let name = own.snap.name.as_str();
    let check = |what: &str, revision: u32| {
        let allowed = own.history.allowed(server, asked, site.calm(asked));
        if allowed.contains(&revision) {
            return Ok(());
        }
        let told = own.history.told(asked);
        Err(Odd::Wrong(format!(
            "{what} gave revision {revision} of {name}, but only {allowed:?} may be: {told}"
        )))
    };
    match chance.below(8) {
        0 if device.identity.is_some() => device.renew()?,
        0 | 1 => {
            let info = device.info(name)?;
            let stable = info.channels.iter().find(|(channel, _)| channel == "latest/stable");
            let (_, revision) = stable.ok_or_else(|| Odd::Wrong(format!("{name} has no stable channel")))?;
            check("info", *revision)?;
        }
        2 => {
            let found = device.find(name)?;
            let found = found.iter().find(|found| found.name == name);
            let found = found.ok_or_else(|| Odd::Wrong(format!("{name} is not found")))?;
            check("find", found.revision)?;
        }
        3 => hidden(device, &foreign.snap.name)?,
        4 => {
            let outcome = device.install(name, "stable")?;
            check("install", outcome.snap.revision)?;
            let size = own.snap.revision(outcome.snap.revision).image.bytes.len();
            let part = device.begin_download(&outcome.snap.download, 1 + chance.below(size - 1))?;
            let blob = device.resume(&outcome.snap.download, part)?;
            device.check_blob(&outcome.snap, &blob)?;
        }
        5 => {
            for outcome in device.refresh_all()? {
                if outcome.snap.name == name {
                    check("refresh", outcome.snap.revision)?;
                }
            }
        }
        _ => {
            let outcome = device.install_for_good(name, "stable")?;
            check("install", outcome.snap.revision)?;
        }
    }
    Ok(())
}

/// A snap of another brand must not be visible in any way.
fn hidden(device: &mut Device, name: &str) -> Result<(), Odd> {
    let seen = |how: &str| Err(Odd::Wrong(format!("{how} shows {name}, which is foreign")));
    match device.info(name) {
        Err(Trouble::NotFound) => {}
        Err(trouble) => return Err(trouble.into()),
        Ok(_) => return seen("info"),
    }
    match device.install(name, "stable") {
        Err(Trouble::Snap { .. } | Trouble::NotFound) => {}
        Err(trouble) => return Err(trouble.into()),
        Ok(_) => return seen("install"),
    }
    if device.find(name)?.iter().any(|found| found.name == name) {
        return seen("find");
    }
    Ok(())
}

/// When all is calm: everything that was acknowledged is served by every server to who may see it, and to nobody else.
pub(super) fn last_look(cast: &Cast, site: &Site, counts: &Counts) -> Result<(), String> {
    let _ = until("the database is back", SETTLED, || site.calm(Instant::now()));
    for server in 0..site.servers() {
        let verified = proxy(&site.data_dir(server), &["verify"]);
        if verified.code != Some(0) {
            return Err(format!("in the end, proxy verify: {}{}", verified.stdout, verified.stderr));
        }
        for who in 0..3 {
            let mut owner = owner(cast, site, who);
            let (address, url) = site.place(server);
            owner.device.follow(address, &url);
            let wrong = |why: String| format!("in the end, device {who} at server {server}: {why}");
            for line in owner.own.clone() {
                let name = &line.snap.name;
                for revision in line.history.acknowledged() {
                    let wanted = Wanted::revision(revision);
                    let served = owner.device.act_on_one(Action::Install(name.clone(), wanted));
                    let served = served.and_then(|outcome| {
                        let _ = owner.device.fetch_and_check(&outcome)?;
                        Ok(outcome.snap.revision)
                    });
                    if served != Ok(revision) {
                        return Err(wrong(format!("{name} {revision} was acknowledged, but {served:?}")));
                    }
                    counts.answers.fetch_add(1, Ordering::Relaxed);
                }
                // The last change was acknowledged a moment ago at the latest.
                let now = Instant::now();
                let (served, allowed) =
                    (owner.device.install(name, "stable"), line.history.allowed(server, now, true));
                if !served.as_ref().is_ok_and(|outcome| allowed.contains(&outcome.snap.revision)) {
                    return Err(wrong(format!("{name}: {served:?}, but only {allowed:?} may be")));
                }
            }
            for line in &owner.foreign {
                match hidden(&mut owner.device, &line.snap.name) {
                    Ok(()) => {}
                    Err(Odd::Trouble(trouble)) => return Err(wrong(trouble.to_string())),
                    Err(Odd::Wrong(why)) => return Err(wrong(why)),
                }
            }
        }
    }
    Ok(())
}
