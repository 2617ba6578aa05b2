//! What the proxy gives to a client that does nothing with the bytes: ranges of every object, many at a time.

use super::failed;
use super::site::{Object, Site, refused_by_store};
use crate::assemble::PARALLEL_REQUESTS;
use fastdata_types::Result;
use futures::{StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, ObjectStore};
use std::time::{Duration, Instant};

/// As a scan asks for them, and as many at once as scans may have under way.
const RANGE: u64 = 8 << 20;

pub async fn measure(site: &Site, endpoint: &str, objects: &[Object]) -> Result<Duration> {
    let client = site.client(endpoint)?;
    let ranges: Vec<_> = objects
        .iter()
        .flat_map(|object| (0..object.size).step_by(RANGE as usize).map(move |first| (object, first..(first + RANGE).min(object.size))))
        .collect();
    let started = Instant::now();
    let bytes: u64 = futures::stream::iter(ranges)
        .map(|(object, range)| {
            let client = &client;
            async move {
                let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
                let mut body = client.get_opts(&object.key, options).await.map_err(|e| refused_by_store(&e))?.into_stream();
                let mut bytes = 0;
                while let Some(chunk) = body.try_next().await.map_err(|e| refused_by_store(&e))? {
                    bytes += chunk.len() as u64;
                }
                Ok::<_, fastdata_types::Error>(bytes)
            }
        })
        .buffer_unordered(PARALLEL_REQUESTS)
        .try_fold(0, |all, bytes| async move { Ok(all + bytes) })
        .await?;
    let took = started.elapsed();
    let expected: u64 = objects.iter().map(|object| object.size).sum();
    if bytes != expected {
        return Err(failed("the ceiling", &format!("{bytes} bytes came of {expected}")));
    }
    Ok(took)
}
