//! What the README claims.
