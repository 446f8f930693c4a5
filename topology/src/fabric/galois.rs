//! Arithmetic of finite fields: numbers below a prime power, written in the base of the prime as polynomials.

/// A finite field with a table of its products. Elements are 0 to size - 1; digit i in base p is the coefficient of xⁱ.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    prime: u32,
    size: u32,
    products: Vec<u32>,
    /// Powers of the least primitive element.
    powers: Vec<u32>,
}

impl Field {
    /// None when the size is no prime power.
    pub(crate) fn new(size: u32) -> Option<Self> {
        let (prime, degree) = prime_power(size)?;
        // One irreducible polynomial of the degree exists for every prime; it is recognised by what it makes: a field,
        // in which some element has every other as a power.
        (size..2 * size).find_map(|lower| {
            let products = multiplication(prime, degree, size, lower - size)?;
            let powers = (1..size).find_map(|element| all_powers(element, size, &products))?;
            Some(Self { prime, size, products, powers })
        })
    }

    /// How many elements.
    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// a - b.
    pub(crate) fn sub(&self, a: u32, b: u32) -> u32 {
        digit_by_digit(self.prime, a, b, |a, b| (a + self.prime - b) % self.prime)
    }

    /// a · b.
    pub(crate) fn mul(&self, a: u32, b: u32) -> u32 {
        self.products[(a * self.size + b) as usize]
    }

    /// The primitive element to the n.
    pub(crate) fn power(&self, n: u32) -> u32 {
        self.powers[(n % (self.size - 1)) as usize]
    }
}

/// The prime and the exponent.
fn prime_power(size: u32) -> Option<(u32, u32)> {
    let prime = (2..=size).find(|p| size.is_multiple_of(*p))?;
    let mut degree = 0;
    let mut rest = size;
    while rest.is_multiple_of(prime) {
        rest /= prime;
        degree += 1;
    }
    (rest == 1).then_some((prime, degree))
}

fn digit_by_digit(prime: u32, mut a: u32, mut b: u32, both: impl Fn(u32, u32) -> u32) -> u32 {
    let (mut result, mut place) = (0, 1);
    while a > 0 || b > 0 {
        result += both(a % prime, b % prime) * place;
        (a, b, place) = (a / prime, b / prime, place * prime);
    }
    result
}

/// All products modulo x^degree + lower; none as soon as two that are not zero make zero.
fn multiplication(prime: u32, degree: u32, size: u32, lower: u32) -> Option<Vec<u32>> {
    let add = |a, b| digit_by_digit(prime, a, b, |a, b| (a + b) % prime);
    let times_digit = |a, digit| digit_by_digit(prime, a, 0, |a, _| (a * digit) % prime);
    let minus = |a| digit_by_digit(prime, a, 0, |a, _| (prime - a) % prime);
    let times_x = |a: u32| {
        let top = a / (size / prime);
        add(a % (size / prime) * prime, times_digit(minus(lower), top))
    };
    let mut products = vec![0; (size * size) as usize];
    for a in 0..size {
        for b in 0..size {
            let (mut sum, mut shifted, mut rest) = (0, a, b);
            for _ in 0..degree {
                sum = add(sum, times_digit(shifted, rest % prime));
                (shifted, rest) = (times_x(shifted), rest / prime);
            }
            if sum == 0 && a != 0 && b != 0 {
                return None;
            }
            products[(a * size + b) as usize] = sum;
        }
    }
    Some(products)
}

/// 1, e, e², …, when they are all elements but zero.
fn all_powers(element: u32, size: u32, products: &[u32]) -> Option<Vec<u32>> {
    let mut powers = vec![1];
    loop {
        let next = products[(powers[powers.len() - 1] * size + element) as usize];
        if next == 1 {
            return (powers.len() as u32 == size - 1).then_some(powers);
        }
        if powers.len() as u32 == size {
            return None;
        }
        powers.push(next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_field_for_every_prime_power_and_for_no_other_size() {
        let sizes: Vec<u32> = (2..=32).filter(|&size| Field::new(size).is_some()).collect();
        assert_eq!(sizes, [2, 3, 4, 5, 7, 8, 9, 11, 13, 16, 17, 19, 23, 25, 27, 29, 31, 32]);
    }

    #[test]
    fn products_of_what_is_not_zero_are_distinct_and_distribute() {
        for size in [4, 5, 8, 9, 16, 25] {
            let field = Field::new(size).expect("a field");
            for a in 1..size {
                let mut row: Vec<u32> = (0..size).map(|b| field.mul(a, b)).collect();
                row.sort_unstable();
                assert_eq!(row, (0..size).collect::<Vec<_>>());
                for b in 0..size {
                    for c in 0..size {
                        assert_eq!(field.mul(a, field.sub(b, c)), field.sub(field.mul(a, b), field.mul(a, c)));
                    }
                }
            }
        }
    }
}
