//! Rotary positions, in both spellings.

use serde_json::{Map, Value, json};

use super::fields::Fields;
use super::problem::ConfigProblem;
use crate::RopeConfig;

/// Of transformers 5: theta is inside.
const NEW: &str = "rope_parameters";
/// Of the released file: theta stands beside it.
const OLD: &str = "rope_scaling";

/// From the whole file.
pub(super) fn read(config: &Map<String, Value>, problems: &mut Vec<ConfigProblem>) -> RopeConfig {
    let new = section(config, NEW, problems);
    let old = section(config, OLD, problems);
    // transformers 5 writes the new one and may keep the old ones beside it; they must not contradict each other.
    let from_new = new.map(|section| one(section, NEW, config, problems));
    let from_old = match old {
        Some(section) => Some(one(section, OLD, config, problems)),
        None if new.is_none() || config.contains_key("rope_theta") => Some(plain(config, problems)),
        None => None,
    };
    if let (Some(new), Some(old)) = (from_new, from_old)
        && new != old
    {
        Fields::new("", config, problems).refuse(NEW, "rope_theta and rope_scaling beside it say something else");
    }
    from_new.or(from_old).unwrap_or(RopeConfig::plain(1.0))
}

fn section<'a>(
    config: &'a Map<String, Value>,
    name: &'static str,
    problems: &mut Vec<ConfigProblem>,
) -> Option<&'a Map<String, Value>> {
    let value = config.get(name).filter(|value| !value.is_null())?;
    if value.as_object().is_none() {
        Fields::new("", config, problems).refuse(name, "an object or null is needed");
    }
    value.as_object()
}

fn plain(config: &Map<String, Value>, problems: &mut Vec<ConfigProblem>) -> RopeConfig {
    RopeConfig::plain(Fields::new("", config, problems).positive("rope_theta", None))
}

fn one(
    section: &Map<String, Value>,
    name: &'static str,
    config: &Map<String, Value>,
    problems: &mut Vec<ConfigProblem>,
) -> RopeConfig {
    let prefix = if name == NEW { "rope_parameters." } else { "rope_scaling." };
    let theta = if section.contains_key("rope_theta") {
        Fields::new(prefix, section, problems).positive("rope_theta", None)
    } else {
        Fields::new("", config, problems).positive("rope_theta", None)
    };
    let mut fields = Fields::new(prefix, section, problems);
    let key = if section.contains_key("rope_type") { "rope_type" } else { "type" };
    match fields.get(key).and_then(Value::as_str) {
        Some("default") => return RopeConfig::plain(theta),
        Some("yarn") => {}
        _ => {
            fields.refuse(key, "only \"default\" and \"yarn\" are known");
            return RopeConfig::plain(theta);
        }
    }
    fields.only("truncate", &json!(true), "the ramp's ends are whole pairs");
    fields.only("attention_factor", &Value::Null, "the factor follows from mscale and mscale_all_dim");
    let yarn = RopeConfig {
        theta,
        factor: fields.positive("factor", None),
        original_positions: fields.whole("original_max_position_embeddings", 1..=1 << 24),
        beta_fast: fields.positive("beta_fast", Some(32.0)),
        beta_slow: fields.positive("beta_slow", Some(1.0)),
        mscale: fields.positive("mscale", None),
        mscale_all_dim: fields.positive("mscale_all_dim", None),
    };
    if yarn.factor < 1.0 {
        fields.refuse("factor", "YaRN makes sequences longer, so 1 or more is needed");
    }
    if yarn.beta_fast < yarn.beta_slow {
        fields.refuse("beta_fast", format!("it must not be below beta_slow {}", yarn.beta_slow));
    }
    // Positions as they are have one form, whichever fields stood beside the factor.
    if yarn.factor == 1.0 { RopeConfig::plain(theta) } else { yarn }
}

/// `rope_scaling` as the released file spells it.
pub(super) fn scaling(rope: &RopeConfig) -> Value {
    if rope.factor == 1.0 {
        return Value::Null;
    }
    json!({
        "type": "yarn",
        "factor": rope.factor,
        "original_max_position_embeddings": rope.original_positions,
        "beta_fast": rope.beta_fast,
        "beta_slow": rope.beta_slow,
        "mscale": rope.mscale,
        "mscale_all_dim": rope.mscale_all_dim,
    })
}
