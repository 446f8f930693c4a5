//! What every link carries when all send to all.

use super::FabricRoutes;
use crate::{EndpointId, NoRoute, Routes};

/// Receivers of each sender on fabrics that are too large for all pairs.
const RECEIVERS_MAX: u32 = 4096;

/// Bytes over each link when every endpoint sends `bytes` in all, in equal parts to every other endpoint. On fabrics of
/// more than 4,096 endpoints each sends to as many that are evenly spread.
///
/// # Errors
/// When two endpoints cannot reach each other.
pub fn all_to_all(routes: &mut FabricRoutes, bytes: f64) -> Result<Vec<f64>, NoRoute> {
    let n = routes.n_endpoints();
    let receivers = (n - 1).min(RECEIVERS_MAX);
    let mut loads = vec![0.0; routes.network().len()];
    for from in 0..n {
        for i in 0..receivers {
            // From the next endpoint round to the last before the sender.
            let step = 1 + (u64::from(i) * u64::from(n - 1) / u64::from(receivers)) as u32;
            let to = (u64::from(from) + u64::from(step)) % u64::from(n);
            routes.paths(EndpointId(from), EndpointId(to as u32), 0, &mut |share, path| {
                let each = share * bytes / f64::from(receivers);
                path.iter().for_each(|link| loads[link.0 as usize] += each);
            })?;
        }
    }
    Ok(loads)
}
