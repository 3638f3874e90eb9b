//! Strings of `cm.toml` with `${VARIABLE}`. They are expanded when they are used, so that
//! a machine that never talks to a host needs none of its variables.

use crate::environment::{self, Found};
use crate::source::{self, Position};
use crate::template;
use cm_core::{Exit, Failure, Result};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::Deserializer;
use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use toml::Spanned;

/// A string with `${VARIABLE}`, expanded when it is used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template {
    pub(crate) text: String,
    pub(crate) offset: usize,
    pub(crate) at: Option<Position>,
    /// Values that beat those of the environment.
    pub(crate) profile: BTreeMap<String, String>,
}

impl JsonSchema for Template {
    fn schema_name() -> Cow<'static, str> {
        "Template".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "`${NAME}` and `${NAME:-default}` are taken from the environment; `$$` is a dollar sign.",
        })
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Spanned::<String>::deserialize(deserializer)?;
        Ok(Template { offset: text.span().start, text: text.into_inner(), at: None, profile: BTreeMap::new() })
    }
}

impl Template {
    /// A template that stands in no file, such as a flag's value.
    pub fn literal(text: impl Into<String>) -> Self {
        Template { text: text.into(), offset: 0, at: None, profile: BTreeMap::new() }
    }

    /// The text as it was written.
    pub fn as_written(&self) -> &str {
        &self.text
    }

    /// That it can be expanded, whatever the values are; `file` is what it stands in.
    pub(crate) fn check(&self, file: &str) -> Result<()> {
        let Some(at) = &self.at else { return Ok(()) };
        let read = template::expand(&self.text, &|_| None);
        read.map(drop).map_err(|bad| {
            let message = format!("cannot read {:?}: {bad}", self.text);
            source::failure("config.bad-reference", at, file, message).hint("a dollar sign is written $$")
        })
    }

    /// That it is a URL, as far as that can be said without the values.
    pub(crate) fn check_url(&self, file: &str) -> Result<()> {
        let Some(at) = &self.at else { return Ok(()) };
        let (start, varies) = match self.text.split_once('$') {
            Some((start, _)) => (start, true),
            None => (self.text.as_str(), false),
        };
        let fits = |scheme: &str| start.starts_with(scheme) || (varies && scheme.starts_with(start));
        if ["http://", "https://"].into_iter().any(fits) {
            return Ok(());
        }
        Err(source::failure("config.bad-url", at, file, format!("{:?} is not an http:// or https:// URL", self.text))
            .hint("write it whole, as in \"https://www.example.org/health\""))
    }

    /// The text with the values of this process's environment.
    ///
    /// # Errors
    /// [`Exit::Config`] that names the variable that is not set, and where it is wanted.
    pub fn expand(&self) -> Result<String> {
        let refused = RefCell::new(None);
        let expanded = self.expand_with(&|name| {
            if let Some(value) = self.profile.get(name) {
                return Some(value.clone());
            }
            match environment::find(name) {
                Found::Value(value) => Some(value),
                Found::Unset => None,
                Found::NotAllowed => {
                    refused.borrow_mut().get_or_insert_with(|| name.to_owned());
                    None
                }
            }
        });
        match refused.into_inner() {
            Some(name) => Err(self.not_allowed(&name)),
            None => expanded,
        }
    }

    fn not_allowed(&self, name: &str) -> Failure {
        let place = self.at.as_ref().map_or(String::new(), |at| format!("{at}: "));
        environment::not_allowed(&place, name)
    }

    /// The text with the values that `value` knows.
    ///
    /// # Errors
    /// As [`Template::expand`].
    pub fn expand_with(&self, value: &dyn Fn(&str) -> Option<String>) -> Result<String> {
        let place = self.at.as_ref().map_or(String::new(), |at| format!("{at}: "));
        let expanded = template::expand(&self.text, value).map_err(|bad| {
            Failure::new(Exit::Config, "config.bad-reference", format!("{place}cannot read {:?}: {bad}", self.text))
        })?;
        match expanded.missing.first() {
            None => Ok(expanded.text),
            Some(name) => {
                let message = format!("{place}the variable {name} is not set, but {:?} needs it", self.text);
                Err(Failure::new(Exit::Config, "config.unset-variable", message)
                    .hint(format!("set it in the environment (export {name}=…), or write ${{{name}:-default}}")))
            }
        }
    }
}
