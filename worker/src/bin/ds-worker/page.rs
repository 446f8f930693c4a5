//! What a model wrote, on stdout.

use std::fmt::Display;
use std::io::{self, Write as _};

use ds_data::{TextStream, Vocabulary};
use ds_worker::generate::{Ended, Summary, Written};
use serde_json::json;

/// Prompts and what follows them, in order: the first one that goes on is shown as it grows, the others when it has
/// ended. Several stand under headlines.
pub(crate) struct Page<'a> {
    rows: Vec<Row<'a>>,
    /// The first that has not ended.
    current: usize,
    is_shown: bool,
}

struct Row<'a> {
    /// None when it has ended.
    stream: Option<TextStream<'a>>,
    prompt: &'a str,
    text: String,
    /// Bytes of the text that were shown; none while not even the prompt was.
    n_shown: Option<usize>,
}

impl<'a> Page<'a> {
    /// Shows the first prompt, unless nothing is to be shown.
    pub(crate) fn new(
        vocabulary: &'a Vocabulary,
        texts: &'a [String],
        prompts: &[Vec<u32>],
        is_shown: bool,
    ) -> io::Result<Self> {
        let row = |(prompt, tokens): (&'a String, &Vec<u32>)| Row {
            stream: Some(TextStream::new(vocabulary, tokens)),
            prompt,
            text: String::new(),
            n_shown: None,
        };
        let mut page = Self { rows: texts.iter().zip(prompts).map(row).collect(), current: 0, is_shown };
        page.show()?;
        Ok(page)
    }

    /// Adds what was written behind a prompt.
    pub(crate) fn add(&mut self, row: u64, tokens: &[u32], has_ended: bool) -> io::Result<()> {
        let row = &mut self.rows[row as usize];
        if let Some(stream) = &mut row.stream {
            row.text += &stream.push(tokens).map_err(io::Error::other)?;
        }
        if has_ended && let Some(stream) = row.stream.take() {
            row.text += &stream.finish().map_err(io::Error::other)?;
        }
        self.show()
    }

    /// What was written behind each prompt.
    pub(crate) fn into_texts(self) -> Vec<String> {
        self.rows.into_iter().map(|row| row.text).collect()
    }

    fn show(&mut self) -> io::Result<()> {
        if !self.is_shown {
            return Ok(());
        }
        let mut stdout = io::stdout().lock();
        let n_rows = self.rows.len();
        while let Some(row) = self.rows.get_mut(self.current) {
            if row.n_shown.is_none() {
                if n_rows > 1 {
                    let gap = if self.current > 0 { "\n" } else { "" };
                    writeln!(stdout, "{gap}==> prompt {} <==", self.current + 1)?;
                }
                write!(stdout, "{}", row.prompt)?;
            }
            write!(stdout, "{}", &row.text[row.n_shown.unwrap_or(0)..])?;
            row.n_shown = Some(row.text.len());
            if row.stream.is_some() {
                break;
            }
            writeln!(stdout)?;
            self.current += 1;
        }
        stdout.flush()
    }
}

/// Everything as one document.
pub(crate) fn json(
    texts: &[String],
    prompts: &[Vec<u32>],
    written: &[Written],
    continuations: &[String],
    summary: &Summary,
) -> io::Result<()> {
    let sequence = |i: usize| {
        json!({
            "prompt": texts[i],
            "text": continuations[i],
            "prompt_tokens": prompts[i].len(),
            "tokens": written[i].tokens,
            "ended": match written[i].ended { Ended::Document => "document", Ended::Limit => "limit" },
        })
    };
    let drafts = (summary.drafts_judged > 0).then(|| {
        json!({
            "judged": summary.drafts_judged,
            "accepted": summary.drafts_accepted,
            "acceptance": summary.drafts_accepted as f64 / summary.drafts_judged as f64,
        })
    });
    let document = json!({
        "sequences": (0..written.len()).map(sequence).collect::<Vec<_>>(),
        "tokens": summary.tokens,
        "seconds": summary.seconds,
        "tokens_per_second": summary.tokens as f64 / summary.seconds.max(f64::MIN_POSITIVE),
        "passes": summary.rounds,
        "cache_bytes_per_token": summary.cache_bytes_per_token,
        "drafts": drafts,
    });
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{document:#}")?;
    stdout.flush()
}

/// One sentence about what happens.
pub(crate) fn talk(text: impl Display) {
    // Who closes stderr wants no talk.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
