//! Pulls from a real engine and real registries.
