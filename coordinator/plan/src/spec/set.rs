//! `--set KEY=VALUE`: another value at a key, laid over the tree of the file.

use std::sync::Arc;

use super::events::{Source, tree};
use super::origin::Origin;
use super::problem::{Problem, Problems, Wrong};
use super::tree::{Content, Entry, Node, Scalar};

/// One step of a key path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

/// Lays the value over the tree.
pub(super) fn lay_over(root: &mut Node, key: &str, value: &str, problems: &mut Problems) {
    let name: Arc<str> = key.into();
    let origin = Origin::Set(Arc::clone(&name));
    let laid = steps(key).map(|steps| {
        let before = problems.iter().count();
        let null = || Node {
            content: Content::Scalar(Scalar { text: String::new(), is_quoted: false }),
            origin: origin.clone(),
        };
        match tree(value, &Source::Set(name), problems) {
            Some(node) => put(root, &steps, node, &origin),
            None if problems.iter().count() == before => put(root, &steps, null(), &origin),
            None => Ok(()),
        }
    });
    if let Err(wrong) = laid.and_then(|put| put) {
        problems.push(Problem::new(&origin, "", None, wrong));
    }
}

/// `train[0].steps` or `train.0.steps`.
fn steps(key: &str) -> Result<Vec<Step>, Wrong> {
    let no_key = || Wrong::new("this is no key").hint("write it as train[0].steps or train.0.steps");
    let dotted = key.replace('[', ".").replace(']', "");
    let is_balanced = key.matches('[').count() == key.matches(']').count();
    let step = |part: &str| match part.parse() {
        _ if part.is_empty() => Err(no_key()),
        Ok(index) => Ok(Step::Index(index)),
        Err(_) => Ok(Step::Key(part.to_owned())),
    };
    if is_balanced { dotted.split('.').map(step).collect() } else { Err(no_key()) }
}

fn put(node: &mut Node, steps: &[Step], value: Node, origin: &Origin) -> Result<(), Wrong> {
    let Some((step, rest)) = steps.split_first() else {
        *node = value;
        return Ok(());
    };
    if node.is_null() {
        let empty = if matches!(step, Step::Key(_)) { Content::Section(Vec::new()) } else { Content::List(Vec::new()) };
        *node = Node { content: empty, origin: origin.clone() };
    }
    let nothing =
        Node { content: Content::Scalar(Scalar { text: String::new(), is_quoted: false }), origin: origin.clone() };
    match (&mut node.content, step) {
        (Content::Section(entries), Step::Key(key)) => {
            let index = entries.iter().position(|entry| entry.key == *key).unwrap_or_else(|| {
                entries.push(Entry { key: key.clone(), origin: origin.clone(), node: nothing });
                entries.len() - 1
            });
            entries[index].origin = origin.clone();
            put(&mut entries[index].node, rest, value, origin)
        }
        (Content::List(items), Step::Index(index)) => {
            if *index == items.len() {
                items.push(nothing);
            }
            match (items.len(), items.get_mut(*index)) {
                (_, Some(item)) => put(item, rest, value, origin),
                (n, None) => Err(Wrong::new(format!("there is no item {index}, the list has {n}, counted from 0"))),
            }
        }
        (Content::List(items), Step::Key(key)) => {
            let hint = format!("write [0].{key} for the first");
            Err(Wrong::new(format!("{key} is asked of a list of {}", items.len())).hint(hint))
        }
        (Content::Section(_), Step::Index(index)) => {
            Err(Wrong::new(format!("item {index} is asked of a section of keys")))
        }
        (Content::Scalar(_), _) => {
            Err(Wrong::new(format!("{} is a value without keys", node.shown().unwrap_or_default())))
        }
        (Content::Refused, _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_named_with_brackets_or_a_dot() {
        let key = |key: &str| Step::Key(key.to_owned());
        assert_eq!(steps("train[0].steps").unwrap(), [key("train"), Step::Index(0), key("steps")]);
        assert_eq!(steps("train.0.steps"), steps("train[0].steps"));
        for wrong in ["", "train..steps", "train[0.steps", "train[].steps", ".seed"] {
            assert!(steps(wrong).is_err(), "{wrong}");
        }
    }
}
