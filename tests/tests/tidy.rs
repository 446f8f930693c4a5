//! Rules that matter are tests.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use ds_plan::JobPlan;
use ds_plan::spec::read;

/// Packages by level; each may use lower levels only.
const LEVELS: &[&[&str]] = &[
    &["ds-topology", "ds-arch", "ds-kernels"],
    &["ds-plan", "ds-checkpoint", "ds-data", "ds-model"],
    &["ds-proto", "ds-forecast"],
    &["ds-coordinator", "ds-worker"],
    &["ds-tests"],
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").to_owned()
}

/// Every package's name and manifest.
fn packages() -> BTreeMap<String, String> {
    let workspace = fs::read_to_string(root().join("Cargo.toml")).expect("the workspace's manifest");
    let members = workspace.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).expect("members");
    members
        .split('"')
        .skip(1)
        .step_by(2)
        .map(|member| {
            let manifest = fs::read_to_string(root().join(member).join("Cargo.toml")).expect("a member's manifest");
            let name = manifest.split("name = \"").nth(1).and_then(|rest| rest.split('"').next()).expect("a name");
            (name.to_owned(), manifest)
        })
        .collect()
}

fn level(package: &str) -> usize {
    let found = LEVELS.iter().position(|level| level.contains(&package));
    found.unwrap_or_else(|| panic!("{package} has no level here"))
}

#[test]
fn dependencies_never_climb_a_level() {
    for (name, manifest) in packages() {
        for line in manifest.lines().filter(|line| line.starts_with("ds-")) {
            let used = line.split(['.', ' ', '=']).next().expect("a name");
            assert!(level(used) < level(&name), "{name} (level {}) uses {used} (level {})", level(&name), level(used));
        }
    }
}

#[test]
fn what_must_not_need_libtorch_does_not() {
    let packages = packages();
    let without =
        ["ds-topology", "ds-arch", "ds-plan", "ds-forecast", "ds-checkpoint", "ds-data", "ds-proto", "ds-coordinator"];
    for name in without {
        for torch in ["tch", "torch-sys", "ds-kernels", "ds-model", "ds-worker"] {
            assert!(!packages[name].contains(&format!("\n{torch}")), "{name} uses {torch}");
        }
    }
}

#[test]
fn the_architecture_page_names_every_package() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for name in packages().keys() {
        assert!(page.contains(name.as_str()), "{name} is missing from ARCHITECTURE.md");
    }
}

#[test]
fn every_job_under_deploy_can_be_planned() {
    let mut n_jobs = 0;
    for entry in fs::read_dir(root().join("deploy/jobs")).expect("deploy/jobs").flatten() {
        let path = entry.path();
        let text = fs::read_to_string(&path).expect("a job");
        let job = read(&text, &path.to_string_lossy(), &[]).unwrap_or_else(|problems| panic!("{problems}"));
        JobPlan::new(job.spec).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        n_jobs += 1;
    }
    assert!(n_jobs > 0, "deploy/jobs has jobs");
}

#[test]
fn unsafe_code_stands_only_where_the_architecture_page_says() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let table = page.split("## Unsafe code").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the section");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let allowed: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    assert!(allowed.len() > 2, "{allowed:?}");
    for path in sources(&root()) {
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("a source file");
        let has = text.lines().any(|line| line.contains("unsafe {") || line.contains("unsafe extern"));
        assert!(!has || allowed.iter().any(|place| name.starts_with(place)) || name.starts_with("tests/"), "{name}");
    }
}

#[test]
fn protobuf_types_stand_only_in_the_wire_package_and_where_a_foreign_format_is_read() {
    let allowed = ["coordinator/proto/", "coordinator/forecast/src/trace/chakra/", "tests/"];
    for path in sources(&root()) {
        let name = path.strip_prefix(root()).expect("below the root").to_string_lossy().into_owned();
        if allowed.iter().any(|place| name.starts_with(place)) {
            continue;
        }
        let text = fs::read_to_string(&path).expect("a source file");
        assert!(!text.contains("prost::") && !text.contains("tonic::include_proto"), "{name} names a protobuf type");
    }
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(sources(&path));
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    found
}
