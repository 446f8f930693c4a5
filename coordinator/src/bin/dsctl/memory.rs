//! The most memory that this process has held.

use std::fs;

use serde_json::{Value, json};

/// The most memory that this process has held, in bytes, as far as somebody looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeakMemory {
    /// Its own.
    pub(crate) anonymous: u64,
    /// Of files and of what it shares, as far as they are in memory.
    pub(crate) mapped: u64,
    /// Of both at the same moment.
    pub(crate) both: u64,
    /// As the system noted it, without looking.
    pub(crate) noted: u64,
    /// How often somebody looked.
    pub(crate) samples: u64,
}

impl PeakMemory {
    /// Looks once. Systems other than Linux say nothing.
    pub(crate) fn look(&mut self) {
        if let Ok(status) = fs::read_to_string("/proc/self/status") {
            self.see(&status);
        }
    }

    fn see(&mut self, status: &str) {
        let field = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok()).map_or(0, |kib: u64| kib << 10)
        };
        let (anonymous, mapped) = (field("RssAnon"), field("RssFile") + field("RssShmem"));
        self.anonymous = self.anonymous.max(anonymous);
        self.mapped = self.mapped.max(mapped);
        self.both = self.both.max(anonymous + mapped);
        self.noted = self.noted.max(field("VmHWM"));
        self.samples += 1;
    }

    /// The larger of what was seen and what was noted.
    pub(crate) fn most(&self) -> u64 {
        self.both.max(self.noted)
    }

    pub(crate) fn facts(&self) -> Value {
        json!({
            "anonymous_bytes": self.anonymous,
            "mapped_bytes": self.mapped,
            "anonymous_and_mapped_bytes": self.both,
            "noted_by_the_system_bytes": self.noted,
            "samples": self.samples,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_every_number_is_kept() {
        let mut peak = PeakMemory::default();
        peak.see("VmHWM:\t    40 kB\nRssAnon:\t      10 kB\nRssFile:\t      20 kB\nRssShmem:\t       1 kB\n");
        peak.see("VmHWM:\t    41 kB\nRssAnon:\t      12 kB\nRssFile:\t       2 kB\nRssShmem:\t       0 kB\n");
        let expected =
            PeakMemory { anonymous: 12 << 10, mapped: 21 << 10, both: 31 << 10, noted: 41 << 10, samples: 2 };
        assert_eq!((peak, peak.most()), (expected, 41 << 10));
    }
}
