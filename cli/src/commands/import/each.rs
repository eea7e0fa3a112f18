//! Pushes files one after the other, and tells what came of each.

use std::path::{Path, PathBuf};

use schema::api::admin::ViewChange;
use serde::Serialize;

use super::changes::{check, explain};
use crate::admin::AdminError;
use crate::commands::Reported;
use crate::context::Context;
use crate::errors;
use crate::stdin::shown;

/// What came of one file.
#[derive(Serialize)]
struct Pushed<T> {
    #[serde(serialize_with = "crate::output::as_text")]
    file: PathBuf,
    #[serde(flatten)]
    pushed: T,
}

#[derive(Serialize)]
struct AllPushed<T> {
    files: Vec<Pushed<T>>,
}

/// Pushes every file with `push`, which prints its warnings. `told` gives the lines for people, and who sees what.
pub(super) async fn push_each<T: Serialize>(
    context: &Context,
    files: Vec<PathBuf>,
    push: impl AsyncFn(&Path) -> anyhow::Result<T>,
    told: impl Fn(&Path, &T) -> (Vec<String>, Vec<ViewChange>),
) -> anyhow::Result<()> {
    let mut done = AllPushed { files: Vec::new() };
    let mut failure = None;
    for file in files {
        match push(&file).await {
            Ok(pushed) => {
                let (lines, views) = told(&file, &pushed);
                if !context.out.is_json() {
                    context.out.lines(&lines)?;
                }
                if let Err(refused) = check(&views) {
                    failure = Some(refused);
                }
                done.files.push(Pushed { file, pushed });
            }
            // A bad file does not stop the others; a lost server does.
            Err(error) if matches!(error.downcast_ref(), Some(AdminError::Refused(_)) | None) => {
                error.downcast_ref().into_iter().for_each(explain);
                errors::report(&error.context(format!("cannot push {}", shown(&file))));
                failure = Some(Reported.into());
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    if context.out.is_json() {
        context.out.report(&done, |_| Vec::new())?;
    }
    failure.map_or(Ok(()), Err)
}

/// The lines of one of several files, under its name.
pub(super) fn headed(lines: Vec<String>, file: &Path, several: bool) -> Vec<String> {
    let head = several.then(|| format!("{}:", shown(file)));
    head.into_iter().chain(lines).collect()
}
