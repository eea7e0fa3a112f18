//! *Imports*: what was brought and what came of it, and a form that brings a file.

use askama::Template;
use axum::body::{Body, Bytes};
use axum::extract::Multipart;
use axum::extract::multipart::{Field, MultipartError};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::{join, stream};
use schema::api::admin::calls::ListImports;
use schema::api::admin::{Import, WaitingImport};
use tokio::sync::mpsc::{Receiver, channel};

use super::ask::Refusal;
use super::folder::{self, Carried, Found};
use super::frame::{self, Frame, show};
use super::pushes::push_as;
use super::shown::query;
use super::texts::ENGLISH;
use super::visit::Visit;
use super::waiting;
use crate::store::off_thread;

/// Imports on the page.
const PAGE: &str = "last=50";
/// Imports that wait on the page.
const WAITING_SHOWN: usize = 25;
/// Pieces of a file that wait between the form and the import.
const WAITING: usize = 4;
/// Longest short field.
const SHORT: usize = 32;

#[derive(Template)]
#[template(path = "imports.html")]
struct ImportsPage {
    f: Frame,
    imports: Vec<Import>,
    /// The first of those that wait for approvals, and how many there are.
    waiting: Vec<WaitingImport>,
    all_waiting: usize,
    /// The folder of the host, where one is named, and its files, or why they cannot be listed.
    folder: Option<(String, Result<Vec<Found>, String>)>,
    carried: Carried,
}

/// The page.
pub(super) async fn page(visit: Visit) -> Response {
    match visit.ask::<ListImports>(PAGE).await {
        Ok(found) => {
            let imports = found.imports.into_iter().rev().collect();
            let named =
                visit.pages.site.settings().listen.import_folder.clone().filter(|_| visit.may_import());
            let folder = match named {
                None => None,
                Some(named) => {
                    let shown = named.display().to_string();
                    Some((
                        shown,
                        off_thread(move || folder::look(&named).map_err(|error| error.to_string())).await,
                    ))
                }
            };
            let mut waiting = match waiting::all(&visit).await {
                Ok(waiting) => waiting,
                Err(refusal) => return refusal,
            };
            let all_waiting = waiting.len();
            waiting.truncate(WAITING_SHOWN);
            let (f, carried) = (visit.frame("imports", ENGLISH.imports), visit.pages.carried.clone());
            show(&ImportsPage { f, imports, waiting, all_waiting, folder, carried })
        }
        Err(refusal) => refusal.into_response(),
    }
}

impl ImportsPage {
    fn waiting_page(&self, import: &WaitingImport) -> String {
        waiting::page_of(&import.id)
    }

    fn state_class(&self, import: &WaitingImport) -> &'static str {
        waiting::state_class(import)
    }
}

/// Imports a file. The fields before it say what it is, and whether it is only tried.
pub(super) async fn upload(visit: Visit, mut form: Multipart) -> Response {
    let (mut kind, mut only_tried) = (String::new(), true);
    while let Ok(Some(field)) = form.next_field().await {
        match field.name().unwrap_or_default() {
            "kind" => kind = short(field).await,
            "try" => only_tried = short(field).await != "false",
            "file" => {
                let done = import(&visit, &kind, only_tried, field).await;
                let well = if only_tried { ENGLISH.was_tried } else { ENGLISH.was_imported };
                let text = match &done {
                    Ok(told) => [&[well.to_owned()], &told[..]].concat().join("\n"),
                    Err(_) => String::new(),
                };
                return visit.tell(done.map(drop), "/pages/imports", &text);
            }
            _ => {}
        }
    }
    frame::trouble(StatusCode::UNPROCESSABLE_ENTITY, ENGLISH.no_file, Vec::new())
}

async fn short(field: Field<'_>) -> String {
    field.text().await.unwrap_or_default().chars().take(SHORT).collect()
}

async fn import(
    visit: &Visit,
    kind: &str,
    only_tried: bool,
    field: Field<'_>,
) -> Result<Vec<String>, Refusal> {
    let file: String = field.file_name().unwrap_or_default().chars().take(200).collect();
    let pairs = [
        ("file", &*file),
        ("dry-run", if only_tried { "true" } else { "" }),
        ("as", if kind == "assertions" { "assertions" } else { "" }),
    ];
    let wanted = query(pairs);
    let (sender, receiver) = channel(WAITING);
    // The import reads while the form is read; whoever of the two stops ends the other.
    let pump = async {
        let mut field = field;
        while let Some(piece) = field.chunk().await.transpose() {
            let is_last = piece.is_err();
            if sender.send(piece).await.is_err() || is_last {
                break;
            }
        }
        drop(sender);
    };
    let body = Body::from_stream(stream::unfold(receiver, next));
    let import = push_as(visit, kind, &wanted, body);
    join!(import, pump).0
}

type Piece = Result<Bytes, MultipartError>;

async fn next(mut pieces: Receiver<Piece>) -> Option<(Piece, Receiver<Piece>)> {
    pieces.recv().await.map(|piece| (piece, pieces))
}
