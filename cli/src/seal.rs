//! Encrypts a whole file with age (<https://age-encryption.org/v1>), with a passphrase or to recipients. A file that
//! was changed or truncated does not open.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal as _, Read, Write};
use std::path::{Path, PathBuf};

use age::secrecy::SecretString;
use age::stream::StreamWriter;
use age::{DecryptError, Decryptor, Encryptor, IdentityFile, NoCallbacks, scrypt, x25519};
use anyhow::{Context as _, bail, ensure};

use crate::pem_files::read_passphrase;

/// The first bytes of every encrypted file.
const MAGIC: &[u8] = b"age-encryption.org/";
/// Bytes read or written at once.
const BUFFER: usize = 256 << 10;

/// How to encrypt a file.
#[derive(Debug, clap::Args)]
pub(crate) struct SealArgs {
    /// File with the passphrase; without it and without recipients, you are asked on the terminal
    #[arg(long, value_name = "FILE", conflicts_with_all = ["recipient", "recipients_file"])]
    passphrase_file: Option<PathBuf>,

    /// Encrypt to this age recipient (age1...); may be repeated
    #[arg(long, value_name = "RECIPIENT")]
    recipient: Vec<String>,

    /// Encrypt to the age recipients in this file, one per line
    #[arg(long, value_name = "FILE")]
    recipients_file: Option<PathBuf>,
}

/// The validated encryption.
pub(crate) enum Seal {
    /// With a passphrase.
    Passphrase(SecretString),
    /// To recipients.
    Recipients(Vec<x25519::Recipient>),
    /// No encryption.
    Open,
}

impl SealArgs {
    /// Reads the arguments. Without any, asks for a passphrase twice unless the file `may_be_open`.
    pub(crate) fn seal(&self, may_be_open: bool) -> anyhow::Result<Seal> {
        if let Some(path) = &self.passphrase_file {
            let passphrase = read_passphrase(path)?;
            ensure!(
                !passphrase.is_empty(),
                "cannot seal with the passphrase in {}: it is empty",
                path.display()
            );
            return Ok(Seal::Passphrase(SecretString::from(passphrase.as_str().to_owned())));
        }
        let mut names = self.recipient.clone();
        if let Some(path) = &self.recipients_file {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
            let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            names.extend(lines.map(str::to_owned));
            ensure!(!names.is_empty(), "cannot seal: {} names no recipient", path.display());
        }
        if !names.is_empty() {
            let recipients = names.iter().map(|name| {
                let read = name.parse::<x25519::Recipient>();
                read.map_err(|why| {
                    anyhow::anyhow!("cannot seal to {name:?}: {why}; age recipients begin with age1")
                })
            });
            return Ok(Seal::Recipients(recipients.collect::<Result<_, _>>()?));
        }
        if may_be_open {
            return Ok(Seal::Open);
        }
        ensure!(
            io::stderr().is_terminal() && io::stdin().is_terminal(),
            "cannot ask for a passphrase without a terminal: give --passphrase-file, --recipient or --recipients-file, \
             or leave the secrets out with --without-secrets"
        );
        let ask = |prompt: &str| rpassword::prompt_password(prompt).context("cannot ask for the passphrase");
        let passphrase = ask("Passphrase to seal it with: ")?;
        ensure!(!passphrase.is_empty(), "cannot seal with an empty passphrase");
        ensure!(passphrase == ask("Repeat the passphrase: ")?, "the two passphrases differ");
        Ok(Seal::Passphrase(SecretString::from(passphrase)))
    }
}

/// A file being written.
pub(crate) enum Sealing<W: Write> {
    /// Encrypted.
    Sealed(StreamWriter<BufWriter<W>>),
    /// Plain.
    Open(BufWriter<W>),
}

impl Seal {
    /// One word.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Passphrase(_) => "passphrase",
            Self::Recipients(_) => "recipients",
            Self::Open => "none",
        }
    }

    /// Starts writing. Deriving a key from a passphrase takes a second, to slow down guessing.
    pub(crate) fn write<W: Write>(self, out: W) -> anyhow::Result<Sealing<W>> {
        let out = BufWriter::with_capacity(BUFFER, out);
        let encryptor = match self {
            Self::Open => return Ok(Sealing::Open(out)),
            Self::Passphrase(passphrase) => Encryptor::with_user_passphrase(passphrase),
            Self::Recipients(recipients) => Encryptor::with_recipients(
                recipients.iter().map(|recipient| recipient as &dyn age::Recipient),
            )
            .context("cannot seal to these recipients")?,
        };
        Ok(Sealing::Sealed(encryptor.wrap_output(out).context("cannot begin the sealed file")?))
    }
}

impl<W: Write> Sealing<W> {
    /// Writes the end and returns the underlying writer.
    pub(crate) fn finish(self) -> io::Result<W> {
        let out = match self {
            Self::Sealed(sealed) => sealed.finish()?,
            Self::Open(out) => out,
        };
        out.into_inner().map_err(io::IntoInnerError::into_error)
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Sealed(out) => out.write(bytes),
            Self::Open(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Sealed(out) => out.flush(),
            Self::Open(out) => out.flush(),
        }
    }
}

/// How to decrypt a file.
#[derive(Debug, clap::Args)]
pub(crate) struct OpenArgs {
    /// File with the passphrase; without it, you are asked on the terminal
    #[arg(long, value_name = "FILE", conflicts_with = "identity")]
    passphrase_file: Option<PathBuf>,

    /// File of age identities (AGE-SECRET-KEY-1...), one of which opens it; may be repeated
    #[arg(long, value_name = "FILE")]
    identity: Vec<PathBuf>,
}

impl OpenArgs {
    /// The contents of a file, encrypted or not.
    pub(crate) fn open<'a>(&self, path: &Path, file: impl Read + 'a) -> anyhow::Result<Box<dyn Read + 'a>> {
        let mut file = BufReader::with_capacity(BUFFER, file);
        let begin = file.fill_buf().with_context(|| format!("cannot read {}", path.display()))?;
        if !begin.starts_with(MAGIC) {
            return Ok(Box::new(file));
        }
        let sealed = Decryptor::new_buffered(file).with_context(|| {
            format!("cannot open {}: it is not a file that age has sealed", path.display())
        })?;
        let identities = match sealed.is_scrypt() {
            true => vec![Box::new(scrypt::Identity::new(self.passphrase(path)?)) as Box<dyn age::Identity>],
            false => self.identities(path)?,
        };
        let asked = sealed.is_scrypt();
        let opened =
            sealed.decrypt(identities.iter().map(|identity| identity.as_ref() as &dyn age::Identity));
        Ok(Box::new(opened.map_err(|why| {
            let what = match (asked, &why) {
                (true, DecryptError::DecryptionFailed | DecryptError::NoMatchingKeys) => {
                    "the passphrase is wrong"
                }
                (false, DecryptError::NoMatchingKeys) => "none of the identities opens it",
                _ => "it is damaged, or sealed in a way that this version cannot open",
            };
            anyhow::Error::new(why).context(format!("cannot open {}: {what}", path.display()))
        })?))
    }

    fn passphrase(&self, path: &Path) -> anyhow::Result<SecretString> {
        if let Some(file) = &self.passphrase_file {
            return Ok(SecretString::from(read_passphrase(file)?.as_str().to_owned()));
        }
        if !(io::stderr().is_terminal() && io::stdin().is_terminal()) {
            bail!("cannot open {}: it is sealed with a passphrase, give --passphrase-file", path.display());
        }
        let asked = rpassword::prompt_password(format!("Passphrase of {}: ", path.display()));
        Ok(SecretString::from(asked.context("cannot ask for the passphrase")?))
    }

    fn identities(&self, path: &Path) -> anyhow::Result<Vec<Box<dyn age::Identity>>> {
        ensure!(
            !self.identity.is_empty(),
            "cannot open {}: it is sealed to recipients, give --identity",
            path.display()
        );
        let mut all: Vec<Box<dyn age::Identity>> = Vec::new();
        for file in &self.identity {
            let what = || format!("cannot read the identities in {}", file.display());
            let held = IdentityFile::<NoCallbacks>::from_buffer(BufReader::new(
                File::open(file).with_context(what)?,
            ));
            let held = held.with_context(what)?.into_identities().with_context(what)?;
            all.extend(held.into_iter().map(|identity| identity as Box<dyn age::Identity>));
        }
        Ok(all)
    }
}
