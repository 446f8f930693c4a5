//! Flows against another simulator and an independent exact solver.

use std::path::PathBuf;

use ds_topology::flow::Case;

/// All of them with `SIM_CASES=DIR`; without, those that are kept here.
fn folder() -> PathBuf {
    let own = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    std::env::var_os("SIM_CASES").map_or(own, PathBuf::from)
}

#[test]
fn every_flow_ends_when_others_say() {
    let mut n_cases = 0;
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder()).expect("cases").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|e| e == "json")) {
        let text = std::fs::read(path).expect("a case can be read");
        let case = Case::parse(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let expected = case.expected.clone().expect("a case says what is expected");
        let found = case.run().unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // The other simulator's own precision.
        let tolerance = if case.name == "mpft-moe-dispatch-dedup" { 1e-8 } else { 1e-9 };
        for (flow, (a, b)) in found.finish.iter().zip(expected.finish_s.iter().flatten()).enumerate() {
            // Times are rounded to 12 decimals.
            assert!((a - b).abs() <= tolerance * b + 1e-12, "{}: flow {flow} ends at {a}, not {b}", case.name);
        }
        let mean = found.finish.iter().sum::<f64>() / found.finish.len() as f64;
        let expected_mean = expected.mean_finish_s.expect("a case says the mean");
        assert!((mean - expected_mean).abs() <= tolerance * mean, "{}: {mean}", case.name);
        assert!(
            (found.makespan - expected.makespan_s).abs() <= tolerance * expected.makespan_s + 1e-12,
            "{}",
            case.name
        );
        n_cases += 1;
    }
    assert!(n_cases > 0, "cases in {}", folder().display());
}
