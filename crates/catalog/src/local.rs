//! Local places as a person names them: relative, with `..`, through links.
//!
//! Problem: one directory has several spellings, and writers put one of them, mostly the real one, into metadata. Contract: of a
//! directory that the user or the operator named, every spelling is known that leads to that very directory, so that each may be
//! allowed. What metadata says is never resolved here. How: the real path first, then the text without its `..` where that leads to
//! the same place, then the text itself.

use std::io;
use std::path::{Component, Path, PathBuf};

/// The absolute spellings of a directory, the real one first; only the given one where it is not there.
pub(crate) fn spellings(given: &Path) -> io::Result<Vec<String>> {
    let absolute = std::path::absolute(given)?;
    let mut paths = Vec::new();
    if let Ok(real) = std::fs::canonicalize(&absolute) {
        let folded = without_dots(&absolute);
        let is_same = std::fs::canonicalize(&folded).is_ok_and(|other| other == real);
        paths.push(real);
        paths.extend(is_same.then_some(folded));
    }
    paths.push(absolute);
    let mut texts: Vec<String> = Vec::new();
    for text in paths.iter().filter_map(|path| path.to_str()).map(without_slash) {
        if !texts.iter().any(|known| known == text) {
            texts.push(text.to_owned());
        }
    }
    if texts.is_empty() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path is no UTF-8"));
    }
    Ok(texts)
}

/// The spellings of a location of whatever scheme; only local ones have more than one, and those keep a `file:` scheme.
pub(crate) fn spellings_of_location(location: &str) -> io::Result<Vec<String>> {
    if !crate::tables::is_local(location) {
        return Ok(vec![location.to_owned()]);
    }
    let path = path_of(location);
    let scheme = if path.len() < location.len() { "file://" } else { "" };
    Ok(spellings(Path::new(path))?.into_iter().map(|path| format!("{scheme}{path}")).collect())
}

/// The path of a local location, whose scheme is `file` or none.
pub(crate) fn path_of(location: &str) -> &str {
    match location.split_once(':') {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => rest.strip_prefix("//").unwrap_or(rest),
        _ => location,
    }
}

fn without_slash(path: &str) -> &str {
    if path.len() > 1 { path.trim_end_matches('/') } else { path }
}

fn without_dots(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => drop(out.pop()),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_spelling_leads_to_the_directory_that_was_named() {
        let root = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(root.path()).unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::create_dir_all(root.join("w")).unwrap();
        symlink(root.join("w"), root.join("link")).unwrap();
        symlink(root.join("a/b"), root.join("deep")).unwrap();
        let spelled = |text: &str| spellings(&root.join(text)).unwrap();
        let at = |text: &str| format!("{}/{text}", root.display());
        assert_eq!(spelled("w"), [at("w")]);
        assert_eq!(spelled("w/"), [at("w")]);
        assert_eq!(spelled("a/../w"), [at("w"), at("a/../w")]);
        assert_eq!(spelled("link"), [at("w"), at("link")]);
        assert_eq!(spelled("a/../link"), [at("w"), at("link"), at("a/../link")]);
        // Its text without `..` would be another place, or none.
        std::fs::create_dir_all(root.join("b")).unwrap();
        assert_eq!(spelled("deep/../b"), [at("a/b"), at("deep/../b")]);
        assert_eq!(spelled("nothing/../w"), [at("nothing/../w")]);
        assert_eq!(spellings_of_location(&format!("file:{}", at("link"))).unwrap(), ["w", "link"].map(|end| format!("file://{}", at(end))));
        assert_eq!(spellings_of_location("s3://b/../c").unwrap(), ["s3://b/../c"]);
        assert_eq!(spellings(Path::new("/")).unwrap(), ["/"]);
    }
}
