//! Assembling a block: coinbase, witness commitment, proof of work.

use bitcoin::block::{Header, Version};
use bitcoin::hashes::Hash as _;
use bitcoin::{
    Amount, Block, BlockHash, CompactTarget, OutPoint, Script, ScriptBuf, Transaction, TxIn, TxMerkleNode, TxOut,
    Witness, absolute, transaction,
};

/// Assembles a valid block on top of `previous`, with a coinbase that takes the subsidy and `fees`.
pub(super) fn assemble(
    previous: BlockHash,
    height: u32,
    time: u32,
    coinbase_script: &Script,
    fees: Amount,
    transactions: Vec<Transaction>,
) -> Block {
    let mut block = Block {
        header: Header {
            version: Version::from_consensus(0x2000_0000),
            prev_blockhash: previous,
            merkle_root: TxMerkleNode::all_zeros(),
            time,
            bits: CompactTarget::from_consensus(EASIEST),
            nonce: 0,
        },
        txdata: vec![coinbase(height, coinbase_script, subsidy(height) + fees)],
    };
    block.txdata.extend(transactions);
    commit_to_witnesses(&mut block);
    block.header.merkle_root = block.compute_merkle_root().expect("there is a coinbase");
    while block.header.validate_pow(block.header.target()).is_err() {
        block.header.nonce += 1;
    }
    block
}

/// Builds a coinbase. The height in its script makes its txid unique.
fn coinbase(height: u32, script: &Script, value: Amount) -> Transaction {
    Transaction {
        version: transaction::Version::TWO,
        lock_time: absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: OutPoint::null(),
            script_sig: ScriptBuf::builder().push_int(height.into()).push_slice([0; 2]).into_script(),
            witness: Witness::from_slice(&[WITNESS_RESERVED]),
            ..Default::default()
        }],
        output: vec![TxOut { value, script_pubkey: script.into() }],
    }
}

fn commit_to_witnesses(block: &mut Block) {
    let root = block.witness_root().expect("there is a coinbase");
    let commitment = Block::compute_witness_commitment(&root, &WITNESS_RESERVED);
    let mut script = WITNESS_COMMITMENT_PREFIX.to_vec();
    script.extend(commitment.to_byte_array());
    block.txdata[0].output.push(TxOut { value: Amount::ZERO, script_pubkey: ScriptBuf::from_bytes(script) });
}

fn subsidy(height: u32) -> Amount {
    let halvings = height / SUBSIDY_HALVING_INTERVAL;
    Amount::from_sat(Amount::from_int_btc(50).to_sat().checked_shr(halvings).unwrap_or(0))
}

/// The regtest target, which every second hash meets.
const EASIEST: u32 = 0x207f_ffff;
const SUBSIDY_HALVING_INTERVAL: u32 = 150;
const WITNESS_RESERVED: [u8; 32] = [0; 32];
/// Prefix of the witness commitment: `OP_RETURN`, a push of 36 bytes, and the tag of BIP 141.
const WITNESS_COMMITMENT_PREFIX: [u8; 6] = [0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed];
