//! How long a case takes: `flows CASE.json`.
#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a bench measures and prints")]

use std::error::Error;
use std::time::Instant;

use ds_topology::flow::{Case, Simulation};

fn main() -> Result<(), Box<dyn Error>> {
    for path in std::env::args().skip(1) {
        let start = Instant::now();
        let case = Case::parse(&std::fs::read(&path)?)?;
        let read = start.elapsed();
        let start = Instant::now();
        let (network, flows, changes) = (case.network(), case.flow_set()?, case.changes()?);
        let made = start.elapsed();
        let start = Instant::now();
        let outcome = Simulation::new(&network, &flows, case.weighting()).with_changes(&changes).run()?;
        let (name, n) = (&case.name, flows.len());
        let solved = start.elapsed();
        println!(
            "{name}: {n} flows, makespan {:.9} s; read {read:.1?}, made {made:.1?}, solved {solved:.1?}",
            outcome.makespan
        );
    }
    Ok(())
}
