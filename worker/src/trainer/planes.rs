//! What the NICs of all ranks carried in a step, by plane.

use std::collections::BTreeMap;

use ds_proto::PlaneBytes;

use super::Trainer;
use crate::comm::PlaneTraffic;
use crate::error::RankError;

impl Trainer {
    /// What has been carried since it was last asked, all ranks together; nothing where ranks have no NICs of their own.
    /// Every rank calls it.
    pub(super) fn carried(&mut self) -> Result<Vec<PlaneBytes>, RankError> {
        let Some(now) = self.groups.world.plane() else { return Ok(Vec::new()) };
        let step = PlaneTraffic { bytes: now.bytes - std::mem::replace(&mut self.carried_bytes, now.bytes), ..now };
        let own = serde_json::to_vec(&step).expect("numbers are JSON");
        let gathered = self.groups.world.all_gather_bytes(&own).wait(self.groups.deadline())?;
        let mut planes = BTreeMap::new();
        for PlaneTraffic { plane, bytes, is_lost } in gathered.iter().flat_map(|one| serde_json::from_slice(one)) {
            let sum = planes.entry(plane).or_insert(PlaneBytes { plane, ..PlaneBytes::default() });
            sum.bytes += bytes;
            sum.n_lost += u32::from(is_lost);
        }
        Ok(planes.into_values().collect())
    }
}
