//! Files and folders that survive a power cut, with errors that name them.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::error::CheckpointError;

pub(crate) fn written(path: &Path) -> impl Fn(io::Error) -> CheckpointError + '_ {
    |source| CheckpointError::Write { path: path.to_owned(), source }
}

pub(crate) fn read(path: &Path) -> impl Fn(io::Error) -> CheckpointError + '_ {
    |source| CheckpointError::Read { path: path.to_owned(), source }
}

/// Writes a new file through to the disk; one of that name is replaced. One that fails leaves nothing behind, so that
/// a full disk is no fuller than before.
pub(crate) fn write(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), CheckpointError> {
    // Unlinked first: whoever still has the old file open writes into that one.
    remove(path)?;
    filled(path, fill).map_err(|source| {
        let _ = fs::remove_file(path);
        written(path)(source)
    })
}

fn filled(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<()> {
    let mut file = File::create(path)?;
    fill(&mut file)?;
    file.sync_all()
}

/// Makes names in a folder last.
pub(crate) fn sync_folder(path: &Path) -> Result<(), CheckpointError> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(written(path))
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), CheckpointError> {
    fs::rename(from, to).map_err(written(to))
}

/// Removes a file or a folder with all that it holds; nothing there is fine.
pub(crate) fn remove(path: &Path) -> Result<(), CheckpointError> {
    let gone = match fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(CheckpointError::Remove { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn a_full_disk_is_named_with_what_to_do() {
        let error = filled(Path::new("/dev/full"), |file| file.write_all(&[0; 64]))
            .map_err(written(Path::new("/dev/full")))
            .unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("/dev/full cannot be written: ") && text.contains("free some space"), "{text}");
    }

    #[test]
    fn a_file_that_could_not_be_finished_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        // A name with a separator behind it cannot be created as a file.
        let under = path.join("under");
        std::fs::write(&path, "a file where a folder should be").unwrap();
        assert!(
            write(&under, |file| file.write_all(b"x")).unwrap_err().to_string().contains(&under.display().to_string())
        );
        write(&path, |file| file.write_all(b"newer")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"newer");
    }
}
