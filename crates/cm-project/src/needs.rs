//! Which variables a compose file needs that an env file does not have. Compose reads the
//! whole file before it looks which services run, so that `${KEY:?}` stops it wherever it
//! stands; `${KEY}` is the empty string, which matters only to a service that runs.

use crate::compose::{Compose, Service, Template};
use crate::template;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What Compose and every login session set by themselves.
const ALWAYS: [&str; 8] = ["COMPOSE_PROJECT_NAME", "HOME", "LOGNAME", "PATH", "PWD", "SHELL", "USER", "MAIL"];

/// What a build is given; elsewhere it may be empty.
const OF_THE_BUILD: &str = "CM_REVISION";

/// A compose file, and what there is for it.
pub struct Needs<'a> {
    /// The compose file of the commit.
    pub compose: &'a Compose,
    /// Whether a service runs on the host.
    pub runs: &'a dyn Fn(&Service) -> bool,
    /// The variables that the commit before needed; `None` if it is not known.
    pub before: Option<&'a BTreeSet<String>>,
    /// The keys of the host's env file.
    pub keys: &'a BTreeSet<String>,
}

/// A key that is needed and not there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Lacking {
    /// Its name.
    pub key: String,
    /// Whether the commit cannot run without it: Compose refuses the file, or the need
    /// is new with this commit. What did without it so far goes on doing so.
    pub grave: bool,
    /// The services that need it.
    pub services: BTreeSet<String>,
    /// Where: `FILE:LINE`.
    pub places: BTreeSet<String>,
}

impl fmt::Display for Lacking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |all: &BTreeSet<String>| all.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        write!(f, "{} ({}", self.key, join(&self.places))?;
        if !self.services.is_empty() {
            write!(f, "; {}", join(&self.services))?;
        }
        f.write_str(")")
    }
}

impl Needs<'_> {
    /// What is not there, by name.
    pub fn lacking(&self) -> Vec<Lacking> {
        let mut all = BTreeMap::new();
        for template in &self.compose.templates {
            self.add(template, None, true, &mut all);
        }
        for service in &self.compose.services {
            for template in &service.templates {
                self.add(template, Some(&service.name), !(self.runs)(service), &mut all);
            }
        }
        all.into_values().collect()
    }

    fn add(
        &self,
        template: &Template,
        service: Option<&String>,
        required_only: bool,
        all: &mut BTreeMap<String, Lacking>,
    ) {
        let has = |name: &str| ALWAYS.contains(&name) || self.keys.contains(name);
        // What cannot be read was refused when the file was.
        for wanted in template::wanted(&template.text, &has).unwrap_or_default() {
            if !wanted.required && (required_only || wanted.name == OF_THE_BUILD) {
                continue;
            }
            let lacking = all.entry(wanted.name.clone()).or_insert_with(|| Lacking {
                key: wanted.name.clone(),
                grave: self.before.is_some_and(|before| !before.contains(&wanted.name)),
                services: BTreeSet::new(),
                places: BTreeSet::new(),
            });
            lacking.grave |= wanted.required;
            lacking.services.extend(service.cloned());
            lacking.places.insert(format!("{}:{}", template.at.file, template.at.line));
        }
    }
}

/// Every variable that a compose file needs somewhere, whatever there is.
pub fn names_in(compose: &Compose) -> BTreeSet<String> {
    let of = |template: &Template| template::wanted(&template.text, &|_| false).unwrap_or_default();
    compose.templates.iter().flat_map(of).map(|wanted| wanted.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Memory;

    const FILE: &str = "services:
  web:
    image: 'web:${TAG}'
    environment: ['OLD=${OLD}', 'HOME=${HOME}', 'D=${D:-x}', 'E=${E+${OLD}}', 'R=${CM_REVISION}']
  elsewhere:
    image: 'e:${THEIRS}'
    environment: {S: '${STRICT:?set it}'}
";

    fn compose(text: &str) -> Compose {
        let tree = Memory::of(&[("compose.yml", text)]);
        crate::compose::load(&tree, &["compose.yml".to_owned()], &[]).expect("valid")
    }

    fn found(keys: &[&str], before: Option<&str>) -> Vec<(String, bool)> {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        let before = before.map(|text| names_in(&compose(text)));
        let (compose, runs) = (compose(FILE), |service: &Service| service.name == "web");
        let needs = Needs { compose: &compose, runs: &runs, before: before.as_ref(), keys: &keys };
        needs.lacking().iter().map(|lacking| (lacking.to_string(), lacking.grave)).collect()
    }

    #[test]
    fn a_new_need_is_grave_and_an_old_one_is_not() {
        let old = (String::from("OLD (compose.yml:4; web)"), false);
        let strict = (String::from("STRICT (compose.yml:7; elsewhere)"), true);
        let tag = |grave| (String::from("TAG (compose.yml:3; web)"), grave);
        let before = "services:\n  web: {image: web, command: '${OLD}'}\n";
        assert_eq!(found(&[], Some(before)), [old.clone(), strict.clone(), tag(true)]);
        assert_eq!(found(&[], None), [old, strict, tag(false)], "not known is not new");
        assert_eq!(found(&["OLD", "TAG", "STRICT"], Some(before)), []);
    }

    #[test]
    fn what_is_required_is_needed_also_by_a_service_that_does_not_run_there() {
        assert_eq!(found(&["OLD", "TAG"], Some(FILE)), [("STRICT (compose.yml:7; elsewhere)".to_owned(), true)]);
    }

    #[test]
    fn an_alternative_needs_something_only_where_it_is_used() {
        let found = found(&["E", "TAG", "STRICT"], Some(FILE));
        assert_eq!(found, [("OLD (compose.yml:4; web)".to_owned(), false)]);
    }
}
