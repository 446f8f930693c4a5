//! Tokens that travel once to each rank that has experts for them: which rows of experts they are there, and how
//! results become one row a token again.
//!
//! Shapes: v tokens that came, k experts a token, r rows of the experts here, d model width.

use tch::{Device, Kind, Tensor};

use super::leg::Leg;
use crate::ModelError;

/// What is known of the tokens that came, token after token.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Visitors {
    /// Choices of a token.
    pub k: usize,
    /// The rank that each came from, as places of the ranks that share the layer's experts.
    pub homes: Vec<u32>,
    /// Their choices, k each: experts, of all of the layer.
    pub experts: Vec<i64>,
    /// The gate's weights of these.
    pub weights: Vec<f64>,
}

/// The way of the tokens of one microbatch and layer, and what they are where they arrive.
#[derive(Debug)]
pub struct Visits {
    /// Rows for each expert that lives here.
    pub arrived: Vec<i64>,
    /// Leg by leg, the way there.
    pub legs: Vec<Leg>,
    /// Choices of this rank's tokens whose experts are on other nodes: rows that would go there, if each choice had one.
    pub n_away: i64,
    /// `[r]`, by expert, then home, then token: the place of each row's token among those that came.
    visitor: Tensor,
    /// `[r]`: which of its token's choices a row is.
    choice: Tensor,
    /// `[r]`: what its result is multiplied by.
    weights: Tensor,
    n_visitors: i64,
    k: i64,
}

impl Visits {
    /// Of `visitors`, of whom those of one home stand in the order of its tokens, to the experts from `first` on.
    /// `weights` have the format `kind`.
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn new(
        visitors: &Visitors,
        (first, n_local): (i64, usize),
        (legs, n_away): (Vec<Leg>, i64),
        (kind, device): (Kind, Device),
    ) -> Result<Self, ModelError> {
        let (n, k) = (visitors.homes.len(), visitors.k);
        let here = |&(_, expert): &(usize, i64)| (first..first + n_local as i64).contains(&expert);
        let choices = visitors.experts.iter().copied().enumerate().filter(here);
        let mut rows: Vec<(i64, u32, usize)> =
            choices.map(|(choice, expert)| (expert - first, visitors.homes[choice / k], choice)).collect();
        rows.sort_unstable();
        let mut arrived = vec![0; n_local];
        rows.iter().for_each(|&(expert, ..)| arrived[expert as usize] += 1);
        let column = |of: &dyn Fn(usize) -> i64| -> Result<Tensor, ModelError> {
            let column: Vec<i64> = rows.iter().map(|&(_, _, choice)| of(choice)).collect();
            Ok(Tensor::f_from_slice(&column)?.f_to_device(device)?)
        };
        let weights: Vec<f64> = rows.iter().map(|&(_, _, choice)| visitors.weights[choice]).collect();
        Ok(Self {
            arrived,
            legs,
            n_away,
            visitor: column(&|choice| (choice / k) as i64)?,
            choice: column(&|choice| (choice % k) as i64)?,
            weights: Tensor::f_from_slice(&weights)?.f_to_kind(kind)?.f_to_device(device)?,
            n_visitors: n as i64,
            k: k as i64,
        })
    }

    /// `[r]`: what each row's result is multiplied by.
    pub fn weights(&self) -> &Tensor {
        &self.weights
    }

    /// A row, `[r, d]`, for every choice of an expert here, of the tokens that came, `[v, d]`.
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn rows(&self, tokens: &Tensor) -> Result<Tensor, ModelError> {
        Ok(tokens.f_index_select(0, &self.visitor)?)
    }

    /// The sums, `[v, d]`, of the rows, `[r, d]`, of each token that came: in the order of experts, in FP32 at least.
    /// Autograd sees it.
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn sums(&self, rows: &Tensor) -> Result<Tensor, ModelError> {
        let (kind, d) = (rows.kind(), rows.size2()?.1);
        let wide = if kind == Kind::Double { kind } else { Kind::Float };
        let mut sums = Tensor::f_zeros([self.n_visitors, d], (wide, rows.device()))?;
        // An expert has a row of a token once, so that the order of additions is fixed on every device.
        let parts = rows.f_to_kind(wide)?.f_split_with_sizes(self.arrived.as_slice(), 0)?;
        for (tokens, part) in self.visitor.f_split_with_sizes(self.arrived.as_slice(), 0)?.iter().zip(parts) {
            sums = sums.f_index_add_(0, tokens, &part)?;
        }
        Ok(sums.f_to_kind(kind)?)
    }

    /// What belongs to each row, `[r]`, in the place of its choice, `[v, k]`; zero where the expert is elsewhere.
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn by_choice(&self, of_rows: &Tensor) -> Result<Tensor, ModelError> {
        let place = self.visitor.f_mul_scalar(self.k)?.f_add(&self.choice)?;
        let zeros = Tensor::f_zeros([self.n_visitors * self.k], (of_rows.kind(), of_rows.device()))?;
        Ok(zeros.f_index_copy(0, &place, of_rows)?.f_view([self.n_visitors, self.k])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Experts 2 and 3 live here; tokens of homes 1, 0 and 1 came.
    fn visits() -> Visits {
        let visitors = Visitors {
            k: 2,
            homes: vec![1, 0, 1],
            experts: vec![3, 2, 0, 3, 2, 1],
            weights: vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
        };
        Visits::new(&visitors, (2, 2), (Vec::new(), 0), (Kind::Double, Device::Cpu)).unwrap()
    }

    fn numbers(t: &Tensor) -> Vec<f64> {
        Vec::try_from(t.reshape([-1])).unwrap()
    }

    #[test]
    fn rows_stand_by_expert_then_home_then_token() {
        let visits = visits();
        assert_eq!(visits.arrived, [2, 2]);
        assert_eq!(numbers(visits.weights()), [0.2, 0.5, 0.4, 0.1]);
        let tokens = Tensor::from_slice(&[10.0, 11.0, 12.0]).view([3, 1]);
        assert_eq!(numbers(&visits.rows(&tokens).unwrap()), [10.0, 12.0, 11.0, 10.0]);
    }

    #[test]
    fn results_become_one_row_a_token() {
        let rows = Tensor::from_slice(&[1.0, 2.0, 4.0, 8.0]).view([4, 1]);
        assert_eq!(numbers(&visits().sums(&rows).unwrap()), [9.0, 4.0, 2.0]);
        assert_eq!(numbers(&visits().by_choice(&rows.view([4])).unwrap()), [8.0, 1.0, 0.0, 4.0, 2.0, 0.0]);
    }

    #[test]
    fn nobody_may_come() {
        let none =
            Visits::new(&Visitors { k: 2, ..Visitors::default() }, (0, 2), (Vec::new(), 0), (Kind::Float, Device::Cpu))
                .unwrap();
        assert_eq!(none.arrived, [0, 0]);
        let sums = none.sums(&Tensor::zeros([0, 3], (Kind::Float, Device::Cpu))).unwrap();
        assert_eq!(sums.size(), [0, 3]);
        assert_eq!(none.by_choice(&Tensor::zeros([0], (Kind::Float, Device::Cpu))).unwrap().size(), [0, 2]);
    }
}
