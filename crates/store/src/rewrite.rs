//! Prefix rewrites: a place that tables name, and the place where the bytes are now.
//!
//! Problem: tables are copied, buckets renamed, and their files spell the old place in several ways; delete files must still match
//! their data files. Contract: a `FROM=TO` rule replaces a prefix at a segment border, the first rule that matches wins, and applies
//! once; scheme variants of FROM (`s3a://`, `file:`) match alike. FROM may also be a bare scheme (`gs://`), or name any authority (`hdfs://*/path`).
//! The spelling of a location is that of its place after the rules, so an original and a rewritten spelling of one object are equal.

use crate::location::{Place, path_below, split_scheme, working_directory};
use fastdata_types::error::{Error, ErrorKind, Result, Stage};

#[derive(Debug)]
pub(crate) struct Rewrites {
    rules: Vec<Rule>,
    base: String,
}

#[derive(Debug)]
struct Rule {
    from: From,
    to: String,
}

#[derive(Debug)]
enum From {
    Scheme(String),
    AnyAuthority { scheme: String, path: String },
    Prefix(Place),
}

impl Rewrites {
    pub(crate) fn new(rules: &[(String, String)], base: &str) -> Result<Rewrites> {
        let mut parsed = Vec::with_capacity(rules.len());
        for (from, to) in rules {
            if from.is_empty() || to.is_empty() {
                return Err(Error::new(ErrorKind::Config, Stage::Store, format!("rewrite '{from}={to}': both sides must name a prefix"))
                    .advice("write --rewrite FROM=TO, e.g. --rewrite s3a://warehouse/=/data/warehouse"));
            }
            parsed.push(Rule { from: From::parse(from, base), to: to.clone() });
        }
        Ok(Rewrites { rules: parsed, base: base.to_string() })
    }

    /// The place of a location after the first rule that matches it.
    pub(crate) fn place(&self, location: &str) -> Place {
        let place = Place::parse(location, &self.base);
        match self.rules.iter().find_map(|rule| rule.apply(&place)) {
            Some(rewritten) => Place::parse(&rewritten, &self.base),
            None => place,
        }
    }
}

impl From {
    fn parse(from: &str, base: &str) -> From {
        if let Some((scheme, "//")) = split_scheme(from) {
            return From::Scheme(canonical_scheme(scheme));
        }
        match Place::parse_prefix(from, base) {
            Place::Other { scheme, authority, path } if authority == "*" => From::AnyAuthority { scheme, path },
            place => From::Prefix(place),
        }
    }
}

impl Rule {
    fn apply(&self, place: &Place) -> Option<String> {
        let rest = match (&self.from, place) {
            (From::Prefix(prefix), place) => place.below(prefix)?.to_string(),
            (From::Scheme(wanted), Place::S3 { bucket, key }) if wanted == "s3" => format!("{bucket}/{key}"),
            (From::Scheme(wanted), Place::Other { scheme, authority, path }) if wanted == scheme => format!("{authority}{path}"),
            (From::AnyAuthority { scheme: wanted, path: prefix }, Place::Other { scheme, path, .. }) if wanted == scheme => {
                path_below(path, prefix)?.to_string()
            }
            _ => return None,
        };
        Some(match rest.as_str() {
            "" => self.to.clone(),
            rest if self.to.ends_with('/') => format!("{}{rest}", self.to),
            rest => format!("{}/{rest}", self.to),
        })
    }
}

fn canonical_scheme(scheme: &str) -> String {
    match scheme.to_ascii_lowercase().as_str() {
        "s3a" | "s3n" => "s3".to_string(),
        other => other.to_string(),
    }
}

/// The rewrites by which a table that was copied is read where it lies now: the location baked into its metadata stands for
/// `actual_directory`, in every spelling its files are known to use for it. Files that already name the actual directory stay as they are.
pub fn moved(baked_location: &str, actual_directory: &str) -> Vec<(String, String)> {
    if baked_location.is_empty() || actual_directory.is_empty() {
        return Vec::new();
    }
    let base = working_directory();
    let actual = Place::parse_prefix(actual_directory, &base);
    let mut spellings = vec![baked_location.to_string()];
    match Place::parse_prefix(baked_location, &base) {
        Place::Local(path) if baked_location.starts_with('/') && path != "/" => spellings.push(format!("hdfs://*{path}")),
        Place::Local(_) => {}
        Place::S3 { key, .. } if !key.is_empty() => spellings.push(format!("/{key}")),
        Place::Other { scheme, path, .. } if path.starts_with('/') => {
            if matches!(scheme.as_str(), "hdfs" | "webhdfs" | "viewfs" | "maprfs" | "alluxio") {
                spellings.push(format!("{scheme}://*{path}"));
            }
            spellings.push(path);
        }
        Place::S3 { .. } | Place::Other { .. } => {}
    }

    let places: Vec<Place> = spellings.iter().map(|spelling| Place::parse_prefix(spelling, &base)).collect();
    let shielded = places.iter().any(|place| *place != actual && actual.below(place).is_some());
    let stays = (actual_directory.to_string(), actual_directory.to_string());
    let moves = spellings
        .into_iter()
        .zip(places)
        .filter(|(_, place)| *place != actual)
        .map(|(spelling, _)| (spelling, actual_directory.to_string()));
    shielded.then_some(stays).into_iter().chain(moves).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewrites(rules: &[(&str, &str)]) -> Rewrites {
        let rules: Vec<_> = rules.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect();
        Rewrites::new(&rules, "/work").unwrap()
    }

    fn spelling(rules: &[(&str, &str)], location: &str) -> String {
        rewrites(rules).place(location).text()
    }

    #[test]
    fn the_first_rule_that_matches_wins_and_applies_once() {
        let rules = [("s3a://wh/a", "/one"), ("s3a://wh", "/two"), ("/one", "/three")];
        assert_eq!(spelling(&rules, "s3://wh/a/x"), "/one/x");
        assert_eq!(spelling(&rules, "s3://wh/ab/x"), "/two/ab/x");
        assert_eq!(spelling(&rules, "/one/x"), "/three/x");
        assert_eq!(spelling(&rules, "s3://other/x"), "s3://other/x");
    }

    #[test]
    fn rewritten_and_original_spellings_are_equal() {
        let rules = [("s3a://warehouse/", "/data/wh/")];
        for location in ["s3a://warehouse/t/f", "s3://warehouse/t/f", "/data/wh/t/f", "file:/data/wh/t/f", "file:///data/wh//t/f"] {
            assert_eq!(spelling(&rules, location), "/data/wh/t/f", "{location}");
        }
        assert_ne!(spelling(&rules, "s3://warehouse2/t/f"), spelling(&rules, "s3://warehouse/t/f"));
    }

    #[test]
    fn a_scheme_and_any_authority_can_be_rewritten() {
        assert_eq!(spelling(&[("gs://", "s3://")], "gs://b/k//x"), "s3://b/k//x");
        assert_eq!(spelling(&[("s3a://", "/mnt")], "s3n://b/k"), "/mnt/b/k");
        let rules = [("hdfs://*/wh", "/mnt")];
        for location in ["hdfs://nn:8020/wh/x", "hdfs:///wh/x", "hdfs:/wh/x"] {
            assert_eq!(spelling(&rules, location), "/mnt/x", "{location}");
        }
        assert_eq!(spelling(&rules, "hdfs://nn/whx"), "hdfs://nn/whx");
    }

    #[test]
    fn keys_keep_their_double_slashes_when_rewritten_to_another_bucket() {
        assert_eq!(spelling(&[("s3://a/p", "s3://b/q")], "s3://a/p//x"), "s3://b/q//x");
    }

    fn after_move(baked: &str, actual: &str, location: &str) -> String {
        Rewrites::new(&moved(baked, actual), &working_directory()).unwrap().place(location).text()
    }

    #[test]
    fn a_moved_table_is_read_in_every_spelling_its_files_use() {
        let spellings: [(&str, &[&str]); 6] = [
            (
                "hdfs://nn:8020/wh/t",
                &["hdfs://nn:8020/wh/t/f", "hdfs://nn/wh/t/f", "hdfs:///wh/t/f", "hdfs:/wh/t/f", "/wh/t/f", "file:/wh/t/f"],
            ),
            ("/wh/t", &["/wh/t/f", "file:/wh/t/f", "file:///wh/t/f", "hdfs://nn:8020/wh/t/f"]),
            ("s3a://wh/t/", &["s3a://wh/t/f", "s3://wh/t/f", "s3n://wh/t/f", "/t/f"]),
            ("data/persistent/t", &["data/persistent/t/f", "./data/persistent/t/f", "file://data/persistent/t/f"]),
            ("./lineitem_iceberg", &["lineitem_iceberg/f", "./lineitem_iceberg/f"]),
            ("file:///tmp/junit/t", &["file:/tmp/junit/t/f", "/tmp/junit/t/f"]),
        ];
        for (baked, locations) in spellings {
            for location in locations {
                assert_eq!(after_move(baked, "/copy/of/t", location), "/copy/of/t/f", "{baked} {location}");
            }
            assert_eq!(after_move(baked, "/copy/of/t", "/copy/of/t/f"), "/copy/of/t/f", "{baked}");
        }
        assert_eq!(after_move("s3://wh", "/copy", "/etc/passwd"), "/etc/passwd");
        assert!(moved("", "/copy").is_empty());
    }

    #[test]
    fn a_table_copied_beneath_or_above_its_old_place_is_not_rewritten_twice() {
        assert_eq!(after_move("/wh/t", "/wh/t/copy", "/wh/t/f"), "/wh/t/copy/f");
        assert_eq!(after_move("/wh/t", "/wh/t/copy", "/wh/t/copy/f"), "/wh/t/copy/f");
        assert_eq!(after_move("/wh/t", "/wh", "/wh/t/f"), "/wh/f");
        assert_eq!(after_move("/wh/t", "/wh", "/wh/f"), "/wh/f");
        assert_eq!(after_move("/wh/t", "/wh/t", "/wh/t/f"), "/wh/t/f");
        assert_eq!(after_move("s3://b/tmp", "/tmp/copy", "/tmp/copy/f"), "/tmp/copy/f");
    }

    #[test]
    fn an_empty_side_of_a_rewrite_is_a_configuration_error() {
        for (from, to) in [("", "/x"), ("/x", "")] {
            let error = Rewrites::new(&[(from.into(), to.into())], "/").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
        }
    }
}
