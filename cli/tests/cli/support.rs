//! A data directory with the program beside it, and a stand-in for the server's admin socket.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::body::Incoming;
use hyper::http::{Request, Response};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use schema::api::admin::SOCKET_NAME;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::runtime::Runtime;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// Asserts success, and gives what was printed.
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// Asserts a failure of exit code 1 that says `text`.
    pub(crate) fn fails(self, text: &str) {
        assert!(
            self.code == 1 && self.stderr.starts_with("error: ") && self.stderr.contains(text),
            "{self:?}"
        );
    }
}

/// A data directory, and the program working on it.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) data: PathBuf,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("a data directory");
        Self { folder, data }
    }

    /// A file outside the data directory.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        path
    }

    /// The program, without variables of this process's environment that it reads.
    pub(crate) fn command(&self) -> Command {
        self.command_as(Path::new(env!("CARGO_BIN_EXE_proxy")))
    }

    /// The program under another name.
    pub(crate) fn command_as(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        for name in ["NO_COLOR", "CLICOLOR_FORCE", "XDG_DATA_HOME"] {
            command.env_remove(name);
        }
        command.env("AIRLOCK_DATA_DIR", &self.data).current_dir(self.folder.path());
        command
    }

    pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Done {
        self.run_with("", args)
    }

    /// Runs the program with a text on its standard input.
    pub(crate) fn run_with<S: AsRef<std::ffi::OsStr>>(
        &self,
        stdin: &str,
        args: impl IntoIterator<Item = S>,
    ) -> Done {
        let mut command = self.command();
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        // A program that needs no input may exit before it gets any.
        let _ = child.stdin.take().expect("a pipe").write_all(stdin.as_bytes());
        let output = child.wait_with_output().expect("the program ends");
        Done {
            code: output.status.code().expect("an exit code"),
            stdout: String::from_utf8(output.stdout).expect("text"),
            stderr: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Runs a line of words.
    pub(crate) fn line(&self, line: &str) -> Done {
        self.run(line.split_whitespace())
    }
}

/// A request to the stand-in.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// `METHOD /path?query`.
    pub(crate) line: String,
    pub(crate) length: Option<String>,
    pub(crate) body: Bytes,
}

type Table = BTreeMap<String, (u16, Value)>;

/// A stand-in for the server: answers each `METHOD /path` from a table, and records the requests.
pub(crate) struct Stub {
    asked: Arc<Mutex<Vec<Asked>>>,
    _runtime: Runtime,
}

impl Stub {
    pub(crate) fn start(site: &Site, answers: &[(&str, u16, Value)]) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let table: Table =
            answers.iter().map(|(line, code, body)| ((*line).into(), (*code, body.clone()))).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let socket = site.data.join(SOCKET_NAME);
        let listener = {
            let _inside = runtime.enter();
            UnixListener::bind(socket).expect("a socket")
        };
        runtime.spawn(serve(listener, Arc::new(table), Arc::clone(&asked)));
        Self { asked, _runtime: runtime }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().expect("no panic").clone()
    }
}

async fn serve(listener: UnixListener, table: Arc<Table>, asked: Arc<Mutex<Vec<Asked>>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (table, asked) = (Arc::clone(&table), Arc::clone(&asked));
        let service = service_fn(move |request| answer(request, Arc::clone(&table), Arc::clone(&asked)));
        tokio::spawn(
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service),
        );
    }
}

async fn answer(
    request: Request<Incoming>,
    table: Arc<Table>,
    asked: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let key = format!("{} {}", head.method, head.uri.path());
    let (code, answer) = table.get(&key).cloned().unwrap_or_else(|| {
        (404, serde_json::json!({"code": "not-found", "message": format!("no answer for {key}")}))
    });
    // 413: refused before the body is read, as a server does that has seen enough.
    let body =
        if code == 413 { Bytes::new() } else { body.collect().await.expect("a whole body").to_bytes() };
    let length = head.headers.get("content-length").map(|value| value.to_str().expect("text").to_owned());
    let line = format!("{} {}", head.method, head.uri);
    asked.lock().expect("no panic").push(Asked { line, length, body });
    let text = if answer.is_null() { String::new() } else { answer.to_string() };
    Ok(Response::builder().status(code).body(Full::from(text)).expect("an answer"))
}
