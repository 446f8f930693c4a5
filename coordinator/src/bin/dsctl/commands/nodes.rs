//! `dsctl nodes`: what machines there are, and what is taken.

use crate::facts::{node_json, node_lines};
use crate::failure::Failure;
use crate::link::LinkArgs;
use crate::output::{Exit, Format, FormatArgs, data, json};
use crate::place::run;

/// Show every node, and which of its seats are taken
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    link: LinkArgs,
    #[command(flatten)]
    format: FormatArgs,
}

impl Args {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let nodes = run(async {
            let mut link = self.link.open().await?;
            let nodes = link.nodes().await;
            link.close().await;
            nodes
        })?;
        match self.format.format {
            Format::Text => data(node_lines(&nodes).join("\n"))?,
            Format::Json => json(&nodes.iter().map(node_json).collect())?,
        }
        Ok(Exit::Done)
    }
}
