//! Key ids on the command line. One in 64 begins with a hyphen, which would make it an option.

use std::ffi::{OsStr, OsString};

/// Characters of an id: a SHA3-384 in base64url.
const LENGTH: usize = 64;

/// Moves ids that begin with a hyphen to the end, after `--`, where they count as values. An id after an option stays
/// its value, and arguments that already contain `--` are left alone.
pub(crate) fn as_values(args: Vec<OsString>) -> Vec<OsString> {
    if args.iter().any(|arg| arg == "--") {
        return args;
    }
    let (mut kept, mut ids) = (Vec::with_capacity(args.len() + 1), Vec::new());
    for arg in args {
        let of_option = kept.last().is_some_and(|before: &OsString| is_option(before));
        if is_id_with_hyphen(&arg) && !of_option { ids.push(arg) } else { kept.push(arg) }
    }
    if !ids.is_empty() {
        kept.push("--".into());
        kept.append(&mut ids);
    }
    kept
}

fn is_id_with_hyphen(arg: &OsStr) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    arg.len() == LENGTH
        && arg.as_encoded_bytes().starts_with(b"-")
        && arg.as_encoded_bytes().iter().all(is_letter)
}

fn is_option(arg: &OsStr) -> bool {
    let bytes = arg.as_encoded_bytes();
    bytes.starts_with(b"-") && !bytes.contains(&b'=')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_that_begin_with_a_hyphen_are_values() {
        let (one, other) = (format!("-{}", "a".repeat(63)), format!("--{}", "B".repeat(62)));
        let moved = |line: String| {
            let args = line.split(' ').map(OsString::from).collect();
            let moved: Vec<_> =
                as_values(args).into_iter().map(|arg| arg.into_string().expect("text")).collect();
            moved.join(" ")
        };
        for (given, wanted) in [
            (
                "proxy fetch-account-keys acme ID key --trust root",
                "proxy fetch-account-keys acme key --trust root -- ID",
            ),
            ("proxy fetch-account-keys acme ID OTHER", "proxy fetch-account-keys acme -- ID OTHER"),
            ("proxy fetch-store acme --key ID --key=OTHER", "proxy fetch-store acme --key ID --key=OTHER"),
            ("proxy remove-account-key --apply=x ID", "proxy remove-account-key --apply=x -- ID"),
            ("proxy remove-account-key -- ID", "proxy remove-account-key -- ID"),
            ("proxy remove-account-key -short", "proxy remove-account-key -short"),
        ] {
            let named = |text: &str| text.replace("OTHER", &other).replace("ID", &one);
            assert_eq!(moved(named(given)), named(wanted));
        }
    }
}
