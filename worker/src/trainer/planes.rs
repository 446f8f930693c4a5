//! What the NICs of all ranks carried in a step, by plane.

use std::collections::BTreeMap;

use ds_proto::PlaneBytes;

use super::Trainer;
use crate::comm::PlaneTraffic;
use crate::error::RankError;

impl Trainer {
    /// What has been carried since it was last asked, all ranks together; nothing where ranks have no NICs of their own, and
    /// at other ranks than the first. Every rank calls it.
    pub(super) fn carried(&mut self) -> Result<Vec<PlaneBytes>, RankError> {
        let Some(now) = self.groups.world.plane() else { return Ok(Vec::new()) };
        let step = PlaneTraffic { bytes: now.bytes - std::mem::replace(&mut self.carried_bytes, now.bytes), ..now };
        let told = self.groups.at_first(&step)?.transpose().unwrap_or_else(|error| {
            tracing::warn!("what planes carried is not known: {error}");
            None
        });
        let mut planes = BTreeMap::new();
        for PlaneTraffic { plane, bytes, is_lost } in told.into_iter().flatten() {
            let sum = planes.entry(plane).or_insert(PlaneBytes { plane, ..PlaneBytes::default() });
            sum.bytes += bytes;
            sum.n_lost += u32::from(is_lost);
        }
        Ok(planes.into_values().collect())
    }
}
