//! Laws that every schedule keeps, tried on all small ones.

use std::collections::HashMap;

use ds_plan::schedule::{
    Action, Microbatch, Pass, Payload, Piece, StageId, deadlock, one_f_one_b, peak_live, timeline, transfers,
};

struct Pipeline {
    n_stages: u32,
    n_microbatches: u32,
    /// Per pipeline coordinate.
    actions: Vec<Vec<Action>>,
}

fn small_pipelines() -> impl Iterator<Item = Pipeline> {
    let sizes = (1..=8).flat_map(|n_stages| (1..=20).map(move |n_microbatches| (n_stages, n_microbatches)));
    sizes.map(|(n_stages, n_microbatches)| Pipeline {
        n_stages,
        n_microbatches,
        actions: (0..n_stages).map(|stage| one_f_one_b(StageId(stage), n_stages, n_microbatches)).collect(),
    })
}

impl Pipeline {
    fn name(&self) -> String {
        format!("{} stages, {} microbatches", self.n_stages, self.n_microbatches)
    }

    fn pieces(&self) -> Vec<Piece> {
        self.actions.iter().flatten().flat_map(|action| action.pieces()).collect()
    }
}

fn unit_cost(forward: u64, backward: u64) -> impl Fn(Action) -> u64 {
    move |action| action.pieces().map(|p| if p.pass == Pass::Forward { forward } else { backward }).sum()
}

#[test]
fn every_microbatch_goes_forward_then_back_exactly_once_through_every_stage() {
    for pipeline in small_pipelines() {
        let pieces = pipeline.pieces();
        for stage in (0..pipeline.n_stages).map(StageId) {
            for microbatch in (0..pipeline.n_microbatches).map(Microbatch) {
                let places = |pass| -> Vec<usize> {
                    let piece = Piece { stage, microbatch, pass };
                    pieces.iter().enumerate().filter(|&(_, &p)| p == piece).map(|(place, _)| place).collect()
                };
                let (forward, backward) = (places(Pass::Forward), places(Pass::Backward));
                assert_eq!((forward.len(), backward.len()), (1, 1), "{}", pipeline.name());
                assert!(forward[0] < backward[0], "{}", pipeline.name());
            }
        }
        assert_eq!(pieces.len() as u32, 2 * pipeline.n_stages * pipeline.n_microbatches, "{}", pipeline.name());
    }
}

#[test]
fn messages_of_a_link_are_taken_in_the_order_in_which_they_are_sent() {
    for pipeline in small_pipelines() {
        let mut sent: HashMap<(StageId, StageId, Payload), Vec<Microbatch>> = HashMap::new();
        let mut taken: HashMap<(StageId, StageId, Payload), Vec<Microbatch>> = HashMap::new();
        for piece in pipeline.pieces() {
            let transfer = transfers(piece, pipeline.n_stages);
            if let Some((to, payload)) = transfer.send {
                sent.entry((piece.stage, to, payload)).or_default().push(piece.microbatch);
            }
            if let Some((from, payload)) = transfer.receive {
                taken.entry((from, piece.stage, payload)).or_default().push(piece.microbatch);
            }
        }
        assert_eq!(sent, taken, "{}", pipeline.name());
    }
}

#[test]
fn no_pipeline_is_stuck_when_one_send_a_link_may_wait_for_its_receiver() {
    for pipeline in small_pipelines() {
        assert_eq!(deadlock(&pipeline.actions, pipeline.n_stages, 1), None, "{}", pipeline.name());
    }
}

#[test]
fn a_sender_that_stood_still_until_its_receiver_came_would_be_stuck() {
    for pipeline in small_pipelines() {
        let is_stuck = deadlock(&pipeline.actions, pipeline.n_stages, 0).is_some();
        assert_eq!(is_stuck, pipeline.n_stages > 1 && pipeline.n_microbatches > 1, "{}", pipeline.name());
    }
}

#[test]
fn two_stages_that_wait_for_each_other_are_found() {
    let piece = |stage, pass| Action::One(Piece { stage: StageId(stage), microbatch: Microbatch(0), pass });
    let wrong = vec![
        vec![piece(0, Pass::Backward), piece(0, Pass::Forward)],
        vec![piece(1, Pass::Forward), piece(1, Pass::Backward)],
    ];
    assert_eq!(deadlock(&wrong, 2, 1).unwrap().pipeline, 0);
    assert_eq!(timeline(&wrong, 2, |_| 1).unwrap_err().place, 0);
}

#[test]
fn a_stage_holds_activations_of_as_many_microbatches_as_stages_follow_and_itself() {
    for pipeline in small_pipelines() {
        for (stage, actions) in (0..).zip(&pipeline.actions) {
            let expected = (pipeline.n_stages - stage).min(pipeline.n_microbatches);
            assert_eq!(peak_live(actions, StageId(stage)), expected, "{} stage {stage}", pipeline.name());
        }
    }
}

#[test]
fn every_stage_is_idle_for_one_forward_and_backward_of_every_other_stage() {
    for pipeline in small_pipelines() {
        for (forward, backward) in [(1, 1), (1, 2), (3, 5)] {
            let played = timeline(&pipeline.actions, pipeline.n_stages, unit_cost(forward, backward)).unwrap();
            let bubble = u64::from(pipeline.n_stages - 1) * (forward + backward);
            let work = u64::from(pipeline.n_microbatches) * (forward + backward);
            assert_eq!(played.end(), work + bubble, "{}", pipeline.name());
            for stage in 0..pipeline.n_stages {
                assert_eq!(played.idle(stage), bubble, "{} stage {stage}", pipeline.name());
            }
            let share = bubble as f64 / (work + bubble) as f64;
            assert!((played.bubble_share() - share).abs() < 1e-12, "{}", pipeline.name());
        }
    }
}
