//! Slim Fly: graphs of diameter two that come close to the Moore bound (McKay, Miller and Širáň 1998; as a network,
//! Besta and Hoefler, SC 2014).

use super::galois::Field;

/// Sizes of a Slim Fly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlimFly {
    pub(crate) hosts: u32,
    /// The size of the field; 4w-1, 4w or 4w+1.
    pub(crate) q: u32,
    pub(crate) hosts_per_switch: u32,
}

impl SlimFly {
    /// Two for each pair of numbers below q.
    pub(crate) fn n_switches(&self) -> u32 {
        2 * self.q * self.q
    }

    /// Cables of a switch to others: (3q - δ)/2, where q = 4w + δ.
    pub(crate) fn degree(&self) -> u32 {
        degree(self.q)
    }

    /// Between switches.
    pub(crate) fn n_cables(&self) -> u32 {
        self.n_switches() * self.degree() / 2
    }

    /// Neighbours of every switch, in rising order; none when q is no prime power.
    ///
    /// Switch (s, x, y) has number s·q² + x·q + y. (0,x,y) and (0,x,y') are joined when y - y' is in X, (1,m,c) and
    /// (1,m,c') when c - c' is in X', (0,x,y) and (1,m,c) when y = m·x + c.
    pub(crate) fn neighbours(&self) -> Option<Vec<Vec<u32>>> {
        let field = Field::new(self.q)?;
        let (x, x_other) = generators(&field);
        let q = self.q;
        let id = |s: u32, a: u32, b: u32| s * q * q + a * q + b;
        let mut all = vec![Vec::new(); self.n_switches() as usize];
        for a in 0..q {
            for b in 0..q {
                for c in 0..q {
                    if x.contains(&field.sub(b, c)) {
                        all[id(0, a, b) as usize].push(id(0, a, c));
                    }
                    if x_other.contains(&field.sub(b, c)) {
                        all[id(1, a, b) as usize].push(id(1, a, c));
                    }
                    // Here (a, b) is (x, y) and c is m.
                    let line = field.sub(b, field.mul(c, a));
                    all[id(0, a, b) as usize].push(id(1, c, line));
                    all[id(1, c, line) as usize].push(id(0, a, b));
                }
            }
        }
        all.iter_mut().for_each(|neighbours| neighbours.sort_unstable());
        Some(all)
    }
}

/// Cables of a switch to others: (3q - δ)/2, where q = 4w + δ and δ is -1, 0 or 1.
pub(crate) fn degree(q: u32) -> u32 {
    match q % 4 {
        1 => (3 * q - 1) / 2,
        3 => (3 * q).div_ceil(2),
        _ => 3 * q / 2,
    }
}

/// Whether a Slim Fly can be built on it: a prime power that is not 4w + 2.
pub(crate) fn can_be_built(q: u32) -> bool {
    q >= 3 && q % 4 != 2 && Field::new(q).is_some()
}

/// The sets X and X': powers of a primitive element, chosen so that both are closed under minus.
fn generators(field: &Field) -> (Vec<u32>, Vec<u32>) {
    let q = field.size();
    let power = |n: u32| field.power(n);
    match q % 4 {
        // Even powers, odd powers.
        1 => ((0..q - 1).step_by(2).map(power).collect(), (1..q - 1).step_by(2).map(power).collect()),
        // Even powers up to 2w-2 and odd from 2w-1 to 4w-3; X' is X times the primitive element. (Hafner 2004.)
        3 => {
            let w = q.div_ceil(4);
            let first = (0..2 * w - 1).step_by(2).chain((2 * w - 1..4 * w - 2).step_by(2));
            let exponents: Vec<u32> = first.collect();
            let other = exponents.iter().map(|n| power(n + 1)).collect();
            (exponents.iter().map(|&n| power(n)).collect(), other)
        }
        // In a field of characteristic two every set is closed: even powers up to q-2, odd powers from 1 to q-1.
        _ => ((0..q - 1).step_by(2).map(power).collect(), (1..q).step_by(2).map(power).collect()),
    }
}
