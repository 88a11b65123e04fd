//! Programs that show LSPS at work on nodes of their own: an LSP, a wallet and a payer on an embedded regtest chain.

/// The examples in the README compile and run.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
