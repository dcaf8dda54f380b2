//! `alm-agent` as its callers use it: one process for each request on its standard input, and registries on loopback.

mod agent;
mod fake;
mod hostile;
mod hub;
mod notices;
mod pki;
mod real;
mod registries;
mod secrets;
