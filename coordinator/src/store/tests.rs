//! What is kept, is kept whole.

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state.sqlite")).unwrap();
    (folder, store)
}

fn snapshot(jobs: &[(&str, &str)]) -> Snapshot {
    let jobs = jobs.iter().map(|&(id, json)| (id.to_owned(), json.to_owned())).collect();
    Snapshot { jobs, nodes: BTreeMap::new(), rest: "{}".to_owned() }
}

fn metric(kind: Kind, step: u64, json: &str) -> Metric {
    Metric { job: "a-0001".to_owned(), kind, step, json: json.to_owned() }
}

fn commit(store: &mut Store, state: &Snapshot, metrics: &[Metric]) -> Vec<Row> {
    store.commit(&Change { unix_ms: 5, event: "{}", state, metrics }).unwrap()
}

fn texts(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.metric.json.as_str()).collect()
}

#[test]
fn a_new_file_has_no_state() {
    assert_eq!(store().1.state(), None);
}

#[test]
fn the_state_after_the_last_event_is_found_again() {
    let (folder, mut store) = store();
    commit(&mut store, &snapshot(&[("a", "1"), ("b", "2")]), &[]);
    let last = snapshot(&[("b", "3"), ("c", "4")]);
    commit(&mut store, &last, &[]);
    drop(store);
    let store = Store::open(&folder.path().join("state.sqlite")).unwrap();
    assert_eq!(store.state(), Some(&last));
    let n_events: i64 = store.connection.query_row("SELECT count(*) FROM events", [], |row| row.get(0)).unwrap();
    assert_eq!(n_events, 2);
}

#[test]
fn an_event_that_cannot_be_kept_whole_leaves_nothing() {
    let (folder, mut store) = store();
    let before = snapshot(&[("a", "1")]);
    commit(&mut store, &before, &[]);
    store.connection.execute_batch("DROP TABLE metrics").unwrap();
    let after = snapshot(&[("a", "2")]);
    let metrics = [metric(Kind::Step, 1, "{}")];
    store.commit(&Change { unix_ms: 6, event: "{}", state: &after, metrics: &metrics }).unwrap_err();
    assert_eq!(store.state(), Some(&before));
    drop(store);
    let connection = Connection::open(folder.path().join("state.sqlite")).unwrap();
    assert_eq!(load(&connection).unwrap(), before);
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let (folder, store) = store();
    store.connection.execute_batch("PRAGMA user_version = 9").unwrap();
    drop(store);
    let refusal = Store::open(&folder.path().join("state.sqlite")).unwrap_err().to_string();
    assert!(refusal.ends_with("has format 9, this version knows formats up to 1"), "{refusal}");
}

#[test]
fn a_resumed_attempt_replaces_the_steps_that_it_repeats() {
    let (_folder, mut store) = store();
    let state = snapshot(&[]);
    let first = [
        metric(Kind::Step, 1, "1"),
        metric(Kind::Step, 2, "2"),
        metric(Kind::Evaluation, 2, "e2"),
        metric(Kind::Note, 2, "it died"),
        metric(Kind::Step, 3, "3"),
    ];
    assert!(commit(&mut store, &state, &first).iter().all(|row| !row.cut_back));
    let again = commit(&mut store, &state, &[metric(Kind::Step, 2, "2 again")]);
    assert!(again[0].cut_back);
    assert_eq!(texts(&store.metrics("a-0001").unwrap()), ["1", "it died", "2 again"]);
    let next = commit(&mut store, &state, &[metric(Kind::Evaluation, 2, "e2 again")]);
    assert!(!next[0].cut_back);
}

#[test]
fn readers_page_through_what_was_there_when_they_came() {
    let (folder, mut store) = store();
    let state = snapshot(&[]);
    let steps: Vec<Metric> = (1..=5).map(|step| metric(Kind::Step, step, &step.to_string())).collect();
    commit(&mut store, &state, &steps);
    let up_to = store.newest_row().unwrap();
    commit(&mut store, &state, &[metric(Kind::Step, 6, "6")]);
    let reader = Reader::open(&folder.path().join("state.sqlite")).unwrap();
    let first = reader.page("a-0001", 2, 0, up_to, 3).unwrap();
    assert_eq!(texts(&first), ["2", "3", "4"]);
    let second = reader.page("a-0001", 2, first[2].row, up_to, 3).unwrap();
    assert_eq!(texts(&second), ["5"]);
    assert!(reader.page("b-0001", 0, 0, up_to, 3).unwrap().is_empty());
}
