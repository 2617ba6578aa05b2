//! Rows to bytes: one sink per format, over standard output or a file that appears only when it is complete.
//!
//! Contract: every value keeps its meaning (docs/output.md). A pipe that closes early ends the command quietly. A file is written
//! aside as `.NAME.PID.partial` in the same directory and renamed at the end; an error or an interrupt leaves no file behind.

mod cell;
mod delimited;
mod dictionary;
mod table;

use super::args::Format;
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::{DictionaryHandling, FileWriter, IpcWriteOptions, StreamWriter};
use fastdata_types::{Error, ErrorKind, Result, Stage};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub use table::{TERMINAL_ROWS, table_text};

/// Takes batches of one schema; `finish` makes the output complete.
pub trait Sink {
    fn write(&mut self, batch: &RecordBatch) -> Result<()>;
    fn finish(self: Box<Self>) -> Result<()>;
}

/// Where bytes go: buffered, and for a file renamed into place at the end.
enum Target {
    Stdout(BufWriter<File>),
    File { writer: BufWriter<File>, partial: Partial },
}

/// The half file of this process, for the way out that runs no destructors.
static UNFINISHED: Mutex<Option<PathBuf>> = Mutex::new(None);

fn set_unfinished(path: Option<PathBuf>) {
    *UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner) = path;
}

/// Removes the half file, if there is one. The process must end right after.
pub fn abandon() {
    if let Some(path) = UNFINISHED.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // The process is on its way out with another error: this one has nowhere to go.
        let _ = std::fs::remove_file(path);
    }
}

/// A file that is removed unless it was completed.
struct Partial {
    aside: PathBuf,
    path: PathBuf,
    complete: bool,
}

impl Drop for Partial {
    fn drop(&mut self) {
        set_unfinished(None);
        if !self.complete {
            // Nothing more can be done about a file that cannot be removed while another error is on its way.
            let _ = std::fs::remove_file(&self.aside);
        }
    }
}

impl Target {
    /// The descriptor itself: what the standard library buffers it would write out when the process ends, and a reader that has
    /// stalled would keep an interrupted process from ending.
    fn stdout() -> Result<Target> {
        let descriptor = io::stdout().as_fd().try_clone_to_owned().map_err(io_error)?;
        Ok(Target::Stdout(BufWriter::with_capacity(1 << 16, File::from(descriptor))))
    }

    fn open(path: Option<&Path>) -> Result<Target> {
        let Some(path) = path else { return Target::stdout() };
        let name = path.file_name().ok_or_else(|| output_error(path, "names no file"))?;
        let aside = path.with_file_name(format!(".{}.{}.partial", name.to_string_lossy(), std::process::id()));
        let file = File::create(&aside).map_err(|e| output_error(path, e))?;
        set_unfinished(Some(aside.clone()));
        let partial = Partial { aside, path: path.to_owned(), complete: false };
        Ok(Target::File { writer: BufWriter::with_capacity(1 << 20, file), partial })
    }

    fn complete(mut self) -> Result<()> {
        self.flush().map_err(io_error)?;
        if let Target::File { writer, mut partial } = self {
            let file = writer.into_inner().map_err(|e| output_error(&partial.path, e.error()))?;
            file.sync_all().map_err(|e| output_error(&partial.path, e))?;
            std::fs::rename(&partial.aside, &partial.path).map_err(|e| output_error(&partial.path, e))?;
            partial.complete = true;
        }
        Ok(())
    }
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Target::Stdout(out) => out.write(bytes),
            Target::File { writer, .. } => writer.write(bytes),
        }
    }
    fn flush(&mut self) -> io::Result<()> {
        match self {
            Target::Stdout(out) => out.flush(),
            Target::File { writer, .. } => writer.flush(),
        }
    }
}

fn output_error(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::Output, Stage::Output, format!("{}: {why}", path.display())).advice("choose another --output FILE")
}

fn io_error(error: io::Error) -> Error {
    Error::new(ErrorKind::Output, Stage::Output, format!("writing the output: {error}")).source(error)
}

fn arrow_error(error: arrow::error::ArrowError) -> Error {
    match error {
        arrow::error::ArrowError::IoError(_, e) => io_error(e),
        e => Error::new(ErrorKind::Output, Stage::Output, format!("writing the output: {e}")),
    }
}

fn parquet_error(error: parquet::errors::ParquetError) -> Error {
    if let parquet::errors::ParquetError::External(inner) = error {
        return match inner.downcast::<io::Error>() {
            Ok(e) => io_error(*e),
            Err(e) => Error::new(ErrorKind::Output, Stage::Output, format!("writing the output: {e}")),
        };
    }
    Error::new(ErrorKind::Output, Stage::Output, format!("writing the output: {error}"))
}

/// Whether the reader of standard output went away: the way `| head` ends a command.
pub fn is_broken_pipe(error: &Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        if cause.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe) {
            return true;
        }
        source = cause.source();
    }
    false
}

/// The sink of a format. `limited` says that the user chose how many rows to see.
pub fn open(format: Format, path: Option<&Path>, schema: SchemaRef, limited: bool) -> Result<Box<dyn Sink>> {
    if format == Format::None {
        return Ok(Box::new(Drained));
    }
    let target = Target::open(path)?;
    Ok(match format {
        Format::Jsonl => Box::new(delimited::Jsonl::new(target)),
        Format::Csv => Box::new(delimited::Csv::new(target, &schema)?),
        Format::Table => Box::new(table::Aligned::new(target, schema, limited || path.is_some())),
        Format::Parquet => Box::new(ParquetSink::new(target, schema)?),
        Format::Arrow if path.is_some() => Box::new(IpcFile::new(target, &schema)?),
        Format::Arrow => Box::new(IpcStream(StreamWriter::try_new(target, &schema).map_err(arrow_error)?)),
        Format::None => Box::new(Drained),
    })
}

struct Drained;

impl Sink for Drained {
    fn write(&mut self, _: &RecordBatch) -> Result<()> {
        Ok(())
    }
    fn finish(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

struct IpcStream(StreamWriter<Target>);

impl Sink for IpcStream {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.0.write(batch).map_err(arrow_error)
    }
    fn finish(self: Box<Self>) -> Result<()> {
        let mut writer = self.0;
        writer.finish().map_err(arrow_error)?;
        writer.into_inner().map_err(arrow_error)?.complete()
    }
}

/// A file has one dictionary for each column, where a stream may send another with each batch.
struct IpcFile {
    writer: FileWriter<Target>,
    dictionaries: dictionary::Unified,
}

impl IpcFile {
    fn new(target: Target, schema: &Schema) -> Result<Self> {
        let options = IpcWriteOptions::default().with_dictionary_handling(DictionaryHandling::Delta);
        let writer = FileWriter::try_new_with_options(target, schema, options).map_err(arrow_error)?;
        Ok(IpcFile { writer, dictionaries: dictionary::Unified::default() })
    }
}

impl Sink for IpcFile {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = self.dictionaries.unify(batch)?;
        self.writer.write(&batch).map_err(arrow_error)
    }
    fn finish(self: Box<Self>) -> Result<()> {
        let mut writer = self.writer;
        writer.finish().map_err(arrow_error)?;
        writer.into_inner().map_err(arrow_error)?.complete()
    }
}

/// Bytes of a row group, and of what the writer keeps beside it, when the row group is closed.
const ROW_GROUP_BYTES: usize = 24 << 20;

struct ParquetSink {
    writer: ArrowWriter<Target>,
}

impl ParquetSink {
    fn new(target: Target, schema: SchemaRef) -> Result<Self> {
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(1 << 20))
            .build();
        Ok(ParquetSink { writer: ArrowWriter::try_new(target, schema, Some(properties)).map_err(parquet_error)? })
    }
}

impl Sink for ParquetSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.writer.write(batch).map_err(parquet_error)?;
        // A row group is held in memory until it is written, beside the budget: bound it by bytes as well as by rows.
        if self.writer.memory_size() > ROW_GROUP_BYTES {
            self.writer.flush().map_err(parquet_error)?;
        }
        Ok(())
    }
    fn finish(self: Box<Self>) -> Result<()> {
        self.writer.into_inner().map_err(parquet_error)?.complete()
    }
}

/// Prints finished text on standard output.
pub fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(io_error)
}
