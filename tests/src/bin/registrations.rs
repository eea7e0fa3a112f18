//! What a serial costs here next to its signature, and what a refresh takes meanwhile, for the benchmarks.
//!
//! Usage: `registrations ROUNDS MODELS`. Each round registers ten devices for each of so many new models, four at a time and
//! nothing else, and then as many again beside a client that refreshes without a pause. Prints a line for each round: CPU
//! microseconds of the server and its signer for a serial, CPU microseconds of one RSA-4096 signature, serials a second by themselves
//! and beside the refreshes, and the median microseconds of a refresh alone and beside the registrations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use schema::assertion::SigningKey;
use tests::attack::percentile;
use tests::cpu;
use tests::device::{Action, Device, Snapd, Wanted};
use tests::factory::Newborn;
use tests::http::Connection;
use tests::server::Server;
use tests::world::World;

/// Device keys; each gets one serial of each model.
const KEYS: usize = 10;
/// How many devices ask at a time.
const LINES: usize = 4;
/// How often the signature is measured in a round.
const SIGNATURES: u32 = 200;
/// How many refreshes are measured alone in a round.
const REFRESHES: usize = 200;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let (Some(Ok(rounds)), Some(Ok(models))) = (arguments.next(), arguments.next()) else {
        anyhow::bail!("usage: registrations ROUNDS MODELS");
    };
    let world = World::new();
    let (brand, store, hello) = (world.brand("acme"), Server::start(), world.snap("hello"));
    store.trust(&world);
    store.push_brand(&brand);
    store.push_pair(&hello.revision(7), &["latest/stable"], "ubuntu");
    store.make_key(&world, "factory-1", "acme");
    // As snapd makes them.
    let keys = (0..KEYS).map(|_| SigningKey::generate(4096).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
    let signer = SigningKey::generate(4096)?;
    for round in 0..rounds {
        let signed = (0..2 * models).map(|model| {
            let name = format!("m{round}-{model}");
            let add =
                ["models", "add", &format!("acme/{name}"), "--key", "factory-1", "--serial", "assigned"];
            let _ = store.proxy(&add).ok();
            brand.model_in(&name, "AcmeStore")
        });
        let devices: Vec<Newborn> = signed
            .flat_map(|model| keys.iter().map(move |key| Newborn::new(&model, Arc::clone(key))))
            .collect();
        let (by_themselves, crowded) = devices.split_at(models * KEYS);
        let signature = signature(&signer)?;
        let before = cpu::of_family(store.pid())?;
        let quiet = register(&store, by_themselves);
        let serial = (cpu::of_family(store.pid())? - before) / u32::try_from(by_themselves.len())?;
        let alone = percentile(&mut refreshes(&store, |done| done < REFRESHES), 50);
        let over = AtomicBool::new(false);
        let (mut beside, busy) = std::thread::scope(|scope| {
            let beside = scope.spawn(|| refreshes(&store, |_| !over.load(Ordering::Relaxed)));
            let busy = register(&store, crowded);
            over.store(true, Ordering::Relaxed);
            (beside.join().expect("refreshes"), busy)
        });
        println!(
            "{} {} {quiet:.0} {busy:.0} {} {}",
            serial.as_micros(),
            signature.as_micros(),
            alone.as_micros(),
            percentile(&mut beside, 50).as_micros(),
        );
    }
    Ok(())
}

/// Registers devices, some at a time; how many a second.
fn register(store: &Server, devices: &[Newborn]) -> f64 {
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for line in devices.chunks(devices.len().div_ceil(LINES)) {
            scope.spawn(move || {
                for device in line {
                    let answer = Connection::open(store.address)
                        .and_then(|mut connection| device.register_over(store, &mut connection));
                    drop(device.serial(&answer.expect("the store answers")));
                }
            });
        }
    });
    devices.len() as f64 / begun.elapsed().as_secs_f64()
}

/// The processor time of one signature.
fn signature(key: &SigningKey) -> anyhow::Result<Duration> {
    let before = cpu::of(std::process::id())?;
    for number in 0..SIGNATURES {
        std::hint::black_box(key.sign(b"type: serial", number));
    }
    Ok((cpu::of(std::process::id())? - before) / SIGNATURES)
}

/// How long each refresh took, one after the other.
fn refreshes(store: &Server, go_on: impl Fn(usize) -> bool) -> Vec<Duration> {
    let device = Device::anonymous(store, Snapd::V2_77);
    let request = device.refresh_post(
        &device.refresh_body(&[Action::Install("hello".to_owned(), Wanted::channel("stable"))]),
    );
    let mut times = Vec::new();
    while go_on(times.len()) {
        let begun = Instant::now();
        assert_eq!(store.send(&request).status, 200);
        times.push(begun.elapsed());
    }
    times
}
