//! Import from a folder of the server's host: the one that `proxy.admin.import-folder` names, and no other. The files go through the admin
//! API one after another as those of a form do, while the page says how far they are.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::response::Response;
use futures_util::StreamExt as _;
use rustix::fs::{Mode, OFlags, open, openat};
use tokio_util::io::ReaderStream;

use super::frame;
use super::pushes::push_as;
use super::shown::query;
use super::texts::ENGLISH;
use super::visit::{Fields, Visit};

/// Most files of a folder that are shown and taken at a time.
const MOST: usize = 500;
/// Bytes that are sent between two looks of a page that watches.
const LOOK: u64 = 64 << 20;

/// A file of the folder.
pub(super) struct Found {
    pub(super) name: String,
    pub(super) size: u64,
}

/// What came of a file.
pub(super) struct Ended {
    pub(super) file: String,
    pub(super) well: bool,
    pub(super) says: String,
}

/// An import under way, or the last one.
#[derive(Default)]
pub(super) struct State {
    pub(super) who: String,
    pub(super) is_over: bool,
    pub(super) only_tried: bool,
    pub(super) files: usize,
    pub(super) bytes: u64,
    pub(super) sent: u64,
    pub(super) ended: Vec<Ended>,
}

/// The import of the folder: one at a time.
#[derive(Clone, Default)]
pub(super) struct Carried(Arc<Mutex<Option<State>>>);

impl Carried {
    /// What is under way, or was last.
    pub(super) fn state(&self) -> MutexGuard<'_, Option<State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes whenever a page that shows it should be made anew.
    pub(super) fn mark(&self) -> u64 {
        let state = self.state();
        state
            .as_ref()
            .map_or(0, |state| 1 + state.ended.len() as u64 + state.sent / LOOK + u64::from(state.is_over))
    }

    /// Begins one, unless one is under way.
    fn begin(&self, state: State) -> bool {
        let mut now = self.state();
        let is_free = now.as_ref().is_none_or(|state| state.is_over);
        if is_free {
            *now = Some(state);
        }
        is_free
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        if let Some(state) = &mut *self.state() {
            change(state);
        }
    }
}

/// The files of the folder, by name: what a symbolic link, a folder or a pipe is, is none.
pub(super) fn look(folder: &Path) -> io::Result<Vec<Found>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let Ok(about) = entry.metadata() else { continue };
        if let Ok(name) = entry.file_name().into_string()
            && about.is_file()
        {
            found.push(Found { name, size: about.size() });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found.truncate(MOST);
    Ok(found)
}

/// Opens a regular file that is in the folder itself. Neither its name nor a link leads elsewhere, and a pipe holds nobody up.
fn open_in(folder: &Path, name: &str) -> io::Result<(File, u64)> {
    if name.is_empty() || name.contains('/') || name == "." || name == ".." {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not the name of a file in the folder",
        ));
    }
    let folder = open(folder, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(openat(&folder, name, flags, Mode::empty())?);
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok((file, about.len()))
}

/// Whether files of this name are of a kind.
fn is_of(kind: &str, name: &str) -> bool {
    match kind {
        "stores" => name.ends_with(".json"),
        "assertions" => name.ends_with(".assert"),
        _ => [".tar", ".tar.gz", ".tgz"].iter().any(|ending| name.ends_with(ending)),
    }
}

/// Imports a file of the folder, or all of a kind.
pub(super) async fn import(visit: Visit, fields: Fields) -> Response {
    let (t, there) = (&ENGLISH, "/pages/imports");
    let wrong = |message: &str| frame::trouble(StatusCode::UNPROCESSABLE_ENTITY, message, Vec::new());
    if !visit.may_import() {
        return frame::trouble(StatusCode::FORBIDDEN, t.may_not_import, Vec::new());
    }
    let Some(folder) = visit.pages.site.settings().listen.import_folder.clone() else {
        return wrong(t.no_folder);
    };
    let (kind, only) = (fields.get("kind").to_owned(), fields.get("file").to_owned());
    let only_tried = fields.get("try") != "false";
    let files = match look(&folder) {
        Ok(files) => files,
        Err(error) => return wrong(&format!("{}: {error}", folder.display())),
    };
    let meant = |found: &Found| if only.is_empty() { is_of(&kind, &found.name) } else { found.name == only };
    let files: Vec<Found> = files.into_iter().filter(meant).collect();
    if files.is_empty() {
        return visit.say(false, there, t.no_such_file);
    }
    let state = State {
        who: visit.visitor.to_string(),
        only_tried,
        files: files.len(),
        bytes: files.iter().map(|found| found.size).sum(),
        ..State::default()
    };
    let carried = visit.pages.carried.clone();
    if !carried.begin(state) {
        return visit.say(false, there, t.folder_is_busy);
    }
    let (stop, told) = (visit.pages.stop.clone(), visit.say(true, there, t.folder_begun));
    drop(tokio::spawn(async move {
        let _ = stop.run_until_cancelled(carry(&visit, &carried, &folder, &kind, files)).await;
        carried.change(|state| state.is_over = true);
    }));
    told
}

/// Imports these files as the visitor, until their login ends.
async fn carry(visit: &Visit, carried: &Carried, folder: &Path, kind: &str, files: Vec<Found>) {
    let only_tried = carried.state().as_ref().is_none_or(|state| state.only_tried);
    for Found { name, .. } in files {
        let (well, says, ends) = match open_in(folder, &name) {
            Err(error) => (false, error.to_string(), false),
            Ok((file, size)) => {
                let pairs = [
                    ("file", &*name),
                    ("dry-run", if only_tried { "true" } else { "" }),
                    ("as", if kind == "assertions" { "assertions" } else { "" }),
                ];
                let counts = carried.clone();
                // What is written to the file meanwhile is not of the import.
                let file = tokio::io::AsyncReadExt::take(tokio::fs::File::from_std(file), size);
                let pieces =
                    ReaderStream::with_capacity(file, 1 << 18).inspect(move |piece: &io::Result<Bytes>| {
                        if let Ok(piece) = piece {
                            counts.change(|state| state.sent += piece.len() as u64);
                        }
                    });
                match push_as(visit, kind, &query(pairs), Body::from_stream(pieces)).await {
                    Ok(told) => (true, told.join("\n"), false),
                    Err(refusal) => {
                        (false, refusal.failure.message, refusal.status == StatusCode::UNAUTHORIZED)
                    }
                }
            }
        };
        carried.change(|state| state.ended.push(Ended { file: name, well, says }));
        if ends {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_name_and_no_link_leads_out_of_the_folder() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("in");
        fs::create_dir(&folder).unwrap();
        fs::create_dir(folder.join("deeper")).unwrap();
        fs::write(place.path().join("secret"), "secret").unwrap();
        fs::write(folder.join("good.tar"), "good").unwrap();
        symlink("../secret", folder.join("link.tar")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.join("pipe.tar"),
            rustix::fs::FileType::Fifo,
            Mode::RUSR | Mode::WUSR,
            0,
        )
        .unwrap();
        let names: Vec<String> = look(&folder).unwrap().into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["good.tar"]);
        assert_eq!(open_in(&folder, "good.tar").unwrap().1, 4);
        let above = place.path().join("secret");
        for name in ["", ".", "..", "../secret", "link.tar", "deeper", "pipe.tar", above.to_str().unwrap()] {
            assert!(open_in(&folder, name).is_err(), "{name} was opened");
        }
    }

    #[test]
    fn one_folder_is_imported_at_a_time() {
        let carried = Carried::default();
        assert_eq!(carried.mark(), 0);
        assert!(carried.begin(State::default()));
        assert!(!carried.begin(State::default()), "a second one began");
        let before = carried.mark();
        carried.change(|state| state.sent += LOOK);
        assert_ne!(carried.mark(), before, "a page that watches is made anew");
        carried.change(|state| state.is_over = true);
        assert!(carried.begin(State::default()));
    }
}
