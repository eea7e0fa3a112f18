//! `list-imports`: lists which files were imported, by whom, and what they changed.

use schema::api::admin::Imports;
use schema::api::admin::calls::ListImports;

use crate::commands::devices::list_devices::duration;
use crate::context::Context;

/// List which files were imported or refused, when, by whom, and what each of them changed, newest last
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:
  proxy list-imports
  proxy list-imports --since 30d --json")]
pub(crate) struct Args {
    /// Only imports within this time, such as 12h or 30d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<u64>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let since = args.since.map(|seconds| ("since", seconds.to_string()));
    let imports: Imports = context.admin().await?.ask_for::<ListImports>(since).await?;
    Ok(context.out.report(&imports, lines)?)
}

/// A line for each import, and below it one for everything that it changed.
fn lines(imports: &Imports) -> Vec<String> {
    let mut lines = Vec::new();
    for import in &imports.imports {
        let file = import.file.as_deref().unwrap_or("a file without a name");
        let digest = import.sha256.iter().map(|digest| format!(" (SHA-256 {digest})"));
        let digest: String = digest.collect();
        lines.push(format!("{}  {}  {} {file}{digest}", import.at, import.who, import.what));
        match &import.refused {
            Some(reason) => lines.push(format!("  refused: {reason}")),
            None if import.changes.is_empty() => lines.push("  nothing new".into()),
            None => lines.extend(import.changes.iter().map(|change| format!("  {change}"))),
        }
    }
    if imports.waiting > 0 {
        lines.push(format!("{} more wait for approvals: `proxy imports list` shows them", imports.waiting));
    }
    lines
}
