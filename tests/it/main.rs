//! The integration tests: one binary, which drives the real executable.

mod support;

mod check;
mod fake;
mod faults;
mod goldens;
mod readme;
mod real;
mod screen;
mod tidy;
mod view;
