//! Replays of the fixtures, compared byte for byte.
