//! Streams of batches: iterators, and Arrow streams for other libraries.
//!
//! Contract: a stream is read by one consumer, the iterator or whoever took the capsule. Whatever thread asks, no interpreter lock is held while it
//! waits, and Ctrl-C ends the wait: where a library waits, its call fails and the interrupt follows.

use crate::batch::{Batch, Schema};
use crate::capsule::{self, Casts};
use crate::error::{raised, text_of};
use crate::lake::json;
use crate::runtime::{Here, wait_detached};
use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use fastdata::lake;
use fastdata_types::stats::StatsCollector;
use fastdata_types::{Error, Stage};
use futures::TryStreamExt;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What a stream of either kind is made of. Another thread may close it while one waits for it.
struct Source<T> {
    /// `None` once it ended, failed, was closed, or was handed over.
    inner: Mutex<Option<T>>,
    closing: AtomicBool,
    /// It came to its end: whoever asks on is told so again.
    over: AtomicBool,
}

impl<T> Source<T> {
    fn new(inner: T) -> Source<T> {
        Source { inner: Mutex::new(Some(inner)), closing: AtomicBool::new(false), over: AtomicBool::new(false) }
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
        self.lock().take();
    }

    /// Ends when the stream is being closed.
    async fn closed(&self) {
        while !self.closing.load(Ordering::SeqCst) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

fn closed() -> Error {
    Error::invalid(Stage::Request, "the stream is closed, or another library reads it").advice("begin again from the scan")
}

/// The next batch from a thread without the interpreter's lock; a stream that fails or ends is dropped at once.
fn next<T>(
    source: &Source<T>,
    ask: impl AsyncFnOnce(&mut T) -> fastdata_types::Result<Option<RecordBatch>>,
) -> PyResult<Option<RecordBatch>> {
    let mut inner = source.lock();
    let Some(of) = inner.as_mut() else {
        return if source.over.load(Ordering::SeqCst) { Ok(None) } else { Err(raised(closed())) };
    };
    let asked = wait_detached(async {
        tokio::select! {
            biased;
            next = ask(of) => next,
            () = source.closed() => Err(closed()),
        }
    });
    match asked {
        Ok(Ok(Some(batch))) => Ok(Some(batch)),
        Ok(Ok(None)) => {
            source.over.store(true, Ordering::SeqCst);
            inner.take();
            Ok(None)
        }
        Ok(Err(error)) => {
            inner.take();
            Err(raised(error))
        }
        Err(signal) => Err(signal),
    }
}

#[pyclass(frozen, module = "fastdata._native")]
pub struct Stream {
    source: Arc<Here<Source<lake::Rows>>>,
    schema: SchemaRef,
    stats: Arc<StatsCollector>,
    ended: Arc<AtomicBool>,
}

impl Stream {
    pub fn new(rows: lake::Rows) -> Stream {
        let (schema, stats) = (rows.schema.clone(), Arc::clone(&rows.stats));
        Stream { source: Arc::new(Here::new(Source::new(rows))), schema, stats, ended: Arc::default() }
    }
}

#[pymethods]
impl Stream {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        if self.ended.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let source = self.source.get()?;
        let next = py.detach(|| next(source, async |rows| rows.try_next().await))?;
        self.ended.store(next.is_none(), Ordering::SeqCst);
        Ok(next.map(Batch))
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(&self, py: Python<'py>, requested_schema: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyCapsule>> {
        let source = self.source.get()?;
        let taken = py.detach(|| source.lock().take()).ok_or_else(|| raised(closed()))?;
        let casts = match requested_schema {
            Some(requested) => Casts::of(&self.schema, &capsule::requested(requested)?),
            None => None,
        };
        let reader = Reader {
            schema: casts.as_ref().map_or_else(|| Arc::clone(&self.schema), |casts| Arc::clone(&casts.schema)),
            casts,
            source: Here::new(Source::new(taken)),
            ended: Arc::clone(&self.ended),
        };
        capsule::stream(py, Box::new(reader))
    }

    fn schema(&self) -> Schema {
        Schema(Arc::clone(&self.schema))
    }

    fn stats(&self) -> PyResult<String> {
        json(&self.stats.snapshot())
    }

    fn done(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let source = self.source.get()?;
        self.ended.store(true, Ordering::SeqCst);
        py.detach(|| source.close());
        Ok(())
    }
}

/// The stream in another library's hands.
struct Reader {
    source: Here<Source<lake::Rows>>,
    schema: SchemaRef,
    casts: Option<Casts>,
    ended: Arc<AtomicBool>,
}

impl Reader {
    fn asked(&self) -> PyResult<Option<RecordBatch>> {
        let source = self.source.get()?;
        let ask = || next(source, async |rows| rows.try_next().await);
        // Whether this thread holds the interpreter's lock is the library's affair: taken here, it is given up again for the wait.
        Python::try_attach(|py| py.detach(ask)).unwrap_or_else(ask)
    }
}

/// The error for the library, which sees no more than its text.
fn failed(error: &PyErr) -> ArrowError {
    let text = Python::attach(|py| {
        if !error.is_instance_of::<PyKeyboardInterrupt>(py) {
            return text_of(error, py);
        }
        // SAFETY: sets a flag; the interrupt comes once the library has returned.
        #[expect(unsafe_code, reason = "the interpreter's own function")]
        unsafe {
            pyo3::ffi::PyErr_SetInterrupt();
        }
        "interrupted".to_owned()
    });
    ArrowError::ExternalError(text.into())
}

impl Iterator for Reader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended.load(Ordering::SeqCst) {
            return None;
        }
        let next = self.asked().map_err(|error| failed(&error)).transpose();
        let next = next.map(|next| match &self.casts {
            Some(casts) => casts.apply(&next?),
            None => next,
        });
        if !matches!(next, Some(Ok(_))) {
            self.ended.store(true, Ordering::SeqCst);
        }
        next
    }
}

impl RecordBatchReader for Reader {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

/// The batches of a rank.
#[pyclass(frozen, module = "fastdata._native")]
pub struct Feed {
    source: Here<Source<lake::Feed>>,
    schema: SchemaRef,
    stats: Arc<StatsCollector>,
    steps: Option<lake::Steps>,
    cursor: Mutex<String>,
    ended: AtomicBool,
}

impl Feed {
    pub fn new(feed: lake::Feed) -> PyResult<Feed> {
        let (schema, stats, steps) = (feed.schema.clone(), Arc::clone(&feed.stats), feed.steps);
        let cursor = Mutex::new(json(feed.cursor())?);
        Ok(Feed { source: Here::new(Source::new(feed)), schema, stats, steps, cursor, ended: AtomicBool::new(false) })
    }
}

#[pymethods]
impl Feed {
    fn __iter__(this: PyRef<'_, Self>) -> PyRef<'_, Self> {
        this
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        if self.ended.load(Ordering::SeqCst) {
            return Ok(None);
        }
        let source = self.source.get()?;
        let mut behind = None;
        let next = py.detach(|| {
            next(source, async |feed| {
                let next = feed.next().await?;
                behind = Some(feed.cursor().clone());
                Ok(next)
            })
        })?;
        if let Some(cursor) = behind {
            *self.cursor.lock().unwrap_or_else(PoisonError::into_inner) = json(&cursor)?;
        }
        self.ended.store(next.is_none(), Ordering::SeqCst);
        Ok(next.map(Batch))
    }

    /// Also behind the end, and when the feed is closed.
    fn cursor(&self) -> String {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn schema(&self) -> Schema {
        Schema(Arc::clone(&self.schema))
    }

    fn stats(&self) -> PyResult<String> {
        json(&self.stats.snapshot())
    }

    fn done(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let source = self.source.get()?;
        self.ended.store(true, Ordering::SeqCst);
        py.detach(|| source.close());
        Ok(())
    }

    #[getter]
    fn steps(&self) -> Option<u64> {
        self.steps.map(|steps| steps.batches)
    }

    #[getter]
    fn dropped(&self) -> u64 {
        self.steps.map_or(0, |steps| steps.dropped)
    }

    #[getter]
    fn repeated(&self) -> u64 {
        self.steps.map_or(0, |steps| steps.repeated)
    }
}
