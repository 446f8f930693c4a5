//! What a spec must be before anything else about it can be judged.

use crate::spec::fields::{KINDS, VERSION};
use crate::spec::problem::{Problem, Wrong};
use crate::spec::suggest::{nearest, one_of};
use crate::spec::tree::{Content, Node, Scalar};

/// A spec of a newer format or of another kind, of which nothing else can be judged.
pub(super) fn other_format(root: &Node) -> Option<Problem> {
    let scalar = |key: &str| match root.get(key) {
        Some(Node { content: Content::Scalar(scalar), origin }) => Some((scalar, origin)),
        _ => None,
    };
    let newer = scalar("version").filter(|(Scalar { text, .. }, _)| text.parse().is_ok_and(|n: i128| n > VERSION));
    if let Some((scalar, origin)) = newer {
        let wrong = Wrong::new(format!("is newer than {VERSION}, the newest that this dsctl reads"));
        let wrong = wrong.hint("use the dsctl that it was written for, or a later one");
        return Some(Problem::new(origin, "version", Some(scalar.text.clone()), wrong));
    }
    let known = || KINDS.iter().map(|kind| kind.word);
    // A slip is one mistake among others.
    let other = scalar("kind").filter(|(scalar, _)| !scalar.is_null() && nearest(&scalar.text, known()).is_none());
    other.map(|(scalar, origin)| {
        let wrong = Wrong::new("is no kind of job that this dsctl knows").hint(one_of(known()));
        Problem::new(origin, "kind", Some(scalar.text.clone()), wrong)
    })
}
