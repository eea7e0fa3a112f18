//! `models`: for which models this store signs serials.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Subcommand, ValueEnum};
use schema::api::admin::calls::{AddModel, AllowRemodel, CloseModel, ListModels};
use schema::api::admin::{
    ModelClose, ModelPolicies, ModelPolicy, ModelRequest, RemodelRequest, SerialSource,
};
use schema::signing::read_list;

use crate::context::Context;
use crate::documents::read_limited;
use crate::output::table;

/// Largest list of serials, in bytes.
const MAX_LIST: u64 = 32 << 20;
/// Largest file with an API key, in bytes.
const MAX_API_KEY: u64 = 4 << 10;

/// Choose the models whose devices get their serial from this store
///
/// A device gets one serial for its key, however often it asks. Gadgets of other models still reach their brand's own
/// device service, through proxy.device-auth.allowed-device-service-urls.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy models add acme/flowgate-2 --key factory-2026 --serial assigned
  proxy models add acme/flowgate-2 --key factory-2026 --serial proposed --pattern 'FG2-[0-9]{6}'
  proxy models add acme/flowgate-2 --key factory-2026 --serial listed --list serials.csv --api-key-file line3.key
  proxy models close acme/flowgate-2")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Sign the serials of a model; replaces the model's earlier policy
    #[command(before_help = "Example:
  proxy models add acme/flowgate-2 --key factory-2026 --serial assigned")]
    Add(Add),
    /// List the models, with how many serials they have
    #[command(before_help = "Example:
  proxy models list")]
    List,
    /// Show the policy of one model
    #[command(before_help = "Example:
  proxy models show acme/flowgate-2")]
    Show {
        /// BRAND/MODEL
        model: String,
    },
    /// Let devices of one model become devices of another one, and keep their serial if its policy allows
    #[command(before_help = "Example:
  proxy models allow-remodel acme/flowgate-1 acme/flowgate-2")]
    AllowRemodel {
        /// What they are: BRAND/MODEL
        old: String,
        /// What they become: BRAND/MODEL
        new: String,
    },
    /// Let them do so no longer
    #[command(before_help = "Example:
  proxy models forbid-remodel acme/flowgate-1 acme/flowgate-2")]
    ForbidRemodel {
        /// What they are: BRAND/MODEL
        old: String,
        /// What they would become: BRAND/MODEL
        new: String,
    },
    /// Give out no more serials of a model; those given out stay good
    #[command(before_help = "Example:
  proxy models close acme/flowgate-2")]
    Close {
        /// BRAND/MODEL
        model: String,
    },
}

#[derive(Debug, clap::Args)]
struct Add {
    /// BRAND/MODEL
    model: String,

    /// The key that signs, as `keys list` shows it
    #[arg(long, value_name = "NAME")]
    key: String,

    /// Where serials come from
    #[arg(long, value_enum)]
    serial: From,

    /// With --serial proposed: a regular expression that the whole serial must match
    #[arg(long, value_name = "RE")]
    pattern: Option<String>,

    /// With --serial listed: CSV with a serial on each line and, if it is for one piece of hardware, a comma and the
    /// hardware's id; replaces the model's earlier list
    #[arg(long, value_name = "FILE")]
    list: Option<PathBuf>,

    /// File with the API key that devices must show; `-` is standard input
    #[arg(long, value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// The header in which they show it [default: api-key]
    #[arg(long, value_name = "HEADER", requires = "api_key_file")]
    api_key_header: Option<String>,

    /// How many people have to approve each serial (`proxy approvals`): 0, 1 or 2
    #[arg(long, value_name = "NUMBER", default_value = "0", value_parser = clap::value_parser!(u32).range(..=2))]
    approvals: u32,

    /// Whether devices must prove what hardware they are
    #[arg(long, value_enum, default_value_t = Hardware::Claimed)]
    hardware: Hardware,
}

/// How a device shows what hardware it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Hardware {
    /// It may say so
    Claimed,
    /// It signs the request id with the key of a hardware-identity of its brand, which was pushed here
    Required,
}

/// Where serials come from.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    /// The gadget proposes one
    Proposed,
    /// The store makes a random one (a UUID)
    Assigned,
    /// The list of --list, each once
    Listed,
}

impl Add {
    fn request(self) -> anyhow::Result<ModelRequest> {
        let list = self.list.as_deref().map(|path| -> anyhow::Result<_> {
            let text = text_of(path, MAX_LIST)?;
            read_list(&text).with_context(|| format!("cannot use {}", path.display()))
        });
        let api_key = self.api_key_file.as_deref().map(|path| text_of(path, MAX_API_KEY)).transpose()?;
        Ok(ModelRequest {
            model: self.model,
            key: self.key,
            serial: match self.serial {
                From::Proposed => SerialSource::Proposed,
                From::Assigned => SerialSource::Assigned,
                From::Listed => SerialSource::Listed,
            },
            pattern: self.pattern,
            list: list.transpose()?,
            api_key: api_key.map(|text| text.trim_end_matches(['\r', '\n']).to_owned()),
            api_key_header: self.api_key_header,
            approvals: self.approvals,
            hardware_required: self.hardware == Hardware::Required,
        })
    }
}

fn text_of(path: &Path, most: u64) -> anyhow::Result<String> {
    let reading = || format!("cannot read {}", path.display());
    let bytes = match path == Path::new("-") {
        true => read_limited(std::io::stdin().lock(), most),
        false => read_limited(File::open(path).with_context(reading)?, most),
    };
    String::from_utf8(bytes.with_context(reading)?).with_context(|| format!("{} is no text", path.display()))
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let policy: ModelPolicy = match args.action {
        Action::Add(add) => {
            let key_file = add.api_key_file.clone().unwrap_or_default();
            let request = add.request()?;
            let added = context.admin().await?.send::<AddModel>(&request).await;
            added.map_err(|error| error.of_file("invalid-api-key", &key_file))?
        }
        Action::Close { model } => context.admin().await?.send::<CloseModel>(&ModelClose { model }).await?,
        Action::AllowRemodel { old: from, new: to } => {
            context.admin().await?.send::<AllowRemodel>(&RemodelRequest { from, to, allowed: true }).await?
        }
        Action::ForbidRemodel { old: from, new: to } => {
            context.admin().await?.send::<AllowRemodel>(&RemodelRequest { from, to, allowed: false }).await?
        }
        Action::Show { model } => {
            let all: ModelPolicies = context.admin().await?.ask::<ListModels>().await?;
            let found = all.models.into_iter().find(|policy| policy.model == model);
            found.with_context(|| {
                format!("there is no policy for {model}: `proxy models list` shows those there are")
            })?
        }
        Action::List => {
            let all: ModelPolicies = context.admin().await?.ask::<ListModels>().await?;
            return Ok(context.out.report(&all, |all| match all.models.is_empty() {
                true => vec!["There is no model: `proxy models add` adds one".to_owned()],
                false => table(
                    ["Model", "State", "Key", "Serials", "Given out", "Left"],
                    all.models.iter().map(row).collect(),
                ),
            })?);
        }
    };
    Ok(context.out.report(&policy, lines)?)
}

fn left(policy: &ModelPolicy) -> String {
    policy.left.map_or_else(|| "-".to_owned(), |left| left.to_string())
}

fn row(policy: &ModelPolicy) -> [String; 6] {
    [
        policy.model.clone(),
        policy.state.clone(),
        policy.key.clone(),
        policy.serial.as_str().to_owned(),
        policy.issued.to_string(),
        left(policy),
    ]
}

fn lines(policy: &ModelPolicy) -> Vec<String> {
    let mut lines = vec![
        format!("Model: {}", policy.model),
        format!("State: {}", policy.state),
        format!("Key: {}", policy.key),
        format!("Serials: {}", policy.serial.as_str()),
    ];
    lines.extend(policy.pattern.as_ref().map(|pattern| format!("Pattern: {pattern}")));
    lines.extend(policy.api_key_header.as_ref().map(|header| format!("API key: in the header {header}")));
    if !policy.remodels_from.is_empty() {
        lines.push(format!("Devices may come from: {}", policy.remodels_from.join(", ")));
    }
    if policy.hardware_required {
        lines.push("Hardware: proven by a hardware-identity of the brand".to_owned());
    }
    if policy.approvals > 0 {
        lines.push(format!("Approvals: {} for each serial", policy.approvals));
    }
    lines.push(format!("Given out: {}", policy.issued));
    lines.extend(policy.left.map(|left| format!("Left on the list: {left}")));
    if policy.state == "restored" {
        lines.push(
            "Closed since the restore, because the backup does not tell which serials were given out after it: \
             `proxy models add` opens it again"
                .to_owned(),
        );
    }
    lines
}
