//! The file of a chain that outlives its process: blocks and transactions in the order of their arrival.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Seek as _, Write as _};
use std::path::Path;

use bitcoin::consensus::{Decodable as _, encode::serialize};
use bitcoin::io::FromStd;
use bitcoin::{Block, Transaction};

use super::ledger::Ledger;

/// The file, if the chain has one.
#[derive(Default)]
pub(super) struct Kept(Option<File>);

impl Kept {
    /// Reads the file into a chain, and appends to it from now on. An entry that was half written is dropped.
    pub fn open(path: &Path, ledger: &mut Ledger) -> io::Result<()> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut reader = FromStd::new(BufReader::new(&mut file));
        let mut whole = 0;
        while let Some(length) = read_entry(&mut reader, ledger) {
            whole += length;
        }
        file.set_len(whole)?;
        file.seek(io::SeekFrom::End(0))?;
        ledger.file = Self(Some(file));
        Ok(())
    }

    /// Appends a block.
    ///
    /// # Panics
    ///
    /// The file cannot be written: others would see a block that is lost at the next start.
    pub fn append_block(&mut self, block: &Block) {
        self.append(BLOCK, || serialize(block));
    }

    /// Appends a transaction of the mempool; panics like [`Self::append_block`].
    pub fn append_transaction(&mut self, tx: &Transaction) {
        self.append(TRANSACTION, || serialize(tx));
    }

    fn append(&mut self, kind: u8, bytes: impl FnOnce() -> Vec<u8>) {
        if let Some(file) = &mut self.0 {
            let entry = [vec![kind], bytes()].concat();
            file.write_all(&entry).expect("the file of the chain can be written");
        }
    }
}

/// Reads one entry, and returns its length. `None`: there is no whole one.
fn read_entry(reader: &mut FromStd<BufReader<&mut File>>, ledger: &mut Ledger) -> Option<u64> {
    let length = match u8::consensus_decode(reader).ok()? {
        BLOCK => {
            let block = Block::consensus_decode(reader).ok()?;
            let length = serialize(&block).len();
            ledger.connect_again(block);
            length
        }
        TRANSACTION => {
            let tx = Transaction::consensus_decode(reader).ok()?;
            let length = serialize(&tx).len();
            let _ = ledger.submit(tx); // one that a later block spends is refused
            length
        }
        _ => return None,
    };
    Some(1 + u64::try_from(length).ok()?)
}

const BLOCK: u8 = b'B';
const TRANSACTION: u8 = b'T';
