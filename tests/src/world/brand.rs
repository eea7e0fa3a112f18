//! Brands: their keys, models, devices and validation sets.

use std::sync::Arc;

use schema::assertion::{Assertion, AssertionType, Builder, HeaderValue, Map, SigningKey};

use super::{TIMESTAMP, World, stream};

/// A brand of devices.
#[derive(Clone)]
pub struct Brand {
    pub(super) world: World,
    /// Its account.
    pub id: String,
}

impl Brand {
    /// The key that signs models and validation sets.
    #[must_use]
    pub fn model_key(&self) -> Arc<SigningKey> {
        self.world.key(&format!("{}-model", self.id))
    }

    /// The key that signs serials.
    #[must_use]
    pub fn serial_key(&self) -> Arc<SigningKey> {
        self.world.key(&format!("{}-serial", self.id))
    }

    /// Account and keys: what `proxy push-account-keys` takes.
    #[must_use]
    pub fn account_keys(&self) -> Vec<u8> {
        let key =
            |name: &str, key: &SigningKey| self.world.sign(&self.world.account_key_of(&self.id, name, key));
        stream(&[
            self.world.store_key(),
            self.world.account(&self.id),
            key("models", &self.model_key()),
            key("serials", &self.serial_key()),
        ])
    }

    /// Starts a model for classic devices on amd64.
    #[must_use]
    pub fn model_of(&self, name: &str) -> Builder {
        Builder::new(AssertionType::Model)
            .header("authority-id", &self.id)
            .header("series", "16")
            .header("brand-id", &self.id)
            .header("model", name)
            .header("architecture", "amd64")
            .header("classic", "true")
            .header("timestamp", TIMESTAMP)
    }

    /// A model of the global store.
    #[must_use]
    pub fn model(&self, name: &str) -> Assertion {
        self.model_of(name).sign(&self.model_key())
    }

    /// A model whose devices use a brand store.
    #[must_use]
    pub fn model_in(&self, name: &str, store: &str) -> Assertion {
        self.model_of(name).header("store", store).sign(&self.model_key())
    }

    /// Starts a serial assertion for the device key of this serial.
    #[must_use]
    pub fn serial_of(&self, model: &str, serial: &str) -> Builder {
        let key = self.device_key(serial);
        Builder::new(AssertionType::Serial)
            .header("authority-id", &self.id)
            .header("brand-id", &self.id)
            .header("model", model)
            .header("serial", serial)
            .header("device-key", key.public().encode())
            .header("device-key-sha3-384", key.public().id())
            .header("timestamp", TIMESTAMP)
    }

    /// The device key behind a serial; serials with the same last character share one, since keys are slow to make.
    #[must_use]
    pub fn device_key(&self, serial: &str) -> Arc<SigningKey> {
        let last = serial.chars().last().filter(char::is_ascii_alphanumeric).unwrap_or('0');
        self.world.key(&format!("device-{last}"))
    }

    /// A device of a model.
    #[must_use]
    pub fn device(&self, model: &Assertion, serial: &str) -> Identity {
        let name = model.text("model").expect("a model has a name");
        Identity {
            serial: self.serial_of(name, serial).sign(&self.serial_key()),
            model: model.clone(),
            key: self.device_key(serial),
        }
    }

    /// A point of a validation set of this brand, signed by its model key.
    #[must_use]
    pub fn validation_set(&self, name: &str, sequence: u32, snaps: Vec<Map>) -> Assertion {
        Builder::new(AssertionType::ValidationSet)
            .header("authority-id", &self.id)
            .header("series", "16")
            .header("account-id", &self.id)
            .header("name", name)
            .header("sequence", sequence.to_string())
            .header("snaps", snaps.into_iter().map(HeaderValue::from).collect::<Vec<_>>())
            .header("timestamp", TIMESTAMP)
            .sign(&self.model_key())
    }
}

/// What makes a device itself.
#[derive(Clone)]
pub struct Identity {
    /// Its model.
    pub model: Assertion,
    /// Its serial.
    pub serial: Assertion,
    /// Its private key.
    pub key: Arc<SigningKey>,
}

impl Identity {
    /// `BRAND/MODEL/SERIAL`.
    #[must_use]
    pub fn name(&self) -> String {
        let part = |name| self.serial.text(name).expect("a serial names brand, model and serial");
        format!("{}/{}/{}", part("brand-id"), part("model"), part("serial"))
    }

    /// The store that the model names.
    #[must_use]
    pub fn store(&self) -> Option<&str> {
        self.model.text("store")
    }
}
