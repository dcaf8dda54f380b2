//! What several of the tests need.
