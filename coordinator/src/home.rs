//! The folder where everything is kept: one coordinator at a time, and only its user may look inside.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Bytes of a token; in hexadecimal it is twice as long.
const TOKEN_BYTES: usize = 32;

/// A home that is held: no other coordinator has it while this value lives.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    token: String,
    /// Locked; the kernel frees it with the process, however that ends.
    _lock: File,
}

/// `coordinator.json`: who runs in a home.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// A URL.
    pub address: String,
    /// What every call carries.
    pub token: String,
    /// Of the coordinator.
    pub pid: u32,
    /// Of the coordinator.
    pub version: String,
}

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    /// It cannot be made, read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// What was tried.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// There is one coordinator in it already.
    #[error("{}: a coordinator runs there already{}", path.display(), at(running.as_deref()))]
    Taken {
        /// The home.
        path: PathBuf,
        /// What it says of itself; nothing if it is only just coming or going, or somebody only looks at the home.
        running: Option<Box<Running>>,
    },
}

impl Home {
    /// Makes the folder, sees that only its user may enter, and takes it.
    ///
    /// # Errors
    /// When it cannot be written or another coordinator has it.
    pub fn take(path: &Path) -> Result<Self, HomeError> {
        let path = &std::path::absolute(path).map_err(failed(path))?;
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed(path))?;
        // It holds the token; an older folder may have been made by hand.
        if fs::metadata(path).map_err(failed(path))?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, Permissions::from_mode(0o700)).map_err(failed(path))?;
        }
        let lock = lock(path)?;
        let token = token(&path.join("token"))?;
        let home = Self { path: path.clone(), token, _lock: lock };
        // Whoever wrote it is dead, since the lock was free.
        home.withdraw();
        Ok(home)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What every call must carry. It outlives the coordinator, so that ranks and node agents find back to the next one.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// What jobs are and were.
    pub fn state(&self) -> PathBuf {
        self.path.join("state.sqlite")
    }

    /// Token folders made from text.
    pub fn tokens(&self) -> PathBuf {
        self.path.join("tokens")
    }

    /// What runs leave.
    pub fn runs(&self) -> PathBuf {
        self.path.join("runs")
    }

    /// Tells whoever looks into the folder where to call.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn announce(&self, address: &str) -> Result<(), HomeError> {
        let running = Running {
            address: address.to_owned(),
            token: self.token.clone(),
            pid: std::process::id(),
            version: ds_proto::VERSION.to_owned(),
        };
        let mut text = serde_json::to_vec_pretty(&running).expect("strings and numbers can be written as JSON");
        text.push(b'\n');
        write_private(&announcement(&self.path), &text)
    }

    /// Nobody is to call any more.
    pub fn withdraw(&self) {
        let _ = fs::remove_file(announcement(&self.path));
    }
}

/// Keeps coordinators out of a home where none is, while somebody looks at what lies there.
#[derive(Debug)]
pub struct Look {
    _lock: Option<File>,
}

impl Look {
    /// None while a coordinator has the home, be it one that is only just coming or going.
    pub fn take(home: &Path) -> Option<Self> {
        // Where there is no lock, no coordinator ever was.
        let Ok(lock) = File::open(lock_path(home)) else { return Some(Self { _lock: None }) };
        match lock.try_lock_shared() {
            Err(TryLockError::WouldBlock) => None,
            _ => Some(Self { _lock: Some(lock) }),
        }
    }
}

/// The coordinator that holds a home, if one does. A file that a killed one left behind does not count.
pub fn running(home: &Path) -> Option<Running> {
    match Look::take(home) {
        None => said(home),
        Some(_) => None,
    }
}

fn lock_path(home: &Path) -> PathBuf {
    home.join("coordinator.lock")
}

fn lock(home: &Path) -> Result<File, HomeError> {
    let path = lock_path(home);
    let open = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = open.map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            // Those who look share the lock, and what lies there then is the word of a dead one.
            let has_coordinator = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
            let running = if has_coordinator { said(home).map(Box::new) } else { None };
            Err(HomeError::Taken { path: home.to_owned(), running })
        }
        Err(TryLockError::Error(source)) => Err(HomeError::Io { path, source }),
    }
}

fn said(home: &Path) -> Option<Running> {
    serde_json::from_slice(&fs::read(announcement(home)).ok()?).ok()
}

fn announcement(home: &Path) -> PathBuf {
    home.join("coordinator.json")
}

/// The one that lies there, or a new one.
fn token(path: &Path) -> Result<String, HomeError> {
    match fs::read_to_string(path) {
        Ok(text) if is_token(text.trim()) => Ok(text.trim().to_owned()),
        Ok(_) => new_token(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => new_token(path),
        Err(source) => Err(HomeError::Io { path: path.to_owned(), source }),
    }
}

fn is_token(text: &str) -> bool {
    text.len() == 2 * TOKEN_BYTES && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn new_token(path: &Path) -> Result<String, HomeError> {
    let token = secret()?;
    write_private(path, token.as_bytes())?;
    Ok(token)
}

/// A number that nobody guesses, in hexadecimal.
///
/// # Errors
/// When the system has no source of chance.
pub fn secret() -> Result<String, HomeError> {
    let source = Path::new("/dev/urandom");
    let mut bytes = [0_u8; TOKEN_BYTES];
    File::open(source).and_then(|mut file| file.read_exact(&mut bytes)).map_err(failed(source))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Whole or not at all, and for this user only.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), HomeError> {
    let draft = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let _ = fs::remove_file(&draft);
        let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    write().map_err(failed(path))
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> HomeError {
    let path = path.to_owned();
    move |source| HomeError::Io { path, source }
}

fn at(running: Option<&Running>) -> String {
    running.map(|running| format!(" at {}, process {}", running.address, running.pid)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_home_and_its_secrets_are_for_its_user_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/home");
        let home = Home::take(&path).unwrap();
        home.announce("http://127.0.0.1:1").unwrap();
        assert_eq!(mode(&path), 0o700);
        assert_eq!(mode(&path.join("coordinator.json")), 0o600);
        assert_eq!(mode(&path.join("token")), 0o600);
    }

    #[test]
    fn a_folder_that_was_open_to_others_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let _home = Home::take(folder.path()).unwrap();
        assert_eq!(mode(folder.path()), 0o700);
    }

    #[test]
    fn two_coordinators_do_not_share_a_home() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::take(folder.path()).unwrap();
        home.announce("http://127.0.0.1:7").unwrap();
        let refusal = Home::take(folder.path()).unwrap_err().to_string();
        let words = "a coordinator runs there already at http://127.0.0.1:7, process";
        assert!(refusal.contains(words), "{refusal}");
        assert_eq!(running(folder.path()).unwrap().token, home.token());
    }

    #[test]
    fn who_looks_keeps_coordinators_out_and_is_not_taken_for_the_dead_one() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::take(folder.path()).unwrap();
        home.announce("http://127.0.0.1:7").unwrap();
        assert!(Look::take(folder.path()).is_none());
        drop(home);
        let looks = [Look::take(folder.path()).unwrap(), Look::take(folder.path()).unwrap()];
        let refusal = Home::take(folder.path()).unwrap_err();
        assert!(matches!(refusal, HomeError::Taken { running: None, .. }), "{refusal}");
        drop(looks);
        Home::take(folder.path()).unwrap();
    }

    #[test]
    fn a_file_of_a_dead_coordinator_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::take(folder.path()).unwrap();
        home.announce("http://127.0.0.1:7").unwrap();
        drop(home);
        assert!(folder.path().join("coordinator.json").exists());
        assert_eq!(running(folder.path()), None);
        let _next = Home::take(folder.path()).unwrap();
        assert!(!folder.path().join("coordinator.json").exists());
    }

    #[test]
    fn the_token_outlives_the_coordinator_and_is_long() {
        let folder = tempfile::tempdir().unwrap();
        let first = Home::take(folder.path()).unwrap().token().to_owned();
        assert!(is_token(&first), "{first}");
        assert_eq!(Home::take(folder.path()).unwrap().token(), first);
        fs::write(folder.path().join("token"), "short").unwrap();
        let renewed = Home::take(folder.path()).unwrap();
        assert!(is_token(renewed.token()) && renewed.token() != first);
    }
}
