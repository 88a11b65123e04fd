//! Mutants that are tried for each clause before a release.

use lsps_testing::mutants::Mutants;

/// Each mutated source line exists, and each MUST clause either has a mutant or is listed as impossible to break.
#[test]
fn clauses_and_mutants_are_in_step() {
    let faults = Mutants::read().expect("it can be read").faults();
    assert!(
        faults.is_empty(),
        "lsps-testing/mutants/clauses.txt, whose head says how it is written:\n{}",
        faults.join("\n")
    );
}
