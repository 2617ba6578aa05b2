//! Local files, opened beneath the directory that the policy allows.
//!
//! Problem: a path that looks harmless may lead out through a symbolic link, hang on a FIFO, or never end (`/dev/zero`). Contract: only
//! regular files are opened, only beneath the allowed root whatever links do meanwhile, and a read gives exactly the bytes asked for or an
//! error that names the location. The root itself may be reached through links: the operator named it. How: `openat2` with RESOLVE_BENEATH;
//! where the kernel has no such call, or a link is absolute, the walk in `beneath.rs` does the same step by step. Reads are
//! `pread`s into recycled buffers on the blocking pool, one task for each large range.

use crate::beneath::{self, Kind};
use crate::buffers::Buffers;
use crate::location::shown;
use crate::policy::Policy;
use crate::versions::Versions;
use bytes::Bytes;
use fastdata_types::error::{Error, ErrorKind, Result, Stage};
use rustix::io::Errno;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Small ranges are read by one task until they sum up to this.
const TASK_BYTES: u64 = 1 << 20;
/// One `pread`; between two of them a read that nobody waits for any more stops.
const PREAD_BYTES: usize = 4 << 20;
/// Blocking reads at once, over all stores of the process.
const PARALLEL_READS: usize = 32;
const MAX_LISTED: usize = 1_000_000;

/// What all stores of the process share for local files.
pub(crate) struct Disk {
    permits: Arc<Semaphore>,
    buffers: Arc<Buffers>,
}

impl Default for Disk {
    fn default() -> Self {
        Disk { permits: Arc::new(Semaphore::new(PARALLEL_READS)), buffers: Arc::default() }
    }
}

/// One admitted file and what is needed to open it again.
#[derive(Clone)]
pub(crate) struct LocalFile {
    pub(crate) location: String,
    pub(crate) root: String,
    pub(crate) beneath: String,
    pub(crate) policy: Arc<Policy>,
    pub(crate) versions: Arc<Versions>,
}

struct Opened {
    fd: OwnedFd,
    size: u64,
}

impl Disk {
    pub(crate) async fn size(&self, file: LocalFile) -> Result<u64> {
        self.blocking(move |_| Ok(file.open()?.size)).await
    }

    pub(crate) async fn read_ranges(&self, file: LocalFile, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut groups: Vec<Vec<Range<u64>>> = Vec::new();
        let mut filled = TASK_BYTES;
        for range in ranges {
            if filled >= TASK_BYTES {
                groups.push(Vec::new());
                filled = 0;
            }
            filled = filled.saturating_add(range.end.saturating_sub(range.start));
            groups.last_mut().into_iter().for_each(|group| group.push(range.clone()));
        }
        let mut tasks = JoinSet::new();
        let stop = Stop::default();
        let count = groups.len();
        for (index, group) in groups.into_iter().enumerate() {
            let (file, buffers, stopped) = (file.clone(), self.buffers.clone(), stop.0.clone());
            let permit = self.permits.clone().acquire_owned().await;
            tasks.spawn_blocking(move || {
                let _permit = permit;
                let opened = file.open()?;
                let read = group.iter().map(|range| file.read(&opened, range, &buffers, &stopped)).collect::<Result<Vec<Bytes>>>()?;
                Ok::<_, Error>((index, read))
            });
        }
        let mut parts: Vec<Vec<Bytes>> = vec![Vec::new(); count];
        while let Some(done) = tasks.join_next().await {
            let (index, read) = done.map_err(task_failed)??;
            if let Some(part) = parts.get_mut(index) {
                *part = read;
            }
        }
        Ok(parts.into_iter().flatten().collect())
    }

    pub(crate) async fn read_all(&self, file: LocalFile, limit: u64) -> Result<Bytes> {
        let buffers = self.buffers.clone();
        self.blocking(move |stopped| {
            let opened = file.open_unversioned()?;
            if opened.size > limit {
                return Err(too_large(&file.location, opened.size, limit));
            }
            file.read(&opened, &(0..opened.size), &buffers, stopped)
        })
        .await
    }

    pub(crate) async fn read_tail(&self, file: LocalFile, length: u64) -> Result<(Bytes, u64)> {
        let buffers = self.buffers.clone();
        self.blocking(move |stopped| {
            let opened = file.open()?;
            let tail = opened.size.saturating_sub(length)..opened.size;
            Ok((file.read(&opened, &tail, &buffers, stopped)?, opened.size))
        })
        .await
    }

    pub(crate) async fn list(&self, directory: LocalFile) -> Result<Vec<String>> {
        self.blocking(move |_| directory.list()).await
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static) -> Result<T> {
        let permit = self.permits.clone().acquire_owned().await;
        let stop = Stop::default();
        let stopped = stop.0.clone();
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work(&stopped)
        });
        task.await.map_err(task_failed)?
    }
}

/// Tells running reads that nobody waits for them, when the future that started them is dropped.
#[derive(Default)]
struct Stop(Arc<AtomicBool>);

impl Drop for Stop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn task_failed(error: tokio::task::JoinError) -> Error {
    if error.is_cancelled() {
        Error::new(ErrorKind::Cancelled, Stage::Store, "the runtime is shutting down")
    } else {
        Error::internal(Stage::Store, "a file read panicked")
    }
}

pub(crate) fn too_large(location: &str, size: u64, limit: u64) -> Error {
    Error::limit(Stage::Store, format!("{}: {size} bytes, more than the {limit} bytes allowed for such a file", shown(location)))
}

/// The error for an object that ends before a range that its table says it has.
pub(crate) fn too_short(location: &str, size: u64, range: &Range<u64>) -> Error {
    Error::corrupt(
        Stage::Store,
        format!(
            "{}: bytes {} to {} are wanted but the file has {size} bytes: it is truncated, or its metadata is wrong",
            shown(location),
            range.start,
            range.end
        ),
    )
    .advice("restore the file from where it was copied, or repair the table")
}

pub(crate) fn missing(location: &str) -> Error {
    Error::new(ErrorKind::MissingFile, Stage::Store, format!("{}: there is no such file", shown(location)))
        .advice("repair the table, or check the location rewrites (--rewrite FROM=TO)")
}

impl LocalFile {
    fn open(&self) -> Result<Opened> {
        let (opened, version) = self.open_with_version()?;
        self.versions.check(&self.location, &self.policy.spelling(&self.location), &version, opened.size)?;
        Ok(opened)
    }

    /// For files that may rightly change between two reads, such as a version hint.
    fn open_unversioned(&self) -> Result<Opened> {
        Ok(self.open_with_version()?.0)
    }

    fn open_with_version(&self) -> Result<(Opened, String)> {
        let (root, name) = match (self.beneath.as_str(), self.root.rsplit_once('/')) {
            ("", Some((parent, name))) => (if parent.is_empty() { "/" } else { parent }, name),
            (beneath, _) => (self.root.as_str(), beneath),
        };
        let fd = beneath::open(root, name, Kind::File).map_err(|errno| self.failed(errno))?;
        let stat = rustix::fs::fstat(&fd).map_err(|errno| self.failed(errno))?;
        if !rustix::fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(self.not_a_file());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let version = format!("{}.{}.{}.{}", stat.st_dev, stat.st_ino, stat.st_mtime, stat.st_mtime_nsec);
        Ok((Opened { fd, size }, version))
    }

    fn read(&self, opened: &Opened, range: &Range<u64>, buffers: &Arc<Buffers>, stopped: &AtomicBool) -> Result<Bytes> {
        if range.start > range.end || range.end > opened.size {
            return Err(too_short(&self.location, opened.size, range));
        }
        let length = usize::try_from(range.end - range.start).map_err(|_| too_short(&self.location, opened.size, range))?;
        buffers.fill(length, |buffer| {
            let mut offset = range.start;
            let mut rest = buffer;
            while !rest.is_empty() {
                if stopped.load(Ordering::Relaxed) {
                    return Err(Error::new(ErrorKind::Cancelled, Stage::Store, "the read was abandoned"));
                }
                let step = rest.len().min(PREAD_BYTES);
                let now = rest.get_mut(..step).unwrap_or_default();
                match rustix::io::pread(&opened.fd, now, offset) {
                    Ok(0) => return Err(too_short(&self.location, offset, range)),
                    Ok(read) => {
                        offset += read as u64;
                        rest = std::mem::take(&mut rest).get_mut(read..).unwrap_or_default();
                    }
                    Err(Errno::INTR | Errno::AGAIN) => {}
                    Err(errno) => return Err(self.failed(errno)),
                }
            }
            Ok(())
        })
    }

    fn list(&self) -> Result<Vec<String>> {
        let fd = match beneath::open(&self.root, if self.beneath.is_empty() { "." } else { &self.beneath }, Kind::Directory) {
            Ok(fd) => fd,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Vec::new()),
            Err(errno) => return Err(self.failed(errno)),
        };
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&fd).map_err(|errno| self.failed(errno))? {
            let entry = entry.map_err(|errno| self.failed(errno))?;
            match entry.file_name().to_str() {
                Ok("." | "..") | Err(_) => {}
                Ok(name) => names.push(name.to_string()),
            }
            if names.len() > MAX_LISTED {
                return Err(Error::limit(
                    Stage::Store,
                    format!("{}: more than {MAX_LISTED} names in one directory", shown(&self.location)),
                ));
            }
        }
        Ok(names)
    }

    fn not_a_file(&self) -> Error {
        self.policy.refused(&self.location, "it is not a regular file")
    }

    fn failed(&self, errno: Errno) -> Error {
        let failed = |kind, what: &str| Error::new(kind, Stage::Store, format!("{}: {what}: {errno}", shown(&self.location)));
        match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::NAMETOOLONG => missing(&self.location),
            Errno::XDEV => self.policy.refused(&self.location, "a symbolic link leads out of the allowed directory"),
            Errno::LOOP => self.policy.refused(&self.location, "its symbolic links lead in a circle or are magic"),
            Errno::NXIO | Errno::NODEV | Errno::ISDIR => self.not_a_file(),
            Errno::ACCESS | Errno::PERM => {
                failed(ErrorKind::PermissionDenied, "not readable").advice("check the file's and its directories' permissions")
            }
            Errno::MFILE | Errno::NFILE => {
                failed(ErrorKind::Unavailable, "too many open files").advice("raise the limit of open files (ulimit -n)")
            }
            _ => failed(ErrorKind::Unavailable, "reading failed").with_retryable(false).advice("check the disk or the file server"),
        }
    }
}

#[cfg(test)]
mod tests;
