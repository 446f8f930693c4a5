//! Loss-free balancing: trajectories of biases, bit for bit, and the measure of imbalance.

use ds_model::{BiasStep, update_bias};
use ds_worker::step::maxvio;
use tch::{Kind, Tensor};

use crate::Check;
use crate::compare::Furthest;
use crate::folder::{Folder, device, number};

pub(crate) fn checks(folder: &Folder) -> Vec<Check> {
    let about = folder.json("lfb.json");
    let cases = about.as_object().expect("an object of cases").clone();
    let (all, n_cases) = (folder.clone(), cases.len());
    let each = cases.into_iter().map(|(case, about)| {
        let folder = folder.clone();
        Check::new(case.clone(), move || trajectory(&folder, &case, number(&about, "u")))
    });
    let complete = Check::new("cases", move || {
        let n = all.tensors("lfb.safetensors").keys().filter(|key| key.ends_with(".load")).count();
        assert_eq!(n, n_cases, "cases of lfb.safetensors and of lfb.json");
        format!("all {n} compared")
    });
    each.chain([complete]).collect()
}

fn trajectory(folder: &Folder, case: &str, speed: f64) -> String {
    let tensors = folder.tensors("lfb.safetensors");
    let golden = |name: &str| &tensors[&format!("{case}.{name}")];
    let loads = golden("load").to_kind(Kind::Double);
    let row = |step: i64| Vec::<f64>::try_from(loads.get(step)).expect("loads");
    let n_steps = loads.size()[0];
    for (kind, name) in [(Kind::Float, "bias_f32"), (Kind::Double, "bias_f64")] {
        let bias = Tensor::zeros([loads.size()[1]], (kind, device()));
        for step in 0..n_steps {
            update_bias(&bias, &row(step), BiasStep::Sign, speed);
            assert_eq!(bias, golden(name).get(step), "{name} after step {step}");
        }
    }
    let mut apart = Furthest::new(1e-12);
    for step in 0..n_steps {
        let found = maxvio([row(step)].iter());
        apart.see("MaxVio of a step", (found - golden("maxvio").double_value(&[step])).abs());
    }
    let whole = Vec::<f64>::try_from(loads.sum_dim_intlist([0_i64].as_slice(), false, None::<Kind>)).expect("loads");
    apart.see("MaxVio of all", (maxvio([whole].iter()) - golden("maxvio_global").double_value(&[0])).abs());
    format!("{n_steps} steps bit for bit in f32 and f64; MaxVio: {}", apart.report())
}
