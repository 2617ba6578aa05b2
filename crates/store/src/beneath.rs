//! Opens a path beneath a directory, and never outside of it.
//!
//! Problem: checking a path and then opening it leaves a gap in which a link can change. Contract: the file that is opened was reached
//! from the root's own descriptor through directories that were beneath it; a link out of the root is EXDEV; links that stay inside are
//! followed, absolute ones too. How: `openat2(RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)` where the kernel has it. Where it has not, and for
//! absolute links, which that call refuses, `walk` goes component by component with O_NOFOLLOW, holding every directory it has passed, so that
//! `..` in a link goes back to a held descriptor and can never go above the root.

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const MAX_LINKS: usize = 40;
const MAX_DEPTH: usize = 256;
const MAX_STEPS: usize = 8192;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Opened without blocking, so that a FIFO gives a descriptor at once; the caller looks at what it got.
    File,
    Directory,
}

impl Kind {
    fn flags(self) -> OFlags {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
        match self {
            Kind::File => flags | OFlags::NONBLOCK,
            Kind::Directory => flags | OFlags::DIRECTORY,
        }
    }
}

/// `path` is relative; `root` may itself be reached through links.
pub(crate) fn open(root: &str, path: &str, kind: Kind) -> Result<OwnedFd, Errno> {
    let directory = rustix::fs::openat(CWD, root, passing(), Mode::empty())?;
    match open_by_kernel(directory.as_fd(), path, kind) {
        Err(Errno::NOSYS | Errno::PERM | Errno::XDEV | Errno::INVAL | Errno::AGAIN) => walk(root, directory, path, kind),
        opened => opened,
    }
}

#[cfg(target_os = "linux")]
fn passing() -> OFlags {
    OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC
}

#[cfg(not(target_os = "linux"))]
fn passing() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC
}

#[cfg(target_os = "linux")]
fn open_by_kernel(root: BorrowedFd<'_>, path: &str, kind: Kind) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;
    rustix::fs::openat2(root, path, kind.flags(), Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
}

#[cfg(not(target_os = "linux"))]
fn open_by_kernel(_root: BorrowedFd<'_>, _path: &str, _kind: Kind) -> Result<OwnedFd, Errno> {
    Err(Errno::NOSYS)
}

fn walk(root: &str, directory: OwnedFd, path: &str, kind: Kind) -> Result<OwnedFd, Errno> {
    let mut held: Vec<OwnedFd> = vec![directory];
    let mut ahead: Vec<String> = components(path);
    let mut links = 0;
    for _ in 0..MAX_STEPS {
        let here = held.last().ok_or(Errno::XDEV)?;
        let Some(name) = ahead.pop() else {
            return rustix::fs::openat(here, ".", kind.flags(), Mode::empty());
        };
        if name == ".." {
            if held.len() == 1 {
                return Err(Errno::XDEV);
            }
            held.pop();
            continue;
        }
        let stat = rustix::fs::statat(here, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(here, name.as_str(), Vec::new())?;
                let target = target.to_str().map_err(|_| Errno::XDEV)?;
                if target.starts_with('/') {
                    let inside = inside_root(root, target).ok_or(Errno::XDEV)?;
                    held.truncate(1);
                    ahead.extend(components(&inside));
                } else {
                    ahead.extend(components(target));
                }
            }
            FileType::Directory => {
                if held.len() >= MAX_DEPTH {
                    return Err(Errno::NAMETOOLONG);
                }
                let next = rustix::fs::openat(here, name.as_str(), passing() | OFlags::NOFOLLOW, Mode::empty())?;
                held.push(next);
            }
            _ if ahead.is_empty() => return rustix::fs::openat(here, name.as_str(), kind.flags() | OFlags::NOFOLLOW, Mode::empty()),
            _ => return Err(Errno::NOTDIR),
        }
    }
    Err(Errno::LOOP)
}

/// Components in the order they will be popped.
fn components(path: &str) -> Vec<String> {
    path.split('/').rev().filter(|part| !part.is_empty() && *part != ".").map(str::to_string).collect()
}

/// What remains of an absolute link target below the root, as the root is written or as it really lies.
fn inside_root(root: &str, target: &str) -> Option<String> {
    let real = std::fs::canonicalize(root).ok();
    [Some(root), real.as_deref().and_then(|path| path.to_str())]
        .into_iter()
        .flatten()
        .find_map(|root| crate::location::path_below(target, root.trim_end_matches('/')).map(str::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    /// A root with links of every sort, one file inside and one outside.
    fn tree(dir: &Path) -> String {
        let root = dir.join("root");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(dir.join("outside")).unwrap();
        std::fs::write(root.join("a/file"), "inside").unwrap();
        std::fs::write(dir.join("outside/file"), "secret").unwrap();
        symlink("../file", root.join("a/b/up")).unwrap();
        symlink("b/up", root.join("a/twice")).unwrap();
        symlink(root.join("a/file"), root.join("absolute")).unwrap();
        symlink(root.join("a"), root.join("absolute_dir")).unwrap();
        symlink("../outside/file", root.join("out")).unwrap();
        symlink("../outside", root.join("out_dir")).unwrap();
        symlink("a/../../outside/file", root.join("out_by_dots")).unwrap();
        symlink(dir.join("outside/file"), root.join("absolute_out")).unwrap();
        symlink(format!("{}/../outside/file", root.display()), root.join("absolute_dots")).unwrap();
        symlink(format!("{}-evil/file", root.display()), root.join("absolute_sibling")).unwrap();
        symlink("circle", root.join("circle")).unwrap();
        symlink("/proc/self/root/etc/passwd", root.join("magic")).unwrap();
        symlink("/dev/zero", root.join("zero")).unwrap();
        root.to_str().unwrap().to_string()
    }

    fn content(fd: OwnedFd) -> String {
        std::io::read_to_string(std::fs::File::from(fd)).unwrap()
    }

    fn walked(root: &str, path: &str) -> Result<OwnedFd, Errno> {
        walk(root, rustix::fs::openat(CWD, root, passing(), Mode::empty())?, path, Kind::File)
    }

    #[test]
    fn links_inside_are_followed_and_links_outside_refused_with_and_without_openat2() {
        let dir = tempfile::tempdir().unwrap();
        let root = tree(dir.path());
        for open in [walked, |root: &str, path: &str| open(root, path, Kind::File)] {
            for path in ["a/file", "a/b/up", "a/twice", "absolute", "absolute_dir/b/up"] {
                assert_eq!(content(open(&root, path).unwrap()), "inside", "{path}");
            }
            for path in [
                "out",
                "out_dir/file",
                "out_by_dots",
                "absolute_out",
                "absolute_dots",
                "absolute_sibling",
                "magic",
                "zero",
                "../outside/file",
            ] {
                assert_eq!(open(&root, path).unwrap_err(), Errno::XDEV, "{path}");
            }
            assert_eq!(open(&root, "circle").unwrap_err(), Errno::LOOP);
            assert_eq!(open(&root, "a/none").unwrap_err(), Errno::NOENT);
            assert_eq!(open(&root, "a/file/x").unwrap_err(), Errno::NOTDIR);
        }
    }

    #[test]
    fn the_root_itself_may_be_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let root = tree(dir.path());
        let link = dir.path().join("link");
        symlink(&root, &link).unwrap();
        let link = link.to_str().unwrap();
        for path in ["a/b/up", "absolute"] {
            assert_eq!(content(open(link, path, Kind::File).unwrap()), "inside");
            assert_eq!(content(walked(link, path).unwrap()), "inside");
        }
        assert_eq!(open(link, "out", Kind::File).unwrap_err(), Errno::XDEV);
    }
}
