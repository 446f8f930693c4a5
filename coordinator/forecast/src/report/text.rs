//! The outlook as text.

use std::fmt;

use super::outlook::{MemoryOutlook, Outlook};
use crate::picture::Unit;

const BAR: usize = 32;

impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let on = self.fabric.as_ref().map(|fabric| format!(" on {fabric}")).unwrap_or_default();
        writeln!(f, "forecast for {} {}{on}", self.gpus, self.hardware)?;
        writeln!(f, "  memory      {}", memory(&self.memory))?;
        let step = &self.step;
        writeln!(f, "  a step      {}", Unit::Seconds.text(step.seconds))?;
        let widest = step.parts.iter().map(|part| part.name.len()).max().unwrap_or(0);
        for part in step.parts.iter().filter(|part| part.seconds > 0.0) {
            let share = if step.seconds > 0.0 { part.seconds / step.seconds } else { 0.0 };
            let filled = ((share * BAR as f64).round() as usize).min(BAR);
            writeln!(
                f,
                "    {:<widest$}  {:<BAR$}  {:>8}  {:>5}  {}",
                part.name,
                "#".repeat(filled),
                Unit::Seconds.text(part.seconds),
                Unit::Share.text(share),
                part.about
            )?;
        }
        writeln!(
            f,
            "  speed       {} a second, {} a day",
            Unit::Count("tokens").text(step.tokens_per_second),
            Unit::Count("tokens").text(step.tokens_per_day)
        )?;
        writeln!(
            f,
            "  MFU         {} causal, {} over all pairs ({} and {} a GPU)",
            Unit::Share.text(step.mfu_causal),
            Unit::Share.text(step.mfu),
            flops(step.tflops_causal),
            flops(step.tflops)
        )?;
        let t = &self.training;
        writeln!(
            f,
            "  training    {}: {:.0} steps, {}, {}, ${} at ${} an hour",
            Unit::Count("tokens").text(t.tokens),
            t.steps,
            days(t.days),
            Unit::Count("GPU hours").text(t.gpu_hours),
            Unit::Count("").text(t.dollars),
            t.dollars_per_gpu_hour
        )?;
        for term in self.terms.iter().filter(|term| term.seconds > 0.0) {
            let verb = if term.counted { "adds" } else { "left out, would add" };
            let seconds = Unit::Seconds.text(term.seconds);
            writeln!(f, "  term        {} {verb} {seconds}: {} [{}]", term.term, term.about, term.source)?;
        }
        writeln!(f, "  binds       {}", self.binds.sentence)?;
        for assumption in &self.assumptions {
            writeln!(f, "  assumed     {assumption}")?;
        }
        Ok(())
    }
}

/// Given in tera.
pub(super) fn flops(tera: f64) -> String {
    if tera >= 1.0 { format!("{tera:.0} TFLOP/s") } else { format!("{:.2} GFLOP/s", 1e3 * tera) }
}

/// How it fits, in a sentence.
pub(super) fn memory(memory: &MemoryOutlook) -> String {
    let [need, have] = [memory.need_bytes, memory.have_bytes].map(ds_plan::bytes);
    let (least, most) = (memory.need_bytes.min(memory.have_bytes), memory.need_bytes.max(memory.have_bytes));
    let (apart, at) = (ds_plan::bytes(most - least), memory.largest_at);
    let verdict =
        if memory.fits { format!("fits, {apart} to spare") } else { format!("does not fit, {apart} too much") };
    format!("{need} of {have} on the largest rank (pipeline {at}): {verdict}")
}

/// Days, or what is shorter.
pub(super) fn days(days: f64) -> String {
    if days >= 2.0 { format!("{} days", Unit::Count("").text(days)) } else { Unit::Seconds.text(days * 86_400.0) }
}
