//! Writes a folder of tokens, shard after shard, in bounded memory.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::error::{DataError, writing};
use crate::manifest::{self, FileEntry, LONG, Layout, Lengths, MARK_EVERY, Manifest, ShardEntry, Width};

/// Tokens of a shard: 256 MiB as u16.
pub(crate) const SHARD_TOKENS: u64 = 128 << 20;

/// Takes tokens one after another.
pub(crate) struct Writer {
    folder: PathBuf,
    layout: Layout,
    shard_tokens: u64,
    n_documents: u64,
    current: Option<OpenShard>,
    done: Vec<ShardEntry>,
}

impl Writer {
    /// Into a folder that is there and empty.
    pub(crate) fn new(folder: &Path, layout: Layout, shard_tokens: u64) -> Self {
        Self { folder: folder.to_owned(), layout, shard_tokens, n_documents: 0, current: None, done: Vec::new() }
    }

    /// One token, which stands for so many bytes of text.
    pub(crate) fn push(&mut self, token: u32, n_bytes: u64) -> Result<(), DataError> {
        let full = self.current.as_ref().is_some_and(|shard| shard.n_tokens >= self.shard_tokens);
        if full {
            self.close_shard()?;
        }
        let shard = match &mut self.current {
            Some(shard) => shard,
            none => none.insert(OpenShard::create(&self.folder, self.done.len(), self.layout)?),
        };
        shard.push(token, n_bytes)
    }

    /// The token that ends a document; text that no token stands for yet counts with it.
    pub(crate) fn end_document(&mut self, n_bytes: u64) -> Result<(), DataError> {
        self.n_documents += 1;
        self.push(self.layout.end_of_document, n_bytes)
    }

    /// Everything to disk, the manifest last.
    pub(crate) fn finish(mut self, tokenizer: String) -> Result<Manifest, DataError> {
        self.close_shard()?;
        let manifest = Manifest::new(self.layout, tokenizer, self.n_documents, self.done);
        let mut file = HashedFile::create(self.folder.join(manifest::NAME))?;
        file.write(&manifest.to_json())?;
        file.close()?;
        sync_folder(&self.folder)?;
        Ok(manifest)
    }

    fn close_shard(&mut self) -> Result<(), DataError> {
        if let Some(shard) = self.current.take() {
            self.done.push(shard.close()?);
        }
        Ok(())
    }
}

struct OpenShard {
    layout: Layout,
    n_tokens: u64,
    n_bytes: u64,
    tokens: HashedFile,
    marks: HashedFile,
    lengths: Option<HashedFile>,
    long: Vec<(u64, u64)>,
}

impl OpenShard {
    fn create(folder: &Path, index: usize, layout: Layout) -> Result<Self, DataError> {
        let create = |kind| HashedFile::create(manifest::shard_file(folder, index, kind));
        let lengths = match layout.lengths {
            Lengths::BelowByte => None,
            Lengths::Listed => Some(create("lengths")?),
        };
        let (tokens, marks) = (create("tokens")?, create("marks")?);
        Ok(Self { layout, n_tokens: 0, n_bytes: 0, tokens, marks, lengths, long: Vec::new() })
    }

    fn push(&mut self, token: u32, n_bytes: u64) -> Result<(), DataError> {
        if self.n_tokens.is_multiple_of(MARK_EVERY) {
            self.marks.write(&self.n_bytes.to_le_bytes())?;
        }
        match self.layout.width {
            Width::U16 => {
                let token = u16::try_from(token).expect("tokens are below the vocabulary, which fits u16");
                self.tokens.write(&token.to_le_bytes())?;
            }
            Width::U32 => self.tokens.write(&token.to_le_bytes())?,
        }
        if let Some(lengths) = &mut self.lengths {
            let short = u8::try_from(n_bytes).ok().filter(|&short| short != LONG);
            if short.is_none() {
                self.long.push((self.n_tokens, n_bytes));
            }
            lengths.write(&[short.unwrap_or(LONG)])?;
        }
        self.n_tokens += 1;
        self.n_bytes += n_bytes;
        Ok(())
    }

    fn close(self) -> Result<ShardEntry, DataError> {
        Ok(ShardEntry {
            n_tokens: self.n_tokens,
            n_bytes: self.n_bytes,
            tokens: self.tokens.close()?,
            marks: self.marks.close()?,
            lengths: self.lengths.map(HashedFile::close).transpose()?,
            long: self.long,
        })
    }
}

/// A file whose checksum is known when it is closed.
struct HashedFile {
    path: PathBuf,
    file: BufWriter<Hashing>,
}

struct Hashing {
    file: File,
    hasher: blake3::Hasher,
    size: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl HashedFile {
    fn create(path: PathBuf) -> Result<Self, DataError> {
        let file = File::create_new(&path).map_err(writing(&path))?;
        let file = Hashing { file, hasher: blake3::Hasher::new(), size: 0 };
        Ok(Self { path, file: BufWriter::with_capacity(256 << 10, file) })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), DataError> {
        self.file.write_all(bytes).map_err(writing(&self.path))
    }

    fn close(mut self) -> Result<FileEntry, DataError> {
        self.file.flush().map_err(writing(&self.path))?;
        let inner = self.file.get_ref();
        inner.file.sync_all().map_err(writing(&self.path))?;
        Ok(FileEntry { size: inner.size, blake3: inner.hasher.finalize().to_string() })
    }
}

/// So that names in it outlive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> Result<(), DataError> {
    File::open(folder).and_then(|open| open.sync_all()).map_err(writing(folder))
}
