//! JSON and YAML that come in with snaps: manifests, answers of stores, `snap.yaml`.

use schema::bundle::{
    BrandStores, BundleError, ComponentYaml, Manifest, Metadata, PartList, SnapYaml, default_providers,
};
use serde_json::Value;

use super::settle;

/// The four JSON documents of the files that cross the gap.
pub(super) fn metadata(data: &[u8]) {
    if let Some(manifest) = one_meaning(data, Manifest::parse) {
        let written = serde_json::to_vec(&manifest).expect("a manifest is JSON");
        assert_eq!(settle(Manifest::parse(&written)), Some(manifest));
    }
    if let Some(metadata) = one_meaning(data, Metadata::parse) {
        assert!(metadata.channel_map.iter().all(|entry| (1..1 << 31).contains(&entry.revision)));
    }
    if let Some(stores) = one_meaning(data, BrandStores::parse) {
        let written = serde_json::to_vec(&stores.to_json()).expect("metadata are JSON");
        assert_eq!(settle(BrandStores::parse(&written)), Some(stores));
    }
    if let Some(parts) = one_meaning(data, PartList::parse) {
        let total: u64 = parts.parts.iter().map(|part| part.size).sum();
        assert_eq!(total, parts.size);
        let written = serde_json::to_vec(&parts).expect("a list is JSON");
        assert_eq!(settle(PartList::parse(&written)), Some(parts));
    }
}

/// What a document says, which is the same after another reader has read it and written it again.
fn one_meaning<T: PartialEq + std::fmt::Debug>(
    data: &[u8],
    parse: fn(&[u8]) -> Result<T, BundleError>,
) -> Option<T> {
    let read = settle(parse(data))?;
    let value: Value = serde_json::from_slice(data).expect("JSON for the second reader too");
    let again = settle(parse(&serde_json::to_vec(&value).expect("JSON")));
    assert_eq!(again.as_ref(), Some(&read), "a document with two meanings");
    Some(read)
}

/// What snaps and components say about themselves.
pub(super) fn snap_yaml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Some(snap) = settle(SnapYaml::parse(text)) {
        assert!(!snap.architectures.is_empty() && !snap.provenance.is_empty());
        assert_eq!(settle(SnapYaml::parse(text)).as_ref(), Some(&snap));
    }
    if let Some(component) = settle(ComponentYaml::parse(text)) {
        assert!(!component.provenance.is_empty());
    }
    for provider in default_providers(text) {
        assert!(!provider.as_str().is_empty());
    }
}
