//! The paths of a REST catalog's resources.
//!
//! Contract: every part of a name is percent-encoded, so that a name cannot leave its place in the path; the levels of a namespace are
//! joined by the separator of the server, 0x1F unless it says otherwise.

use fastdata_types::TableName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// A prefix comes from the server and may be encoded already.
const PREFIX_SEGMENT: &AsciiSet = &SEGMENT.remove(b'%');
const DEFAULT_SEPARATOR: &str = "\u{1f}";

pub struct Paths {
    /// `v1/` or `v1/{prefix}/`.
    root: String,
    separator: String,
}

impl Paths {
    pub fn new(prefix: Option<&str>, separator: Option<&str>) -> Paths {
        let mut root = "v1/".to_owned();
        for segment in prefix.unwrap_or_default().split('/').filter(|s| !s.is_empty()) {
            root.extend(utf8_percent_encode(segment, PREFIX_SEGMENT));
            root.push('/');
        }
        let separator = separator.map(|s| percent_decode_str(s).decode_utf8_lossy().into_owned()).filter(|s| !s.is_empty());
        Paths { root, separator: separator.unwrap_or_else(|| DEFAULT_SEPARATOR.to_owned()) }
    }

    pub fn namespaces(&self, parent: &[String], page: &str, page_size: Option<u32>) -> String {
        let parent = if parent.is_empty() { String::new() } else { format!("parent={}&", self.namespace(parent)) };
        format!("{}namespaces?{parent}{}", self.root, page_query(page, page_size))
    }

    pub fn tables(&self, namespace: &[String], page: &str, page_size: Option<u32>) -> String {
        format!("{}namespaces/{}/tables?{}", self.root, self.namespace(namespace), page_query(page, page_size))
    }

    pub fn table(&self, name: &TableName) -> String {
        format!("{}namespaces/{}/tables/{}", self.root, self.namespace(&name.namespace), encoded(&name.name))
    }

    pub fn credentials(&self, name: &TableName) -> String {
        format!("{}/credentials", self.table(name))
    }

    /// URL parsers take these for steps in the path, percent-encoded or not.
    pub fn can_name(&self, name: &TableName) -> bool {
        ![name.namespace.join(&self.separator), name.name.clone()].iter().any(|part| part == "." || part == "..")
    }

    fn namespace(&self, levels: &[String]) -> String {
        encoded(&levels.join(&self.separator))
    }
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

fn page_query(token: &str, size: Option<u32>) -> String {
    let size = size.map(|n| format!("&pageSize={n}")).unwrap_or_default();
    format!("pageToken={}{size}", encoded(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_their_place_in_the_path() {
        let paths = Paths::new(Some("wh/eu"), None);
        let name = TableName::new(["a b", "c/../d"], "t?x=#é");
        assert_eq!(paths.table(&name), "v1/wh/eu/namespaces/a%20b%1Fc%2F..%2Fd/tables/t%3Fx%3D%23%C3%A9");
        assert_eq!(Paths::new(None, Some("%2E")).tables(&["a".into(), "b".into()], "", None), "v1/namespaces/a.b/tables?pageToken=");
        assert!(!paths.can_name(&TableName::new(["a"], "..")) && !paths.can_name(&TableName::new(["."], "t")) && paths.can_name(&name));
    }
}
