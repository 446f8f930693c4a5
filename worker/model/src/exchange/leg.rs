//! One leg of the way of tokens to their experts: which rows go to whom, and how results are added on the way back.

use tch::{Device, Kind, Tensor};

use crate::ModelError;

/// One leg of a way: rows go out in parts, one part for each place of the ranks of the leg, and others come in.
#[derive(Debug)]
pub struct Leg {
    /// `[sum of to]`: the rows to send, part after part; within a part ascending, each once.
    order: Tensor,
    /// Rows there are before it.
    n: i64,
    /// Rows for every place.
    pub to: Vec<i64>,
    /// Rows from every place.
    pub from: Vec<i64>,
}

impl Leg {
    /// `parts[i]` lists the rows, of `n` on the CPU, that go to place i; each may go to several places.
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn new(parts: &[Vec<i64>], n: i64, from: Vec<i64>) -> Result<Self, ModelError> {
        let order = Tensor::f_from_slice(&parts.concat())?;
        Ok(Self { order, n, to: parts.iter().map(|rows| rows.len() as i64).collect(), from })
    }

    /// The rows to send, of `rows`, `[n, d]`: `[sum of to, d]`.
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn pick(&self, rows: &Tensor) -> Result<Tensor, ModelError> {
        Ok(rows.f_index_select(0, &self.order)?)
    }

    /// The sums, `[n, d]`, of what came back of each row, `[sum of to, d]`: in the order of places, in FP32 at least.
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn add(&self, back: &Tensor) -> Result<Tensor, ModelError> {
        let (kind, d) = (back.kind(), back.size2()?.1);
        let wide = if kind == Kind::Double { kind } else { Kind::Float };
        let mut sums = Tensor::f_zeros([self.n, d], (wide, back.device()))?;
        // A part has a row once, so that the order of additions is fixed on every device.
        let parts = back.f_to_kind(wide)?.f_split_with_sizes(self.to.as_slice(), 0)?;
        for (rows, part) in self.order.f_split_with_sizes(self.to.as_slice(), 0)?.iter().zip(parts) {
            sums = sums.f_index_add_(0, rows, &part)?;
        }
        Ok(sums.f_to_kind(kind)?)
    }

    /// The same for rows that lie on another device.
    ///
    /// # Errors
    /// When LibTorch refuses.
    pub fn to_device(self, device: Device) -> Result<Self, ModelError> {
        Ok(Self { order: self.order.f_to_device(device)?, ..self })
    }

    /// Handles to the same tensors.
    #[must_use]
    pub fn shallow_clone(&self) -> Self {
        Self { order: self.order.shallow_clone(), n: self.n, to: self.to.clone(), from: self.from.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_out_in_parts_and_come_back_added() {
        let leg = Leg::new(&[vec![0, 2], vec![], vec![2]], 3, vec![1, 0, 0]).unwrap();
        let rows = Tensor::from_slice(&[1.0, 10.0, 2.0, 20.0, 3.0, 30.0]).view([3, 2]);
        let sent = leg.pick(&rows).unwrap();
        assert_eq!(Vec::<f64>::try_from(sent.reshape([-1])).unwrap(), [1.0, 10.0, 3.0, 30.0, 3.0, 30.0]);
        let back = leg.add(&sent).unwrap();
        assert_eq!(Vec::<f64>::try_from(back.reshape([-1])).unwrap(), [1.0, 10.0, 0.0, 0.0, 6.0, 60.0]);
        assert_eq!(leg.to, [2, 0, 1]);
    }
}
