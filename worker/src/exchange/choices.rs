//! What ranks are told of tokens before these come: the experts of each, and the gate's weights.

use ds_model::ModelError;
use tch::{Device, Kind, Tensor};

/// Bytes of an expert's number.
const EXPERT: usize = 2;

/// Choices of tokens, k each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Choices {
    pub(super) k: usize,
    pub(super) experts: Vec<i64>,
    pub(super) weights: Vec<f64>,
}

impl Choices {
    /// Of what a gate gave, both `[n, k]`.
    pub(super) fn of(experts: &Tensor, weights: &Tensor) -> Result<Self, ModelError> {
        let k = experts.size2()?.1 as usize;
        let flat = |t: &Tensor, kind| t.f_to_device(Device::Cpu)?.f_to_kind(kind)?.f_reshape([-1]);
        let experts = Vec::try_from(flat(experts, Kind::Int64)?)?;
        Ok(Self { k, experts, weights: Vec::try_from(flat(weights, Kind::Double)?)? })
    }

    pub(super) fn n(&self) -> usize {
        self.experts.len() / self.k
    }

    /// For each of `n_parts` runs of `each` experts from `first` on, the tokens with an expert in it, ascending.
    pub(super) fn tokens_for(&self, first: i64, each: usize, n_parts: usize) -> Vec<Vec<i64>> {
        let mut parts = vec![Vec::new(); n_parts];
        for (token, experts) in self.experts.chunks(self.k).enumerate() {
            for expert in experts {
                let part = (expert - first).div_euclid(each as i64);
                let Some(tokens) = usize::try_from(part).ok().and_then(|part| parts.get_mut(part)) else { continue };
                if tokens.last() != Some(&(token as i64)) {
                    tokens.push(token as i64);
                }
            }
        }
        parts
    }

    /// Rows of bytes, a token each; weights travel in the format that they have, `kind`.
    pub(super) fn to_rows(&self, kind: Kind) -> Result<Tensor, ModelError> {
        let mut bytes = Vec::with_capacity(self.n() * Self::row_bytes(self.k, kind));
        for (experts, weights) in self.experts.chunks(self.k).zip(self.weights.chunks(self.k)) {
            experts.iter().for_each(|&expert| bytes.extend((expert as u16).to_le_bytes()));
            for &weight in weights {
                match kind {
                    Kind::Double => bytes.extend(weight.to_le_bytes()),
                    _ => bytes.extend((weight as f32).to_le_bytes()),
                }
            }
        }
        Ok(Tensor::f_from_slice(&bytes)?.f_view([self.n() as i64, Self::row_bytes(self.k, kind) as i64])?)
    }

    /// What [`Choices::to_rows`] made rows of.
    pub(super) fn from_rows(rows: &Tensor, k: usize, kind: Kind) -> Result<Self, ModelError> {
        let bytes = Vec::<u8>::try_from(rows.f_reshape([-1])?)?;
        let mut all = Self { k, ..Self::default() };
        for row in bytes.chunks(Self::row_bytes(k, kind)) {
            let (experts, weights) = row.split_at(EXPERT * k);
            all.experts.extend(experts.chunks(EXPERT).map(|b| i64::from(u16::from_le_bytes([b[0], b[1]]))));
            all.weights.extend(weights.chunks(weights.len() / k).map(|b| match b {
                &[a, b, c, d] => f64::from(f32::from_le_bytes([a, b, c, d])),
                b => f64::from_le_bytes(b.try_into().expect("a weight has 4 or 8 bytes")),
            }));
        }
        Ok(all)
    }

    fn row_bytes(k: usize, kind: Kind) -> usize {
        k * (EXPERT + if kind == Kind::Double { 8 } else { 4 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choices() -> Choices {
        Choices { k: 2, experts: vec![0, 5, 300, 4, 1, 0], weights: vec![0.5, 0.25, 1.0, 0.75, 0.125, 2.0] }
    }

    #[test]
    fn they_come_as_they_went() {
        for kind in [Kind::Float, Kind::Double] {
            let rows = choices().to_rows(kind).unwrap();
            assert_eq!(Choices::from_rows(&rows, 2, kind).unwrap(), choices());
        }
        let none = Choices { k: 2, ..Choices::default() };
        assert_eq!(Choices::from_rows(&none.to_rows(Kind::Float).unwrap(), 2, Kind::Float).unwrap(), none);
    }

    #[test]
    fn a_token_is_named_once_for_each_part_that_has_an_expert_of_it() {
        assert_eq!(choices().tokens_for(0, 2, 3), [vec![0, 2], vec![], vec![0, 1]]);
        assert_eq!(choices().tokens_for(4, 1, 2), [vec![1], vec![0]]);
    }
}
