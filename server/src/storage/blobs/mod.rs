//! The bytes of snaps and components, named by their SHA3-384.
