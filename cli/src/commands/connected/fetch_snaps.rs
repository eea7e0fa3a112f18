//! `fetch-snaps`: fetches snaps from the upstream store into verified bundles.

use std::path::PathBuf;

use anyhow::Context as _;
use schema::assertion::Assertion;
use schema::store::{Architecture, ChannelRequest, SnapName, StoreId};

use super::parcel_args::ParcelArgs;
use crate::commands::usage;
use crate::context::Context;
use crate::documents::read_document;
use crate::fetch::anchors::TrustArgs;
use crate::fetch::contents::Contents;
use crate::fetch::{Job, Known, Order, Pick, SetRef, model_of, read_list};
use crate::upstream::{LoginArgs, Upstream};

/// Fetch snaps into bundles that can be carried across
///
/// A bundle holds the snap, its assertions, its components, its icon and its part of the channel map. It is written
/// once all of this is complete and verified; an interrupted run resumes where it stopped.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy fetch-snaps jq --channel=stable --architecture=amd64
  proxy fetch-snaps acme-app acme-gadget --auth viewer.login --store AcmeDevices --with-dependencies
  proxy fetch-snaps --from-yaml snaps.yaml --single --export-dir /media/usb
  proxy fetch-snaps --model gateway.model --with-dependencies
  proxy fetch-snaps jq --for site.receipt --export-dir /media/usb")]
pub(crate) struct Args {
    /// Snaps to fetch
    #[arg(value_name = "NAME")]
    names: Vec<SnapName>,

    /// Channel, [TRACK/]RISK[/BRANCH]; with --revision, the channel to release to on site; may be repeated [default:
    /// stable]
    #[arg(long = "channel", value_name = "CHANNEL")]
    channels: Vec<ChannelRequest>,

    /// Architecture; may be repeated [default: that of --model, else amd64]
    #[arg(long = "architecture", visible_alias = "arch", value_name = "ARCH")]
    architectures: Vec<Architecture>,

    /// Fetch exactly this revision
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    revision: Option<u32>,

    #[command(flatten)]
    login: LoginArgs,

    /// Brand store to fetch from [default: that of --model, else the global store]
    #[arg(long, value_name = "ID")]
    store: Option<StoreId>,

    /// Include this validation set, ACCOUNT/NAME[=SEQUENCE]; may be repeated
    #[arg(long = "validation-set", value_name = "SET")]
    validation_sets: Vec<SetRef>,

    /// YAML list of snaps: `packages:` with name, revision, push_channel and channel of each
    #[arg(long, value_name = "FILE")]
    from_yaml: Option<PathBuf>,

    /// Also fetch bases, snapd, default providers, and the snaps of models and validation sets
    #[arg(long)]
    with_dependencies: bool,

    /// Do without the named snaps that the store does not have, instead of fetching nothing
    #[arg(long)]
    skip_missing: bool,

    /// Include this model assertion and its validation sets
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,

    /// Folder for bundles [default: the current folder]
    #[arg(long, value_name = "DIR", default_value = ".", hide_default_value = true)]
    export_dir: PathBuf,

    /// Write one bundle instead of one per snap
    #[arg(long)]
    single: bool,

    /// Omit what this earlier bundle contains; may be repeated
    #[arg(long, value_name = "FILE", conflicts_with = "for_site")]
    since: Vec<PathBuf>,

    #[command(flatten)]
    parcel: ParcelArgs,

    #[command(flatten)]
    trust: TrustArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let wrong = |text| Err(usage(context.program, "fetch-snaps", text));
    if args.names.is_empty() && args.from_yaml.is_none() && (args.model.is_none() || !args.with_dependencies)
    {
        return wrong("name at least one snap, or give --from-yaml, or --model with --with-dependencies");
    }
    if args.revision.is_some() && args.names.len() != 1 {
        return wrong("--revision goes with exactly one snap: use --from-yaml for several");
    }
    let model = args.model.as_ref().map(|path| {
        let documents = Assertion::decode_stream(&read_document(path)?)?;
        let model = model_of(&documents)?.clone();
        Ok::<_, anyhow::Error>((documents, model))
    });
    let model = model.transpose().context("cannot use the model")?;
    let orders = orders(&args)?;
    let releases = orders.iter().any(|order| order.picks.iter().any(|pick| !pick.release_to.is_empty()));
    let single = args.single || args.parcel.is_given();
    if single && releases && (orders.len() > 1 || args.with_dependencies) {
        return wrong(
            "one bundle cannot say where revisions of several snaps are released on site: fetch them one by one, without \
             --single and --for",
        );
    }

    let of_model = model.as_ref().map(|(_, model)| model);
    let store = match (&args.store, of_model.and_then(|model| model.store.as_deref())) {
        (Some(store), _) => Some(store.clone()),
        (None, Some(store)) => Some(store.parse()?),
        (None, None) => None,
    };
    let mut architectures = args.architectures.clone();
    if architectures.is_empty() {
        let own = of_model.and_then(|model| model.architecture.as_deref()).unwrap_or("amd64");
        architectures.push(own.parse()?);
    }
    let anchors = args.trust.anchors()?;
    let (home, site) = args.parcel.open(context)?;
    let since = args.since.iter().map(|path| Contents::read(path)).collect::<Result<Vec<_>, _>>()?;
    let known = site.map_or_else(|| Known::of_bundles(&since), Known::Site);
    let upstream = Upstream::new(&context.settings()?, context.client.as_ref(), args.login.read()?, store)?;
    let job = Job {
        upstream: &upstream,
        anchors: &anchors,
        orders,
        architectures,
        sets: args.validation_sets,
        model: model.map(|(documents, _)| documents),
        with_dependencies: args.with_dependencies,
        skip_missing: args.skip_missing,
        known,
        part_size: args.parcel.part_size,
        whole_files: args.parcel.whole_files,
        home,
        folder: args.export_dir,
        single,
        archive: None,
    };
    let fetched = job.run(&context.out).await?;
    if context.out.is_json() {
        context.out.report(&fetched, |_| Vec::new())?;
    }
    Ok(())
}

/// The orders from the command line and the list.
fn orders(args: &Args) -> anyhow::Result<Vec<Order>> {
    let channels = match &args.channels[..] {
        [] => vec![ChannelRequest::default()],
        channels => channels.to_vec(),
    };
    let mut orders: Vec<Order> = Vec::new();
    for name in &args.names {
        if orders.iter().any(|order| order.name == *name) {
            continue;
        }
        let picks = match args.revision {
            Some(number) => {
                let release_to =
                    args.channels.iter().map(|channel| channel.on(&schema::store::Track::latest()));
                vec![Pick::revision(number, release_to.collect())]
            }
            None => channels.iter().cloned().map(Pick::channel).collect(),
        };
        orders.push(Order { name: name.clone(), picks, needed_by: None });
    }
    if let Some(path) = &args.from_yaml {
        let list = read_list(&read_document(path)?, &channels)
            .with_context(|| format!("cannot read {}", path.display()))?;
        crate::fetch::merge(&mut orders, list);
    }
    Ok(orders)
}
