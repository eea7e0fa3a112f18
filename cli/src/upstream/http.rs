//! The HTTP client, configured with proxies, certificates and timeouts.

use std::path::PathBuf;
use std::sync::Once;
use std::time::Duration;

use anyhow::Context as _;
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Identity, NoProxy, Proxy};
use rustls::pki_types::PrivateKeyDer;
use schema::config::Settings;
use schema::tls::to_pem;
use zeroize::Zeroizing;

use crate::remote;

/// Timeout for connecting.
const CONNECT: Duration = Duration::from_secs(30);
/// How long a connection may be silent.
const SILENCE: Duration = Duration::from_secs(60);

const MOST_REDIRECTS: usize = 10;

const AGENT: &str = concat!("airlock/", env!("CARGO_PKG_VERSION"));

static PROVIDER: Once = Once::new();

/// Redirects of requests with a secret in their body, which would go along: to where it was sent anyway, and nowhere else.
pub(super) fn same_origin() -> Policy {
    Policy::custom(|attempt| match attempt.previous() {
        [.., from] if from.origin() != attempt.url().origin() => attempt.stop(),
        previous if previous.len() > MOST_REDIRECTS => attempt.stop(),
        _ => attempt.follow(),
    })
}

/// Builds a client.
pub(super) fn client(
    settings: &Settings,
    pair: Option<&[PathBuf; 2]>,
    redirects: Policy,
) -> anyhow::Result<Client> {
    PROVIDER.call_once(|| {
        // Fails only if a provider is already installed, which would be this one.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    });
    let mut builder = Client::builder()
        .user_agent(AGENT)
        .connect_timeout(CONNECT)
        .read_timeout(SILENCE)
        .redirect(redirects)
        // Where a redirect came from is nobody's business.
        .referer(false)
        // Only the https variables apply, so none is read implicitly.
        .no_proxy();
    #[expect(clippy::disallowed_methods, reason = "the usual variable for a proxy")]
    if let Some(url) = proxy_url(settings.upstream.https_proxy.as_deref(), |name| std::env::var(name).ok()) {
        let proxy = Proxy::https(&url).context("cannot use the proxy of proxy.https.proxy or https_proxy")?;
        builder = builder.proxy(proxy.no_proxy(NoProxy::from_env()));
    }
    let replace =
        "cannot use proxy.ca-certs: `proxy use-ca-certs FILE` replaces it, `proxy remove-ca-certs` clears it";
    if let Some(authorities) = settings.ca_certs().context(replace)? {
        let authorities = authorities.iter().map(|der| Certificate::from_der(der));
        builder = builder.tls_certs_only(authorities.collect::<Result<Vec<_>, _>>().context(replace)?);
    }
    if let Some(paths) = pair {
        builder = builder.identity(identity(paths)?);
    }
    builder
        .build()
        .context("cannot prepare for HTTPS: look into the system's certificates and proxy.ca-certs")
}

/// The client certificate and its key, judged as those for `--server` are.
fn identity(paths: &[PathBuf; 2]) -> anyhow::Result<Identity> {
    let (chain, key) = remote::client(paths)?;
    let label = match &key {
        PrivateKeyDer::Pkcs1(_) => "RSA PRIVATE KEY",
        PrivateKeyDer::Sec1(_) => "EC PRIVATE KEY",
        _ => "PRIVATE KEY",
    };
    let mut pem = Zeroizing::new(to_pem(label, key.secret_der()));
    chain.iter().for_each(|certificate| pem.push_str(&to_pem("CERTIFICATE", certificate)));
    Identity::from_pem(pem.as_bytes()).context("cannot use --cert and --key: do they belong together?")
}

/// The outgoing proxy: from the configuration, else from the environment.
fn proxy_url(configured: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let from_environment = || ["https_proxy", "HTTPS_PROXY"].into_iter().find_map(variable);
    configured.map(str::to_owned).or_else(from_environment).filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configured_proxy_stands_above_the_environment() {
        let environment = |name: &str| (name == "https_proxy").then(|| "http://env:1".to_owned());
        assert_eq!(proxy_url(Some("http://own:2"), environment).as_deref(), Some("http://own:2"));
        assert_eq!(proxy_url(None, environment).as_deref(), Some("http://env:1"));
        assert_eq!(proxy_url(None, |name| (name == "http_proxy").then(|| "http://env:1".to_owned())), None);
        assert_eq!(proxy_url(None, |_| Some(String::new())), None);
    }

    #[test]
    fn certificates_that_are_none_are_refused_at_once() {
        let mut settings = Settings::default();
        assert!(client(&settings, None, Policy::default()).is_ok());
        settings
            .set("proxy.ca-certs", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .expect("PEM");
        assert!(client(&settings, None, Policy::default()).is_err());
        settings.set("proxy.ca-certs", "-----BEGIN X-----\nAAAA\n-----END X-----\n").expect("PEM");
        assert!(client(&settings, None, Policy::default()).is_err());
    }
}
