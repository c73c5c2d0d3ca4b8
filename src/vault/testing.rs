//! test doubles
