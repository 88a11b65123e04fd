//! Entries and batches.

use bitcoin::io::ErrorKind;
use lsps_node::store::SqliteStore;

use crate::{Kind, directory};

#[test]
fn an_entry_is_read_as_it_was_written_last_until_it_is_removed() {
    for kind in Kind::ALL {
        let directory = directory();
        let store = kind.open(directory.path()).store;
        let missing = |key: &str| store.read("node", "peers", key).unwrap_err().kind() == ErrorKind::NotFound;
        assert!(missing("a"), "{kind:?}");
        store.write("node", "peers", "a", vec![1]).unwrap();
        store.write("node", "peers", "a", vec![2; 300_000]).unwrap();
        store.write("node", "peers", "b", vec![]).unwrap();
        assert_eq!(store.read("node", "peers", "a").unwrap(), vec![2; 300_000], "{kind:?}");
        assert_eq!(store.read("node", "peers", "b").unwrap(), Vec::<u8>::new(), "{kind:?}");
        store.remove("node", "peers", "a", false).unwrap();
        assert!(missing("a"), "{kind:?}");
        store.remove("node", "peers", "a", false).expect("removing what is not there is no error");
    }
}

#[test]
fn each_namespace_lists_its_own_keys() {
    for kind in Kind::ALL {
        let directory = directory();
        let store = kind.open(directory.path()).store;
        assert_eq!(store.list("node", "").unwrap(), Vec::<String>::new(), "{kind:?}");
        for (primary, secondary, key) in
            [("node", "", "x"), ("node", "", "y"), ("node", "peers", "x"), ("lsps", "", "z")]
        {
            store.write(primary, secondary, key, key.into()).unwrap();
        }
        let list = |primary, secondary| {
            let mut keys = store.list(primary, secondary).unwrap();
            keys.sort();
            keys.join(" ")
        };
        assert_eq!([list("node", ""), list("node", "peers"), list("lsps", "")], ["x y", "x", "z"], "{kind:?}");
        store.remove("node", "", "x", false).unwrap();
        assert_eq!([list("node", ""), list("node", "peers")], ["y", "x"], "{kind:?}");
    }
}

#[test]
fn what_was_written_is_there_when_the_store_is_opened_again() {
    for kind in Kind::ON_DISK {
        let directory = directory();
        kind.open(directory.path()).store.write("node", "", "a", vec![7]).unwrap();
        assert_eq!(kind.open(directory.path()).store.read("node", "", "a").unwrap(), [7], "{kind:?}");
    }
}

#[tokio::test]
async fn a_batch_is_written_whole_or_not_at_all_where_there_are_transactions() {
    let directory = directory();
    let opened = Kind::Sqlite.open(directory.path());
    let (store, batches) = (opened.store, opened.batches.expect("SQLite has transactions"));
    store.write("lsps", "service", "gone", vec![1]).unwrap();
    let batch =
        |value: u8| vec![("a".into(), Some(vec![value])), ("gone".into(), None), ("b".into(), Some(vec![value]))];
    let database = rusqlite::Connection::open(directory.path().join("node.sqlite")).unwrap();
    let refuse =
        "CREATE TRIGGER refuse BEFORE INSERT ON entries WHEN NEW.key = 'b' BEGIN SELECT RAISE(ABORT, 'ill'); END";
    database.execute_batch(refuse).unwrap();
    assert!(batches.write_all("lsps", "service", batch(1)).await.is_err());
    assert_eq!(store.list("lsps", "service").unwrap(), ["gone"], "nothing of it");
    database.execute_batch("DROP TRIGGER refuse").unwrap();
    batches.write_all("lsps", "service", batch(2)).await.unwrap();
    assert_eq!(store.list("lsps", "service").unwrap(), ["a", "b"]);
    assert_eq!(store.read("lsps", "service", "b").unwrap(), [2]);
}

#[test]
fn a_database_of_another_program_or_of_a_later_release_is_refused_by_name() {
    let directory = directory();
    let path = directory.path().join("node.sqlite");
    drop(SqliteStore::open(&path).expect("a new one"));
    let change = |text| rusqlite::Connection::open(&path).unwrap().execute_batch(text).unwrap();
    let refusal = || SqliteStore::open(&path).err().expect("it is refused").to_string();
    change("PRAGMA user_version = 9");
    assert!(refusal().contains("layout 9 is of a later release"), "{}", refusal());
    change("PRAGMA application_id = 3");
    assert!(refusal().contains("another program") && refusal().contains("node.sqlite"), "{}", refusal());
    std::fs::write(directory.path().join("text"), "no database at all, but longer than a header of one would be")
        .unwrap();
    assert!(SqliteStore::open(directory.path().join("text")).is_err());
}
