//! One process for each data directory.

use lsps_node::store::{DirectoryLock, InUse};

use crate::directory;

#[test]
fn a_second_owner_of_a_directory_is_refused_with_its_name_and_the_first_unharmed() {
    let directory = directory();
    let data = directory.path().join("wallet");
    let first = DirectoryLock::take(&data).expect("nobody has it");
    let refused = DirectoryLock::take(&data).expect_err("it is taken");
    let text = refused.to_string();
    assert!(matches!(refused, InUse::ByAnother { .. }));
    assert!(text.contains(&data.display().to_string()) && text.contains("stop it first"), "{text}");
    assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
    assert!(DirectoryLock::take(&data).is_err(), "asking does not free it");
    drop(first);
    DirectoryLock::take(&data).expect("it is free again");
}
