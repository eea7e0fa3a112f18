//! Find, categories, sections and names: exact content types, and a catalogue that begins in one way only.

use tests::device::browse::read_names;

use super::Shop;

#[test]
fn content_types_are_exact() {
    let mut shop = Shop::new();
    assert!(!shop.device.find("hello").expect("rows 1 and 3 fail here").is_empty());
    shop.device.categories().expect("categories");
    shop.device.catalogue().expect("sections, then names");
}

#[test]
fn names_begin_as_the_reader_wants() {
    let shop = Shop::new();
    let response =
        shop.store.send(&shop.device.catalogue_get("/api/v1/snaps/names?confinement=strict%2Cclassic"));
    assert!(response.text().starts_with("{\"_embedded\":{\"clickindex:package\":["), "{response:?}");
    assert_eq!(read_names(&response).expect("names"), ["hello", "other"]);
}

#[test]
fn names_are_those_of_the_confinements_asked_for() {
    let shop = Shop::new();
    let free = shop.world.snap("free").confinement("classic");
    shop.store.push_pair(&free.revision(1), &["latest/stable"], "ubuntu");
    for (query, expected) in [
        ("", &["free", "hello", "other"][..]),
        ("?confinement=", &["free", "hello", "other"]),
        ("?confinement=strict", &["hello", "other"]),
        ("?confinement=classic", &["free"]),
        ("?confinement=strict,classic", &["free", "hello", "other"]),
        ("?confinement=other", &[]),
    ] {
        let path = format!("/api/v1/snaps/names{query}");
        let response = shop.store.send(&shop.device.catalogue_get(&path));
        assert_eq!(read_names(&response).expect("names"), expected, "{query}");
    }
}
