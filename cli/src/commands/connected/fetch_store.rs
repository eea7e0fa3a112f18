//! `fetch-store`: fetches a whole brand store into one archive.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Context as _;
use schema::bundle::{BrandStores, ListedSnap, SnapList};
use schema::store::{Architecture, ChannelRequest, SnapName, StoreId};

use super::parcel_args::{ParcelArgs, size};
use crate::context::Context;
use crate::fetch::anchors::TrustArgs;
use crate::fetch::{Archive, Job, Known, Library, Order, Pick, account_keys, brand_stores, check_key_ids};
use crate::upstream::{LoginArgs, Upstream};

/// Fetch a brand store into one archive: metadata, keys and snaps
///
/// The archive holds the store's listed snaps, with bases and whatever else they need. `push-store` imports it as a
/// whole, and a later archive brings the other side up to date. A snap that is missing in some of the channels or
/// architectures is taken from the others.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy fetch-store AcmeDevices --auth acme.login --channel stable --channel candidate --arch amd64 --arch arm64
  proxy fetch-store AcmeDevices --auth acme.login --split 3900M --export-dir /media/usb
  proxy fetch-store AcmeDevices --auth acme.login --for site.receipt --part-size 3900M --export-dir /media/usb")]
pub(crate) struct Args {
    /// Store to fetch
    #[arg(value_name = "STORE_ID")]
    store: StoreId,

    #[command(flatten)]
    login: LoginArgs,

    /// Channel, [TRACK/]RISK[/BRANCH]; may be repeated [default: stable]
    #[arg(long = "channel", value_name = "CHANNEL")]
    channels: Vec<ChannelRequest>,

    /// Architecture; may be repeated [default: amd64]
    #[arg(long = "architecture", visible_alias = "arch", value_name = "ARCH")]
    architectures: Vec<Architecture>,

    /// Include this key of the brand; may be repeated
    #[arg(long = "key", value_name = "KEY_ID", allow_hyphen_values = true)]
    keys: Vec<String>,

    /// Only fetch metadata and keys
    #[arg(long)]
    no_snaps: bool,

    /// Split the archive into parts of at most this size; K, M and G are powers of 1024
    #[arg(long, value_name = "SIZE", value_parser = size, conflicts_with = "for_site")]
    split: Option<u64>,

    /// Folder for the archive [default: the current folder]
    #[arg(long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    export_dir: PathBuf,

    #[command(flatten)]
    parcel: ParcelArgs,

    #[command(flatten)]
    trust: TrustArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let anchors = args.trust.anchors()?;
    let (home, site) = args.parcel.open(context)?;
    let known = site.map_or_else(|| Known::of_bundles(&[]), Known::Site);
    let login = args.login.read()?.context("cannot fetch a brand store without a login: give --auth FILE")?;
    let upstream =
        Upstream::new(&context.settings()?, context.client.as_ref(), Some(login), Some(args.store.clone()))?;
    let answer = brand_stores(&upstream, &args.store).await?;
    // Read it with the importer's reader: a file it cannot read must not be carried across.
    let stores = BrandStores::parse(answer.to_string().as_bytes())?;
    let brand = stores.stores.iter().find(|store| store.id == args.store).map(|store| store.brand_id.clone());
    let brand = brand.context("the store's answer is about another store")?;
    check_key_ids(&brand, &args.keys)?;
    let keys = account_keys(&mut Library::new(&upstream, &anchors), &brand, &args.keys).await?;

    let listed: Vec<&ListedSnap> = match &stores.snaps {
        SnapList::Of(lists) => lists.values().flatten().collect(),
        SnapList::Bare(list) => list.iter().collect(),
    };
    let mut homes: BTreeMap<SnapName, StoreId> =
        listed.iter().map(|snap| (snap.name.clone(), args.store.clone())).collect();
    homes.extend(listed.iter().filter_map(|snap| {
        let home = snap.store.clone().filter(|home| *home != args.store)?;
        Some((snap.name.clone(), home))
    }));
    let archive =
        Archive { metadata: serde_json::to_vec_pretty(&stores.to_json())?, keys, homes, split: args.split };
    let channels = if args.channels.is_empty() { vec![ChannelRequest::default()] } else { args.channels };
    let picks: Vec<Pick> = channels.into_iter().map(Pick::channel).collect();
    let mut orders = Vec::new();
    for snap in listed.iter().filter(|_| !args.no_snaps) {
        // A store may list snaps without a release in these channels: report them and continue.
        let needed_by = Some(format!("store {}", args.store));
        let order = Order { name: snap.name.clone(), picks: picks.clone(), needed_by };
        crate::fetch::merge(&mut orders, [order]);
    }
    let architectures = match args.architectures.is_empty() {
        true => vec!["amd64".parse()?],
        false => args.architectures,
    };
    let job = Job {
        upstream: &upstream,
        anchors: &anchors,
        orders,
        architectures,
        sets: Vec::new(),
        model: None,
        with_dependencies: true,
        skip_missing: false,
        known,
        part_size: args.parcel.part_size,
        whole_files: args.parcel.whole_files,
        home,
        folder: args.export_dir,
        single: true,
        archive: Some(archive),
    };
    let fetched = job.run(&context.out).await?;
    if context.out.is_json() {
        context.out.report(&fetched, |_| Vec::new())?;
    }
    Ok(())
}
