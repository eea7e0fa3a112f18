//! Detects which of the ten forms a login has, and extracts its contents.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::SecretString;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::{Credential, Form, Login, MAX_LOGIN, Macaroon};

/// Why a text is not a login. The messages match those of the original tools.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoginError {
    /// The text is empty.
    #[error("invalid auth {0}: empty")]
    Empty(String),
    /// The text has none of the forms.
    #[error("invalid auth {0}: not a recognizable format")]
    Unrecognizable(String),
    /// JSON with missing or empty fields.
    #[error("invalid auth {0}: missing fields")]
    MissingFields(String),
    /// JSON in base64 with no known combination of fields.
    #[error("cannot recognize unmarshalled base64-decoded auth {0}: no known field combination set")]
    NoKnownFields(String),
    /// INI with missing or empty fields.
    #[error("invalid snapcraft login {0}: empty fields")]
    EmptyFields(String),
    /// A part that should be a macaroon is not one, or has characters that no token has.
    #[error("invalid auth {0}: its {1} is damaged; export it again")]
    Damaged(String, &'static str),
}

use LoginError as E;

pub(super) fn parse(text: &[u8], what: &str) -> Result<Login, LoginError> {
    let unrecognizable = || E::Unrecognizable(what.to_owned());
    if text.len() as u64 > MAX_LOGIN {
        return Err(unrecognizable());
    }
    let text = std::str::from_utf8(text).map_err(|_| unrecognizable())?;
    let text = without_surroundings(text);
    if text.is_empty() {
        return Err(E::Empty(what.to_owned()));
    }
    if text.starts_with('{') {
        return plain_json(text, what);
    }
    if text.starts_with('[') {
        return ini(text, Form::A, what);
    }
    // Pasted text is often wrapped; neither alphabet contains white space.
    let compact = Zeroizing::new(text.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>());
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    if let Ok(decoded) = GeneralPurpose::new(&STANDARD, lenient).decode(compact.as_bytes()) {
        let decoded = Zeroizing::new(decoded);
        let inner = std::str::from_utf8(&decoded).unwrap_or_default().trim();
        if inner.starts_with('{') {
            return base64_json(inner, what);
        }
        if inner.starts_with('[') {
            return ini(inner, Form::B, what);
        }
    }
    match Macaroon::parse(&compact) {
        Ok(_) => Ok(Login { form: Form::J, credential: Credential::Macaroon(secret(&compact)) }),
        Err(_) => Err(unrecognizable()),
    }
}

/// Removes the text that `export-login` prints around a login when redirected into a file.
fn without_surroundings(text: &str) -> &str {
    let text = text.trim_start_matches('\u{feff}').trim();
    let Some((_, rest)) = text.split_once("Exported login credentials:") else { return text };
    // A hint follows the login after a blank line.
    let rest = rest.trim_start();
    rest.split_once("\n\n").or_else(|| rest.split_once("\r\n\r\n")).map_or(rest, |(login, _)| login).trim()
}

fn plain_json(text: &str, what: &str) -> Result<Login, LoginError> {
    #[derive(Deserialize)]
    struct Fields {
        macaroon: Option<Zeroizing<String>>,
        discharges: Option<Vec<Zeroizing<String>>>,
        root: Option<Zeroizing<String>>,
        discharge: Option<Zeroizing<String>>,
    }
    let fields: Fields = serde_json::from_str(text).map_err(|_| E::Unrecognizable(what.to_owned()))?;
    match (fields.macaroon, fields.discharges, fields.root) {
        (Some(root), Some(discharges), _) if !discharges.is_empty() => {
            let discharges: Vec<&str> = discharges.iter().map(|one| one.as_str()).collect();
            pair(Form::G, &root, &discharges, what)
        }
        (Some(token), ..) => Ok(Login {
            form: Form::H,
            credential: Credential::Macaroon(token_of(&token, E::MissingFields, what)?),
        }),
        (None, _, Some(root)) => {
            let discharge: Vec<&str> = fields.discharge.iter().map(|one| one.as_str()).collect();
            pair(Form::I, &root, &discharge, what)
        }
        _ => Err(E::MissingFields(what.to_owned())),
    }
}

fn base64_json(text: &str, what: &str) -> Result<Login, LoginError> {
    #[derive(Deserialize)]
    struct Fields {
        r: Option<Zeroizing<String>>,
        d: Option<Zeroizing<String>>,
        t: Option<String>,
        v: Option<Inner>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Inner {
        Token(Zeroizing<String>),
        Pair { r: Option<Zeroizing<String>>, d: Option<Zeroizing<String>> },
    }
    let text: Fields = serde_json::from_str(text).map_err(|_| E::Unrecognizable(what.to_owned()))?;
    let both = |form, r: Option<Zeroizing<String>>, d: Option<Zeroizing<String>>| {
        pair(form, r.as_deref().map_or("", |r| r), &[d.as_deref().map_or("", |d| d)], what)
    };
    match (text.t.as_deref(), text.v) {
        (None, _) if text.r.is_some() || text.d.is_some() => both(Form::C, text.r, text.d),
        (Some("u1-macaroon"), Some(Inner::Pair { r, d })) => both(Form::D, r, d),
        (Some("macaroon"), Some(Inner::Token(token))) => Ok(Login {
            form: Form::E,
            credential: Credential::Macaroon(token_of(&token, E::MissingFields, what)?),
        }),
        (Some("bearer"), Some(Inner::Token(token))) => Ok(Login {
            form: Form::F,
            credential: Credential::Bearer(token_of(&token, E::MissingFields, what)?),
        }),
        _ => Err(E::NoKnownFields(what.to_owned())),
    }
}

/// The first section that has the keys; its name is the host of the account service.
fn ini(text: &str, form: Form, what: &str) -> Result<Login, LoginError> {
    let (mut root, mut discharge) = ("", "");
    for line in text.lines().map(str::trim) {
        if line.starts_with('[') && !root.is_empty() && !discharge.is_empty() {
            break;
        }
        if let Some((key, value)) = line.split_once('=').or_else(|| line.split_once(':')) {
            match key.trim() {
                "macaroon" => root = value.trim(),
                "unbound_discharge" => discharge = value.trim(),
                _ => {}
            }
        }
    }
    if root.is_empty() || discharge.is_empty() {
        return Err(E::EmptyFields(what.to_owned()));
    }
    pair(form, root, &[discharge], what)
}

fn pair(form: Form, root: &str, discharges: &[&str], what: &str) -> Result<Login, LoginError> {
    let macaroon = |text: &str, part| -> Result<SecretString, LoginError> {
        let token = token_of(text, E::MissingFields, what)?;
        Macaroon::parse(text.trim()).map_err(|_| E::Damaged(what.to_owned(), part))?;
        Ok(token)
    };
    let root = macaroon(root, "root macaroon")?;
    let discharges =
        discharges.iter().map(|text| macaroon(text, "discharge macaroon")).collect::<Result<_, _>>()?;
    Ok(Login { form, credential: Credential::Pair { root, discharges } })
}

/// A token that is valid in a header.
fn token_of(text: &str, empty: fn(String) -> LoginError, what: &str) -> Result<SecretString, LoginError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(empty(what.to_owned()));
    }
    match text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\,".contains(&byte)) {
        true => Ok(secret(text)),
        false => Err(E::Damaged(what.to_owned(), "token")),
    }
}

fn secret(text: &str) -> SecretString {
    SecretString::from(text)
}

#[cfg(test)]
mod tests {
    use super::super::macaroon::tests::VECTORS;
    use super::*;
    use base64::engine::general_purpose::STANDARD;
    use time::macros::datetime;

    const WHAT: &str = "file \"x.login\"";

    fn read(text: &str) -> Result<Login, LoginError> {
        Login::parse(text.as_bytes(), WHAT)
    }

    fn b64(text: &str) -> String {
        STANDARD.encode(text)
    }

    #[test]
    fn every_form_is_read_and_sent() {
        for [r, d, bound] in VECTORS {
            let pair = format!("Macaroon root=\"{r}\", discharge=\"{bound}\"");
            let token = format!("Macaroon {r}");
            let ini = format!(
                "[login.ubuntu.com]\nmacaroon = {r}\nunbound_discharge = {d}\nemail = ann@acme.example\n"
            );
            let cases = [
                (Form::A, ini.clone(), &pair),
                (Form::B, b64(&ini), &pair),
                (Form::C, b64(&format!(r#"{{"r":"{r}","d":"{d}"}}"#)), &pair),
                (Form::D, b64(&format!(r#"{{"t":"u1-macaroon","v":{{"r":"{r}","d":"{d}"}}}}"#)), &pair),
                (Form::E, b64(&format!(r#"{{"t":"macaroon","v":"{r}"}}"#)), &token),
                (Form::F, b64(r#"{"t":"bearer","v":"build-7c1"}"#), &"Bearer build-7c1".to_owned()),
                (Form::G, format!(r#"{{"macaroon":"{r}","discharges":["{d}"]}}"#), &pair),
                (Form::H, format!(r#"{{"macaroon":"{r}"}}"#), &token),
                (
                    Form::I,
                    format!(
                        "{{\n \"root\": \"{r}\",\n \"discharge\": \"{d}\",\n \"store\": \"production\"\n}}"
                    ),
                    &pair,
                ),
                (Form::I, format!(r#"{{"root":"{r}","discharge":null}}"#), &format!("Macaroon root=\"{r}\"")),
                (Form::J, r.to_owned(), &token),
            ];
            for (form, text, header) in cases {
                let wrapped: String = text
                    .chars()
                    .enumerate()
                    .map(|(at, c)| if at % 60 == 59 { format!("{c}\n") } else { c.into() })
                    .collect();
                let redirected = format!(
                    "Exported login credentials:\n{text}\n\nThese credentials must be used on Snapcraft 7.2 or greater.\n"
                );
                let bare = !text.contains(['{', '[']);
                for text in [
                    Some(text.clone()),
                    Some(format!("\n {text} \n")),
                    Some(redirected),
                    bare.then_some(wrapped),
                ]
                .into_iter()
                .flatten()
                {
                    let login = read(&text).unwrap_or_else(|error| panic!("{form:?}: {error}"));
                    assert_eq!((login.form(), login.authorization().as_str()), (form, header.as_str()));
                    let shown = format!("{login:?} {:?}", login.facts());
                    assert!(!shown.contains(r) && !shown.contains(d) && !shown.contains("7c1"), "{shown}");
                }
            }
        }
    }

    #[test]
    fn every_form_damaged_says_what_is_wrong_and_quotes_nothing() {
        let [r, d, _] = VECTORS[0];
        let cut = &r[..r.len() - 8];
        let ini = |r: &str, d: &str| format!("[login.ubuntu.com]\nmacaroon = {r}\nunbound_discharge = {d}\n");
        let empty = "invalid auth file \"x.login\": empty";
        let format = "invalid auth file \"x.login\": not a recognizable format";
        let missing = "invalid auth file \"x.login\": missing fields";
        let unknown = "cannot recognize unmarshalled base64-decoded auth file \"x.login\": no known field combination set";
        let fields = "invalid snapcraft login file \"x.login\": empty fields";
        let root = "invalid auth file \"x.login\": its root macaroon is damaged; export it again";
        let discharge = "invalid auth file \"x.login\": its discharge macaroon is damaged; export it again";
        let token = "invalid auth file \"x.login\": its token is damaged; export it again";
        for (text, wanted) in [
            (String::new(), empty),
            (" \n\t".into(), empty),
            ("Exported login credentials:\n".into(), empty),
            ("marker?".into(), format),
            ("{marker".into(), format),
            (b64("{marker"), format),
            (b64("marker"), format),
            (cut.into(), format),
            ("x".repeat(70_000), format),
            (ini("", d), fields),
            (ini(r, ""), fields),
            ("[login.ubuntu.com]\nemail = a@b\n".into(), fields),
            (b64(&ini(r, "")), fields),
            (ini(cut, d), root),
            (b64(&ini(r, cut)), discharge),
            (b64(&format!(r#"{{"r":"{r}"}}"#)), missing),
            (b64(&format!(r#"{{"r":"{r}","d":"marker"}}"#)), discharge),
            (b64(&format!(r#"{{"t":"u1-macaroon","v":{{"r":"","d":"{d}"}}}}"#)), missing),
            (b64(&format!(r#"{{"t":"u1-macaroon","v":{{"r":"{cut}","d":"{d}"}}}}"#)), root),
            (b64(r#"{"t":"u1-macaroon","v":"marker"}"#), unknown),
            (b64(r#"{"t":"other","v":"marker"}"#), unknown),
            (b64(r#"{"x":"marker"}"#), unknown),
            (b64(r#"{"t":"macaroon","v":""}"#), missing),
            (b64(r#"{"t":"bearer","v":"mar ker"}"#), token),
            (b64(r#"{"t":"bearer","v":"mar\nker: x"}"#), token),
            (format!(r#"{{"macaroon":"{r}","discharges":["{cut}"]}}"#), discharge),
            (r#"{"macaroon":""}"#.into(), missing),
            (r#"{"macaroon":null,"discharges":[]}"#.into(), missing),
            (r#"{"macaroon":"mar\"ker"}"#.into(), token),
            (format!(r#"{{"root":"{cut}","discharge":null}}"#), root),
            (r#"{"root":""}"#.into(), missing),
        ] {
            let error = read(&text).map(|login| login.form()).unwrap_err().to_string();
            assert_eq!(error, wanted, "{}", &text[..text.len().min(60)]);
            assert!(!error.contains("marker"));
        }
        assert_eq!(Login::parse(b"\xff\xfe", WHAT).unwrap_err().to_string(), format);
    }

    #[test]
    fn a_refreshed_discharge_takes_the_place_of_the_old_one() {
        let [[r, d, bound], [_, other, _]] = VECTORS;
        let mut login = read(&format!(r#"{{"macaroon":"{r}","discharges":["{other}"]}}"#)).unwrap();
        assert_eq!(login.discharges().collect::<Vec<_>>(), [other]);
        assert!(login.replace_discharges(vec!["damaged".into()]).is_err());
        assert_eq!(login.discharges().collect::<Vec<_>>(), [other]);
        login.replace_discharges(vec![d.into()]).unwrap();
        assert!(login.authorization().ends_with(&format!("discharge=\"{bound}\"")));
    }

    #[test]
    fn a_login_tells_what_it_is_for() {
        let packet = |key: &str, value: &[u8]| {
            let mut bytes = format!("{:04x}{key} ", key.len() + value.len() + 6).into_bytes();
            bytes.extend([value, b"\n"].concat());
            bytes
        };
        let caveats = [
            "dashboard.snapcraft.io|acl|[\"package_access\", \"store_admin\"]",
            "dashboard.snapcraft.io|expires|2027-01-01T00:00:00",
            "dashboard.snapcraft.io|expires|2026-12-31T00:00:00",
            "dashboard.snapcraft.io|store|AcmeStore",
            &format!("login.ubuntu.com|account|{}", b64(r#"{"username":"ann","email":"ann@acme.example"}"#)),
            "odd",
        ];
        let mut bytes = packet("identifier", b"id");
        caveats.iter().for_each(|caveat| bytes.extend(packet("cid", caveat.as_bytes())));
        bytes.extend(packet("signature", &[7; 32]));
        let facts = read(&base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)).unwrap().facts();
        assert_eq!(facts.permissions, ["package_access", "store_admin"]);
        assert_eq!(facts.stores, ["AcmeStore"]);
        assert_eq!(facts.expires.as_deref(), Some("2026-12-31T00:00:00"));
        assert_eq!(facts.account.as_deref(), Some("ann"));
        let end = datetime!(2026-12-31 0:00 UTC);
        assert_eq!(facts.expired(end), Some("2026-12-31T00:00:00"));
        assert_eq!(facts.expired(end - time::Duration::SECOND), None);
    }
}
