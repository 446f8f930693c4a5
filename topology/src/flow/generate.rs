//! Flows that a large case describes in words: all ordered pairs of endpoints, by the routing of its platform.

use serde::Deserialize;

use super::problem::{Flow, LinkId};

/// What a case has instead of a list of flows.
#[derive(Clone, Debug, Deserialize)]
pub struct Generator {
    /// `all ordered pairs` is known.
    pub pattern: String,
    /// Of each flow.
    pub bytes: Bytes,
    /// Of each flow, in seconds.
    pub start_s: f64,
}

/// How much each flow carries.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Bytes {
    /// All alike.
    Number(f64),
    /// `A + splitmix64(src*N+dst) mod M`.
    Rule(String),
}

/// Sizes of a network, by their names in a case.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Sizes {
    hosts: u32,
    hosts_per_leaf: u32,
    spines: u32,
    nodes: u32,
    gpus_per_node: u32,
    planes: u32,
    nodes_per_leaf: u32,
    spines_per_plane: u32,
    failed_nics: Vec<serde_json::Value>,
    failed_links: Vec<serde_json::Value>,
}

/// Why no flows can be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GenerateError {
    /// Neither flows nor a generator.
    #[error("the case has neither `flows` nor a `generator`")]
    Nothing,
    /// An unknown word.
    #[error("generator: {what} `{found}` is not known; known: {known}")]
    Unknown {
        /// `pattern`, `bytes`, `platform.kind`.
        what: &'static str,
        /// In the file.
        found: String,
        /// What is.
        known: &'static str,
    },
    /// A size that is missing or zero.
    #[error("platform.params: {0} must be given and greater than 0")]
    Size(
        /// Its name.
        &'static str,
    ),
    /// Failures need the flows listed.
    #[error("platform.params: a generator makes no paths around failed parts; list the flows")]
    Failures,
}

/// The flows that a generator describes.
pub(super) fn generate(generator: &Generator, kind: &str, sizes: &Sizes) -> Result<Vec<Flow>, GenerateError> {
    if generator.pattern != "all ordered pairs" {
        let found = generator.pattern.clone();
        return Err(GenerateError::Unknown { what: "pattern", found, known: "all ordered pairs" });
    }
    if !sizes.failed_nics.is_empty() || !sizes.failed_links.is_empty() {
        return Err(GenerateError::Failures);
    }
    let bytes = BytesRule::new(&generator.bytes)?;
    let start = generator.start_s;
    let make = |n: u32, path: &dyn Fn(u32, u32) -> Vec<LinkId>| {
        let pairs = (0..n).flat_map(|s| (0..n).filter(move |&d| d != s).map(move |d| (s, d)));
        let flow = |(s, d)| Flow { bytes: bytes.of(s, d), start, delay: 0.0, deps: Vec::new(), path: path(s, d) };
        pairs.map(flow).collect()
    };
    match kind {
        "fat_tree_2l" => {
            let tree = FatTree::of_hosts(sizes)?;
            Ok(make(tree.hosts, &|s, d| tree.path(s, d)))
        }
        "mpft" => {
            let planes = MultiPlane::new(sizes)?;
            Ok(make(planes.n_gpus(), &|s, d| planes.path(s, d)))
        }
        found => {
            let (found, known) = (found.to_owned(), "fat_tree_2l, mpft");
            Err(GenerateError::Unknown { what: "platform.kind", found, known })
        }
    }
}

enum BytesRule {
    Same(f64),
    Mixed { least: u64, n: u64, modulus: u64 },
}

impl BytesRule {
    fn new(bytes: &Bytes) -> Result<Self, GenerateError> {
        let rule = match bytes {
            Bytes::Number(bytes) => return Ok(Self::Same(*bytes)),
            Bytes::Rule(rule) => rule,
        };
        let known = "a number, or `A + splitmix64(src*N+dst) mod M`";
        let unknown = || GenerateError::Unknown { what: "bytes", found: rule.clone(), known };
        let numbers = || {
            let (least, rest) = rule.split_once(" + splitmix64(src*")?;
            let (n, modulus) = rest.split_once("+dst) mod ")?;
            Some((least.parse().ok()?, n.parse().ok()?, modulus.parse().ok().filter(|&m: &u64| m > 0)?))
        };
        let (least, n, modulus) = numbers().ok_or_else(unknown)?;
        Ok(Self::Mixed { least, n, modulus })
    }

    fn of(&self, s: u32, d: u32) -> f64 {
        match self {
            Self::Same(bytes) => *bytes,
            Self::Mixed { least, n, modulus } => {
                let mixed = splitmix64(u64::from(s).wrapping_mul(*n).wrapping_add(u64::from(d)));
                (least + mixed % modulus) as f64
            }
        }
    }
}

/// The mixer of Steele, Lea and Flood's generator (OOPSLA 2014).
fn splitmix64(x: u64) -> u64 {
    let mut z = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Hosts under leaves under spines; links are listed hosts first, then leaf after leaf, up and down in turn.
struct FatTree {
    first_link: u32,
    hosts: u32,
    hosts_per_leaf: u32,
    spines: u32,
}

impl FatTree {
    fn of_hosts(sizes: &Sizes) -> Result<Self, GenerateError> {
        Ok(Self {
            first_link: 0,
            hosts: given("hosts", sizes.hosts)?,
            hosts_per_leaf: given("hosts_per_leaf", sizes.hosts_per_leaf)?,
            spines: given("spines", sizes.spines)?,
        })
    }

    fn n_links(&self) -> u32 {
        2 * self.hosts + 2 * self.hosts.div_ceil(self.hosts_per_leaf) * self.spines
    }

    /// The spine by the destination (D-mod-k).
    fn path(&self, s: u32, d: u32) -> Vec<LinkId> {
        let (from, to) = (s / self.hosts_per_leaf, d / self.hosts_per_leaf);
        let uplink = |leaf: u32| 2 * self.hosts + 2 * (leaf * self.spines + d % self.spines);
        let links: &[u32] = &[2 * s, uplink(from), uplink(to) + 1, 2 * d + 1];
        let taken: &[usize] = if from == to { &[0, 3] } else { &[0, 1, 2, 3] };
        taken.iter().map(|&i| LinkId(self.first_link + links[i])).collect()
    }
}

/// As many fat-trees as a node has GPUs; a flow changes to the plane of its destination within its own node (PXN).
struct MultiPlane {
    gpus_per_node: u32,
    planes: Vec<FatTree>,
}

impl MultiPlane {
    fn new(sizes: &Sizes) -> Result<Self, GenerateError> {
        let nodes = given("nodes", sizes.nodes)?;
        let gpus_per_node = given("gpus_per_node", sizes.gpus_per_node)?;
        let mut first_link = 2 * nodes * gpus_per_node;
        let mut planes = Vec::new();
        for _ in 0..given("planes", sizes.planes)? {
            let tree = FatTree {
                first_link,
                hosts: nodes,
                hosts_per_leaf: given("nodes_per_leaf", sizes.nodes_per_leaf)?,
                spines: given("spines_per_plane", sizes.spines_per_plane)?,
            };
            first_link += tree.n_links();
            planes.push(tree);
        }
        if planes.len() as u32 != gpus_per_node {
            return Err(GenerateError::Size("planes (one for each GPU of a node)"));
        }
        Ok(Self { gpus_per_node, planes })
    }

    fn n_gpus(&self) -> u32 {
        self.planes[0].hosts * self.gpus_per_node
    }

    fn path(&self, s: u32, d: u32) -> Vec<LinkId> {
        let out = |gpu: u32| LinkId(2 * gpu);
        let into = |gpu: u32| LinkId(2 * gpu + 1);
        let (from, to, plane) = (s / self.gpus_per_node, d / self.gpus_per_node, d % self.gpus_per_node);
        if from == to {
            return vec![out(s), into(d)];
        }
        let relay = from * self.gpus_per_node + plane;
        let mut path = if relay == s { Vec::new() } else { vec![out(s), into(relay)] };
        path.extend(self.planes[plane as usize].path(from, to));
        path
    }
}

fn given(name: &'static str, size: u32) -> Result<u32, GenerateError> {
    if size > 0 { Ok(size) } else { Err(GenerateError::Size(name)) }
}
