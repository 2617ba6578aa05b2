//! Structs, lists and maps whose insides changed.
