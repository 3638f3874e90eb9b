//! Rules that lead from a changed path to a service, and their names: what a
//! document's `reasons` say.

use crate::pattern::{Patterns, Source};
use crate::tree::is_within;
use std::rc::Rc;

/// The Dockerfile itself.
pub const DOCKERFILE: &str = "dockerfile";
/// The ignore file of a context that is used.
pub const DOCKERIGNORE: &str = "dockerignore";
/// A source of COPY.
pub const COPY: &str = "dockerfile-copy";
/// A source of ADD.
pub const ADD: &str = "dockerfile-add";
/// A bind mount of RUN.
pub const MOUNT: &str = "dockerfile-mount";
/// A context that is needed in whole.
pub const CONTEXT: &str = "build-context";
/// `.gitattributes`: files of the service are checked out differently.
pub const ATTRIBUTES: &str = "git-attributes";
/// Something that an ONBUILD step of the base image may take.
pub const TRIGGER: &str = "base-image-trigger";
/// `paths` in cm.toml.
pub const PATHS: &str = "configured-path";
/// An `env_file`.
pub const ENV_FILE: &str = "env-file";
/// A `label_file`.
pub const LABEL_FILE: &str = "label-file";
/// A bind-mounted directory.
pub const MOUNTED_DIRECTORY: &str = "mounted-folder";
/// A bind-mounted file.
pub const MOUNTED_FILE: &str = "mounted-file";

/// What a rule means, for people; `None` for a name that no rule here has.
pub fn meaning(name: &str) -> Option<&'static str> {
    Some(match name {
        DOCKERFILE => "it is the Dockerfile",
        DOCKERIGNORE => "it decides what the build context holds",
        COPY => "a COPY in the Dockerfile takes it",
        ADD => "an ADD in the Dockerfile takes it",
        MOUNT => "a RUN --mount in the Dockerfile takes it",
        CONTEXT => "it is in the build context",
        ATTRIBUTES => "it decides how files of the service are checked out (line endings, filters)",
        TRIGGER => "an ONBUILD step of the base image may take it",
        PATHS => "cm.toml says so ([services.NAME] paths)",
        ENV_FILE => "it is an env_file",
        LABEL_FILE => "it is a label_file",
        MOUNTED_DIRECTORY => "it is in a mounted directory",
        MOUNTED_FILE => "it is a mounted file",
        _ => return None,
    })
}

/// Which paths of the repository a rule is about.
#[derive(Clone, Debug)]
pub struct PathRule {
    /// Its name.
    pub name: &'static str,
    /// The directory that everything else is relative to.
    pub root: String,
    /// What is taken, with all below.
    pub source: Source,
    /// Of what is below the source, only this.
    pub include: Option<Rc<Patterns>>,
    /// Of what is below the source, not this.
    pub exclude: Rc<Patterns>,
    /// Of the root, not this.
    pub ignore: Rc<Patterns>,
}

impl PathRule {
    /// The rule about exactly `path`.
    pub fn exact(name: &'static str, path: &str) -> Self {
        PathRule::below(name, path)
    }

    /// The rule about `path` and everything below it.
    pub fn below(name: &'static str, path: &str) -> Self {
        PathRule {
            name,
            root: path.to_owned(),
            source: Source::new("."),
            include: None,
            exclude: Rc::default(),
            ignore: Rc::default(),
        }
    }

    /// What it is about, for people.
    pub fn describe(&self) -> String {
        let root = if self.root.is_empty() { "./" } else { &self.root };
        let source = crate::pattern::clean(self.source.text());
        let path = if matches!(source.as_str(), "." | "/") {
            root.to_owned()
        } else {
            format!("{}/{}", root.trim_end_matches('/'), source.trim_start_matches('/'))
        };
        format!("{} ({})", path.strip_prefix("./").filter(|rest| !rest.is_empty()).unwrap_or(&path), self.name)
    }

    /// Whether one of its lists of patterns was given up on, so that what it leaves out counts.
    pub fn is_exhausted(&self) -> bool {
        let lists = [&self.exclude, &self.ignore].into_iter().chain(&self.include);
        lists.into_iter().any(|list| list.is_exhausted())
    }

    /// Whether a change of `path` is a change of what the rule is about. A change of
    /// a `module` is one of everything below its path.
    pub fn applies(&self, path: &[u8], module: bool) -> bool {
        if !is_within(path, &self.root) {
            return module && is_within(self.root.as_bytes(), &String::from_utf8_lossy(path));
        }
        let start = if self.root.is_empty() { 0 } else { (self.root.len() + 1).min(path.len()) };
        let path = &path[start..];
        match self.source.matched(path) {
            None => module && self.source.is_below(path),
            Some(_) if module => !self.ignore.matches(path),
            Some(length) => {
                let below = &path[length..];
                let wanted = self.include.as_ref().is_none_or(|include| include.matches(below));
                wanted && (below.is_empty() || !self.exclude.matches(below)) && !self.ignore.matches(path)
            }
        }
    }
}
