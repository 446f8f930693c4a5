//! Paths made whole, so that they mean the same wherever the job runs: those of the file are taken from its folder,
//! those of `--set` from the folder where it was typed.

use std::path::{Component, Path, PathBuf};

use super::origin::Origin;
use super::value::Value;

/// The value with its path made whole.
pub(super) fn whole(value: Value, origin: &Origin) -> Value {
    match (value, origin) {
        (Value::Path(path), Origin::File { file, .. }) => {
            let folder = Path::new(file.as_ref()).parent().unwrap_or(Path::new(""));
            Value::Path(tidy(&folder.join(path)))
        }
        (Value::Path(path), _) => Value::Path(tidy(&path)),
        (other, _) => other,
    }
}

/// From the root, without `.` and `..`.
fn tidy(path: &Path) -> PathBuf {
    // Without a working directory there is no better answer than the path as it is.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    path.components().fold(PathBuf::new(), |mut tidied, part| {
        match part {
            Component::ParentDir if tidied.parent().is_some() => {
                tidied.pop();
            }
            Component::ParentDir if tidied.has_root() => {}
            Component::CurDir => {}
            other => tidied.push(other),
        }
        tidied
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_file(file: &str, path: &str) -> String {
        let origin = Origin::File { file: file.into(), line: 1, column: 1 };
        whole(Value::Path(PathBuf::from(path)), &origin).to_string()
    }

    #[test]
    fn a_files_paths_are_taken_from_its_folder() {
        assert_eq!(of_file("/jobs/a/job.yaml", "text/train"), "/jobs/a/text/train");
        assert_eq!(of_file("/jobs/a/job.yaml", "../../data/./train"), "/data/train");
        assert_eq!(of_file("/job.yaml", "../../train"), "/train");
        assert_eq!(of_file("/jobs/job.yaml", "/data/train"), "/data/train");
    }

    #[test]
    fn other_paths_are_taken_from_the_working_directory() {
        let here = std::env::current_dir().unwrap();
        assert_eq!(of_file("job.yaml", "train"), here.join("train").display().to_string());
        assert_eq!(
            whole(Value::Path(PathBuf::from("train")), &Origin::Set("data.train".into())),
            Value::Path(here.join("train"))
        );
    }
}
