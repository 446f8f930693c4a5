//! What NCCL is told of a node whose NICs are on several planes: each rank its own NIC, nothing from plane to plane over the
//! network; what is for another plane goes by a neighbour's card (PXN), as with [`crate::comm::Wiring::Planes`].

use std::fs;

use ds_topology::Nic;

/// Environment variables of the rank on that device; none on cores, and where all NICs are on one plane, which NCCL
/// arranges by itself. `hca` gives the InfiniBand device behind an interface.
pub(super) fn settings(
    device: &str,
    nics: &[Nic],
    hca: impl Fn(&str) -> Option<String>,
) -> Vec<(&'static str, String)> {
    let Some(card) = device.strip_prefix("cuda:").and_then(|card| card.parse::<usize>().ok()) else {
        return Vec::new();
    };
    if nics.iter().all(|nic| nic.plane == nics[0].plane) {
        return Vec::new();
    }
    let own = &nics[card % nics.len()];
    let mut settings = vec![
        // Of where ranks find each other.
        ("NCCL_SOCKET_IFNAME", format!("={}", own.name)),
        ("NCCL_CROSS_NIC", "0".to_owned()),
        ("NCCL_PXN_DISABLE", "0".to_owned()),
    ];
    settings.extend(hca(&own.name).map(|hca| ("NCCL_IB_HCA", format!("={hca}"))));
    settings
}

/// The InfiniBand device of an interface, as the kernel names it; none where it has none.
pub(super) fn hca_of(interface: &str) -> Option<String> {
    let folder = fs::read_dir(format!("/sys/class/net/{interface}/device/infiniband")).ok()?;
    folder.flatten().next().map(|entry| entry.file_name().to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use ds_topology::{NicId, PlaneId};

    use super::*;

    fn nic(id: u16, plane: u8) -> Nic {
        let name = format!("eth{id}");
        Nic { id: NicId(id), name, address: [10, 0, plane, 1].into(), plane: PlaneId(plane) }
    }

    #[test]
    fn each_card_has_its_nic_and_stays_on_its_plane() {
        let nics = [nic(0, 0), nic(1, 1)];
        let told = settings("cuda:3", &nics, |name| name.strip_prefix("eth").map(|n| format!("mlx5_{n}")));
        let expected = [
            ("NCCL_SOCKET_IFNAME", "=eth1"),
            ("NCCL_CROSS_NIC", "0"),
            ("NCCL_PXN_DISABLE", "0"),
            ("NCCL_IB_HCA", "=mlx5_1"),
        ];
        assert_eq!(told, expected.map(|(name, value)| (name, value.to_owned())));
        assert!(!settings("cuda:0", &nics, |_| None).iter().any(|(name, _)| *name == "NCCL_IB_HCA"));
    }

    #[test]
    fn one_plane_and_ranks_on_cores_are_left_alone() {
        assert_eq!(settings("cuda:0", &[nic(0, 0), nic(1, 0)], |_| None), []);
        assert_eq!(settings("cpu", &[nic(0, 0), nic(1, 1)], |_| None), []);
        assert_eq!(settings("cuda:0", &[], |_| None), []);
    }

    #[test]
    fn an_interface_without_one_has_no_hca() {
        assert_eq!(hca_of("no-such-interface"), None);
    }
}
