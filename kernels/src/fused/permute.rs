//! Where the rows of tokens stand when they are sorted by expert, and the ways there and back.

use tch::{Kind, Tensor};

use crate::{TorchError, cuda};

/// The rows of t tokens with k experts each: by expert, within an expert by token.
#[derive(Debug)]
pub struct Permutation {
    /// `[t, k]`: the row of every choice.
    pub place: Tensor,
    /// Rows of each of e experts.
    pub counts: Vec<i64>,
    /// `[t·k]`: the choice of every row; cards have no need of it.
    order: Option<Tensor>,
}

impl Permutation {
    /// Of `experts`, `[t, k]`, all below `n_experts`; `like` has the format and the device of the rows that will move.
    ///
    /// # Errors
    /// When LibTorch or CUDA refuses.
    pub fn new(experts: &Tensor, n_experts: i64, like: &Tensor) -> Result<Self, TorchError> {
        if cuda::takes(like) {
            let (place, counts) = cuda::place(experts, n_experts)?;
            return Ok(Self { place, counts: Vec::try_from(counts)?, order: None });
        }
        let flat = experts.reshape([-1]);
        let counts = Vec::try_from(flat.f_bincount(None::<&Tensor>, n_experts)?)?;
        let order = flat.f_argsort_stable(true, 0, false)?;
        Ok(Self { place: order.f_argsort(0, false)?.view_as(experts), counts, order: Some(order) })
    }

    /// A row, `[t·k, d]`, for every choice of the tokens `x`, `[t, d]`; no autograd.
    ///
    /// # Errors
    /// Likewise.
    pub fn spread(&self, x: &Tensor) -> Result<Tensor, TorchError> {
        match &self.order {
            None => cuda::spread(x, &self.place),
            Some(order) => Ok(x.f_index_select(0, &order.f_divide_scalar_mode(self.k(), "floor")?)?),
        }
    }

    /// The sums, `[t, d]`, of the rows of each token in the order of its choices: the way back of [`Permutation::spread`].
    ///
    /// # Errors
    /// Likewise.
    pub fn gather(&self, rows: &Tensor) -> Result<Tensor, TorchError> {
        if self.order.is_none() {
            return cuda::gather(rows, &self.place);
        }
        let back = rows.f_index_select(0, &self.place.reshape([-1]))?;
        let by_token = back.f_view([-1, self.k(), rows.size2()?.1])?;
        Ok(by_token.f_sum_dim_intlist([1_i64].as_slice(), false, None::<Kind>)?)
    }

    fn k(&self) -> i64 {
        self.place.size()[1]
    }
}
