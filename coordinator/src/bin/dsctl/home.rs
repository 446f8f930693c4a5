//! The folder where everything is kept, and which coordinator runs in it.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use ds_coordinator::home::Running;

use crate::failure::Failure;

/// `--home`, on every command that needs one.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct HomeArgs {
    /// Where everything is kept [default: DSCTL_HOME, or ~/.dsctl]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
}

impl HomeArgs {
    /// Which folder it is; whether it exists is another question.
    pub(crate) fn find(&self) -> Result<Home, Failure> {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let own = || set("HOME").map(|home| home.join(".dsctl"));
        let path = self.home.clone().or_else(|| set("DSCTL_HOME")).or_else(own).ok_or(Failure::NoHome)?;
        Ok(Home { path: std::path::absolute(&path).map_err(|source| Failure::Home { path, source })? })
    }
}

/// The folder where everything is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Home {
    path: PathBuf,
}

impl Home {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Token folders made from text.
    pub(crate) fn tokens(&self) -> PathBuf {
        self.path.join("tokens")
    }

    /// What a run leaves.
    pub(crate) fn run(&self, job: &str) -> PathBuf {
        self.runs().join(job)
    }

    /// What runs leave.
    pub(crate) fn runs(&self) -> PathBuf {
        self.path.join("runs")
    }

    /// What a coordinator in the background says.
    pub(crate) fn coordinator_log(&self) -> PathBuf {
        self.path.join("coordinator.log")
    }

    /// What the node agent of this machine says.
    pub(crate) fn node_log(&self) -> PathBuf {
        self.path.join("node.log")
    }

    /// Makes it, for this user only, and sees that it can be written.
    pub(crate) fn make(&self) -> Result<(), Failure> {
        let failed = |source| Failure::Home { path: self.path.clone(), source };
        let made = match fs::metadata(&self.path) {
            Ok(meta) if meta.is_dir() => false,
            Ok(_) => return Err(failed(io::ErrorKind::NotADirectory.into())),
            Err(_) => {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path).map_err(failed)?;
                true
            }
        };
        // It holds the token; an older folder may have been made by hand.
        let mode = fs::metadata(&self.path).map_err(failed)?.permissions().mode();
        if !made && mode & 0o077 != 0 {
            fs::set_permissions(&self.path, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        let probe = self.path.join(format!(".write-{}", std::process::id()));
        fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe)).map_err(failed)
    }

    /// What coordinators keep of jobs.
    pub(crate) fn state(&self) -> PathBuf {
        self.path.join("state.sqlite")
    }

    /// The coordinator that runs here.
    pub(crate) fn running(&self) -> Option<Running> {
        ds_coordinator::home::running(&self.path)
    }

    /// What lies here of a coordinator's address and token, whether it runs or not.
    pub(crate) fn announced(&self) -> Option<Running> {
        serde_json::from_slice(&fs::read(self.path.join("coordinator.json")).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = HomeArgs { home: Some(folder.path().join("a/home")) }.find().unwrap();
        (folder, home)
    }

    #[test]
    fn a_home_is_made_for_its_user_only() {
        let (_folder, home) = home();
        home.make().unwrap();
        assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o700);
        fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
        home.make().unwrap();
        assert_eq!(fs::metadata(home.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_coordinator_runs_as_long_as_it_holds_its_home() {
        let (_folder, home) = home();
        home.make().unwrap();
        assert_eq!(home.running(), None);
        let held = ds_coordinator::home::Home::take(home.path()).unwrap();
        held.announce("http://127.0.0.1:1").unwrap();
        assert_eq!(home.running().map(|running| running.address), Some("http://127.0.0.1:1".to_owned()));
        drop(held);
        assert_eq!(home.running(), None);
        assert!(home.announced().is_some());
    }

    #[test]
    fn a_file_is_no_home() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, b"").unwrap();
        let home = HomeArgs { home: Some(path) }.find().unwrap();
        assert!(matches!(home.make(), Err(Failure::Home { .. })));
    }
}
