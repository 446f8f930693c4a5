//! What a network costs, by a price list.

use super::problem::Problem;
use super::spec::{PriceSpec, Prices};

/// Prices under which the topology table of "Insights into DeepSeek-V3" (ISCA 2025, table 3) comes out within 1%: a
/// switch of 64 ports for $27,500, a cable between switches for $2,200, an endpoint's port and cable for $900. The paper
/// prints totals only (9, 72, 491, 146 and 1,522 M$); these three are fitted to them.
pub const ISCA25: Prices = Prices { switch_port: 27_500.0 / 64.0, link: 2_200.0, endpoint: 900.0 };

/// Cables of this rate cost what the list says; faster ones in proportion.
const LISTED_RATE: f64 = 50e9;

/// The list that a spec names.
pub(super) fn prices(spec: Option<&PriceSpec>) -> Result<Prices, Problem> {
    match spec {
        None => Ok(ISCA25),
        Some(PriceSpec::Own(prices)) => Ok(*prices),
        Some(PriceSpec::Named(name)) if name == "isca25" => Ok(ISCA25),
        Some(PriceSpec::Named(name)) => Err(Problem::Prices { found: name.clone() }),
    }
}

impl Prices {
    /// Dollars for so many ports of switches, cables and endpoints; rates in bytes per second.
    pub fn total(&self, switch_ports: u64, cables: (u64, f64), endpoints: (u64, f64)) -> f64 {
        let cable = |(count, rate): (u64, f64), price: f64| count as f64 * price * rate / LISTED_RATE;
        self.switch_port * switch_ports as f64 + cable(cables, self.link) + cable(endpoints, self.endpoint)
    }
}
