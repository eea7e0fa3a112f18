//! Imports: what the operator carries in.
