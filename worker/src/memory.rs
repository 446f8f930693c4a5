//! How much memory this process has needed: the most of its anonymous memory, above what it had when watching began.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Between two looks. What is larger than a few MiB takes longer to be written to, and stays longer.
const PERIOD: Duration = Duration::from_millis(10);

/// Watches until it is dropped.
pub(crate) struct MemoryWatch {
    start: u64,
    peak: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryWatch {
    /// From now on. None where the system does not tell, or gives no thread.
    pub(crate) fn start() -> Option<Self> {
        let start = anonymous_bytes()?;
        let (peak, is_over) = (Arc::new(AtomicU64::new(start)), Arc::new(AtomicBool::new(false)));
        let (seen, over) = (peak.clone(), is_over.clone());
        let watch = move || {
            while !over.load(Ordering::Relaxed) {
                seen.fetch_max(anonymous_bytes().unwrap_or(0), Ordering::Relaxed);
                thread::park_timeout(PERIOD);
            }
        };
        let thread = thread::Builder::new().name("memory".to_owned()).spawn(watch).ok()?;
        Some(Self { start, peak, is_over, thread: Some(thread) })
    }

    /// Bytes.
    pub(crate) fn peak(&self) -> u64 {
        let now = anonymous_bytes().unwrap_or(0);
        self.peak.fetch_max(now, Ordering::Relaxed).max(now).saturating_sub(self.start)
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic, and nobody needs to know if it did.
            let _ = thread.join();
        }
    }
}

/// `RssAnon` of this process: pages that no file stands behind.
fn anonymous_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_for_a_while_is_remembered() {
        let watch = MemoryWatch::start().expect("Linux tells");
        let bytes = vec![1_u8; 64 << 20];
        let with = watch.peak();
        assert!(with >= 64 << 20, "{with}");
        drop(bytes);
        assert!(watch.peak() >= with);
    }
}
