//! Lakes and planned scans.

use crate::batch::Schema;
use crate::error::raised;
use crate::runtime::{Here, wait};
use crate::stream::{Feed, Stream};
use fastdata::assemble::{self, Paths};
use fastdata::config::{self, Overrides};
use fastdata::lake::{self, FeedOptions, Last, Planned};
use fastdata_client::{Client, ConnectOptions, Token};
use fastdata_types::lanes::Cursor;
use fastdata_types::{Error, Result, ScanRequest, Stage};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

pub fn json(value: &impl Serialize) -> PyResult<String> {
    serde_json::to_string(value).map_err(|e| PyValueError::new_err(e.to_string()))
}

pub fn cursor_of(text: &str) -> PyResult<Cursor> {
    serde_json::from_str(text).map_err(|e| {
        raised(Error::invalid(Stage::Request, format!("cursor: {e}")).advice("give a cursor as it was made: cursor.to_json(), unchanged"))
    })
}

fn text_of(answer: Vec<u8>) -> PyResult<String> {
    String::from_utf8(answer).map_err(|e| raised(Error::corrupt(Stage::Client, format!("the answer is no text: {e}"))))
}

#[pyclass(frozen, module = "fastdata._native")]
pub struct Lake(Here<lake::Lake>);

#[pymethods]
impl Lake {
    #[staticmethod]
    #[pyo3(signature = (*, warehouse=None, config=None, memory=None, threads=None, moved=false, timeout=None))]
    fn embedded(
        py: Python<'_>,
        warehouse: Option<PathBuf>,
        config: Option<PathBuf>,
        memory: Option<u64>,
        threads: Option<usize>,
        moved: bool,
        timeout: Option<f64>,
    ) -> PyResult<Lake> {
        let timeout = timeout.map(|seconds| seconds_of("timeout", seconds)).transpose().map_err(raised)?;
        let open = async {
            let environment: Vec<(String, String)> = std::env::vars().collect();
            let overrides = Overrides { config, memory, threads, ..Default::default() };
            let settings = config::read(&overrides, &environment)?;
            fastdata::allocator::return_early(settings.memory());
            assemble::engine(&settings, warehouse.as_deref(), Paths::Allowed { moved })
        };
        let engine = wait(py, open)?.map_err(raised)?;
        Ok(Lake(Here::new(lake::Lake::embedded(engine).with_timeout(timeout))))
    }

    #[staticmethod]
    #[pyo3(signature = (uri, *, token=None, ca=None, certificate=None, key=None, plaintext_token=false, memory=None, retry_seconds=None, timeout=None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of one call")]
    fn served(
        py: Python<'_>,
        uri: &str,
        token: Option<&str>,
        ca: Option<PathBuf>,
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
        plaintext_token: bool,
        memory: Option<u64>,
        retry_seconds: Option<f64>,
        timeout: Option<f64>,
    ) -> PyResult<Lake> {
        let memory = memory.unwrap_or(config::DEFAULT_MEMORY);
        let retry = retry_seconds.map(|seconds| seconds_of("retry_seconds", seconds)).transpose().map_err(raised)?;
        let timeout = timeout.map(|seconds| seconds_of("timeout", seconds)).transpose().map_err(raised)?;
        let connect = async {
            if certificate.is_some() != key.is_some() {
                return Err(
                    Error::invalid(Stage::Client, "a certificate without its key, or a key without its certificate").advice("give both")
                );
            }
            let options = ConnectOptions {
                token: token.map(Token::new).transpose()?,
                ca,
                certificate: certificate.zip(key),
                plaintext_token,
                ..Default::default()
            };
            let client = Client::connect(uri, options).await?;
            Ok(match retry {
                Some(time) => client.with_retry_for(time),
                None => client,
            })
        };
        fastdata::allocator::return_early(memory);
        let client = wait(py, lake::within(timeout, "connecting", connect))?.map_err(raised)?;
        Ok(Lake(Here::new(lake::Lake::served(client, memory).with_timeout(timeout))))
    }

    #[getter]
    fn memory(&self) -> PyResult<u64> {
        Ok(self.0.get()?.memory())
    }

    #[pyo3(signature = (namespace=None))]
    fn tables(&self, py: Python<'_>, namespace: Option<&str>) -> PyResult<String> {
        let lake = self.0.get()?;
        json(&wait(py, lake.tables(namespace))?.map_err(raised)?)
    }

    fn ask(&self, py: Python<'_>, action: &str, body: String) -> PyResult<String> {
        let lake = self.0.get()?;
        let action = format!("fastdata.v1.{action}");
        text_of(wait(py, lake.ask(&action, body.into_bytes()))?.map_err(raised)?)
    }

    fn plan(&self, py: Python<'_>, request: &str) -> PyResult<Plan> {
        let lake = self.0.get()?;
        let plan = async {
            let request = ScanRequest::from_json(request.as_bytes())?;
            lake.plan(&request).await
        };
        Ok(Plan(Here::new(wait(py, plan)?.map_err(raised)?)))
    }
}

#[pyclass(frozen, module = "fastdata._native")]
pub struct Plan(Here<Planned>);

#[pymethods]
impl Plan {
    fn facts(&self) -> PyResult<String> {
        json(&self.0.get()?.facts())
    }

    fn schema(&self) -> PyResult<Schema> {
        Ok(Schema(self.0.get()?.schema().clone()))
    }

    #[pyo3(signature = (*, lanes=None, batch_rows=None))]
    fn rows(&self, lanes: Option<Vec<u32>>, batch_rows: Option<usize>) -> PyResult<Stream> {
        Ok(Stream::new(self.0.get()?.rows(lanes, batch_rows).map_err(raised)?))
    }

    #[pyo3(signature = (*, rank, world, batch_rows, last, interleave, cursor=None))]
    #[expect(clippy::too_many_arguments, reason = "keywords of one call")]
    fn feed(
        &self,
        py: Python<'_>,
        rank: u32,
        world: u32,
        batch_rows: usize,
        last: &str,
        interleave: usize,
        cursor: Option<&str>,
    ) -> PyResult<Feed> {
        let last = last_of(last).map_err(raised)?;
        let cursor = cursor.map(cursor_of).transpose()?;
        let planned = self.0.get()?;
        let feed = wait(py, planned.feed(FeedOptions { rank, world, batch_rows, last, interleave, cursor }))?;
        Feed::new(feed.map_err(raised)?)
    }

    fn start(&self) -> PyResult<String> {
        json(&self.0.get()?.start())
    }

    fn check(&self, cursor: &str) -> PyResult<()> {
        self.0.get()?.check(&cursor_of(cursor)?).map_err(raised)
    }

    fn counts(&self, py: Python<'_>) -> PyResult<Vec<u64>> {
        let planned = self.0.get()?;
        wait(py, async { planned.counts().await.map(<[u64]>::to_vec) })?.map_err(raised)
    }
}

fn seconds_of(name: &str, seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|e| Error::invalid(Stage::Client, format!("{name}: {e}")).advice("give seconds, 0 or more"))
}

fn last_of(text: &str) -> Result<Last> {
    match text {
        "drop" => Ok(Last::Drop),
        "pad" => Ok(Last::Pad),
        "uneven" => Ok(Last::Uneven),
        _ => Err(Error::invalid(Stage::Request, format!("last is '{text}'")).advice("it is \"drop\", \"pad\" or \"uneven\"")),
    }
}
