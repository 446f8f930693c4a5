//! The report as text: aligned tables, the schedule drawn, totals last.

use std::fmt;

use super::table::table;
use super::units::{bytes, count, flops};
use super::{PlanReport, StageReport, run};

/// Ranks are listed one by one up to here; beyond, the first of each pipeline coordinate stands for its like.
const RANKS_LISTED: usize = 64;

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let g = &self.grid;
        writeln!(
            f,
            "{}: {} ranks = pipeline {} x data {} x context {} x tensor {}; experts over {} ranks, {} {}",
            self.job,
            g.ranks,
            g.pipeline,
            g.data,
            g.context,
            g.tensor,
            g.expert,
            g.replicas,
            if g.replicas == 1 { "copy" } else { "copies" },
        )?;
        write!(f, "\nstages\n{}", self.stage_table())?;
        write!(f, "\nranks\n{}", self.rank_table())?;
        write!(f, "\ngroups\n{}", self.group_table())?;
        for shared in &self.shared {
            let holders: Vec<String> = shared.pipeline.iter().map(u32::to_string).collect();
            let (name, owner) = (&shared.name, shared.owner);
            let verb = match shared.parameters {
                1 => "has".to_owned(),
                n => format!("and {} more have", n - 1),
            };
            let pronoun = if shared.parameters == 1 { "it" } else { "them" };
            writeln!(
                f,
                "  {name} {verb} copies on pipeline {}; {owner} counts and writes {pronoun}",
                holders.join(", ")
            )?;
        }
        self.write_schedule(f)?;
        self.write_totals(f)
    }
}

impl PlanReport {
    fn stage_table(&self) -> String {
        let head = ["stage", "pipeline", "layers", "with", "parameters", "cost", "work/microbatch", "live"];
        let row = |stage: &StageReport| {
            vec![
                stage.stage.to_string(),
                stage.pipeline.to_string(),
                run(stage.layers.0, stage.layers.1),
                extras(stage),
                count(stage.parameters as f64),
                format!("{:.1}%", 100.0 * stage.cost_share),
                flops(stage.flops as f64),
                stage.peak_live.to_string(),
            ]
        };
        table(&with_head(&head, self.stages.iter().map(row)))
    }

    fn rank_table(&self) -> String {
        // A term that nobody has is left out.
        let has = |name: &str| {
            let of_rank =
                |rank: &super::RankReport| rank.memory.terms().iter().any(|&(n, bytes)| n == name && bytes > 0);
            self.ranks.iter().any(of_rank)
        };
        let all = self.ranks.first().map(|rank| rank.memory.terms().map(|(name, _)| name)).unwrap_or_default();
        let terms: Vec<&str> = all.into_iter().filter(|name| has(name)).collect();
        let head = ["rank", "pipeline", "data", "context", "tensor", "stages", "experts", "parameters"];
        let head: Vec<&str> = head.into_iter().chain(terms.iter().copied()).chain(["total"]).collect();
        let shown = |rank: &&super::RankReport| {
            self.ranks.len() <= RANKS_LISTED || (rank.data, rank.context, rank.tensor) == (0, 0, 0)
        };
        let row = |rank: &super::RankReport| {
            let stages: Vec<String> = rank.stages.iter().map(u32::to_string).collect();
            let mut cells =
                [rank.rank, rank.pipeline, rank.data, rank.context, rank.tensor].map(|n| n.to_string()).to_vec();
            cells.push(stages.join(","));
            cells.push(run(rank.experts.0, rank.experts.1));
            cells.push(count(rank.parameters as f64));
            let shown = rank.memory.terms().into_iter().filter(|(name, _)| terms.contains(name));
            cells.extend(shown.chain([("total", rank.memory_total)]).map(|(_, n)| bytes(n)));
            cells
        };
        let mut text = table(&with_head(&head, self.ranks.iter().filter(shown).map(row)));
        if self.ranks.len() > RANKS_LISTED {
            let each = self.grid.ranks / self.grid.pipeline;
            text += &format!("  one of {each} ranks of each pipeline coordinate; the others hold as much\n");
        }
        text
    }

    fn group_table(&self) -> String {
        let row = |group: &super::GroupReport| {
            vec![group.kind.to_owned(), group.groups.to_string(), group.ranks_each.to_string()]
        };
        table(&with_head(&["kind", "groups", "ranks each"], self.groups.iter().map(row)))
    }

    fn write_schedule(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.schedule;
        writeln!(
            f,
            "\nschedule {}, {} microbatches a step; forward F takes 1, backward B takes 2{}",
            s.kind, s.microbatches, s.legend
        )?;
        for line in s.drawing.lines() {
            writeln!(f, "  {line}")?;
        }
        let [even, estimated] = [s.bubble_share_even, s.bubble_share].map(|share| 100.0 * share);
        writeln!(f, "  idle {even:.1}% if stages cost the same, {estimated:.1}% by the estimated cost of each")
    }

    fn write_totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let t = &self.totals;
        writeln!(f, "\ntotals")?;
        let mtp =
            if t.mtp_parameters > 0 { format!(", MTP adds {}", count(t.mtp_parameters as f64)) } else { String::new() };
        let [activated, with_embedding] = [t.activated, t.activated_with_embedding].map(|n| count(n as f64));
        writeln!(f, "  parameters  {}{mtp}", count(t.parameters as f64))?;
        writeln!(f, "  activated   {activated}, with the input embedding {with_embedding}")?;
        writeln!(f, "  a step      {} tokens, {}", t.tokens_per_step, flops(t.flops_per_step))?;
        writeln!(f, "  memory      {} on the largest rank, estimated", bytes(t.largest_rank_memory))?;
        let host = self.ranks.iter().map(|rank| rank.memory.host_ema).max().unwrap_or(0);
        if host > 0 {
            writeln!(f, "  host        {} a rank, for the EMA of the weights", bytes(host))?;
        }
        self.planned_only.iter().try_for_each(|sentence| writeln!(f, "  note        {sentence}"))
    }
}

fn with_head(head: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Vec<Vec<String>> {
    std::iter::once(head.iter().map(|&cell| cell.to_owned()).collect()).chain(rows).collect()
}

fn extras(stage: &StageReport) -> String {
    let mtp = if stage.n_mtp > 0 { Some("mtp") } else { None };
    let names: Vec<&str> =
        stage.embeds.then_some("embedding").into_iter().chain(stage.scores.then_some("head")).chain(mtp).collect();
    if names.is_empty() { "-".to_owned() } else { names.join(" ") }
}

#[cfg(test)]
mod tests {
    use crate::job::JobPlan;
    use crate::report::report;
    use crate::spec::ScheduleKind;
    use crate::testing::{plans_of_other_schedules, small_plans, spec, tiny_plan};

    #[test]
    fn a_report_shows_every_rank_its_stage_and_the_schedule() {
        let text = report(&tiny_plan(2, 2, 2), 100).to_string();
        for expected in [
            "test: 4 ranks = pipeline 2 x data 2 x context 1 x tensor 1; experts over 2 ranks, 1 copy",
            "model.embed_tokens.weight has copies on pipeline 0, 1; 0 counts and writes it",
            "schedule 1f1b, 8 microbatches a step",
            "  0  F0 F1 .  .  B0--- F2 B1---",
        ] {
            assert!(text.contains(expected), "{expected}\n{text}");
        }
        let section: Vec<&str> = text.lines().skip_while(|line| *line != "ranks").skip(2).take(4).collect();
        assert!((0..4).all(|rank| section[rank].trim_start().starts_with(&rank.to_string())), "{text}");
    }

    #[test]
    fn no_line_ends_in_blanks_and_none_of_a_small_job_is_cut() {
        for plan in small_plans().into_iter().chain(plans_of_other_schedules()) {
            let text = report(&plan, 1000).to_string();
            assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
            assert!(!text.contains('…'), "{text}");
        }
    }

    #[test]
    fn shares_of_the_cost_make_a_whole() {
        for plan in small_plans().into_iter().chain(plans_of_other_schedules()) {
            let report = report(&plan, 100);
            let sum: f64 = report.stages.iter().map(|stage| stage.cost_share).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{sum}");
        }
    }

    #[test]
    fn the_even_bubble_is_the_formula() {
        for plan in small_plans() {
            let (stages, m) = (f64::from(plan.grid().n_pipeline()), f64::from(plan.n_microbatches()));
            let share = (stages - 1.0) / (m + stages - 1.0);
            assert!((report(&plan, 100).schedule.bubble_share_even - share).abs() < 1e-12);
        }
    }

    #[test]
    fn every_schedule_is_drawn_with_what_only_it_has() {
        let text = |schedule| {
            let mut job = spec("tiny", 2, 1, 1);
            job.parallel.schedule = schedule;
            job.parallel.virtual_stages = if schedule.is_looped() { 2 } else { 1 };
            report(&JobPlan::new(job).unwrap(), 60).to_string()
        };
        for (schedule, parts) in [
            (ScheduleKind::GPipe, &["schedule gpipe, 8", "  0  F0 F1 F2 F3 F4 F5 F6 F7 .  .  .  B0---"][..]),
            (ScheduleKind::Interleaved, &["schedule interleaved", "; .1 is a rank's second stage", "F0.1"]),
            (ScheduleKind::InterleavedZb, &["schedule interleaved_zb", "; .1 is a rank's second stage", "I0.1 W0.1"]),
            (ScheduleKind::LoopedBfs, &["schedule looped_bfs", "; .1 is a rank's second stage", "F7-- F0.1 F1.1"]),
            (ScheduleKind::ZbV, &["schedule zb_v", "; .1 is a rank's second stage", "F0.1 I0.1 W0.1"]),
            (ScheduleKind::ZbH1, &["schedule zb_h1", "I (input) and W (weight gradients)", "  0  F0 F1 .  I0 W0"]),
            (
                ScheduleKind::DualPipe,
                &["microbatches from 4 on enter at the other end", "F5B0", "have copies on pipeline 0, 1"],
            ),
            (ScheduleKind::DualPipeV, &["schedule dualpipe_v", "  0  F0", "F0.1"]),
        ] {
            let text = text(schedule);
            assert!(!text.contains("is planned, but workers run"), "{text}");
            for part in parts {
                assert!(text.contains(part), "{part}\n{text}");
            }
        }
    }

    #[test]
    fn deepseek_v3_has_its_published_size_and_work() {
        let mut job = spec("deepseek-v3", 16, 128, 64);
        job.train[0].sequence = 4096;
        job.train[0].batch = 15_360;
        job.train[0].microbatch = 1;
        job.model.mtp.depth = 0;
        let report = report(&JobPlan::new(job).unwrap(), 120);
        let text = report.to_string();
        assert!(text.contains("parameters  671.0 billion"), "{text}");
        assert!(text.contains("activated   36.6 billion, with the input embedding 37.6 billion"), "{text}");
        let per_token = report.totals.flops_per_step / report.totals.tokens_per_step as f64;
        assert!((per_token / 1e9 - 250.0).abs() < 1.0, "{per_token}");
        assert!(text.contains("one of 128 ranks of each pipeline coordinate"), "{text}");
    }

    #[test]
    fn the_report_serialises_with_the_names_of_its_fields() {
        let json = serde_json::to_value(report(&tiny_plan(2, 1, 1), 100)).unwrap();
        assert_eq!(json["grid"]["ranks"], 2);
        assert_eq!(json["stages"][1]["scores"], true);
        assert!(json["ranks"][0]["memory"]["weights"].as_u64().unwrap() > 0);
    }
}
