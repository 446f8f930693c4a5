//! What attention needs of positions on other ranks: compressed latents, gathered; their gradients, summed at home in rank
//! order, in FP32 at least.

use ds_model::{Arrival, ModelError, SequenceExchange, SequenceShare};
use tch::{Kind, Tensor};

use super::{Booked, Underway, failed};
use crate::comm::{Group, ReduceOp};
use crate::step::{Cause, now};

impl Booked<'_> {
    fn context(&self) -> &Group {
        self.exchange.context.as_ref().expect("only who shares sequences asks")
    }
}

impl SequenceExchange for Booked<'_> {
    fn share(&self) -> SequenceShare {
        SequenceShare { place: self.context().index(), n: self.context().size() }
    }

    fn gather<'a>(&'a self, latents: &Tensor) -> Result<Arrival<'a>, ModelError> {
        let t = latents.size3()?.1 * self.share().n as i64;
        let order = self.share().order(t, latents.device());
        // Positions first, since ranks give rows.
        let rows = latents.f_transpose(0, 1)?.f_contiguous()?;
        let underway = Underway { since: now(), pending: self.context().all_gather(&rows) };
        Ok(Box::new(move || Ok(self.wait(underway)?.f_index_select(0, &order)?.f_transpose(0, 1)?.f_contiguous()?)))
    }

    fn sum_shares<'a>(&'a self, gradients: &Tensor) -> Result<Arrival<'a>, ModelError> {
        let (kind, t, n) = (gradients.kind(), gradients.size3()?.1, self.share().n);
        let wide = if kind == Kind::Double { kind } else { Kind::Float };
        let by_place = self.share().order(t, gradients.device()).f_argsort(0, false)?;
        let rows = gradients.f_transpose(0, 1)?.f_index_select(0, &by_place)?.f_to_kind(wide)?;
        let counts = vec![t / n as i64; n];
        let pending = self.context().reduce_scatter(&rows.f_contiguous()?, ReduceOp::Sum, &counts);
        let underway = Underway { since: now(), pending };
        Ok(Box::new(move || Ok(self.wait(underway)?.f_to_kind(kind)?.f_transpose(0, 1)?.f_contiguous()?)))
    }

    fn sum(&self, tensor: &Tensor) -> Result<Tensor, ModelError> {
        let pending = self.context().all_reduce(tensor, ReduceOp::Sum);
        let deadline = now() + self.exchange.timeout;
        self.ledger.book(Cause::Exchange, || pending.wait(deadline)).map_err(failed)
    }
}
