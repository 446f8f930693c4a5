//! What this machine brings: cores, memory, GPUs and NICs, as the ranks may use them.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ds_topology::{Gpu, GpuId, Nic, NicId, Node, PlaneId};
use nix::ifaddrs::getifaddrs;
use nix::net::if_::InterfaceFlags;

use super::{NodeConfig, NodeError};

/// Looks at the machine; what the config names instead is taken as given.
pub(super) fn inventory(config: &NodeConfig) -> Result<Node, NodeError> {
    Ok(Node {
        name: config.name.clone().unwrap_or_else(host_name),
        n_cores: config.cores.unwrap_or_else(n_cores),
        memory_bytes: memory_bytes(),
        gpus: gpus(),
        nics: nics(config, interfaces())?,
    })
}

fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "node".to_owned(),
        name => name.to_owned(),
    }
}

/// Of this process: its affinity and the quota of its control group, not all that the machine has.
fn n_cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX))
}

/// The machine's memory, or the limit of the control group where that is lower.
fn memory_bytes() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&groups).into_iter().filter_map(|file| fs::read_to_string(file).ok()?.trim().parse().ok());
    limits.chain(total_memory(&meminfo)).min().unwrap_or(0)
}

/// `MemTotal:       16384 kB` in bytes.
fn total_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Where the memory limits of a process stand, by its `/proc/self/cgroup`: its own group's and those of the groups
/// around it, version 2 and version 1.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|controller| controller == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let own = Path::new(root).join(path.trim_start_matches('/'));
        files.extend(own.ancestors().take_while(|group| group.starts_with(root)).map(|group| group.join(file)));
    }
    files
}

/// As the driver lists them; none without a driver.
fn gpus() -> Vec<Gpu> {
    let query = ["--query-gpu=index,name,memory.total", "--format=csv,noheader,nounits"];
    match Command::new("nvidia-smi").args(query).stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => gpus_of(&String::from_utf8_lossy(&output.stdout)),
        Ok(output) => {
            tracing::warn!("nvidia-smi failed ({}), so this node registers no GPU", output.status);
            Vec::new()
        }
        Err(_) => Vec::new(),
    }
}

/// `0, NVIDIA H800, 81559` a line, the memory in MiB.
fn gpus_of(csv: &str) -> Vec<Gpu> {
    csv.lines()
        .filter_map(|line| {
            let (index, rest) = line.split_once(',')?;
            let (name, mebibytes) = rest.rsplit_once(',')?;
            let memory_bytes = mebibytes.trim().parse::<u64>().ok()? << 20;
            Some(Gpu { id: GpuId(index.trim().parse().ok()?), name: name.trim().to_owned(), memory_bytes })
        })
        .collect()
}

/// One a network interface that is up and has an address, loopback last; only those with the addresses asked for, if
/// any are; only loopback under a coordinator that is reached there, so that nothing listens beyond it untold.
fn nics(config: &NodeConfig, mut found: Vec<Interface>) -> Result<Vec<Nic>, NodeError> {
    let NodeConfig { join, addresses, planes, .. } = config;
    if let Some((name, _)) = planes.iter().find(|(name, _)| !found.iter().any(|interface| interface.name == *name)) {
        return Err(NodeError::NoSuchNic { name: name.clone(), known: names(&found) });
    }
    let is_missing = |address: &IpAddr| !found.iter().any(|interface| interface.address == *address);
    if let Some(&address) = addresses.iter().find(|address| is_missing(address)) {
        return Err(NodeError::NoSuchAddress { address, known: addresses_of(&found) });
    }
    if addresses.is_empty() && planes.is_empty() && is_loopback(join) {
        found.retain(|interface| interface.address.is_loopback());
    }
    Ok(chosen(found, addresses, planes))
}

/// `http://127.0.0.1:7000`, `http://localhost:7000` or `http://[::1]:7000`.
fn is_loopback(join: &str) -> bool {
    let authority = join.split_once("://").map_or(join, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let address: Result<IpAddr, _> = host.trim_matches(['[', ']']).parse();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// One address of one network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Interface {
    name: String,
    address: IpAddr,
}

fn interfaces() -> Vec<Interface> {
    let Ok(all) = getifaddrs() else { return Vec::new() };
    all.filter(|interface| interface.flags.contains(InterfaceFlags::IFF_UP))
        .filter_map(|interface| {
            let address = interface.address?;
            let address = match (address.as_sockaddr_in(), address.as_sockaddr_in6()) {
                (Some(v4), _) => IpAddr::V4(v4.ip()),
                (_, Some(v6)) if !v6.ip().is_unicast_link_local() => IpAddr::V6(v6.ip()),
                _ => return None,
            };
            Some(Interface { name: interface.interface_name, address })
        })
        .collect()
}

/// One address a NIC (the first, IPv4 before IPv6) or each address that is wanted, in that order.
fn chosen(mut found: Vec<Interface>, wanted: &[IpAddr], planes: &[(String, PlaneId)]) -> Vec<Nic> {
    if wanted.is_empty() {
        found.sort_by_key(|interface| (interface.address.is_loopback(), interface.address.is_ipv6()));
        let mut seen: Vec<String> = Vec::new();
        found.retain(|interface| {
            let new = !seen.contains(&interface.name);
            seen.push(interface.name.clone());
            new
        });
    } else {
        found.retain(|interface| wanted.contains(&interface.address));
        found.sort_by_key(|interface| wanted.iter().position(|&address| address == interface.address));
    }
    let plane_of = |name: &str| planes.iter().find(|(nic, _)| nic == name).map_or(PlaneId(0), |&(_, plane)| plane);
    (0..)
        .zip(found)
        .map(|(id, Interface { name, address })| Nic { id: NicId(id), plane: plane_of(&name), name, address })
        .collect()
}

fn names(found: &[Interface]) -> String {
    let mut names: Vec<&str> = found.iter().map(|interface| interface.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

fn addresses_of(found: &[Interface]) -> String {
    found.iter().map(|interface| interface.address.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(name: &str, address: &str) -> Interface {
        Interface { name: name.to_owned(), address: address.parse().unwrap() }
    }

    fn config(join: &str) -> NodeConfig {
        NodeConfig {
            join: join.to_owned(),
            token: String::new(),
            name: None,
            cores: None,
            work: None,
            addresses: Vec::new(),
            planes: Vec::new(),
            embedded: None,
            rank_command: Vec::new(),
        }
    }

    fn some_interfaces() -> Vec<Interface> {
        vec![
            interface("lo", "127.0.0.1"),
            interface("eth0", "fd00::7"),
            interface("eth0", "10.0.0.7"),
            interface("eth1", "10.1.0.7"),
            interface("lo", "::1"),
        ]
    }

    fn listed(nics: &[Nic]) -> Vec<String> {
        nics.iter().map(|nic| format!("{} {} {} plane {}", nic.id.0, nic.name, nic.address, nic.plane)).collect()
    }

    #[test]
    fn every_interface_is_one_nic_with_its_first_address_and_loopback_is_last() {
        let nics = chosen(some_interfaces(), &[], &[("eth1".to_owned(), PlaneId(3))]);
        assert_eq!(listed(&nics), ["0 eth0 10.0.0.7 plane 0", "1 eth1 10.1.0.7 plane 3", "2 lo 127.0.0.1 plane 0"]);
    }

    #[test]
    fn addresses_asked_for_are_the_only_ones_in_the_order_asked_for() {
        let wanted = ["127.0.0.1".parse().unwrap(), "fd00::7".parse().unwrap()];
        let nics = chosen(some_interfaces(), &wanted, &[]);
        assert_eq!(listed(&nics), ["0 lo 127.0.0.1 plane 0", "1 eth0 fd00::7 plane 0"]);
    }

    #[test]
    fn an_address_that_the_machine_lacks_is_refused_with_those_that_it_has() {
        let config = NodeConfig { addresses: vec!["203.0.113.77".parse().unwrap()], ..config("http://10.0.0.1:7000") };
        let error = nics(&config, some_interfaces()).unwrap_err().to_string();
        assert!(error.contains("203.0.113.77") && error.contains("127.0.0.1"), "{error}");
    }

    #[test]
    fn a_plane_of_a_card_that_the_machine_lacks_is_refused_with_those_that_it_has() {
        let config = NodeConfig { planes: vec![("ib7".to_owned(), PlaneId(1))], ..config("http://10.0.0.1:7000") };
        let error = nics(&config, some_interfaces()).unwrap_err().to_string();
        assert!(error.contains("--nic ib7=") && error.contains("eth0, eth1, lo"), "{error}");
    }

    #[test]
    fn under_a_coordinator_at_loopback_ranks_listen_there_only_unless_told() {
        for (join, n_nics) in [
            ("http://127.0.0.1:7000", 1),
            ("localhost:7000", 1),
            ("http://[::1]:7000/", 1),
            ("http://10.0.0.1:7000", 3),
            ("http://head-node:7000", 3),
        ] {
            assert_eq!(nics(&config(join), some_interfaces()).unwrap().len(), n_nics, "{join}");
        }
        let told = NodeConfig { planes: vec![("eth1".to_owned(), PlaneId(1))], ..config("http://127.0.0.1:7000") };
        assert_eq!(nics(&told, some_interfaces()).unwrap().len(), 3);
    }

    #[test]
    fn gpus_are_read_from_the_drivers_table() {
        let gpus = gpus_of("0, NVIDIA H800, 81559\n1, NVIDIA A100-SXM4-80GB, 81920\n\nno devices\n");
        assert_eq!(gpus.len(), 2);
        assert_eq!(gpus[0].name, "NVIDIA H800");
        assert_eq!(gpus[1], Gpu { id: GpuId(1), name: "NVIDIA A100-SXM4-80GB".to_owned(), memory_bytes: 80 << 30 });
    }

    #[test]
    fn memory_limits_are_looked_for_in_every_group_around_the_process() {
        assert_eq!(
            limit_files("0::/a/b\n"),
            [
                PathBuf::from("/sys/fs/cgroup/a/b/memory.max"),
                PathBuf::from("/sys/fs/cgroup/a/memory.max"),
                PathBuf::from("/sys/fs/cgroup/memory.max"),
            ]
        );
        assert_eq!(
            limit_files("4:cpu,cpuacct:/x\n5:memory:/\n"),
            [PathBuf::from("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
        );
        assert_eq!(total_memory("MemFree: 1 kB\nMemTotal:       16384 kB\n"), Some(16 << 20));
    }

    #[test]
    fn this_machine_has_at_least_a_core_and_some_memory() {
        assert!(n_cores() >= 1);
        assert!(memory_bytes() > 1 << 20);
    }
}
