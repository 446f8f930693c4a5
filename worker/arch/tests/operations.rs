//! The table of operations agrees with the table of parameters, and with what was published.

use ds_arch::{
    Cost, LayerId, Load, ModelConfig, Operation, OperationKind, PRESETS, Place, counts, operations,
    optimizer_operation, parameters, places, preset,
};

fn presets() -> impl Iterator<Item = (&'static str, ModelConfig)> {
    PRESETS.iter().map(|name| (*name, preset(name).expect("a preset")))
}

fn all(config: &ModelConfig, load: Load) -> Vec<Operation> {
    places(config).into_iter().flat_map(|place| operations(config, place, load)).collect()
}

fn matrix_flops(operations: &[Operation], direction: impl Fn(&Operation) -> Cost) -> u64 {
    operations.iter().filter(|o| o.kind.is_matrix_work()).map(|o| direction(o).flops).sum()
}

/// Scores and values: two products over the lower triangle, for every head and layer.
fn attention_term(config: &ModelConfig, load: Load) -> u64 {
    let a = &config.attention;
    let widths = u64::from(a.n_heads) * u64::from(a.qk_dim() + a.v_head_dim);
    2 * load.causal_pairs() * widths * u64::from(config.n_layers + config.mtp.depth)
}

/// Matrices that a token passes through; the embedding is looked up, and MTP scores with the head once more.
fn multiplied_parameters(config: &ModelConfig) -> u64 {
    let used = parameters(config).into_iter().filter(|p| p.expert.is_none_or(|expert| expert.0 < config.moe.top_k));
    used.map(|p| match p.place {
        Place::Embedding => 0,
        Place::Head => p.n_elements() * u64::from(1 + config.mtp.depth),
        _ if p.shape.len() == 2 => p.n_elements(),
        _ => 0,
    })
    .sum()
}

#[test]
fn forward_multiplies_every_activated_matrix_by_every_token_and_every_query_by_its_keys() {
    for (name, config) in presets() {
        for (tokens, sequence) in [(1, 1), (8, 4), (10, 4), (4096, 4096)] {
            let load = Load::whole(&config, tokens, sequence);
            let expected = 2 * multiplied_parameters(&config) * tokens + attention_term(&config, load);
            assert_eq!(matrix_flops(&all(&config, load), |o| o.forward), expected, "{name}, {tokens} tokens");
        }
    }
}

#[test]
fn backward_is_twice_the_matrix_work_of_forward() {
    for (name, config) in presets() {
        let table = all(&config, Load::whole(&config, 64, 32));
        let [forward, backward] = [matrix_flops(&table, |o| o.forward), matrix_flops(&table, Operation::backward)];
        assert_eq!(backward, 2 * forward, "{name}");
    }
}

#[test]
fn weight_gradients_are_written_once_for_every_parameter_but_the_embedding() {
    for (name, config) in presets() {
        let table = all(&config, Load::whole(&config, 64, 32));
        let written: u64 = table.iter().map(|o| o.backward_weight.elements_written).sum();
        // MTP writes a gradient of the head too.
        let head = u64::from(config.vocab_size) * u64::from(config.hidden_size);
        let expected =
            parameters(&config).iter().filter(|p| p.place != Place::Embedding).map(|p| p.n_elements()).sum::<u64>()
                + head * u64::from(config.mtp.depth);
        assert_eq!(written, expected, "{name}");
    }
}

#[test]
fn deepseek_v3_takes_250_gflop_a_token_at_4k_as_published() {
    let config = ModelConfig {
        mtp: ds_arch::MtpConfig { depth: 0, ..preset("deepseek-v3").unwrap().mtp },
        ..preset("deepseek-v3").unwrap()
    };
    let table = all(&config, Load::whole(&config, 4096, 4096));
    let gflop = matrix_flops(&table, Operation::total) as f64 / 4096.0 / 1e9;
    assert!((gflop - 250.0).abs() < 1.0, "{gflop}");
}

#[test]
fn six_flops_a_parameter_and_token_is_nearly_all_of_it() {
    let config = preset("deepseek-v3").unwrap();
    let table = all(&config, Load::whole(&config, 4096, 4096));
    let elementwise: u64 = table.iter().filter(|o| o.kind == OperationKind::Elementwise).map(|o| o.total().flops).sum();
    let matrix = matrix_flops(&table, Operation::total);
    assert!(elementwise * 50 < matrix, "{elementwise} elementwise, {matrix} in matrices");
    assert!(6 * counts(&config).activated * 4096 < matrix);
}

#[test]
fn experts_held_change_what_is_read_and_not_what_is_computed() {
    let config = preset("bard").unwrap();
    let layer = Place::Layer(LayerId(2));
    let whole = operations(&config, layer, Load::whole(&config, 256, 128));
    let quarter = operations(&config, layer, Load { n_experts_held: 4, ..Load::whole(&config, 256, 128) });
    for (whole, quarter) in whole.iter().zip(&quarter) {
        assert_eq!(whole.total().flops, quarter.total().flops, "{}", whole.name);
        let fewer = whole.kind == OperationKind::GroupedMatmul;
        assert_eq!(quarter.forward.elements_read < whole.forward.elements_read, fewer, "{}", whole.name);
    }
}

#[test]
fn a_sequence_that_is_cut_short_sees_a_smaller_triangle() {
    let config = preset("tiny").unwrap();
    assert_eq!(Load::whole(&config, 10, 4).causal_pairs(), 10 + 10 + 3);
    assert_eq!(Load::whole(&config, 3, 4).causal_pairs(), 6);
}

#[test]
fn dense_layers_have_no_gate_and_moe_layers_have_one() {
    for (name, config) in presets() {
        for layer in (0..config.n_layers + config.mtp.depth).map(LayerId) {
            let table = operations(&config, Place::Layer(layer), Load::whole(&config, 4, 4));
            assert_eq!(table.iter().any(|o| o.name == "mlp.gate"), config.is_moe(layer), "{name} {layer}");
        }
    }
}

#[test]
fn an_update_touches_every_parameter_and_its_moments() {
    let update = optimizer_operation(1000).forward;
    assert_eq!((update.elements_read, update.elements_written), (4000, 3000));
}
