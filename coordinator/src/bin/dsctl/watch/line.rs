//! The words of a live line.

use super::history::History;
use crate::show::numbers::{count, percent, seconds};

/// `loss 2.345 | val 1.98 nats/byte | 45.2 k tokens/s | MaxVio 0.42 | bubble 12% | 3 min 20 s left`; empty before the
/// first step.
pub(crate) fn live(history: &History, n_steps: u64) -> String {
    let Some(step) = history.newest() else { return String::new() };
    let mut parts = vec![format!("loss {:.3}", step.loss)];
    if let Some(evaluation) = history.evaluation() {
        parts.push(format!("val {:.3} nats/byte", evaluation.nats_per_byte));
    }
    if let Some(rate) = history.tokens_per_second() {
        parts.push(format!("{} tokens/s", count(rate)));
    }
    parts.push(format!("MaxVio {:.2}", step.maxvio));
    parts.push(format!("bubble {}", percent(step.bubble_share)));
    if let Some(left) = history.seconds_left(n_steps).filter(|&left| left > 0.0) {
        parts.push(format!("{} left", seconds(left)));
    }
    parts.join(" | ")
}

#[cfg(test)]
mod tests {
    use super::super::history::{Evaluation, Step};
    use super::*;

    #[test]
    fn a_live_line_says_what_there_is_to_say() {
        let mut history = History::default();
        assert_eq!(live(&history, 10), "");
        history.on_step(Step {
            step: 5,
            loss: 2.3451,
            maxvio: 0.421,
            bubble_share: 0.12,
            tokens: 4096,
            seconds: 0.5,
            seconds_by_cause: Vec::new(),
        });
        assert_eq!(live(&history, 10), "loss 2.345 | 8.2 k tokens/s | MaxVio 0.42 | bubble 12% | 2.5 s left");
        history.on_evaluation(Evaluation { step: 5, loss: 2.2, nats_per_byte: 2.2 });
        assert!(live(&history, 5).starts_with("loss 2.345 | val 2.200 nats/byte"));
        assert!(!live(&history, 5).contains("left"));
    }
}
