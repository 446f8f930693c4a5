//! The end of the last stage: final norm, head, loss, and the MTP modules.

use ds_arch::MtpInput;
use tch::Tensor;

use super::{EMBEDDING, Layer, Microbatch, Pass, StageModel};
use crate::ModelError;
use crate::loss::{IGNORED, cross_entropy, n_targets};
use crate::norm::rms_norm;
use crate::precision::linear;
use crate::tape::Value;
use crate::watch::Seen;

const HEAD: &str = "lm_head.weight";

impl StageModel {
    /// Final norm, head, loss, and the MTP modules.
    pub(super) async fn score(
        &self,
        mtp: &[Layer],
        pass: &mut Pass<'_>,
        h: &(Value, Tensor),
        microbatch: &Microbatch,
    ) -> Result<(), ModelError> {
        let normed = self.norm(&mut pass.tape, self.store.leaf("model.norm.weight"), h)?;
        (pass.watch)(Seen::Normed { depth: 0, normed: &normed.1 });
        let loss = self.head(pass, &normed, &microbatch.targets_bt, 0)?;
        pass.losses.loss = (loss.1.double_value(&[]), n_targets(&microbatch.targets_bt));
        pass.seed(&loss, pass.weights.token);

        let reads = |plain: &(Value, Tensor), normed: &(Value, Tensor)| {
            let (value, tensor) = match self.config.mtp.input {
                MtpInput::PreNorm => plain,
                MtpInput::PostNorm => normed,
            };
            (*value, tensor.shallow_clone())
        };
        let mut stream = reads(h, &normed);
        for ((depth, layer), (ids_bt, targets_bt)) in (1..).zip(mtp).zip(&microbatch.mtp) {
            let h = self.mtp_module(layer, pass, &stream, ids_bt, targets_bt).await?;
            let weight = self.store.leaf(&format!("model.layers.{}.shared_head.norm.weight", layer.id));
            let normed = self.norm(&mut pass.tape, weight, &h)?;
            (pass.watch)(Seen::Normed { depth, normed: &normed.1 });
            let loss = self.head(pass, &normed, targets_bt, depth)?;
            pass.losses.mtp.0 += loss.1.double_value(&[]);
            pass.losses.mtp.1 += n_targets(targets_bt);
            pass.seed(&loss, pass.weights.mtp);
            stream = reads(&h, &normed);
        }
        pass.tape.let_go()
    }

    /// TRM_k(M_k [norm(Emb(t)); norm(h)]) (equations 21 and 22); the released weights put the embedding first.
    async fn mtp_module(
        &self,
        layer: &Layer,
        pass: &mut Pass<'_>,
        h: &(Value, Tensor),
        ids_bt: &Tensor,
        targets_bt: &Tensor,
    ) -> Result<(Value, Tensor), ModelError> {
        let base = format!("model.layers.{}", layer.id);
        let leaf = |name: &str| self.store.leaf(&format!("{base}.{name}.weight"));
        let (eps, ids) = (self.config.norm_eps, ids_bt.shallow_clone());
        let leaves = vec![self.store.leaf(EMBEDDING), leaf("enorm"), leaf("hnorm")];
        let [both] = pass.tape.cheap(&[h], leaves, move |inputs, w| {
            let embedded = Tensor::embedding(&w[0].tensor, &ids, -1, false, false);
            let both = [rms_norm(&embedded, &w[1].tensor, eps)?, rms_norm(&inputs[0], &w[2].tensor, eps)?];
            Ok([Tensor::cat(&both, -1)])
        })?;
        let [joined] =
            pass.tape.graph(&[&both], vec![leaf("eh_proj")], |inputs, w| Ok([linear(&inputs[0], &w[0].tensor)?]))?;
        let counts = targets_bt.ne(IGNORED).reshape([-1]);
        self.layer(layer, pass, &joined, &counts).await
    }

    /// Sum of cross-entropies.
    fn head(
        &self,
        pass: &mut Pass<'_>,
        normed: &(Value, Tensor),
        targets_bt: &Tensor,
        depth: u32,
    ) -> Result<(Value, Tensor), ModelError> {
        let [loss] = pass.tape.graph(&[normed], vec![self.store.leaf(HEAD)], |inputs, w| {
            let logits = linear(&inputs[0], &w[0].tensor)?;
            (pass.watch)(Seen::Logits { depth, logits: &logits });
            Ok([cross_entropy(&logits, targets_bt)])
        })?;
        Ok(loss)
    }
}
