//! `group`: names devices by rules.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::Subcommand;
use schema::api::admin::calls::{ListGroups, RemoveGroup, SetGroup, ShowGroup};
use schema::api::admin::{Group, GroupRequest, Groups};
use schema::rollout::GroupRules;
use schema::store::DeviceId;

use super::name;
use crate::context::Context;
use crate::output::{changed, note, table};

/// Name devices by rules, for the waves of rollouts
///
/// A device is a member if it fits every rule of the group. Members are found by the rules whenever they are asked for, so
/// a device that comes later is a member as well.
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy group add line7 --model gateway-2000 --serial 'SN-7*'
  proxy group list")]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show whom a group would take, and save it with --apply
    ///
    /// In --brand, --model and --serial, `*` stands for any text and `?` for any character.
    #[command(before_help = "Examples:
  proxy group add line7 --model gateway-2000 --serial 'SN-7*'
  proxy group add lab --tag lab --apply
  proxy group add first --from-file devices.txt --apply")]
    Add {
        /// The group's name
        #[arg(value_name = "NAME", value_parser = name)]
        group: String,

        /// The brand's account id, as a pattern
        #[arg(long, value_name = "PATTERN")]
        brand: Option<String>,

        /// The model, as a pattern
        #[arg(long, value_name = "PATTERN")]
        model: Option<String>,

        /// The serial, as a pattern
        #[arg(long, value_name = "PATTERN")]
        serial: Option<String>,

        /// The store that the model names; `ubuntu` is the global one
        #[arg(long, value_name = "STORE")]
        store: Option<String>,

        /// A tag that `proxy device tag` gave the device
        #[arg(long, value_name = "TAG", value_parser = name)]
        tag: Option<String>,

        /// File with one BRAND/MODEL/SERIAL per line, of which the device has to be one
        #[arg(long, value_name = "FILE")]
        from_file: Option<PathBuf>,

        /// Save the group; otherwise only its members are shown
        #[arg(long)]
        apply: bool,
    },
    /// Show a group's rules and its members
    #[command(before_help = "Example:
  proxy group show line7")]
    Show {
        /// The group's name
        #[arg(value_name = "NAME", value_parser = name)]
        group: String,
    },
    /// List groups
    #[command(before_help = "Example:
  proxy group list")]
    List,
    /// Remove a group that no rollout needs
    #[command(before_help = "Example:
  proxy group remove line7")]
    Remove {
        /// The group's name
        #[arg(value_name = "NAME", value_parser = name)]
        group: String,
    },
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let group: Group = match args.action {
        Action::List => {
            let groups: Groups = context.admin().await?.ask::<ListGroups>().await?;
            return Ok(context.out.report(&groups, listed)?);
        }
        Action::Add { group, brand, model, serial, store, tag, from_file, apply } => {
            let devices = from_file.map(|file| read(&file)).transpose()?;
            let rules = GroupRules { brand, model, serial, store, tag, devices };
            let wanted = GroupRequest { apply, name: group, rules };
            let group: Group = context.admin().await?.send::<SetGroup>(&wanted).await?;
            match apply {
                true => changed(),
                false => note("nothing has changed yet: run the same command with --apply to save the group"),
            }
            group
        }
        Action::Show { group } => context.admin().await?.ask_of::<ShowGroup>(&group).await?,
        Action::Remove { group } => {
            let group: Group = context.admin().await?.ask_of::<RemoveGroup>(&group).await?;
            changed();
            return Ok(context.out.report(&group, |group| vec![format!("Removed group {}", group.name)])?);
        }
    };
    Ok(context.out.report(&group, |group| {
        let mut lines = vec![format!("{}: {}", group.name, group.rules), counted(group)];
        lines.extend(group.members.iter().map(ToString::to_string));
        lines
    })?)
}

fn counted(group: &Group) -> String {
    let unseen = match group.unseen {
        0 => String::new(),
        unseen => format!("; {unseen} of its list were never seen"),
    };
    format!("{} of {} devices that were seen{unseen}", group.members.len(), group.seen)
}

fn listed(groups: &Groups) -> Vec<String> {
    let row = |group: &Group| [group.name.clone(), group.rules.to_string(), counted(group)];
    match groups.groups.is_empty() {
        true => vec!["There is no group.".to_owned()],
        false => table(["Group", "Rules", "Members"], groups.groups.iter().map(row).collect()),
    }
}

/// The devices of a file; empty lines and those that begin with `#` count as nothing.
fn read(file: &Path) -> anyhow::Result<BTreeSet<DeviceId>> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
    let lines = text.lines().map(str::trim).enumerate();
    let named = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let device = |(at, line): (usize, &str)| {
        line.parse().with_context(|| format!("cannot use line {} of {shown}", at + 1))
    };
    let devices: BTreeSet<DeviceId> = named.map(device).collect::<anyhow::Result<_>>()?;
    anyhow::ensure!(!devices.is_empty(), "{shown} names no device: write BRAND/MODEL/SERIAL on each line");
    Ok(devices)
}
