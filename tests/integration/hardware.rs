//! Devices that prove what hardware they are before they get a serial.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schema::assertion::{Assertion, AssertionType, Builder};
use schema::digest::Sha3_384;
use tests::factory::Newborn;
use tests::server::Setup;
use tests::world::stream;

use crate::signing::{Site, assert_refused, serial_of};

/// A chip with a key.
struct Chip {
    key: EcdsaKeyPair,
    text: String,
}

impl Chip {
    fn new() -> Self {
        let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).expect("randomness");
        let der: PublicKeyX509Der<'_> = key.public_key().as_der().expect("a key");
        let text = STANDARD.encode(der.as_ref());
        Self { key, text }
    }

    fn digest(&self) -> String {
        Sha3_384::of(self.text.as_bytes()).to_base64url()
    }

    /// What the brand says of it.
    fn identity(&self, site: &Site, id: &str) -> Assertion {
        Builder::new(AssertionType::HardwareIdentity)
            .header("authority-id", "acme")
            .header("issuer-id", "acme")
            .header("manufacturer", "Acme")
            .header("hardware-name", "board-1")
            .header("hardware-id", id)
            .header("hardware-id-key", self.text.as_str())
            .header("hardware-id-key-sha3-384", self.digest())
            .sign(&site.brand.model_key())
    }

    /// What a gadget's hook leaves for a request.
    fn about(&self, request_id: &str, claims: &str) -> String {
        let signature = self.key.sign(&SystemRandom::new(), request_id.as_bytes()).expect("randomness");
        serde_json::json!({
            "hardware-id": claims, "hardware-id-key-sha3-384": self.digest(),
            "request-id-signature": STANDARD.encode(signature.as_ref()),
        })
        .to_string()
    }
}

#[test]
fn attack_only_the_hardware_that_the_brand_vouched_for_gets_its_serial() {
    let site = Site::on(Setup::default().start());
    let (store, [own, other, stranger]) = (&site.store, [Chip::new(), Chip::new(), Chip::new()]);
    let known = stream(&[own.identity(&site, "hw-1"), other.identity(&site, "hw-2")]);
    let _ = store.try_push_assertions(&known).ok();
    store.with_file("serials.csv", b"G-1,hw-1\nG-2,hw-2\n", |path| {
        site.add(&["--serial", "listed", "--list", path, "--hardware", "required"]);
    });
    let device = site.device("a").proposing("G-1");
    let post = |id: &str, about: String| {
        let device = Newborn { about, ..device.clone() };
        device.post(store, &device.documents(id))
    };
    let id = || device.id(store);
    assert_refused(&post(&id(), "{\"hardware-id\": \"hw-1\"}".to_owned()), 403, "hardware");
    let asked = id();
    assert_refused(&post(&asked, stranger.about(&asked, "hw-1")), 403, "hardware");
    let asked = id();
    assert_refused(&post(&asked, own.about(&id(), "hw-1")), 403, "hardware");
    let mixed = own.about(&asked, "hw-1").replace(&own.digest(), &other.digest());
    assert_refused(&post(&asked, mixed), 403, "hardware");
    // Another board's chip proves what it is, whatever it claims.
    let asked = id();
    assert_refused(&post(&asked, other.about(&asked, "hw-1")), 403, "serial-not-listed");
    let asked = id();
    assert_eq!(serial_of(&device, &post(&asked, own.about(&asked, "anything"))), "G-1");
    let shown = store.proxy(&["models", "show", "acme/gateway"]).ok();
    assert!(shown.contains("Hardware: proven"), "{shown}");
}
