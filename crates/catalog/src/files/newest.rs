//! Which metadata file of a folder is the current one.
//!
//! Contract: a version hint decides, but it may lag: later versions that exist in a row behind it are newer. A hint that is no
//! number names a file. Without a usable hint the file with the highest number is a guess, ties broken by name.

use fastdata_types::{ErrorKind, Result, Store};

const HINTS: [&str; 2] = ["version-hint.text", "version-hint.txt"];
const MAX_HINT_BYTES: u64 = 4096;
const ENDS: [&str; 3] = [".metadata.json", ".metadata.json.gz", ".metadata.json.zst"];

#[derive(Debug, PartialEq)]
pub struct Choice {
    pub file: String,
    pub how: How,
}

#[derive(Debug, PartialEq)]
pub enum How {
    Hinted,
    /// The hint lagged behind by so many versions.
    BehindHint(u64),
    Guessed {
        hint_was_useless: bool,
    },
}

impl Choice {
    /// What the user should know about the choice.
    pub fn note(&self, folder: &str) -> Option<String> {
        let file = &self.file;
        match self.how {
            How::Hinted => None,
            How::BehindHint(versions) => Some(format!("the version hint in {folder} lags {versions} behind: {file} is read")),
            How::Guessed { hint_was_useless } => {
                let why = if hint_was_useless { "the version hint names no file there" } else { "there is no catalog and no version hint" };
                Some(format!("{file} is the newest metadata in {folder}, which is a guess ({why}): it may belong to a commit that failed"))
            }
        }
    }
}

pub async fn choose(store: &dyn Store, folder: &str) -> Result<Option<Choice>> {
    let names = store.list(folder).await?;
    let hint = read_hint(store, folder, &names).await?;
    Ok(among(names, hint.as_deref()))
}

async fn read_hint(store: &dyn Store, folder: &str, names: &[String]) -> Result<Option<String>> {
    let Some(hint) = HINTS.into_iter().find(|hint| names.iter().any(|name| name == hint)) else { return Ok(None) };
    match store.read_all(&format!("{folder}/{hint}"), MAX_HINT_BYTES).await {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
        Err(e) if matches!(e.kind(), ErrorKind::MissingFile | ErrorKind::LimitExceeded) => Ok(None),
        Err(e) => Err(e),
    }
}

fn among(mut names: Vec<String>, hint: Option<&str>) -> Option<Choice> {
    names.retain(|name| stem(name).is_some());
    if let Some(hinted) = hint.and_then(|hint| hinted(&names, hint)) {
        return Some(hinted);
    }
    let file = names.into_iter().max_by_key(|name| (number(name), name.clone()))?;
    Some(Choice { file, how: How::Guessed { hint_was_useless: hint.is_some() } })
}

fn hinted(names: &[String], hint: &str) -> Option<Choice> {
    let Ok(version) = hint.parse::<u64>() else {
        let file = names.iter().find(|name| stem(name) == Some(hint) || name.as_str() == hint)?;
        return Some(Choice { file: file.clone(), how: How::Hinted });
    };
    let file_of = |version: u64| {
        let wanted = format!("v{version}");
        names.iter().filter(|name| stem(name) == Some(&wanted)).min()
    };
    let (mut newest, mut file) = (version, file_of(version)?);
    while let Some((next, found)) = newest.checked_add(1).and_then(|next| Some((next, file_of(next)?))) {
        (newest, file) = (next, found);
    }
    let how = if newest == version { How::Hinted } else { How::BehindHint(newest - version) };
    Some(Choice { file: file.clone(), how })
}

/// The name without what marks a metadata file and its compression: `v2` of `v2.gz.metadata.json` and `v2.metadata.json.gz`.
fn stem(name: &str) -> Option<&str> {
    if name.starts_with('.') {
        return None;
    }
    let stem = ENDS.iter().find_map(|end| name.strip_suffix(end))?;
    let stem = stem.strip_suffix(".gz").or_else(|| stem.strip_suffix(".zstd")).unwrap_or(stem);
    (!stem.is_empty()).then_some(stem)
}

/// The first number in the name: the version of `00012-uuid`, `v12` and `rev-12`.
fn number(name: &str) -> Option<u64> {
    let digits = name.find(|c: char| c.is_ascii_digit()).map(|at| &name[at..])?;
    let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(names: &[&str], hint: Option<&str>) -> (String, How) {
        let choice = among(names.iter().map(|n| (*n).to_owned()).collect(), hint).unwrap();
        (choice.file, choice.how)
    }

    #[test]
    fn a_version_hint_may_lag_and_later_versions_are_walked_on_to() {
        let names = ["v1.metadata.json", "v2.gz.metadata.json", "v3.metadata.json.gz", "v5.metadata.json", "version-hint.text"];
        assert_eq!(choice(&names, Some("1")), ("v3.metadata.json.gz".into(), How::BehindHint(2)));
        assert_eq!(choice(&names, Some("3")), ("v3.metadata.json.gz".into(), How::Hinted));
        assert_eq!(choice(&names, Some("5")), ("v5.metadata.json".into(), How::Hinted));
    }

    #[test]
    fn a_hint_may_name_a_file_and_a_useless_one_is_said_to_be() {
        let names = ["00000-a.metadata.json", "00001-b.metadata.json"];
        assert_eq!(choice(&names, Some("00000-a")), ("00000-a.metadata.json".into(), How::Hinted));
        assert_eq!(choice(&names, Some("7")), ("00001-b.metadata.json".into(), How::Guessed { hint_was_useless: true }));
        assert_eq!(choice(&["rev-1.metadata.json", "rev-2.metadata.json"], Some("2")).0, "rev-2.metadata.json");
    }

    #[test]
    fn without_a_hint_the_newest_metadata_is_a_guess_by_number_then_name() {
        let names = ["00009-z.metadata.json", "00010-a.metadata.json", "00010-b.metadata.json", "snap-99.avro", ".v99.metadata.json"];
        let (file, how) = choice(&names, None);
        assert_eq!((file.as_str(), &how), ("00010-b.metadata.json", &How::Guessed { hint_was_useless: false }));
        let note = Choice { file, how }.note("/t/metadata").unwrap();
        assert!(note.contains("guess"), "{note}");
        assert_eq!(among(vec!["a.avro".into()], None), None);
    }
}
