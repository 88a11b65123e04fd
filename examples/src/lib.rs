//! Programs that show LSPS at work on nodes of their own: an LSP, a wallet and a payer on an embedded regtest chain; and two
//! programs to use by hand, `lsp` and `wallet`.

pub mod lsp;
pub mod wallet;

/// The examples in the documents compile and run.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../../README.md")]
    struct Readme;
    #[doc = include_str!("../../docs/ready-node.md")]
    struct ReadyNode;
    #[doc = include_str!("../../docs/wallet.md")]
    struct Wallet;
    #[doc = include_str!("../../docs/lsp.md")]
    struct Lsp;
    #[doc = include_str!("../../docs/cores.md")]
    struct Cores;
}
