//! The way of tokens that travel once to each rank with experts for them: results are weighed where they are made, and
//! added on the way back.

use std::rc::Rc;

use tch::Tensor;

use super::Moe;
use crate::ModelError;
use crate::exchange::{ExpertExchange, SummingExchange};
use crate::parameters::Store;
use crate::tape::{Tape, Value};
use crate::turns::arrived;

/// What a layer's gate has chosen.
pub(super) struct Choices<'a> {
    /// Where the experts are, `[n, k]`.
    pub(super) slots: &'a Tensor,
    /// `[n, k]`.
    pub(super) weights: &'a (Value, Tensor),
}

impl Moe {
    /// h, the shared experts and the weighed sum of the chosen ones, of the normed tokens `x`, `[n, d]`.
    pub(super) async fn summed(
        &self,
        tape: &mut Tape,
        store: &Store,
        (h, x): (&(Value, Tensor), &(Value, Tensor)),
        choices: &Choices<'_>,
        exchange: &dyn SummingExchange,
    ) -> Result<(Value, Tensor), ModelError> {
        let visits = Rc::new(arrived(exchange.route(choices.slots, &choices.weights.1)?).await?);
        let arrival = exchange.dispatch(&visits, &x.1)?;
        // While tokens are on their way.
        let base = self.shared(tape, store, h, x)?;
        let way = visits.clone();
        let came = arrived(arrival).await?;
        let came = tape.moved(x.0, came, Box::new(move |g, exchange| summing(exchange).combine(&way, &g)));

        let way = visits.clone();
        let rows = tape.written(came.0, visits.rows(&came.1)?, Box::new(move |g, _| way.sums(&g)));
        let out = self.experts(tape, store, &rows, &visits.arrived)?;
        let way = visits.clone();
        let weights = visits.weights().shallow_clone();
        let weights = tape.written(
            choices.weights.0,
            weights,
            Box::new(move |g, walk| summing(walk.exchange).return_weights(&way, &way.by_choice(&g)?)),
        );
        let [sums] = tape.graph(&[&out, &weights], Vec::new(), |inputs, _| {
            let weighed = inputs[0].to_kind(inputs[1].kind()) * inputs[1].unsqueeze(1);
            Ok([visits.sums(&weighed)?.to_kind(inputs[0].kind())])
        })?;

        let back = arrived(exchange.combine(&visits, &sums.1)?).await?;
        let way = visits.clone();
        let back = tape.moved(sums.0, back, Box::new(move |g, exchange| summing(exchange).dispatch(&way, &g)));
        let [hidden] = tape.graph(&[&base, &back], Vec::new(), |inputs, _| {
            // The base is that of the tokens, however they stand in sequences.
            Ok([&inputs[0] + inputs[1].view_as(&inputs[0])])
        })?;
        Ok(hidden)
    }
}

fn summing(exchange: &dyn ExpertExchange) -> &dyn SummingExchange {
    exchange.summing().expect("backward has the exchange of forward")
}
