//! Where a login comes from, and how it is renewed.

use std::path::PathBuf;

use anyhow::Context as _;
use hyper::http::StatusCode;
use schema::login::{Login, MAX_LOGIN};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::error::{UpstreamError, reason};
use super::{Upstream, below};
use crate::documents::read_limited;

/// The variable that snapcraft uses.
const VARIABLE: &str = "SNAPCRAFT_STORE_CREDENTIALS";

/// The login for a command.
#[derive(Debug, clap::Args)]
pub(crate) struct LoginArgs {
    /// Login of `snapcraft export-login` or of another store, in any form; `-` is standard input [default: the
    /// variable SNAPCRAFT_STORE_CREDENTIALS]
    #[arg(long, value_name = "FILE")]
    pub(crate) auth: Option<PathBuf>,
}

impl LoginArgs {
    /// The login, if there is one.
    ///
    /// # Errors
    /// The file cannot be read, or contains no login.
    pub(crate) fn read(&self) -> anyhow::Result<Option<Login>> {
        #[expect(clippy::disallowed_methods, reason = "the usual way to hand a login to a script")]
        let variable = std::env::var(VARIABLE);
        match (&self.auth, variable) {
            (Some(path), _) => read(path).map(Some),
            (None, Ok(text)) if !text.is_empty() => {
                let text = Zeroizing::new(text);
                Ok(Some(Login::parse(text.as_bytes(), &format!("environment variable {VARIABLE}"))?))
            }
            _ => Ok(None),
        }
    }
}

/// Reads a login file; `-` is standard input.
pub(crate) fn read(path: &std::path::Path) -> anyhow::Result<Login> {
    if path == std::path::Path::new("-") {
        let text = read_limited(std::io::stdin().lock(), MAX_LOGIN).context("cannot read standard input")?;
        return Ok(Login::parse(&Zeroizing::new(text), "from standard input")?);
    }
    let what = || format!("cannot read {}", path.display());
    let file = std::fs::File::open(path).with_context(what)?;
    let text = Zeroizing::new(read_limited(file, MAX_LOGIN).with_context(what)?);
    Ok(Login::parse(&text, &format!("file {:?}", path.display().to_string()))?)
}

#[derive(Serialize, Deserialize)]
struct Refresh {
    discharge_macaroon: Zeroizing<String>,
}

impl Upstream {
    /// Replaces expired discharges in memory; the file stays unchanged.
    pub(super) async fn renew(&self) -> Result<(), UpstreamError> {
        let (Some(login), Some(http)) = (&self.login, &self.renewing) else { return Ok(()) };
        let old: Vec<Zeroizing<String>> = {
            let login = login.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            login.discharges().map(|text| Zeroizing::new(text.to_owned())).collect()
        };
        if old.is_empty() {
            return Err(UpstreamError::Expired("it has no discharge".into()));
        }
        let url = below(&self.sso, ["api", "v2", "tokens", "refresh"]);
        let mut new = Vec::new();
        for discharge_macaroon in old {
            let request = http.post(url.clone()).json(&Refresh { discharge_macaroon });
            let response =
                request.send().await.map_err(|source| UpstreamError::connection(url.clone(), source))?;
            let status = response.status();
            if let Some(error) = UpstreamError::unwell(&response) {
                return Err(error);
            }
            if status.is_redirection() {
                return Err(UpstreamError::Elsewhere { url });
            }
            let body =
                response.bytes().await.map_err(|source| UpstreamError::connection(url.clone(), source))?;
            let body = Zeroizing::new(body.to_vec());
            let fresh = serde_json::from_slice::<Refresh>(&body).ok().filter(|_| status == StatusCode::OK);
            let fresh = fresh.ok_or_else(|| UpstreamError::Expired(reason(status, &body)))?;
            new.push(SecretString::from(fresh.discharge_macaroon.as_str()));
        }
        let mut login = login.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        login
            .replace_discharges(new)
            .map_err(|_| UpstreamError::Expired("the account service answered no macaroon".into()))
    }
}
