//! One command a file: `Args` and `run`.

pub(crate) mod calibrate;
pub(crate) mod cancel;
pub(crate) mod check;
pub(crate) mod ckpt;
pub(crate) mod coordinator;
pub(crate) mod data_command;
pub(crate) mod export;
pub(crate) mod fabric;
pub(crate) mod generate;
pub(crate) mod import;
pub(crate) mod launch;
pub(crate) mod limits;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod nodes;
pub(crate) mod plan;
pub(crate) mod resume;
pub(crate) mod schema;
pub(crate) mod simulate;
pub(crate) mod status;
pub(crate) mod watch;
