//! What may befall the fabric, each case evaluated again from the same base.

use std::str::FromStr;

use ds_forecast::picture::Unit;
use ds_forecast::simulate::{Base, Epoch, Run, WhatIf, WhatIfError, states};
use ds_topology::fabric::Fabric;
use ds_topology::routing::{FabricRoutes, Policy};
use serde_json::{Value, json};

use crate::clock::now;
use crate::failure::Failure;
use crate::show::table::table;

/// Events that befall the fabric in one case.
#[derive(Clone, Debug)]
pub(super) struct Case(pub(super) Vec<WhatIf>);

impl FromStr for Case {
    type Err = WhatIfError;

    fn from_str(text: &str) -> Result<Self, WhatIfError> {
        text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self)
    }
}

/// A run, and how long it took to find.
pub(super) struct Evaluated {
    pub(super) run: Run,
    pub(super) seconds: f64,
}

/// A case beside the base.
pub(super) struct Beside {
    pub(super) events: Vec<String>,
    pub(super) evaluated: Evaluated,
}

pub(super) fn refused(error: &dyn std::fmt::Display) -> Failure {
    Failure::Simulation { reason: error.to_string() }
}

/// Plays a case from the base.
pub(super) fn evaluate(base: &Base<'_>, fabric: &Fabric, routing: Policy, case: &Case) -> Result<Beside, Failure> {
    let began = now();
    let states = states(fabric, &case.0).map_err(|error| refused(&error))?;
    let is_other = case.0.iter().any(|event| event.at == 0.0);
    let mut routes: Vec<(f64, FabricRoutes)> =
        states.into_iter().map(|(from, fabric)| (from, FabricRoutes::new(fabric, routing))).collect();
    let down: Vec<Vec<bool>> = routes.iter().map(|(_, routes)| routes.fabric().down().to_vec()).collect();
    let epochs = routes.iter_mut().zip(down);
    let mut epochs: Vec<Epoch<'_>> = epochs.map(|((from, routes), down)| Epoch { from: *from, routes, down }).collect();
    let (first, later) = epochs.split_first_mut().expect("a fabric has a state at the beginning");
    let run = if is_other { base.instead(first, later) } else { base.then(later) };
    let run = run.map_err(|error| refused(&error))?;
    let seconds = began.elapsed().as_secs_f64();
    Ok(Beside { events: case.0.iter().map(ToString::to_string).collect(), evaluated: Evaluated { run, seconds } })
}

/// How cases compare with the base, for programs.
pub(super) fn json_of(base: &Evaluated, cases: &[Beside]) -> Value {
    let case = |case: &Beside| {
        let run = &case.evaluated.run;
        json!({
            "events": case.events,
            "seconds": run.seconds(),
            "delta_seconds": run.seconds() - base.run.seconds(),
            "ranks_played": run.n_ranks_played(),
            "evaluated_in_seconds": case.evaluated.seconds,
        })
    };
    json!({
        "base": {
            "seconds": base.run.seconds(),
            "ranks_played": base.run.n_ranks_played(),
            "evaluated_in_seconds": base.seconds,
        },
        "cases": cases.iter().map(case).collect::<Vec<_>>(),
    })
}

/// How cases compare with the base, for people.
pub(super) fn text_of(base: &Evaluated, cases: &[Beside]) -> Vec<String> {
    let whole = base.run.seconds();
    let row = |name: String, evaluated: &Evaluated| {
        let seconds = evaluated.run.seconds();
        let longer = seconds - whole;
        vec![
            name,
            format!("{seconds:.6} s"),
            format!("{longer:+.6} s"),
            format!("{:+.2}%", if whole > 0.0 { 100.0 * longer / whole } else { 0.0 }),
            Unit::Seconds.text(evaluated.seconds),
        ]
    };
    let cases = cases.iter().map(|case| row(case.events.join(", "), &case.evaluated));
    let rows: Vec<Vec<String>> = std::iter::once(row("nothing".to_owned(), base)).chain(cases).collect();
    table(&["what if", "all steps", "longer by", "", "evaluated in"], &rows)
}
