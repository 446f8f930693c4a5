//! Speculative sampling (arXiv 2211.17192, algorithm 1; arXiv 2302.01318): drafts are accepted so often, and replaced in
//! such a way, that what is written has exactly the model's own distribution. At temperature 0 both laws are certain, and
//! the rule is to accept what the model would have written.

use super::law::Law;

/// How often a draft is accepted that was drawn by one law where the model has another: min(1, p / q).
///
/// # Panics
/// When its own law cannot draw it.
pub fn acceptance(model: &Law, draft: &Law, token: u32) -> f64 {
    let (p, q) = (model.probability(token), draft.probability(token));
    assert!(q > 0.0, "token {token} was drawn by a law that cannot draw it");
    (p / q).min(1.0)
}

/// What replaces a draft that was refused: max(0, p − q), as a law. None where the laws are equal, since then none is
/// refused.
pub fn residual(model: &Law, draft: &Law) -> Option<Law> {
    let rest = model.tokens().iter().map(|&(token, p)| (token, p - draft.probability(token)));
    Law::of_weights(rest.filter(|&(_, rest)| rest > 0.0).collect())
}

/// What follows: all drafts up to the first that is refused, and one more token. `model` is the model's law behind the
/// first i drafts; `accept` and `token` are numbers of [0, 1) for the i-th position from here.
///
/// # Errors
/// When the model has no law.
pub fn judge<E>(
    drafts: &[(u32, Law)],
    mut model: impl FnMut(usize) -> Result<Law, E>,
    accept: impl Fn(usize) -> f64,
    token: impl Fn(usize) -> f64,
) -> Result<Vec<u32>, E> {
    let mut follows = Vec::with_capacity(drafts.len() + 1);
    for (i, (draft, law)) in drafts.iter().enumerate() {
        let model = model(i)?;
        if accept(i) >= acceptance(&model, law, *draft) {
            // Rounding alone can refuse where nothing is left.
            follows.push(residual(&model, law).unwrap_or(model).draw(token(i)));
            return Ok(follows);
        }
        follows.push(*draft);
    }
    let n = drafts.len();
    follows.push(model(n)?.draw(token(n)));
    Ok(follows)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn law(weights: &[f64]) -> Law {
        let tokens = (0..).zip(weights.iter().copied()).filter(|&(_, weight)| weight > 0.0).collect();
        Law::of_weights(tokens).unwrap()
    }

    /// All laws over four tokens whose weights are whole numbers up to 3.
    fn laws() -> Vec<Law> {
        let weights = (1..256_u32).map(|i| [i & 3, i >> 2 & 3, i >> 4 & 3, i >> 6].map(f64::from));
        weights.map(|weights| law(&weights)).collect()
    }

    #[test]
    fn what_is_accepted_and_what_replaces_it_make_the_models_law_exactly() {
        let laws = laws();
        for model in &laws {
            for draft in laws.iter().step_by(7) {
                let accepted = |&(token, q): &(u32, f64)| q * acceptance(model, draft, token);
                let refused = 1.0 - draft.tokens().iter().map(accepted).sum::<f64>();
                let rest = residual(model, draft);
                for token in 0..4 {
                    let kept = match draft.probability(token) {
                        0.0 => 0.0,
                        q => q * acceptance(model, draft, token),
                    };
                    let comes = kept + refused * rest.as_ref().map_or(0.0, |rest| rest.probability(token));
                    let expected = model.probability(token);
                    assert!((comes - expected).abs() < 1e-14, "{model:?} {draft:?} {token}: {comes}");
                }
            }
        }
    }

    /// The law of what follows, over all that chance can say: numbers in the middle of equal parts, so fine that every
    /// probability is a whole number of them.
    #[test]
    fn so_does_the_rule_that_is_carried_out_for_every_token_that_follows() {
        const PARTS: usize = 12;
        let middle = |part: usize| (part as f64 + 0.5) / PARTS as f64;
        let (draft, model) = (law(&[1.0, 2.0, 1.0]), [law(&[2.0, 1.0, 1.0]), law(&[0.0, 1.0, 3.0])]);
        let mut counts = [[0_usize; 3]; 3];
        for [by_draft, by_accept, by_token, then] in all::<4>(PARTS) {
            let drafts = [(draft.draw(middle(by_draft)), draft.clone())];
            let token = |i: usize| middle([by_token, then][i]);
            let follows = judge(&drafts, |i| Ok::<_, Infallible>(model[i].clone()), |_| middle(by_accept), token);
            let follows = follows.unwrap();
            counts[2][follows[0] as usize] += 1;
            if let [first, second] = follows[..] {
                assert_eq!(first, drafts[0].0);
                counts[1][second as usize] += 1;
            }
        }
        let share = |counts: [usize; 3]| counts.map(|n| n as f64 / counts.iter().sum::<usize>() as f64);
        assert_eq!(share(counts[2]), [0.5, 0.25, 0.25], "the token that was drafted for");
        assert_eq!(share(counts[1]), [0.0, 0.25, 0.75], "the token behind an accepted draft");
    }

    fn all<const N: usize>(parts: usize) -> impl Iterator<Item = [usize; N]> {
        (0..parts.pow(N as u32)).map(move |i| std::array::from_fn(|place| i / parts.pow(place as u32) % parts))
    }

    #[test]
    fn where_both_are_certain_the_rule_is_to_compare() {
        let certain = |token: u32| Law::of_weights(vec![(token, 1.0)]).unwrap();
        let model = [3, 5, 7].map(certain);
        let follows = |drafts: &[u32]| {
            let drafts: Vec<(u32, Law)> = drafts.iter().map(|&token| (token, certain(token))).collect();
            judge(&drafts, |i| Ok::<_, Infallible>(model[i].clone()), |_| 0.999, |_| 0.999).unwrap()
        };
        assert_eq!(follows(&[]), [3]);
        assert_eq!(follows(&[3]), [3, 5]);
        assert_eq!(follows(&[4, 5]), [3]);
        assert_eq!(follows(&[3, 6]), [3, 5]);
        assert_eq!(follows(&[3, 5]), [3, 5, 7]);
    }
}
