//! The learning rate of a step: linear warm-up, then pieces; the last one goes on at its end value.

use crate::spec::{LearningRateShape, LearningRateSpec};

/// The rate of update `step`, counted from zero within its phase. The first update of a warm-up of n already takes
/// 1/n of the peak, so that no step is spent on nothing.
pub fn learning_rate(spec: &LearningRateSpec, step: u64) -> f64 {
    if step < spec.warmup {
        return spec.peak * (step + 1) as f64 / spec.warmup as f64;
    }
    let mut into = step - spec.warmup;
    let mut from = spec.peak;
    for piece in &spec.pieces {
        if into < piece.steps {
            return within(piece.shape, from, into as f64 / piece.steps as f64);
        }
        into -= piece.steps;
        from = within(piece.shape, from, 1.0);
    }
    from
}

fn within(shape: LearningRateShape, from: f64, share: f64) -> f64 {
    match shape {
        LearningRateShape::Constant => from,
        LearningRateShape::Cosine { to } => to + (from - to) * (1.0 + (std::f64::consts::PI * share).cos()) / 2.0,
        LearningRateShape::Step { to } => to,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::LearningRatePiece;

    /// DeepSeek-V3's schedule (arXiv 2412.19437, §4.2) in steps of one thousandth.
    fn v3() -> LearningRateSpec {
        let piece = |shape, steps| LearningRatePiece { shape, steps };
        LearningRateSpec {
            peak: 2.2e-4,
            warmup: 2,
            pieces: vec![
                piece(LearningRateShape::Constant, 10_000),
                piece(LearningRateShape::Cosine { to: 2.2e-5 }, 4_300),
                piece(LearningRateShape::Constant, 333),
                piece(LearningRateShape::Step { to: 7.3e-6 }, 167),
            ],
        }
    }

    #[test]
    fn it_rises_stays_falls_and_stays() {
        let at = |step| learning_rate(&v3(), step);
        assert_eq!(at(0), 1.1e-4);
        assert_eq!(at(1), 2.2e-4);
        assert_eq!(at(10_001), 2.2e-4);
        assert!((at(10_002 + 2_150) - 1.21e-4).abs() < 1e-12, "half way down the cosine");
        assert!((at(14_302) - 2.2e-5).abs() < 1e-12);
        assert_eq!(at(14_302 + 333), 7.3e-6);
        assert_eq!(at(1_000_000), 7.3e-6);
    }

    #[test]
    fn without_pieces_the_peak_stays() {
        let flat = LearningRateSpec { peak: 1e-3, warmup: 0, pieces: Vec::new() };
        assert_eq!(learning_rate(&flat, 0), 1e-3);
        assert_eq!(learning_rate(&flat, 99), 1e-3);
    }
}
