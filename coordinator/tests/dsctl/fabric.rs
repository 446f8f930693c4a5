//! Flows over a network.

use serde_json::json;

use crate::place::Place;

fn case(path: u32) -> String {
    json!({
        "name": "two",
        "weighting": "equal (pure max-min)",
        "platform": { "kind": "chain", "links": [["a", 100.0, 0.5]] },
        "flows": [[0, 1, 50.0, 0.0, 0.0, [], [path]], [0, 1, 150.0, 0.0, 0.0, [], [0]]],
    })
    .to_string()
}

#[test]
fn flows_end_when_they_have_had_their_share() {
    let place = Place::new();
    place.write("case.json", &case(0));
    let facts = place.facts(&["fabric", "flows", "case.json"]);
    assert_eq!(facts, json!({ "name": "two", "finish_s": [1.5, 2.5], "makespan_s": 2.5 }));
    let said = place.dsctl(&["fabric", "flows", "case.json"]);
    assert_eq!(said.stdout, "two: 2 flows, all ended after 2.500000000 s, 2.000000000 s in the mean\n");
}

#[test]
fn flows_that_cannot_be_are_refused_with_their_numbers() {
    let place = Place::new();
    place.write("case.json", &case(7));
    let refused = place.dsctl(&["fabric", "flows", "case.json"]);
    refused.ended(64, &["case.json: flow 0 crosses link 7, but there are links 0 to 0"]);
    place.write("case.json", "{ \"name\": 3 }");
    place.dsctl(&["fabric", "flows", "case.json"]).ended(64, &["case.json: ", "line 1 column"]);
    place.dsctl(&["fabric", "flows", "absent.json"]).ended(64, &["absent.json", "hint: "]);
}
