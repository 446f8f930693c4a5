//! Fabrics that come with the program: the files of `deploy/fabrics`, by their names.

/// Name and YAML of each.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("a100-node", include_str!("../../../deploy/fabrics/a100-node.yaml")),
    ("ft3", include_str!("../../../deploy/fabrics/ft3.yaml")),
    ("gb200-nvl72", include_str!("../../../deploy/fabrics/gb200-nvl72.yaml")),
    ("h100-node", include_str!("../../../deploy/fabrics/h100-node.yaml")),
    ("h200-node", include_str!("../../../deploy/fabrics/h200-node.yaml")),
    ("h800-mpft-64", include_str!("../../../deploy/fabrics/h800-mpft-64.yaml")),
    ("h800-mpft-2048", include_str!("../../../deploy/fabrics/h800-mpft-2048.yaml")),
    ("h800-mpft-16384", include_str!("../../../deploy/fabrics/h800-mpft-16384.yaml")),
    ("h800-mpft3-131072", include_str!("../../../deploy/fabrics/h800-mpft3-131072.yaml")),
    ("h800-mrft-2048", include_str!("../../../deploy/fabrics/h800-mrft-2048.yaml")),
    ("h800-node", include_str!("../../../deploy/fabrics/h800-node.yaml")),
    ("laptop", include_str!("../../../deploy/fabrics/laptop.yaml")),
];

/// The YAML of a fabric that comes with the program.
pub fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, yaml)| *yaml)
}
