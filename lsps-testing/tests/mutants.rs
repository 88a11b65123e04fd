//! The breaks that are tried for each clause before a release.

use lsps_testing::mutants::Mutants;

/// What is to be broken is there, and each MUST is either broken or cannot be.
#[test]
fn clauses_and_mutants_are_in_step() {
    let faults = Mutants::read().expect("it can be read").faults();
    assert!(
        faults.is_empty(),
        "lsps-testing/mutants/clauses.txt, whose head says how it is written:\n{}",
        faults.join("\n")
    );
}
