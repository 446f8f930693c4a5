use ds_topology::fabric::Fabric;
use ds_topology::routing::{FabricRoutes, Policy};
use prost::Message as _;

use super::protobuf::{WireAttribute, WireNode, WireValue};
use super::*;

fn routes() -> FabricRoutes {
    let yaml =
        "{ version: 1, name: four, nodes: 4, node: { gpus: 1, nics: 1, nic: { bandwidth: 400Gbps, latency: 1us } },
        network: { kind: fat_tree, radix: 64, link: { bandwidth: 400Gbps, latency: 400ns } } }";
    FabricRoutes::new(Fabric::parse(yaml).expect("a fabric"), Policy::Static)
}

/// A computation, an all-reduce of 80 MB, and another computation.
fn trace(first_micros: u32) -> String {
    format!(
        r#"{{"schema":"1.0","nodes":[
        {{"id":1,"name":"a","type":"COMP_NODE","duration_micros":{first_micros}}},
        {{"id":2,"name":"sum","type":"COMM_COLL_NODE","data_deps":[1],
          "attr":[{{"name":"comm_type","int64_val":0}},{{"name":"comm_size","uint64_val":80000000}}]}},
        {{"id":3,"name":"b","type":4,"dataDeps":["2"],"durationMicros":"500"}}]}}"#
    )
}

#[test]
fn a_collective_waits_for_the_last_rank_and_takes_its_ring() {
    let ranks: Vec<Vec<Node>> =
        [100, 300, 200, 250].iter().map(|&us| read(trace(us).as_bytes()).expect("a trace")).collect();
    let run = play(&ranks, &mut routes()).expect("it runs");
    // Six steps of a quarter of the buffer over 50 GB/s, two microseconds of NICs each.
    let expected = 300e-6 + 6.0 * (20e6 / 50e9 + 2e-6) + 500e-6;
    for ends in &run.ends {
        assert!((ends[2] - expected).abs() < 1e-12, "{} {expected}", ends[2]);
    }
    assert_eq!(run.seconds, run.ends[0][2]);
}

#[test]
fn protobuf_says_the_same_as_json() {
    let attribute = |name: &str, value| WireAttribute { name: name.to_owned(), value: Some(value) };
    let node = |id, name: &str, kind, deps: &[u64], micros, attr| WireNode {
        id,
        name: name.to_owned(),
        kind,
        ctrl_deps: vec![],
        data_deps: deps.to_vec(),
        duration_micros: micros,
        attr,
    };
    let sum = vec![attribute("comm_type", WireValue::Int64(0)), attribute("comm_size", WireValue::Uint64(80_000_000))];
    let mut bytes = vec![3, 10, 1, b'1'];
    for node in [node(1, "a", 4, &[], 100, vec![]), node(2, "sum", 7, &[1], 0, sum), node(3, "b", 4, &[2], 500, vec![])]
    {
        bytes.extend(node.encode_length_delimited_to_vec());
    }
    assert_eq!(read(&bytes).expect("a trace"), read(trace(100).as_bytes()).expect("a trace"));
    bytes.truncate(bytes.len() - 3);
    assert!(matches!(read(&bytes), Err(ChakraError::Form { .. })));
}

#[test]
fn the_nth_send_meets_the_nth_receive() {
    let sends = r#"[{"id":1,"type":"COMM_SEND_NODE","comm_dst":1,"comm_size":50000},
        {"id":2,"type":"COMM_SEND_NODE","data_deps":[1],"comm_dst":1,"comm_size":100000}]"#;
    let receives = r#"[{"id":7,"type":"COMM_RECV_NODE","comm_src":0},{"id":8,"type":"COMM_RECV_NODE","comm_src":0}]"#;
    let ranks = [sends, receives].map(|text| read(text.as_bytes()).expect("a trace"));
    let run = play(&ranks, &mut routes()).expect("it runs");
    assert_eq!(run.ends[0], run.ends[1]);
    assert!((run.ends[1][1] - (150_000.0 / 50e9 + 4e-6)).abs() < 1e-12, "{:?}", run.ends);
}

#[test]
fn traces_that_cannot_be_are_refused_with_their_numbers() {
    let refused = |texts: &[&str]| {
        let ranks: Vec<Vec<Node>> = texts.iter().map(|text| read(text.as_bytes()).expect("a trace")).collect();
        play(&ranks, &mut routes()).expect_err("refused").to_string()
    };
    let lost = r#"[{"id":1,"name":"r","type":"COMM_RECV_NODE","comm_src":1}]"#;
    assert_eq!(refused(&[lost, "[]"]), "rank 0: node 1 (r) never begins: nobody sends what it receives");
    let alone = r#"[{"id":1,"name":"c","type":"COMM_COLL_NODE","comm_type":"ALL_REDUCE","comm_size":8}]"#;
    assert_eq!(refused(&[alone, "[]"]), "rank 0: node 1 (c) never begins: not all ranks of its group come to it");
    let circle = r#"[{"id":1,"type":4,"data_deps":[2]},{"id":2,"type":4,"data_deps":[1]}]"#;
    assert!(refused(&[circle]).contains("in a circle"));
    assert_eq!(
        refused(&[r#"[{"id":1,"type":4,"data_deps":[9]}]"#]),
        "rank 0: node 1 depends on node 9, which is not there"
    );
    assert_eq!(refused(&["[]"; 5]), "5 traces are given, the fabric has 4 endpoints");
    let unknown = read(br#"[{"id":4,"type":7,"comm_type":"GOSSIP","comm_size":8}]"#).expect_err("refused").to_string();
    assert!(unknown.starts_with("node 4: comm_type is GOSSIP, it must be ALL_REDUCE"), "{unknown}");
}
