//! B1 to B11: signed documents and keys.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::assertion::{Assertion, Builder, HeaderValue};
use schema::digest::Sha3_384;
use tests::device::session::read_session;
use tests::device::{Device, Snapd};
use tests::world::{TIMESTAMP, World, map, stream};

use super::{Siege, within};

/// The text of an account that nobody has yet.
fn account(siege: &Siege) -> String {
    String::from_utf8(siege.world.account("newcomer").bytes().to_vec()).expect("text")
}

/// Pushes a text beside the key that signed it.
fn push(siege: &Siege, text: &[u8]) -> tests::server::Ran {
    let mut file = siege.world.store_key().bytes().to_vec();
    file.push(b'\n');
    file.extend(text);
    siege.store.try_push_assertions(&file)
}

fn assert_refused(siege: &Siege, what: &str, text: &[u8]) {
    let ran = within(std::time::Duration::from_secs(5), what, || push(siege, text));
    assert_eq!(ran.code, Some(1), "{what}: {}", ran.stdout);
    siege.assert_untouched(what);
}

#[test]
fn text_that_decoders_disagree_on() {
    let siege = Siege::new();
    let text = account(&siege);
    let (content, signature) = text.split_once("\n\n").expect("content and signature");
    let long = "x".repeat(200 << 10);
    let deep: String = (0..200).map(|level| format!("{}  a:\n", "  ".repeat(level))).collect();
    // What the reader alone can refuse is signed as it stands.
    let key = siege.world.key("store");
    let signed =
        |content: &[u8]| [content, b"\n\n", key.sign(content, 1_800_000_000).as_bytes(), b"\n"].concat();
    let with = |old: &str, new: &str| signed(content.replacen(old, new, 1).as_bytes());
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("a repeated header", with("username:", "username: other\nusername:")),
        ("carriage returns", text.replace('\n', "\r\n").into()),
        ("carriage returns in what is signed", signed(content.replace('\n', "\r\n").as_bytes())),
        ("a byte order mark", signed(format!("\u{feff}{content}").as_bytes())),
        ("a body that is not announced", signed(format!("{content}\n\nbody").as_bytes())),
        ("a body length that is wrong", with("username:", "body-length: 5\nusername:")),
        ("a negative body length", with("username:", "body-length: -1\nusername:")),
        ("a slash in a key", with("account-id: newcomer", "account-id: new/comer")),
        ("upper case in a header's name", with("username:", "Username:")),
        ("no space after the colon", with("username: ", "username:")),
        ("headers of 200 KiB", with("username: newcomer", &format!("username: {long}"))),
        ("a signature of 200 KiB", format!("{content}\n\n{}\n", "A".repeat(200 << 10)).into()),
        ("a nest of 200 levels", with("username:", &format!("nest:\n{deep}username:"))),
        ("a blank before a signature", format!("{content}\n\n {signature}").into()),
        ("a blank in a signature", format!("{content}\n\n{}", signature.replacen('\n', " \n", 1)).into()),
        (
            "a carriage return in a signature",
            format!("{content}\n\n{}", signature.replace('\n', "\r\n")).into(),
        ),
        ("no signature", format!("{content}\n\n").into()),
        ("a signature of another alphabet", format!("{content}\n\n{}", signature.replace('A', "-")).into()),
        ("the mark of built-in documents", format!("{content}\n\n$builtin\n").into()),
        ("bytes that are no text", signed(&[content.as_bytes(), b"\nnote: \xff\xfe"].concat())),
        ("an unknown type", with("type: account", "type: accounts")),
    ];
    for (what, text) in cases {
        assert_refused(&siege, what, &text);
    }
    let _ = push(&siege, account(&siege).as_bytes()).ok();
}

#[test]
fn texts_are_kept_to_the_byte() {
    let siege = Siege::new();
    // Order, spacing and unknown headers are the signer's; signed over as they stand.
    let key = siege.world.key("store");
    let content = format!(
        "type: account\ntimestamp: {TIMESTAMP}\nzz-unknown:\n    two\n    lines \n\nauthority-id: {}\nusername:  odd \n\
         account-id: odd-account\nvalidation: unproven\nlist:\n  - a\n  -\n    - b\ndisplay-name: Ödd\n\
         sign-key-sha3-384: {}",
        siege.world.root_id,
        key.public().id()
    )
    .replace("lines \n\n", "lines \n");
    let text = format!("{content}\n\n{}\n", key.sign(content.as_bytes(), 1_800_000_000));
    let document = Assertion::decode(text.as_bytes()).expect("strict, and yet odd");
    let _ = push(&siege, text.as_bytes()).ok();
    let mut device = Device::anonymous(&siege.store, Snapd::V2_77);
    assert_eq!(device.assertion(&document.reference()).expect("served").bytes(), text.as_bytes());
    let store = siege.store.stop().start();
    device.move_to(&store);
    assert_eq!(device.assertion(&document.reference()).expect("after a restart").bytes(), text.as_bytes());
}

/// An account with a signature whose raw bytes were changed.
fn resigned(text: &str, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let (content, signature) = text.split_once("\n\n").expect("content and signature");
    let flat: String = signature.split_whitespace().collect();
    let mut raw = STANDARD.decode(flat).expect("base64");
    change(&mut raw);
    format!("{content}\n\n{}\n", STANDARD.encode(raw)).into_bytes()
}

/// Adds a subpacket to those of a signature that are not signed over; the signature stays good.
fn add_unsigned(raw: &mut Vec<u8>, subpacket: &[u8]) {
    let length_at = |raw: &[u8], at: usize| usize::from(u16::from_be_bytes([raw[at], raw[at + 1]]));
    let at = 10 + length_at(raw, 8);
    let unsigned = length_at(raw, at) + subpacket.len();
    raw.splice(at + 2..at + 2, subpacket.iter().copied());
    raw[at..at + 2].copy_from_slice(&(unsigned as u16).to_be_bytes());
    let rest = raw.len() - 4 - 192;
    raw[2] = 192 + (rest >> 8) as u8;
    raw[3] = rest as u8;
}

#[test]
fn packets_have_one_shape() {
    let siege = Siege::new();
    let text = account(&siege);
    // 01 | C2 length(2) | version type algorithm hash | hashed length(2) subpackets | unhashed ...
    let at = |place: usize, byte: u8| move |raw: &mut Vec<u8>| raw[place] = byte;
    type Change = Box<dyn Fn(&mut Vec<u8>)>;
    let cases: Vec<(&str, Change)> = vec![
        ("another container", Box::new(at(0, 2))),
        ("a key instead of a signature", Box::new(at(1, 0xC6))),
        ("an old packet header", Box::new(at(1, 0x88))),
        ("a length too short", Box::new(|raw| raw[3] = raw[3].wrapping_sub(1))),
        ("a length too long", Box::new(|raw| raw[3] = raw[3].wrapping_add(1))),
        ("version 3", Box::new(at(4, 3))),
        ("version 6", Box::new(at(4, 6))),
        ("a signature over text", Box::new(at(5, 1))),
        ("a certification", Box::new(at(5, 0x10))),
        ("another algorithm", Box::new(at(6, 17))),
        ("SHA-1", Box::new(at(7, 2))),
        ("SHA-256", Box::new(at(7, 8))),
        ("MD5", Box::new(at(7, 1))),
        ("an unknown hash", Box::new(at(7, 99))),
        ("something behind it", Box::new(|raw| raw.push(0))),
        ("a second packet", Box::new(|raw| raw.extend(raw.clone()))),
        ("half of it", Box::new(|raw| raw.truncate(raw.len() / 2))),
        ("nothing of it", Box::new(Vec::clear)),
        ("a critical subpacket that nobody knows", Box::new(at(11, 0x80 | 100))),
        ("a critical subpacket that nobody signed", Box::new(|raw| add_unsigned(raw, &[2, 0x80 | 100, 0]))),
        ("a time that nobody signed", Box::new(|raw| add_unsigned(raw, &[5, 2, 0x6B, 0x49, 0xD2, 0]))),
    ];
    for (what, change) in cases {
        assert_refused(&siege, what, &resigned(&text, change));
    }
    let harmless = resigned(&text, |raw| add_unsigned(raw, &[2, 100, 0]));
    let _ = push(&siege, &harmless).ok();
}

#[test]
fn forged_signatures() {
    let siege = Siege::new();
    let text = account(&siege);
    let value = 256;
    let fill = |byte: u8| {
        move |raw: &mut Vec<u8>| {
            let start = raw.len() - value;
            raw[start..].fill(byte);
        }
    };
    assert_refused(&siege, "zero", &resigned(&text, fill(0)));
    assert_refused(&siege, "all ones", &resigned(&text, fill(0xFF)));
    let one = |raw: &mut Vec<u8>| {
        fill(0)(raw);
        *raw.last_mut().expect("a byte") = 1;
    };
    assert_refused(&siege, "one", &resigned(&text, one));
    for bit in [0, 7, 1000, 2047] {
        let flip = move |raw: &mut Vec<u8>| {
            let place = raw.len() - 1 - bit / 8;
            raw[place] ^= 1 << (bit % 8);
        };
        assert_refused(&siege, &format!("bit {bit}"), &resigned(&text, flip));
    }
    // A good signature of another document, and of another key.
    let other = String::from_utf8(siege.world.account("another").bytes().to_vec()).expect("text");
    let (content, _) = text.split_once("\n\n").expect("content");
    let (_, signature) = other.split_once("\n\n").expect("signature");
    assert_refused(&siege, "another document's", format!("{content}\n\n{signature}").as_bytes());
    let wrong = siege.world.key("device-1").sign(content.as_bytes(), 1_800_000_000);
    assert_refused(&siege, "another key's", format!("{content}\n\n{wrong}\n").as_bytes());
}

/// A public key packet of these numbers.
fn key_packet(n: &[u8], e: &[u8]) -> Vec<u8> {
    let bits = |number: &[u8]| {
        let leading = number.first().map_or(0, |byte| byte.leading_zeros() as usize);
        (number.len() * 8 - leading) as u16
    };
    let mut body = vec![4, 0x56, 0x85, 0xC1, 0x80, 1];
    for number in [n, e] {
        body.extend(bits(number).to_be_bytes());
        body.extend(number);
    }
    let mut packet = vec![1, 0xC6];
    match body.len().checked_sub(192) {
        None => packet.push(body.len() as u8),
        Some(rest) => packet.extend([192 + (rest >> 8) as u8, rest as u8]),
    }
    packet.extend(body);
    packet
}

#[test]
fn key_sizes_as_a_weapon() {
    let siege = Siege::new();
    let odd = |bytes: usize| {
        let mut number = tests::snap::noise("modulus", bytes);
        number[0] |= 0x80;
        number[bytes - 1] |= 1;
        number
    };
    let mut even = odd(256);
    even[255] &= 0xFE;
    let long = "longer than three bytes";
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a short modulus", key_packet(&odd(128), &[1, 0, 1]), "1024 bits"),
        ("a long modulus", key_packet(&odd(2048), &[1, 0, 1]), "16384 bits"),
        ("an exponent of 256 bytes", key_packet(&odd(256), &odd(256)), long),
        ("an exponent of four bytes", key_packet(&odd(256), &[1, 0, 0, 1]), long),
        ("an even exponent", key_packet(&odd(256), &[2]), "exponent of the key is 2"),
        ("the exponent one", key_packet(&odd(256), &[1]), "exponent of the key is 1"),
        ("an even modulus", key_packet(&even, &[1, 0, 1]), "modulus of the key is even"),
    ];
    let signer = siege.world.key("store");
    for (what, packet, reason) in cases {
        let body = STANDARD.encode(&packet);
        let id = Sha3_384::of(&packet).to_base64url();
        let content = format!(
            "type: account-key\nauthority-id: {}\npublic-key-sha3-384: {id}\naccount-id: dev\nname: weapon\n\
             since: 2020-01-01T00:00:00Z\nbody-length: {}\nsign-key-sha3-384: {}\n\n{body}",
            siege.world.root_id,
            body.len(),
            signer.public().id()
        );
        let key = format!("{content}\n\n{}\n", signer.sign(content.as_bytes(), 1_800_000_000));
        // A document that claims to be signed with it makes the server use it.
        let claims = format!(
            "type: model\nauthority-id: dev\nseries: 16\nbrand-id: dev\nmodel: weapon\narchitecture: amd64\n\
             classic: true\ntimestamp: {TIMESTAMP}\nsign-key-sha3-384: {id}"
        );
        let model = format!("{claims}\n\n{}\n", signer.sign(claims.as_bytes(), 1_800_000_000));
        let both = format!("{key}\n{model}");
        let ran = within(std::time::Duration::from_secs(5), what, || push(&siege, both.as_bytes()));
        // For the key itself, not because it did not sign.
        siege.assert_refused(what, &ran, reason);
    }
}

#[test]
fn keys_outside_their_time_or_purpose() {
    let siege = Siege::new();
    let world = &siege.world;
    let brand = world.brand("acme");
    let model_key = brand.model_key();
    let key = |change: &dyn Fn(Builder) -> Builder| {
        change(world.account_key_of("acme", "models", &model_key)).sign(&world.key("store"))
    };
    let model = brand.model("gateway");
    let constraint = |kind: &str| vec![HeaderValue::from(map_of_headers(kind))];
    let cases: Vec<(&str, bool, Assertion)> = vec![
        ("valid", true, key(&|it| it)),
        ("not yet valid", false, key(&|it| it.header("since", "2025-01-01T00:00:00Z"))),
        ("over", false, key(&|it| it.header("until", "2023-01-01T00:00:00Z"))),
        ("over since, but valid then", true, key(&|it| it.header("until", "2025-01-01T00:00:00Z"))),
        ("revoked", false, key(&|it| it.header("until", "2020-01-01T00:00:00Z"))),
        ("for serials only", false, key(&|it| it.format(1).header("constraints", constraint("serial")))),
        ("for models", true, key(&|it| it.format(1).header("constraints", constraint("model")))),
    ];
    for (what, accepted, key) in cases {
        let siege = Siege::new();
        let file = stream(&[world.store_key(), world.account("acme"), key, model.clone()]);
        let ran = siege.store.try_push_assertions(&file);
        assert_eq!(ran.code == Some(0), accepted, "{what}: {}{}", ran.stdout, ran.stderr);
        if !accepted {
            siege.assert_untouched(what);
        }
    }
    // A key of another account, and an authority that is not trusted.
    let other = world.account_key_of("bolt", "models", &model_key).sign(&world.key("store"));
    assert_refused(
        &siege,
        "another account's key",
        &stream(&[world.account("acme"), world.account("bolt"), other, model]),
    );
    let forged = siege.hello.clone().declaration_at(9, 0).declaration();
    let text = String::from_utf8_lossy(forged.bytes()).replace("test-root", "acme");
    assert_refused(&siege, "a declaration by a brand", text.as_bytes());
}

/// A constraint that allows one type.
fn map_of_headers(kind: &str) -> schema::assertion::Map {
    std::iter::once(("headers".to_owned(), HeaderValue::from(map(&[("type", kind)])))).collect()
}

#[test]
fn a_serial_by_somebody_else() {
    let siege = Siege::new();
    let (brand, partner) = (siege.world.brand("acme"), siege.world.brand("partner"));
    siege.store.push_brand(&brand);
    siege.store.push_brand(&partner);
    let listing = |name: &str| {
        brand.model_of(name).header("serial-authority", vec!["partner"]).sign(&brand.model_key())
    };
    let serial = |model: &str| {
        brand.serial_of(model, "SN-1").header("authority-id", "partner").sign(&partner.serial_key())
    };
    let ran = siege.store.try_push_assertions(&stream(&[brand.model("plain"), serial("plain")]));
    assert_eq!(ran.code, Some(1), "a model that lists nobody: {}", ran.stdout);
    let ran = siege.store.try_push_assertions(&stream(&[listing("listed"), serial("plain")]));
    assert_eq!(ran.code, Some(1), "another model lists the signer: {}", ran.stdout);
    let _ = siege.store.try_push_assertions(&stream(&[listing("listed"), serial("listed")])).ok();
}

#[test]
fn rotation_and_revocation() {
    let siege = Siege::new();
    let world = &siege.world;
    let brand = world.brand("acme");
    siege.store.push_brand(&brand);
    // With a store of its own the brand is known, and its devices are checked against its keys.
    siege.store.push_store("AcmeStore", "acme", &[&siege.hello]);
    let model = brand.model_in("gateway", "AcmeStore");
    let old = brand.device(&model, "SN-1");
    let new_key = world.key("acme-serial-next");
    let mut new = brand.device(&model, "SN-2");
    new.serial = brand.serial_of("gateway", "SN-2").sign(&new_key);
    let session = |identity| {
        let device = Device::new(&siege.store, Snapd::V2_77, identity);
        let nonce = device.nonce().expect("a nonce");
        let request = tests::device::session::session_request(identity, &nonce);
        siege.store.send(&device.session_post(&device.triple(&request, identity)))
    };
    assert!(read_session(&session(&old)).is_ok());
    let early = session(&new);
    assert!(read_session(&early).is_err(), "its key is not here yet: {early:?}");
    let push = |document: &Assertion| {
        let file = stream(&[world.store_key(), document.clone()]);
        let run = |path: &str| siege.store.proxy(&["push-account-keys", path]).ok();
        siege.store.with_file("keys.assert", &file, run)
    };
    let _ = push(&world.sign(&world.account_key_of("acme", "serials-2", &new_key)));
    assert!(
        read_session(&session(&old)).is_ok() && read_session(&session(&new)).is_ok(),
        "both during the overlap"
    );
    let mut live = Device::new(&siege.store, Snapd::V2_77, &old);
    live.ensure_session().expect("a session before the revocation");
    let revoked = world
        .account_key_of("acme", "serials", &brand.serial_key())
        .revision(1)
        .header("until", tests::world::SINCE);
    let _ = push(&world.sign(&revoked));
    assert!(read_session(&session(&old)).is_err(), "refused at the next issue");
    assert!(read_session(&session(&new)).is_ok());
    live.info("hello").expect("a live session goes on until it ends");
    let keys = siege.store.proxy(&["list-account-keys"]).ok();
    assert!(keys.contains("revoked"), "{keys}");
}

#[test]
fn a_stranger_s_root() {
    let siege = Siege::new();
    let stranger = World::rooted("stranger");
    let snap = stranger.snap("hello").revision(2);
    let ran = siege.store.try_push_pair(&snap, &["latest/stable"], "ubuntu");
    siege.assert_refused("a stranger's snap", &ran, "hello_2");
    let ran = siege.store.try_push_assertions(&stranger.anchors());
    siege.assert_refused("a stranger's root among documents", &ran, "stranger");
    // What was trusted on purpose is listed, and can be taken back.
    let fingerprint = siege.world.key("root").public().id().to_owned();
    for command in [&["status"][..], &["trust", "list"]] {
        let shown = siege.store.proxy(command).stdout;
        assert!(shown.contains(&fingerprint), "{command:?} shows every added root: {shown}");
    }
    let both = [siege.world.anchors(), stranger.anchors()].concat();
    let ran = siege.store.with_file("root.assert", &both, |path| siege.store.proxy(&["trust", "add", path]));
    assert_eq!(ran.code, Some(1), "two roots in one file: {}", ran.stdout);
    siege.assert_untouched("two roots in one file");
}

#[test]
fn dates_that_not_every_device_reads() {
    let siege = Siege::new();
    let key = siege.world.key("store");
    let signed = |timestamp: &str| {
        let honest = siege.world.account("newcomer");
        let honest = std::str::from_utf8(honest.content()).expect("text");
        let content = honest.replace(&format!("timestamp: {TIMESTAMP}"), &format!("timestamp: {timestamp}"));
        assert_ne!(content, honest, "a date to put another one in place of");
        format!("{content}\n\n{}\n", key.sign(content.as_bytes(), 1_800_000_000)).into_bytes()
    };
    for bad in [
        "2024-01-01T12:00:00+99:99",
        "2024-01-01T12:00:00-25:00",
        "2024-01-01T12:00:00+24:61",
        "2024-01-01T12:00:00++1:00",
        "2016-12-31T23:59:60Z",
        "2024-01-01T24:00:00Z",
        "2024-01-01t12:00:00Z",
        "2024-01-01T12:00:00z",
        "2024-01-01 12:00:00Z",
        "2024-01-01T12:00:00.Z",
        "2024-02-30T12:00:00Z",
        "10000-01-01T12:00:00Z",
    ] {
        assert_refused(&siege, bad, &signed(bad));
    }
    let ran = push(&siege, &signed("2024-01-01T5:00:00,5+24:00"));
    assert_eq!(ran.code, Some(0), "what every device reads is taken: {}", ran.stderr);
}
