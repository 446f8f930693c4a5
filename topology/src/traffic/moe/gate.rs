//! How a token chooses its experts.

use super::random::Random;
use super::skew::Popularity;

/// How many experts there are, and which of them a token may choose from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gate {
    n_experts: u32,
    top_k: u32,
    n_groups: u32,
    picked: u32,
}

/// A gate that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GateError {
    /// Experts do not fill their groups evenly.
    #[error("gate: {n_experts} experts cannot lie in {n_groups} equal groups")]
    Groups {
        /// Experts.
        n_experts: u32,
        /// Groups.
        n_groups: u32,
    },
    /// More groups than there are, or none.
    #[error("gate: a token picks {picked} of {n_groups} groups: it must be 1 to {n_groups}")]
    Picked {
        /// Groups that a token picks.
        picked: u32,
        /// Groups.
        n_groups: u32,
    },
    /// Too few experts in the groups of a token.
    #[error(
        "gate: a token goes to {top_k} experts, but the groups that it picks have {eligible}: it must be 1 to {eligible}"
    )]
    TopK {
        /// Experts of a token.
        top_k: u32,
        /// Experts of the groups that it picks.
        eligible: u32,
    },
}

impl Gate {
    /// `top_k` of `n_experts` experts, all of them in `picked` of `n_groups` equal runs (1 of 1 for no limit).
    ///
    /// # Errors
    /// When that cannot be.
    pub fn new(n_experts: u32, top_k: u32, n_groups: u32, picked: u32) -> Result<Self, GateError> {
        if n_groups == 0 || n_experts == 0 || !n_experts.is_multiple_of(n_groups) {
            return Err(GateError::Groups { n_experts, n_groups });
        }
        if picked == 0 || picked > n_groups {
            return Err(GateError::Picked { picked, n_groups });
        }
        let eligible = n_experts / n_groups * picked;
        if top_k == 0 || top_k > eligible {
            return Err(GateError::TopK { top_k, eligible });
        }
        Ok(Self { n_experts, top_k, n_groups, picked })
    }

    /// Experts.
    pub fn n_experts(&self) -> u32 {
        self.n_experts
    }

    /// Experts of a token.
    pub fn top_k(&self) -> u32 {
        self.top_k
    }

    /// The chance that a token goes to at least one expert of a set, where all groups, and all experts of the picked
    /// ones, are equally likely: exact. `in_group` says how many of the set are in each group.
    ///
    /// Given the picked groups, of whose `n` experts `s` are in the set, none is chosen with C(n - s, k) / C(n, k);
    /// sets of groups are counted by how many of the set they hold.
    pub fn chance(&self, in_group: &[u32]) -> f64 {
        assert_eq!(in_group.len(), self.n_groups as usize, "every group says how many are in the set");
        let most: usize = in_group.iter().map(|&s| s as usize).sum();
        let picked = self.picked as usize;
        // ways[p][s]: sets of p groups that hold s of the set.
        let mut ways = vec![vec![0.0_f64; most + 1]; picked + 1];
        ways[0][0] = 1.0;
        for &own in in_group {
            for p in (1..=picked).rev() {
                for s in (own as usize..=most).rev() {
                    ways[p][s] += ways[p - 1][s - own as usize];
                }
            }
        }
        let eligible = self.n_experts / self.n_groups * self.picked;
        let none = |s: usize| {
            // C(n - s, k) / C(n, k) = product of (n - s - i) / (n - i).
            let factor = |i: u32| (f64::from(eligible) - s as f64 - f64::from(i)).max(0.0) / f64::from(eligible - i);
            (0..self.top_k).map(factor).product::<f64>()
        };
        let all: f64 = ways[picked].iter().sum();
        let missed: f64 = ways[picked].iter().enumerate().map(|(s, ways)| ways * none(s)).sum();
        1.0 - missed / all
    }

    /// The experts of one token, in ascending order. Scores are the logarithm of an expert's popularity and Gumbel
    /// noise; groups are ranked by the sum of their two best scores, as DeepSeek-V3's gate does (arXiv 2412.19437,
    /// §2.1.2), or, where all are equally popular, by chance.
    pub fn draw(&self, popularity: &Popularity, random: &mut Random, experts: &mut Vec<u32>) {
        let size = (self.n_experts / self.n_groups) as usize;
        let scores: Vec<f64> =
            (0..self.n_experts).map(|expert| popularity.log_weight(expert) + random.gumbel()).collect();
        let worth = |group: usize| {
            let mut best = [f64::NEG_INFINITY; 2];
            for &score in &scores[group * size..(group + 1) * size] {
                if score > best[0] {
                    best = [score, best[0]];
                } else if score > best[1] {
                    best[1] = score;
                }
            }
            // A group of one has no second.
            best[0] + if size > 1 { best[1] } else { 0.0 }
        };
        let worths: Vec<f64> = (0..self.n_groups as usize).map(worth).collect();
        let mut groups: Vec<usize> = (0..self.n_groups as usize).collect();
        if popularity.is_uniform() {
            // Independent of the scores, so that `chance` is exact.
            let keys: Vec<u64> = groups.iter().map(|_| random.next_u64()).collect();
            groups.sort_by_key(|&group| keys[group]);
        } else {
            groups.sort_by(|&a, &b| worths[b].total_cmp(&worths[a]));
        }
        groups.truncate(self.picked as usize);
        experts.clear();
        for group in groups {
            experts.extend((group * size..(group + 1) * size).map(|expert| expert as u32));
        }
        experts.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
        experts.truncate(self.top_k as usize);
        experts.sort_unstable();
    }

    /// Groups of equal runs of experts.
    pub(super) fn group_of(&self, expert: u32) -> usize {
        (expert / (self.n_experts / self.n_groups)) as usize
    }

    pub(super) fn n_groups(&self) -> usize {
        self.n_groups as usize
    }
}
