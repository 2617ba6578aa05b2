//! The rules of who may see what: `[[policy]]`.
//!
//! Contract: a rule says whom it is for (`principals`, `groups`: one of them matches), of which tables (`catalogs`, `namespaces`, `tables`: each that is
//! given matches), and what of them (`columns`, `filter`). Rules are kept in the order of the file. Patterns are checked here; that a column or
//! a filter fits a table shows when it is scanned.

use super::Problems;
use super::reader::Section;
use fastdata_types::TableName;

/// Stands for everyone, in `principals`.
pub const EVERYONE: &str = "*";

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rule {
    pub principals: Vec<String>,
    pub groups: Vec<String>,
    /// Of one part; empty is every catalog.
    pub catalogs: Vec<NamePattern>,
    /// A namespace and all below it; empty is every one.
    pub namespaces: Vec<NamePattern>,
    /// `namespace.table`; empty is every one.
    pub tables: Vec<NamePattern>,
    /// `None` is every column, metadata columns included.
    pub columns: Option<Vec<String>>,
    /// A SQL expression; `None` is every row.
    pub filter: Option<String>,
}

/// A dotted name whose parts may end in `*`.
#[derive(Debug, Clone, PartialEq)]
pub struct NamePattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
struct Part {
    text: String,
    /// The name goes on in any way.
    open: bool,
}

impl NamePattern {
    pub fn parse(text: &str) -> Result<NamePattern, String> {
        let wrong = |why: &str| format!("'{text}': {why}");
        let parts = TableName::parse_parts(text).map_err(|_| wrong("no dotted name; parts quote as in SQL: ns.\"odd.name\""))?;
        let part = |part: String| {
            let (text, open) = part.strip_suffix('*').map_or((part.as_str(), false), |before| (before, true));
            if text.contains('*') {
                return Err(wrong("a '*' stands only at the end of a part"));
            }
            Ok(Part { text: text.to_owned(), open })
        };
        parts.into_iter().map(part).collect::<Result<_, _>>().map(NamePattern)
    }

    /// The name's parts, where it is the name of one thing.
    pub fn exact(&self) -> Option<Vec<String>> {
        self.0.iter().map(|part| (!part.open).then(|| part.text.clone())).collect()
    }

    pub fn parts(&self) -> usize {
        self.0.len()
    }

    /// Whether all parts of the name match, one for one.
    pub fn matches<'n>(&self, name: impl ExactSizeIterator<Item = &'n str>, case: Case) -> bool {
        name.len() == self.0.len() && self.begins(name, case)
    }

    /// Whether the name begins with parts that match.
    pub fn begins<'n>(&self, name: impl ExactSizeIterator<Item = &'n str>, case: Case) -> bool {
        name.len() >= self.0.len() && self.0.iter().zip(name).all(|(part, name)| part.matches(name, case))
    }
}

/// Whether upper and lower case differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    Exact,
    Ignored,
}

impl Part {
    fn matches(&self, name: &str, case: Case) -> bool {
        let (text, name) = match case {
            Case::Exact => (self.text.clone(), name.to_owned()),
            Case::Ignored => (self.text.to_lowercase(), name.to_lowercase()),
        };
        if self.open { name.starts_with(&text) } else { name == text }
    }
}

pub(super) fn read(value: &toml::Value, origin: &str, problems: &mut Problems) -> Vec<Rule> {
    let Some(items) = value.as_array() else {
        problems.add(origin, "policy", "must be a list of tables: [[policy]]");
        return vec![];
    };
    let rule = |(number, item): (usize, &toml::Value)| Section::of(item, origin, &format!("policy[{number}]"), problems).map(read_rule);
    (1..).zip(items).filter_map(rule).collect()
}

fn read_rule(mut section: Section) -> Rule {
    let principals = section.strings("principals").unwrap_or_default();
    let groups = section.strings("groups").unwrap_or_default();
    if principals.is_empty() && groups.is_empty() {
        section.problem("principals", "a rule names principals or groups; \"*\" is everyone");
    }
    let rule = Rule {
        principals,
        groups,
        catalogs: patterns(&mut section, "catalogs", |parts| parts == 1, "one name"),
        namespaces: patterns(&mut section, "namespaces", |_| true, "a namespace"),
        tables: patterns(&mut section, "tables", |parts| parts > 1, "namespace.table, without a catalog"),
        columns: section.strings("columns"),
        filter: section.string("filter"),
    };
    section.finish();
    rule
}

fn patterns(section: &mut Section, key: &'static str, fits: impl Fn(usize) -> bool, what: &str) -> Vec<NamePattern> {
    let mut patterns = Vec::new();
    for text in section.strings(key).unwrap_or_default() {
        match NamePattern::parse(&text) {
            Ok(pattern) if fits(pattern.parts()) => patterns.push(pattern),
            Ok(_) => section.problem(key, format!("'{text}': write {what}")),
            Err(why) => section.problem(key, why),
        }
    }
    patterns
}
