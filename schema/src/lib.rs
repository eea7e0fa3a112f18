//! What a snap store is made of.
