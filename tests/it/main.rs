//! The integration tests: one binary, which runs the real executable.

mod streams;
mod support;

mod check;
mod fake;
mod faults;
mod goldens;
mod monitor;
mod papers;
mod readme;
mod real;
mod screen;
mod state;
mod tidy;
mod view;
