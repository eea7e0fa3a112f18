//! A server reached over HTTPS with a login, instead of through this host's socket.

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use hyper::http::HeaderValue;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use schema::login::{Login, LoginError, MAX_LOGIN};
use schema::tls::{ImportError, Source, trusted_certificates};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::documents::read_limited;
use crate::output::warning;
use crate::pem_files::PemFiles;
use crate::socket::Socket;

/// Timeout for connecting.
const CONNECT: Duration = Duration::from_secs(30);
/// Larger than any bundle of authorities, in bytes.
const MAX_CA: u64 = 4 << 20;

/// A server's address: `https://HOST[:PORT]`.
#[derive(Debug, Clone)]
pub(crate) struct Address(Url);

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).ok().filter(|url| {
            let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
            bare && url.scheme() == "https" && url.host().is_some() && url.username().is_empty()
        });
        url.map(Self).ok_or("expected https://HOST:PORT, the server's proxy.admin.address")
    }
}

/// The server, as given on the command line.
#[derive(Debug, Clone)]
pub(crate) struct RemoteArgs {
    /// Its address.
    pub(crate) server: Address,
    /// The login file.
    pub(crate) token_file: Option<PathBuf>,
    /// The file with trusted authorities; `None` for the system's.
    pub(crate) ca: Option<PathBuf>,
    /// The files with the client certificate and its key.
    pub(crate) client: Option<[PathBuf; 2]>,
}

/// Why a server cannot be reached over HTTPS.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    /// There is no login.
    #[error(
        "--server needs a login: name its file with --token-file or the variable AIRLOCK_TOKEN_FILE; \
         `proxy create-login --acl admin:read FILE` on the store's host makes one"
    )]
    NoToken,
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file contains no login.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The login cannot be used in a header.
    #[error("cannot use the login: it holds control characters")]
    Header,
    /// The file contains no authorities.
    #[error("cannot use --ca: {0}")]
    Authorities(#[from] ImportError),
    /// The certificate or key file cannot be read.
    #[error(transparent)]
    ClientFiles(anyhow::Error),
    /// A file has the wrong contents.
    #[error("cannot take {what} from {}", path.display())]
    ClientFile {
        /// The expected contents.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The cause.
        source: pem::Error,
    },
    /// Certificate and key do not match.
    #[error("cannot use --cert and --key: do they belong together?")]
    ClientPair(#[source] rustls::Error),
    /// TLS cannot be set up.
    #[error("cannot prepare for HTTPS")]
    Tls(#[from] rustls::Error),
    /// The connection failed.
    #[error("cannot reach the server at {address}")]
    Unreachable {
        /// The address.
        address: String,
        /// The cause.
        source: io::Error,
    },
}

/// A server and its credentials.
#[derive(Debug)]
pub(crate) struct Remote {
    server: Url,
    host: String,
    authorization: HeaderValue,
    tls: Arc<ClientConfig>,
}

impl Remote {
    /// Reads the files that the arguments name.
    pub(crate) fn new(args: &RemoteArgs) -> Result<Self, RemoteError> {
        let server = args.server.0.clone();
        let path = args.token_file.as_deref().ok_or(RemoteError::NoToken)?;
        let text = Zeroizing::new(read(path, MAX_LOGIN)?);
        let login = Login::parse(&text, &format!("file {:?}", path.display().to_string()))?;
        let mut authorization =
            HeaderValue::from_str(&login.authorization()).map_err(|_| RemoteError::Header)?;
        authorization.set_sensitive(true);
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?;
        let builder = match &args.ca {
            None => builder.with_platform_verifier()?,
            Some(path) => {
                let name = path.display().to_string();
                let bytes = read(path, MAX_CA)?;
                let mut roots = RootCertStore::empty();
                let trusted = trusted_certificates(&[Source { name: &name, bytes: &bytes }])?;
                trusted.left_out.iter().for_each(warning);
                for certificate in trusted.certificates {
                    roots.add(certificate)?;
                }
                builder.with_root_certificates(roots)
            }
        };
        let mut tls = match &args.client {
            None => builder.with_no_client_auth(),
            Some(paths) => {
                let (chain, key) = client(paths)?;
                builder.with_client_auth_cert(chain, key).map_err(RemoteError::ClientPair)?
            }
        };
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let port = server.port().map(|port| format!(":{port}")).unwrap_or_default();
        let host = format!("{}{port}", server.host_str().unwrap_or_default());
        Ok(Self { server, host, authorization, tls: Arc::new(tls) })
    }

    /// The `Host` of requests.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// The `Authorization` of requests.
    pub(crate) fn authorization(&self) -> HeaderValue {
        self.authorization.clone()
    }

    /// Opens a connection and verifies the server's certificate.
    pub(crate) async fn connect(&self) -> Result<TlsStream<Socket<TcpStream>>, RemoteError> {
        let opened = timeout(CONNECT, self.open()).await;
        let opened = opened.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        opened.map_err(|source| RemoteError::Unreachable {
            address: self.server.origin().ascii_serialization(),
            source,
        })
    }

    async fn open(&self) -> io::Result<TlsStream<Socket<TcpStream>>> {
        let host = match self.server.host() {
            Some(Host::Domain(name)) => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let port = self.server.port_or_known_default().unwrap_or(443);
        let tcp = TcpStream::connect((host.as_str(), port)).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        TlsConnector::from(Arc::clone(&self.tls)).connect(name, Socket(tcp)).await
    }
}

/// Reads the client certificate with its intermediates, and its key.
pub(crate) fn client(
    paths: &[PathBuf; 2],
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), RemoteError> {
    let texts = PemFiles::read(paths).map_err(RemoteError::ClientFiles)?;
    let [cert, key] = paths;
    let bytes = |of: usize| texts.sources().get(of).map_or(&[][..], |source| source.bytes);
    let failed = |what, path: &PathBuf| {
        let path = path.clone();
        move |source| RemoteError::ClientFile { what, path, source }
    };
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(bytes(0)).collect();
    let chain =
        chain.and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) });
    let key = PrivateKeyDer::from_pem_slice(bytes(1)).map_err(failed(
        "a private key without a passphrase (`openssl pkey -in KEY -out NEW` writes one)",
        key,
    ))?;
    Ok((chain.map_err(failed("a certificate", cert))?, key))
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, RemoteError> {
    let opened = std::fs::File::open(path).and_then(|file| read_limited(file, most));
    opened.map_err(|source| RemoteError::File { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_scheme_host_and_port() {
        for good in ["https://store.internal:8444", "https://10.0.0.7/", "https://[::1]:8444"] {
            assert!(good.parse::<Address>().is_ok(), "{good}");
        }
        for bad in [
            "http://store.internal:8444",
            "store.internal:8444",
            "https://",
            "https://store.internal/v1",
            "https://user@store.internal",
            "https://store.internal?x",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
    }
}
