//! The signer as `proxyd` sees it: started when something is to be signed, started anew after it died.

use std::io;
use std::os::fd::OwnedFd;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::wire::{self, Reply, Request};

/// This very program, even if its file was replaced meanwhile.
const OWN: &str = "/proc/self/exe";
/// How long one answer may take; making a key takes the longest.
const PATIENCE: Duration = Duration::from_secs(20);
const PATIENCE_FOR_A_KEY: Duration = Duration::from_secs(120);

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SignerError {
    /// The configuration has no secret for sealed keys.
    #[error(
        "proxy.signing.secret is not set here: restore it from the backup, or from the other server, with \
         `proxy config --import-yaml`"
    )]
    NoSecret,
    /// The process cannot be started.
    #[error("cannot start the signer")]
    Start(#[source] io::Error),
    /// The process died or was killed; the next request starts it again.
    #[error("the signer ended in the middle")]
    Died(#[source] io::Error),
    /// The process did not answer in time, and was ended.
    #[error("the signer did not answer")]
    Slow,
    /// The signer refused.
    #[error("the signer refused: {0}")]
    Refused(String),
    /// It answered something else.
    #[error("the signer answered something else")]
    Nonsense,
    /// Its signature does not verify; it does not leave this host.
    #[error("the signer answered a document that does not verify")]
    Wrong(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The signer, running or not.
#[derive(Default)]
pub(super) struct Helper {
    secret: ArcSwapOption<Zeroizing<[u8; 32]>>,
    running: Mutex<Option<Running>>,
}

struct Running {
    socket: UnixStream,
    /// Killed when this is dropped.
    _process: Child,
    secret: Arc<Zeroizing<[u8; 32]>>,
}

impl Helper {
    /// Applies the configured secret; a signer with another one is replaced at the next request.
    pub(super) fn configure(&self, secret: Option<Zeroizing<[u8; 32]>>) {
        self.secret.store(secret.map(Arc::new));
    }

    /// The configured secret.
    pub(super) fn secret(&self) -> Option<Arc<Zeroizing<[u8; 32]>>> {
        self.secret.load_full()
    }

    /// Asks the signer. The exchange goes on when the asker is gone, so that the next answer belongs to the next request.
    pub(super) async fn ask(self: &Arc<Self>, request: Request) -> Result<Reply, SignerError> {
        let helper = Arc::clone(self);
        let exchange = tokio::spawn(async move { helper.exchange(&request).await });
        match exchange.await.map_err(|_| SignerError::Nonsense)?? {
            Reply::Refused { why } => Err(SignerError::Refused(why)),
            reply => Ok(reply),
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Reply, SignerError> {
        let secret = self.secret().ok_or(SignerError::NoSecret)?;
        let mut slot = self.running.lock().await;
        // Taken out: it is put back only if it stays in step.
        let running = slot.take().filter(|running| *running.secret == *secret);
        let mut running = match running {
            Some(running) => running,
            None => Running::start(secret).await?,
        };
        let patience = match request {
            Request::Create { .. } => PATIENCE_FOR_A_KEY,
            _ => PATIENCE,
        };
        let reply = timeout(patience, running.exchange(request)).await.map_err(|_| SignerError::Slow);
        match reply.flatten() {
            Ok(reply) => {
                *slot = Some(running);
                Ok(reply)
            }
            Err(failure) => {
                warn!(
                    error = &failure as &dyn std::error::Error,
                    "The signer is gone; the next request starts it"
                );
                Err(failure)
            }
        }
    }
}

impl Running {
    async fn start(secret: Arc<Zeroizing<[u8; 32]>>) -> Result<Self, SignerError> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(SignerError::Start)?;
        ours.set_nonblocking(true).map_err(SignerError::Start)?;
        let socket = UnixStream::from_std(ours).map_err(SignerError::Start)?;
        let process = Command::new(OWN)
            .arg0("proxyd")
            .arg("signer")
            .env_clear()
            .current_dir("/")
            // What ends proxyd from a terminal lets requests in flight finish.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .map_err(SignerError::Start)?;
        let pid = process.id();
        let mut running = Self { socket, _process: process, secret };
        let begin = Request::Begin { secret: Zeroizing::new(STANDARD.encode(**running.secret)) };
        match timeout(PATIENCE, running.exchange(&begin)).await.map_err(|_| SignerError::Slow)?? {
            Reply::Ready => {
                info!(pid, "The signer runs");
                Ok(running)
            }
            _ => Err(SignerError::Nonsense),
        }
    }

    async fn exchange(&mut self, request: &Request) -> Result<Reply, SignerError> {
        let exchanged: io::Result<Reply> = async {
            self.socket.write_all(&wire::frame(request)?).await?;
            let mut head = [0; 4];
            self.socket.read_exact(&mut head).await?;
            let mut body = vec![0; wire::length(head)?];
            self.socket.read_exact(&mut body).await?;
            Ok(serde_json::from_slice(&body)?)
        }
        .await;
        exchanged.map_err(SignerError::Died)
    }
}
