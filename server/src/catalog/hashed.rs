//! Maps and sets that are looked up by hash, of which a changed copy shares all but what changed.
//!
//! Their keys come from documents whose signatures were checked and from what operators set, never from a request. So they
//! need no hash that withstands chosen keys, only one whose seed nobody knows, and every request asks ten of them a snap.

use foldhash::quality::RandomState;

/// A map.
pub(super) type HashedMap<K, V> = rpds::HashTrieMapSync<K, V, RandomState>;

/// A set.
pub(crate) type HashedSet<T> = rpds::HashTrieSetSync<T, RandomState>;
