//! What a rank prints, as lines: none longer than a limit, and the newest kept for the day it dies.

use std::collections::VecDeque;

/// Bytes of a line; what is longer is cut, since one careless print of a tensor must not fill queues and logs.
pub(crate) const LINE_MAX: usize = 4096;

/// Newest lines that a rank's end is reported with.
pub(crate) const LAST_LINES: usize = 50;

/// Cuts a stream of bytes into lines.
#[derive(Default)]
pub(crate) struct Splitter {
    partial: Vec<u8>,
    n_cut: usize,
}

impl Splitter {
    /// Adds what was read, gives the lines that it completes.
    pub(crate) fn push(&mut self, mut bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.keep(&bytes[..end]);
            lines.push(self.take());
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
        lines
    }

    /// The last line, if it had no end.
    pub(crate) fn finish(&mut self) -> Option<String> {
        (!self.partial.is_empty()).then(|| self.take())
    }

    fn keep(&mut self, bytes: &[u8]) {
        let n_kept = bytes.len().min(LINE_MAX - self.partial.len());
        self.partial.extend_from_slice(&bytes[..n_kept]);
        self.n_cut += bytes.len() - n_kept;
    }

    fn take(&mut self) -> String {
        let bytes = std::mem::take(&mut self.partial);
        let text = String::from_utf8_lossy(bytes.strip_suffix(b"\r").unwrap_or(&bytes)).into_owned();
        match std::mem::take(&mut self.n_cut) {
            0 => text,
            n_cut => format!("{text} [{n_cut} more bytes cut]"),
        }
    }
}

/// The newest lines, in order.
#[derive(Default)]
pub(crate) struct Tail(VecDeque<String>);

impl Tail {
    /// Adds lines, forgets what is older than the newest fifty.
    pub(crate) fn extend(&mut self, lines: &[String]) {
        let newest = &lines[lines.len().saturating_sub(LAST_LINES)..];
        self.0.extend(newest.iter().cloned());
        while self.0.len() > LAST_LINES {
            self.0.pop_front();
        }
    }

    /// All of them, oldest first.
    pub(crate) fn into_lines(self) -> Vec<String> {
        self.0.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_may_arrive_in_pieces() {
        let mut splitter = Splitter::default();
        assert_eq!(splitter.push(b"one\r\ntw"), ["one"]);
        assert_eq!(splitter.push(b"o\n\nthr"), ["two", ""]);
        assert_eq!(splitter.finish().as_deref(), Some("thr"));
        assert_eq!(splitter.finish(), None);
    }

    #[test]
    fn a_long_line_is_cut_with_a_note_and_the_next_is_whole() {
        let mut splitter = Splitter::default();
        assert!(splitter.push(&[b'x'; 3 * LINE_MAX]).is_empty());
        let lines = splitter.push(b"y\nshort\n");
        assert_eq!(lines[0], format!("{} [{} more bytes cut]", "x".repeat(LINE_MAX), 2 * LINE_MAX + 1));
        assert_eq!(lines[1], "short");
    }

    #[test]
    fn bytes_that_are_no_text_do_not_stop_a_log() {
        assert_eq!(Splitter::default().push(b"a\xffb\n"), ["a\u{fffd}b"]);
    }

    #[test]
    fn the_tail_is_the_newest_fifty() {
        let lines: Vec<String> = (0..120).map(|line| line.to_string()).collect();
        let mut tail = Tail::default();
        tail.extend(&lines[..30]);
        tail.extend(&lines[30..]);
        assert_eq!(tail.into_lines(), lines[70..]);
    }
}
