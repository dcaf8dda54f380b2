//! The live view on a real pseudo-terminal.
