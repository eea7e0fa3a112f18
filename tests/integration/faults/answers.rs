//! What devices see of a store: the answers to a fixed list of questions, without what differs from run to run.

use std::collections::BTreeMap;

use schema::digest::Sha3_384;
use serde_json::Value;
use tests::device::{Action, Device, Snapd, Wanted};
use tests::http::{Connection, Request, Response};
use tests::server::Server;
use tests::world::Identity;

/// Every snap that some operation brings, or takes away.
const NAMES: [&str; 6] = ["held", "hello", "gate", "fresh", "acme-app", "core24"];
/// Documents that are asked for by name.
const DOCUMENTS: [&str; 4] = ["account/acme", "account/beta", "account/dev", "account/other"];

/// Answers by question.
pub(super) type Answers = BTreeMap<String, String>;

/// The device of the brand, with a session that it was given before anything went wrong.
#[derive(Clone)]
pub(super) struct Witness {
    pub(super) identity: Identity,
    pub(super) session: String,
}

impl Witness {
    /// The brand's device and a device without identity.
    fn devices(&self, store: &Server) -> [(&'static str, Device); 2] {
        let mut device = Device::new(store, Snapd::V2_77, &self.identity);
        device.session = Some(self.session.clone());
        [("anonymous", Device::anonymous(store, Snapd::V2_77)), ("device", device)]
    }

    /// Asks everything, downloads everything that is offered, and has seen that each file is whole. `None` when a file was
    /// not there that had just been offered: a change became visible between the two.
    pub(super) fn ask(&self, store: &Server) -> Option<Answers> {
        let mut answers = Answers::new();
        let mut connection = Connection::open(store.address).expect("the device API listens");
        for (who, device) in self.devices(store) {
            let mut ask = |question: String, request: &Request| {
                let answer = connection.exchange(request).unwrap_or_else(|error| {
                    panic!("no answer to {question}: {error}\n{}", store.log());
                });
                assert!(answer.status < 500, "{who} {question}: {answer:?}");
                answers.insert(format!("{who} {question}"), plain(&answer, store));
                answer
            };
            for name in NAMES {
                let _ = ask(
                    format!("info {name}"),
                    &device.info_get(name, "channel-map,download,revision,version"),
                );
            }
            for document in DOCUMENTS {
                let target = format!("/v2/assertions/{document}?max-format=0");
                let _ = ask(format!("document {document}"), &device.assertion_get(&target));
            }
            let channels = ["stable", "candidate", "edge"].map(Wanted::channel);
            for wanted in channels.into_iter().chain([Wanted::revision(1)]) {
                let installs = NAMES.map(|name| Action::Install(name.to_owned(), wanted.clone()));
                let body = device.refresh_body(&installs);
                let answer = ask(format!("install {wanted:?}"), &device.refresh_post(&body));
                if answer.status != 200 {
                    continue;
                }
                for download in downloads(&answer.json()) {
                    let (url, digest) = (text(&download, "url"), text(&download, "sha3-384"));
                    let path = url.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
                    let file = ask(format!("file {digest}"), &device.download_request("GET", &path, None));
                    if file.status == 404 {
                        return None;
                    }
                    assert_eq!(Sha3_384::of(&file.body).to_hex(), digest, "{who}: a whole file");
                    let key = Sha3_384::of(&file.body).to_base64url();
                    let target = format!("/v2/assertions/snap-revision/{key}?max-format=0");
                    let document = ask(format!("document of {digest}"), &device.assertion_get(&target));
                    assert_eq!(document.status, 200, "{who}: {document:?}");
                }
            }
        }
        Some(answers)
    }
}

/// The status and what the answer says, without ports and times of today.
fn plain(answer: &Response, store: &Server) -> String {
    let Ok(mut json) = serde_json::from_slice::<Value>(&answer.body) else {
        return format!("{} {}", answer.status, Sha3_384::of(&answer.body).to_hex());
    };
    without_times(&mut json);
    format!("{} {}", answer.status, json.to_string().replace(&format!(":{}", store.address.port()), ""))
}

fn without_times(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("released-at");
            fields.values_mut().for_each(without_times);
        }
        Value::Array(items) => items.iter_mut().for_each(without_times),
        _ => {}
    }
}

/// Every `download` of the snaps in an answer.
fn downloads(answer: &Value) -> Vec<Value> {
    let results = answer["results"].as_array().cloned().unwrap_or_default();
    results.iter().map(|result| result["snap"]["download"].clone()).filter(Value::is_object).collect()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}
