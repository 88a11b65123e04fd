//! The programs `lsp` and `wallet` as processes.
#![cfg(unix)]
#![allow(clippy::disallowed_methods)] // processes are waited for by the wall clock

mod harness;
mod story;
mod sweep;
