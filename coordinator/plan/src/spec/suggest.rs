//! "Did you mean": the nearest of the words that there are.

use strsim::{damerau_levenshtein, jaro_winkler};

/// The word that was probably meant.
pub(super) fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let lower = text.to_lowercase();
    let near = known.map(|word| (jaro_winkler(&lower, word), damerau_levenshtein(&lower, word), word));
    // Two slips of the finger, or a long common beginning.
    near.filter(|(alike, slips, word)| *slips <= 1 + word.len() / 5 || *alike > 0.9)
        .min_by(|a, b| a.1.cmp(&b.1).then(b.0.total_cmp(&a.0)))
        .map(|(_, _, word)| word)
}

/// The nearest word, and all that there are.
pub(super) fn did_you_mean<'a>(text: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(text, known.clone()) {
        Some(word) if known.clone().count() == 1 => format!("did you mean {word}"),
        Some(word) => format!("did you mean {word}? There are {}", list(known)),
        None => one_of(known),
    }
}

/// `write a, b or c`.
pub(super) fn one_of<'a>(known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match known.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("write {} or {last}", all.join(", ")),
        _ => format!("write {}", known.join(", ")),
    }
}

/// `a, b and c`.
pub(super) fn list<'a>(known: impl Iterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.collect();
    match known.as_slice() {
        [all @ .., last] if !all.is_empty() => format!("{} and {last}", all.join(", ")),
        _ => known.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_forgiven_and_other_words_are_not() {
        let known = ["pipeline", "data", "context", "tensor", "expert", "schedule"];
        let nearest = |text| nearest(text, known.into_iter());
        assert_eq!(nearest("pipline"), Some("pipeline"));
        assert_eq!(nearest("Experts"), Some("expert"));
        assert_eq!(nearest("dtaa"), Some("data"));
        assert_eq!(nearest("sched"), Some("schedule"));
        assert_eq!(nearest("batch"), None);
    }
}
