//! The state in writing, and back.

use std::collections::BTreeMap;
use std::sync::Arc;

use ds_plan::JobPlan;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cluster;
use crate::store::Snapshot;

/// What was kept cannot be understood.
#[derive(Debug, thiserror::Error)]
#[error("the {what}: {source}")]
pub struct KeepError {
    /// Which part.
    pub what: &'static str,
    /// Where reading ended.
    pub source: serde_json::Error,
}

impl Cluster {
    /// What an earlier coordinator kept. `plan` reads the spec of a job that has not ended.
    ///
    /// # Errors
    /// When it cannot be understood.
    pub fn restore(
        kept: &Snapshot,
        is_embedded: bool,
        plan: impl Fn(&str) -> Option<Arc<JobPlan>>,
    ) -> Result<Self, KeepError> {
        let mut cluster = Self::new(is_embedded);
        cluster.jobs = read_all("job", &kept.jobs)?;
        cluster.nodes = read_all("node", &kept.nodes)?;
        cluster.counters = read("counters", &kept.rest)?;
        for job in cluster.jobs.values_mut().filter(|job| !job.state.has_ended()) {
            job.plan = plan(&job.spec_yaml);
        }
        Ok(cluster)
    }

    /// Brings what is in writing up to date. Whether anything has changed since the last time.
    pub fn write_to(&mut self, kept: &mut Snapshot) -> bool {
        let touched = std::mem::take(&mut self.touched);
        let is_new = kept.rest.is_empty();
        for id in &touched.jobs {
            kept.jobs.insert(id.clone(), write(&self.jobs[id]));
        }
        for name in &touched.nodes {
            kept.nodes.insert(name.clone(), write(&self.nodes[name]));
        }
        kept.rest = write(&self.counters);
        is_new || touched.counters || !touched.jobs.is_empty() || !touched.nodes.is_empty()
    }
}

fn read_all<T: DeserializeOwned>(
    what: &'static str,
    texts: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, T>, KeepError> {
    texts.iter().map(|(key, text)| Ok((key.clone(), read(what, text)?))).collect()
}

fn read<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, KeepError> {
    serde_json::from_str(text).map_err(|source| KeepError { what, source })
}

fn write<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("the state is plain data with text keys")
}
