//! Downloads: whole, resumed, and verified.

use schema::digest::Sha3_384;

use super::answers::Download;
use super::{Device, Dialect, Trouble};
use crate::http::{Connection, Request, Response};

impl Device {
    /// A request for a file, from `offset` on when there is one.
    #[must_use]
    pub fn download_request(&self, method: &str, target: &str, offset: Option<usize>) -> Request {
        let mut headers = self.headers(Dialect::V1, "");
        if let Some(offset) = offset {
            headers.insert("Range", format!("bytes={offset}-"));
        }
        self.request(method, target, &headers, None)
    }

    /// Downloads a file and compares it with its digest.
    ///
    /// # Errors
    /// As snapd tells it.
    pub fn download(&mut self, promised: &Download) -> Result<Vec<u8>, Trouble> {
        self.resume(promised, Vec::new())
    }

    /// Goes on with a file of which a part is there.
    ///
    /// # Errors
    /// As snapd tells it.
    pub fn resume(&mut self, promised: &Download, mut part: Vec<u8>) -> Result<Vec<u8>, Trouble> {
        let target = self.target_of(promised.url.as_deref().unwrap_or_default())?.to_owned();
        let offset = (!part.is_empty()).then_some(part.len());
        let response = self.call(|device| device.download_request("GET", &target, offset))?;
        if response.header("Content-Encoding").is_some() {
            return Err(Trouble::Mismatch("a file came compressed".to_owned()));
        }
        match (response.status, offset) {
            (200, _) => part = response.body,
            (206, Some(_)) => part.extend(response.body),
            _ => return Err(Trouble::Status(response)),
        }
        if promised.size != i64::try_from(part.len()).ok() {
            return Err(Trouble::Mismatch(format!("{} bytes instead of {:?}", part.len(), promised.size)));
        }
        let digest = Sha3_384::of(&part).to_hex();
        if promised.sha3_384.as_deref() != Some(&digest) {
            return Err(Trouble::Mismatch(format!("digest {digest} instead of {:?}", promised.sha3_384)));
        }
        Ok(part)
    }

    /// The first `limit` bytes of a file; then the connection is cut.
    ///
    /// # Errors
    /// No session, a broken connection, or another status than 200.
    pub fn begin_download(&mut self, promised: &Download, limit: usize) -> Result<Vec<u8>, Trouble> {
        self.ensure_session()?;
        let target = self.target_of(promised.url.as_deref().unwrap_or_default())?;
        let request = self.download_request("GET", target, None);
        let fetch = || -> std::io::Result<Response> {
            let mut connection = Connection::open(self.address)?;
            connection.send(&request.bytes())?;
            connection.receive(false, limit)
        };
        let response = fetch().map_err(|error| Trouble::Connection(error.to_string()))?;
        if response.status == 200 { Ok(response.body) } else { Err(Trouble::Status(response)) }
    }
}
