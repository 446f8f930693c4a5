//! Slurm's short form of many names: `node[001-032,040]`.

/// All names that an expression stands for. None when its brackets do not read.
pub(super) fn expand(expression: &str) -> Option<Vec<String>> {
    let mut names = Vec::new();
    for part in split_outside_brackets(expression) {
        match part.split_once('[') {
            None if part.contains(']') => return None,
            None => names.push(part.to_owned()),
            Some((before, rest)) => {
                let (ranges, after) = rest.split_once(']')?;
                let afters = expand(after).filter(|afters| !afters.is_empty()).unwrap_or_else(|| vec![String::new()]);
                for number in ranges.split(',').map(numbers).collect::<Option<Vec<_>>>()?.into_iter().flatten() {
                    names.extend(afters.iter().map(|after| format!("{before}{number}{after}")));
                }
            }
        }
    }
    Some(names)
}

/// `001-003` with the zeros that its beginning has.
fn numbers(range: &str) -> Option<Vec<String>> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (from, to): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    const MOST: u64 = 1 << 20;
    if from > to || to - from > MOST {
        return None;
    }
    Some((from..=to).map(|number| format!("{number:0width$}", width = first.len())).collect())
}

fn split_outside_brackets(expression: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, letter) in expression.char_indices() {
        match letter {
            '[' => depth += 1,
            ']' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&expression[begin..at]);
                begin = at + 1;
            }
            _ => (),
        }
    }
    parts.push(&expression[begin..]);
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_stand_for_all_their_names() {
        assert_eq!(
            expand("node[08-10,12]"),
            Some(["node08", "node09", "node10", "node12"].map(str::to_owned).to_vec())
        );
        assert_eq!(expand("a,b[1-2]-ib"), Some(["a", "b1-ib", "b2-ib"].map(str::to_owned).to_vec()));
        assert_eq!(expand("r[1-2]n[1-2]"), Some(["r1n1", "r1n2", "r2n1", "r2n2"].map(str::to_owned).to_vec()));
        assert_eq!(expand("n[3-1]"), None);
        assert_eq!(expand("n[1-"), None);
    }
}
