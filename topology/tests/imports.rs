//! Real clusters as fabrics: what tools print, read into specs that can be built.

use ds_topology::fabric::{Fabric, FabricSpec, NetworkKind, Rate, WithinKind};
use ds_topology::import::{Imported, Source, import};

const H800: &str = include_str!("import/nvidia-smi-h800.txt");
const PCIE: &str = include_str!("import/nvidia-smi-pcie.txt");
const NCCL: &str = include_str!("import/nccl-h100.xml");
const TWO_TIERS: &str = include_str!("import/slurm-two-tiers.conf");
const THREE_TIERS: &str = include_str!("import/slurm-three-tiers.conf");
const KUBERNETES: &str = include_str!("import/kubernetes-h100.json");

#[track_caller]
fn imported(source: Source, text: &str) -> Imported {
    import(source, text).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn refused(source: Source, text: &str, reasons: &[&str]) {
    let error = import(source, text).expect_err("it cannot be imported").to_string();
    for reason in reasons {
        assert!(error.contains(reason), "{reason:?} is missing in {error}");
    }
}

#[test]
fn all_samples_become_fabrics_whose_yaml_reads_as_the_same() {
    let samples = [
        (Source::NvidiaSmi, H800),
        (Source::NvidiaSmi, PCIE),
        (Source::Nccl, NCCL),
        (Source::Slurm, TWO_TIERS),
        (Source::Slurm, THREE_TIERS),
        (Source::Kubernetes, KUBERNETES),
    ];
    for (source, text) in samples {
        let imported = imported(source, text);
        Fabric::new(&imported.spec).unwrap_or_else(|error| panic!("{source:?}: {error}"));
        let yaml = imported.to_yaml().expect("YAML");
        assert_eq!(FabricSpec::parse(&yaml), Ok(imported.spec), "{yaml}");
        assert_eq!(yaml.matches("# Assumed: ").count(), imported.assumed.len());
    }
}

#[test]
fn nvidia_smi_gives_links_to_the_switch_and_the_nics_that_are_near() {
    let node = imported(Source::NvidiaSmi, H800).spec.node;
    let within = node.within.expect("NVLink");
    assert_eq!((node.gpus, within.kind, within.bandwidth), (8, WithinKind::Nvlink, Rate(200e9)));
    assert_eq!(node.nics, 8, "the ninth is far from every GPU");
    let node = imported(Source::NvidiaSmi, PCIE).spec.node;
    assert_eq!((node.gpus, node.nics, node.within.expect("PCIe").kind), (4, 0, WithinKind::Pcie));
}

#[test]
fn nccl_gives_rates_of_links_and_ports() {
    let node = imported(Source::Nccl, NCCL).spec.node;
    assert_eq!(node.within.expect("NVLink").bandwidth, Rate(450e9), "18 links of 25 GB/s");
    let nic = node.nic.expect("NICs");
    assert_eq!((node.gpus, node.nics, nic.ports, nic.bandwidth), (8, 8, 1, Rate(50e9)));
}

#[test]
fn slurm_gives_the_tree() {
    let spec = imported(Source::Slurm, TWO_TIERS).spec;
    let network = spec.network.expect("a network");
    assert_eq!((spec.nodes, network.kind, network.layers), (64, NetworkKind::MultiRailFatTree, None));
    assert_eq!(network.hosts_per_switch, Some(16));
    let three = imported(Source::Slurm, THREE_TIERS).spec;
    let fabric = Fabric::new(&three).expect("a fabric");
    assert_eq!((three.nodes, fabric.diameter()), (96, Some(4)));
    assert_eq!(three.network.expect("a network").leaves_per_pod, Some(4 * 8), "four of the file, for eight rails");
}

#[test]
fn kubernetes_gives_nodes_with_gpus_and_their_leaves() {
    let spec = imported(Source::Kubernetes, KUBERNETES).spec;
    assert_eq!((spec.nodes, spec.node.gpus, spec.gpu.as_deref()), (8, 8, Some("h100")));
    assert_eq!(spec.network.expect("a network").hosts_per_switch, Some(2), "nodes of a leaf");
}

#[test]
fn what_is_something_else_is_refused_with_its_place() {
    refused(Source::NvidiaSmi, "No devices were found\n", &["nvidia-smi topo -m", "no line begins with GPU0"]);
    refused(Source::NvidiaSmi, &H800.replace("\nGPU3\t", "\nGPX3\t"), &["row GPU4", "GPU3"]);
    refused(Source::Nccl, "<graphs/>", &["<graphs>, not <system>"]);
    refused(Source::Nccl, "<system><cpu></system>", &["NCCL's topology XML", "1:14"]);
    refused(Source::Nccl, "<system/>", &["names no GPU"]);
    refused(
        Source::Slurm,
        "SwitchName=a Nodes=n[1-2]\nSwitchName=b Nodes=n2\n",
        &["line 2: node n2 is below switch a already"],
    );
    refused(Source::Slurm, "SwitchName=a Nodes=n1\nSwitchName=b Switches=a,c\n", &["line 2: switch b joins c"]);
    refused(Source::Slurm, "SwitchName=a Nodes=n[2-1]\n", &["line 1: `n[2-1]` is no list of names"]);
    refused(Source::Slurm, "# nothing\n", &["names no node"]);
    refused(Source::Slurm, "SwitchName=a Switches=a Nodes=n1\n", &["4 tiers deep"]);
    refused(Source::Kubernetes, "{\"items\": 3}", &["kubectl get nodes", "line 1"]);
    refused(Source::Kubernetes, "{\"items\": []}", &["names no node with GPUs"]);
    let unequal = KUBERNETES.replacen("\"nvidia.com/gpu\": \"8\"", "\"nvidia.com/gpu\": \"4\"", 1);
    refused(Source::Kubernetes, &unequal, &["node gpu-00 has 4 GPUs and node gpu-01 has 8"]);
}
