//! Which tokens can come, and how probable each is.

use ds_plan::generation::Sampling;

/// Which tokens can come, each with its probability; by number, none twice, in all 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Law {
    tokens: Vec<(u32, f64)>,
}

/// A logit that is no number, or an infinite one.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("the logit of token {token} is {value}")]
pub struct NotFinite {
    /// Which.
    pub token: usize,
    /// What it is.
    pub value: f64,
}

impl Law {
    /// Of the logits of tokens from 0. At temperature 0 the greatest is certain, the first of equals. A limit on the sum
    /// (nucleus sampling, arXiv 1904.09751) keeps the most probable tokens up to the one that reaches it.
    ///
    /// # Errors
    /// When a logit is not finite.
    ///
    /// # Panics
    /// Without logits.
    pub fn new(logits: &[f64], sampling: Sampling) -> Result<Self, NotFinite> {
        if let Some(token) = logits.iter().position(|value| !value.is_finite()) {
            return Err(NotFinite { token, value: logits[token] });
        }
        let greatest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let first = logits.iter().position(|&value| value == greatest).expect("there are logits");
        if sampling.temperature == 0.0 {
            return Ok(Self { tokens: vec![(first as u32, 1.0)] });
        }
        let weight = |value: f64| ((value - greatest) / sampling.temperature).exp();
        let tokens = (0..).zip(logits.iter().map(|&value| weight(value))).filter(|&(_, weight)| weight > 0.0).collect();
        let law = Self::of_weights(tokens).expect("the greatest logit has weight 1");
        Ok(if sampling.top_p < 1.0 { law.most_probable(sampling.top_p) } else { law })
    }

    /// Of tokens by number with their relative weights; none if all weights are 0.
    pub fn of_weights(mut tokens: Vec<(u32, f64)>) -> Option<Self> {
        let sum: f64 = tokens.iter().map(|(_, weight)| weight).sum();
        tokens.iter_mut().for_each(|(_, weight)| *weight /= sum);
        (sum > 0.0).then_some(Self { tokens })
    }

    fn most_probable(mut self, share: f64) -> Self {
        self.tokens.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let before = self.tokens.iter().scan(0.0, |sum, (_, p)| {
            let before = *sum;
            *sum += p;
            Some(before)
        });
        let n_kept = before.take_while(|&before| before < share).count();
        self.tokens.truncate(n_kept);
        self.tokens.sort_unstable_by_key(|(token, _)| *token);
        Self::of_weights(self.tokens).expect("the most probable token stays")
    }

    /// Of a token; 0 if it cannot come.
    pub fn probability(&self, token: u32) -> f64 {
        self.tokens.binary_search_by_key(&token, |(token, _)| *token).map_or(0.0, |i| self.tokens[i].1)
    }

    /// Tokens that can come, by number, with their probabilities.
    pub fn tokens(&self) -> &[(u32, f64)] {
        &self.tokens
    }

    /// The token on which a number of [0, 1) falls.
    pub fn draw(&self, number: f64) -> u32 {
        let mut sum = 0.0;
        let found = self.tokens.iter().find(|(_, p)| {
            sum += p;
            number < sum
        });
        // Rounding may leave the sum of all a little below 1.
        found.or(self.tokens.last()).expect("a law has a token").0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn law(logits: &[f64], temperature: f64, top_p: f64) -> Law {
        Law::new(logits, Sampling { temperature, top_p, seed: 0 }).unwrap()
    }

    #[test]
    fn at_temperature_0_the_first_of_the_greatest_is_certain() {
        assert_eq!(law(&[1.0, 3.0, -2.0, 3.0], 0.0, 0.5).tokens(), [(1, 1.0)]);
    }

    #[test]
    fn temperature_divides_logits() {
        let law = law(&[2.0, 0.0, 4.0], 2.0, 1.0);
        let sum = 1.0 + 1.0_f64.exp() + 2.0_f64.exp();
        for (token, expected) in [(0, 1.0_f64.exp() / sum), (1, 1.0 / sum), (2, 2.0_f64.exp() / sum), (3, 0.0)] {
            assert!((law.probability(token) - expected).abs() < 1e-15, "{token}");
        }
    }

    #[test]
    fn the_most_probable_tokens_are_kept_up_to_the_one_that_reaches_the_share() {
        let logits = [0.1_f64, 0.4, 0.2, 0.3].map(f64::ln);
        let kept = |top_p| law(&logits, 1.0, top_p).tokens().iter().map(|(token, _)| *token).collect::<Vec<_>>();
        assert_eq!(kept(0.01), [1]);
        assert_eq!(kept(0.39), [1]);
        assert_eq!(kept(0.5), [1, 3]);
        assert_eq!(kept(0.85), [1, 2, 3]);
        assert_eq!(kept(0.95), [0, 1, 2, 3]);
        let law = law(&logits, 1.0, 0.5);
        assert!((law.probability(1) - 4.0 / 7.0).abs() < 1e-15 && law.probability(2) == 0.0, "{law:?}");
    }

    #[test]
    fn draws_cut_the_unit_into_the_probabilities() {
        let law = Law::of_weights(vec![(2, 1.0), (5, 2.0), (9, 1.0)]).unwrap();
        let drawn = [0.0, 0.24, 0.25, 0.74, 0.75, 1.0 - f64::EPSILON].map(|number| law.draw(number));
        assert_eq!(drawn, [2, 2, 5, 5, 9, 9]);
    }

    #[test]
    fn a_logit_that_is_no_number_is_an_error() {
        let sampling = Sampling { temperature: 0.0, top_p: 1.0, seed: 0 };
        let error = Law::new(&[0.0, f64::NAN], sampling).unwrap_err();
        assert_eq!(error.to_string(), "the logit of token 1 is NaN");
    }
}
