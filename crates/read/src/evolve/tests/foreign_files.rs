//! Files that other engines wrote.
