//! The policy: rules of the configuration, applied to a caller.
//!
//! Contract: without a rule everybody sees everything. With rules a caller sees what the first rule that is for them and for the table grants, and
//! nothing where none is. Some catalogs find a table whatever the case of its name: a name that an earlier rule would match in another case
//! is not granted by a later one, so that no spelling gets around a rule.

use super::Identity;
use crate::config::{Case, EVERYONE, Rule};
use fastdata_types::{Access, Everything, Grant, TableName};
use std::sync::Arc;

#[derive(Debug, Clone)]
pub struct Policy {
    rules: Vec<Arc<Rule>>,
}

impl Policy {
    pub fn new(rules: Vec<Rule>) -> Policy {
        Policy { rules: rules.into_iter().map(Arc::new).collect() }
    }

    /// What the caller may see.
    pub fn of(&self, caller: &Identity) -> Arc<dyn Access> {
        if self.rules.is_empty() {
            return Arc::new(Everything);
        }
        let theirs = self.rules.iter().filter(|rule| is_for(rule, caller));
        Arc::new(Granted { rules: theirs.cloned().collect() })
    }
}

fn is_for(rule: &Rule, caller: &Identity) -> bool {
    rule.principals.iter().any(|name| name == EVERYONE || *name == caller.principal)
        || rule.groups.iter().any(|group| caller.groups.contains(group))
}

/// The rules for one caller.
#[derive(Debug)]
struct Granted {
    rules: Vec<Arc<Rule>>,
}

impl Access for Granted {
    fn grant(&self, catalog: &str, table: &TableName) -> Option<Grant> {
        let first = self.rules.iter().find(|rule| covers(rule, catalog, table, Case::Ignored))?;
        covers(first, catalog, table, Case::Exact).then(|| Grant { columns: first.columns.clone(), filter: first.filter.clone() })
    }

    fn sees_catalog(&self, catalog: &str) -> bool {
        self.rules.iter().any(|rule| is_in(rule, catalog))
    }
}

fn is_in(rule: &Rule, catalog: &str) -> bool {
    rule.catalogs.is_empty() || rule.catalogs.iter().any(|pattern| pattern.matches([catalog].into_iter(), Case::Exact))
}

/// Whether every list that the rule has names the table.
fn covers(rule: &Rule, catalog: &str, table: &TableName, case: Case) -> bool {
    let namespace = || table.namespace.iter().map(String::as_str);
    let whole: Vec<&str> = namespace().chain([table.name.as_str()]).collect();
    is_in(rule, catalog)
        && (rule.namespaces.is_empty() || rule.namespaces.iter().any(|pattern| pattern.begins(namespace(), case)))
        && (rule.tables.is_empty() || rule.tables.iter().any(|pattern| pattern.matches(whole.iter().copied(), case)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::NamePattern;

    fn patterns(texts: &[&str]) -> Vec<NamePattern> {
        texts.iter().map(|text| NamePattern::parse(text).unwrap()).collect()
    }

    fn rule(principals: &[&str], namespaces: &[&str], tables: &[&str], columns: Option<&[&str]>) -> Rule {
        Rule {
            principals: principals.iter().map(|p| (*p).to_owned()).collect(),
            namespaces: patterns(namespaces),
            tables: patterns(tables),
            columns: columns.map(|columns| columns.iter().map(|c| (*c).to_owned()).collect()),
            ..Rule::default()
        }
    }

    fn caller(principal: &str, groups: &[&str]) -> Identity {
        Identity { principal: principal.to_owned(), groups: groups.iter().map(|g| (*g).to_owned()).collect() }
    }

    /// The columns granted; `None` where the table does not exist for the caller.
    fn grant(policy: &Policy, who: &Identity, catalog: &str, table: &str) -> Option<Option<Vec<String>>> {
        let mut parts = TableName::parse_parts(table).unwrap();
        let name = parts.pop().unwrap();
        policy.of(who).grant(catalog, &TableName { namespace: parts, name }).map(|grant| grant.columns)
    }

    #[test]
    fn without_rules_everything_is_visible_and_with_rules_only_what_one_grants() {
        let alice = caller("alice", &[]);
        assert!(Policy::new(vec![]).of(&alice).is_everything());
        let policy = Policy::new(vec![rule(&["bob"], &[], &[], None)]);
        assert_eq!(grant(&policy, &alice, "lake", "ml.t"), None);
        assert!(!policy.of(&alice).is_everything() && !policy.of(&alice).sees_catalog("lake"));
        assert_eq!(grant(&policy, &caller("bob", &[]), "lake", "ml.t"), Some(None));
        assert!(!policy.of(&caller("bob", &[])).is_everything(), "a grant of all tables is still asked for each");
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let few = rule(&["*"], &[], &["ml.secret"], Some(&["id"]));
        let all = rule(&["alice"], &["ml"], &[], None);
        let alice = caller("alice", &[]);
        let policy = Policy::new(vec![few.clone(), all.clone()]);
        assert_eq!(grant(&policy, &alice, "lake", "ml.secret"), Some(Some(vec!["id".to_owned()])));
        assert_eq!(grant(&policy, &alice, "lake", "ml.open"), Some(None));
        assert_eq!(grant(&policy, &caller("eve", &[]), "lake", "ml.open"), None);
        let policy = Policy::new(vec![all, few]);
        assert_eq!(grant(&policy, &alice, "lake", "ml.secret"), Some(None));
    }

    /// A catalog that ignores case finds `ml.secret` under each of these names.
    #[test]
    fn another_case_of_a_name_gets_around_no_rule() {
        let policy = Policy::new(vec![rule(&["*"], &[], &["ml.secret"], Some(&["id"])), rule(&["*"], &["*"], &[], None)]);
        let eve = caller("eve", &[]);
        for name in ["ml.SECRET", "ML.secret", "Ml.Secret"] {
            assert_eq!(grant(&policy, &eve, "lake", name), None, "{name}");
        }
        assert_eq!(grant(&policy, &eve, "lake", "ML.open"), Some(None));
    }

    #[test]
    fn groups_catalogs_namespaces_and_stars_say_where_a_rule_holds() {
        let of_group = Rule {
            groups: vec!["ml".to_owned()],
            catalogs: patterns(&["lake*"]),
            namespaces: patterns(&["a.b", "raw_*"]),
            ..Rule::default()
        };
        let policy = Policy::new(vec![of_group]);
        let member = caller("x", &["other", "ml"]);
        assert!(policy.of(&member).sees_catalog("lake2") && !policy.of(&member).sees_catalog("pond"));
        for (catalog, table, seen) in [
            ("lake", "a.b.t", true),
            ("lake2", "a.b.c.t", true),
            ("lake", "raw_x.t", true),
            ("pond", "a.b.t", false),
            ("lake", "a.t", false),
            ("lake", "a.bc.t", false),
            ("lake", "x.raw_y.t", false),
            ("lake", "\"a.b\".t", false),
        ] {
            assert_eq!(grant(&policy, &member, catalog, table).is_some(), seen, "{catalog} {table}");
        }
        assert_eq!(grant(&policy, &caller("ml", &["m"]), "lake", "a.b.t"), None, "a group's name is no principal");
        let stars = Policy::new(vec![rule(&["*"], &[], &["ml.f*"], None)]);
        for (table, seen) in [("ml.f", true), ("ml.features", true), ("ml.g", false), ("ml.x.f", false), ("f", false)] {
            assert_eq!(grant(&stars, &member, "lake", table).is_some(), seen, "{table}");
        }
    }

    #[test]
    fn every_list_of_a_rule_must_match() {
        let policy = Policy::new(vec![rule(&["*"], &["ml"], &["ml.a", "raw.b"], None)]);
        let who = caller("x", &[]);
        assert!(grant(&policy, &who, "lake", "ml.a").is_some());
        assert!(grant(&policy, &who, "lake", "raw.b").is_none() && grant(&policy, &who, "lake", "ml.c").is_none());
    }
}
