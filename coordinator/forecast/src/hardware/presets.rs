//! Machines by name. The numbers and where each comes from lie in `presets.json`.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::Hardware;

/// Every preset's name.
pub const PRESETS: &[&str] = &["A100", "H800", "H100", "H200", "B200", "GB200", "GB300", "CPU"];

/// Where a constant comes from: a data sheet, or the rows that it was fitted on.
pub type Source = String;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Preset {
    hardware: Hardware,
    sources: BTreeMap<String, Source>,
}

static ALL: LazyLock<Vec<Preset>> =
    LazyLock::new(|| serde_json::from_str(include_str!("presets.json")).expect("a test reads every preset"));

/// The machine of that name, in any case.
pub fn hardware(name: &str) -> Option<Hardware> {
    find(name).map(|preset| preset.hardware.clone())
}

/// Where each constant of a preset comes from, by the name of its field.
pub fn sources(name: &str) -> Option<&'static BTreeMap<String, Source>> {
    find(name).map(|preset| &preset.sources)
}

fn find(name: &str) -> Option<&'static Preset> {
    ALL.iter().find(|preset| preset.hardware.name.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_preset_is_there_and_no_other() {
        let names: Vec<&str> = ALL.iter().map(|preset| preset.hardware.name.as_str()).collect();
        assert_eq!(names, PRESETS);
        assert!(hardware("h800").is_some() && hardware("abacus").is_none());
    }

    #[test]
    fn every_constant_names_its_source_and_is_positive() {
        for preset in ALL.iter() {
            let fields = serde_json::to_value(&preset.hardware).unwrap();
            for (field, value) in fields.as_object().unwrap().iter().filter(|(field, _)| *field != "name") {
                let source = preset.sources.get(field);
                let name = &preset.hardware.name;
                assert!(source.is_some_and(|text| text.len() > 5), "{name}: {field} has no source");
                assert!(value.as_f64().unwrap() >= 0.0, "{name}: {field} is {value}");
            }
            assert_eq!(preset.sources.len(), fields.as_object().unwrap().len() - 1);
        }
    }
}
