//! The env files of a project: which belong to the servers, and what the examples in
//! the repository say about their keys. Only names leave this module, but for a
//! database's URI, of which the caller keeps the database's name.

use super::files::Found;
use cm_project::compose::Compose;
use cm_project::template;
use cm_project::tree::{self, Dir, Place};
use std::collections::BTreeSet;

/// What the repository says about the environment of its servers.
#[derive(Debug, Default)]
pub struct Environment {
    /// The file with the values of the compose file's variables, relative to `cm.toml`.
    pub file: Option<String>,
    /// Why that one, for the comment.
    pub because: String,
    /// Env files that only servers have, relative to `cm.toml`.
    pub own: Vec<String>,
    /// Assignments in the env files and examples of the repository: key, value, file.
    assignments: Vec<(String, String, String)>,
}

/// Endings of files that show what an env file looks like.
const EXAMPLES: [&str; 6] = [".example", ".sample", ".template", ".dist", "-example", "-sample"];

impl Environment {
    /// What `found` says; `tracked` tells which paths of the repository are committed, and `ignored` which never are.
    pub fn of(found: &Found, tracked: &dyn Fn(&str) -> bool, ignored: &dyn Fn(&str) -> bool) -> Self {
        let listed = listed(&found.compose);
        let own: Vec<String> = listed.iter().filter(|path| !tracked(path)).cloned().collect();
        let examples = examples(found);
        let mut environment = Environment::default();
        (environment.file, environment.because) = variables_file(found, &own, &examples, tracked);
        if environment.file.is_none() && needs_values(found, tracked, ignored) {
            environment.file = Some(shown(&found.prefix, &composes_own(found)));
            environment.because =
                "the compose file has variables without a default, and Git ignores the file".to_owned();
        }
        environment.own = own.iter().map(|path| shown(&found.prefix, path)).collect();
        for path in listed.iter().chain(&examples) {
            environment.read(found, path);
        }
        environment
    }

    fn read(&mut self, found: &Found, path: &str) {
        let Ok(Some(bytes)) = tree::read(&Dir(found.repository.clone()), path) else { return };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if let Some((key, value)) = line.strip_prefix("export ").unwrap_or(line).split_once('=') {
                let value = value.trim().trim_matches(['"', '\'']).to_owned();
                self.assignments.push((key.trim().to_owned(), value, shown(&found.prefix, path)));
            }
        }
    }

    /// The key, file and value of a MongoDB URI.
    pub fn mongo_uri(&self) -> Option<(String, String, String)> {
        let is_uri = |value: &str| value.starts_with("mongodb://") || value.starts_with("mongodb+srv://");
        let found = self.assignments.iter().find(|(_, value, _)| is_uri(value))?;
        Some((found.0.clone(), found.2.clone(), found.1.clone()))
    }
}

/// The env files that services insist on, or that are there.
fn listed(compose: &Compose) -> Vec<String> {
    let files = compose.services.iter().flat_map(|service| &service.env_files).filter(|file| file.required);
    let paths: BTreeSet<&str> =
        files.filter_map(|file| file.place.inside()).filter(|path| !path.contains('$')).collect();
    paths.into_iter().map(str::to_owned).collect()
}

/// Example files next to `cm.toml` and next to the compose file.
fn examples(found: &Found) -> Vec<String> {
    let alongside = found.files.first().map_or("", |file| tree::parent(file));
    let directories: BTreeSet<String> =
        [found.prefix.clone(), tree::join(&found.prefix, alongside)].into_iter().collect();
    let mut names = Vec::new();
    for directory in directories {
        let entries = std::fs::read_dir(found.repository.join(&directory)).into_iter().flatten().flatten();
        let files = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.extend(files.filter(|name| original(name).is_some()).map(|name| tree::join(&directory, &name)));
    }
    names.sort();
    names
}

/// The file that an example is the example of: `.env` for `.env.example`.
fn original(name: &str) -> Option<String> {
    let (stem, _) = EXAMPLES.iter().find_map(|end| Some((name.strip_suffix(end)?, end)))?;
    let is_env = stem.starts_with(".env") || stem.ends_with(".env") || stem == "env";
    is_env.then(|| if stem == "env" { ".env".to_owned() } else { stem.to_owned() })
}

/// How likely a file of this name is the one of production, the likeliest first; `None` for one that
/// belongs to something else, such as developers or a test.
fn production_rank(name: &str) -> Option<usize> {
    let words: Vec<&str> = name.split(['.', '-', '_']).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        ["env", "production"] | ["production", "env"] => Some(0),
        ["env", "prod"] | ["prod", "env"] => Some(1),
        ["env"] => Some(2),
        _ => None,
    }
}

/// The file for `[compose] env_file`, and why.
fn variables_file(
    found: &Found,
    own: &[String],
    examples: &[String],
    tracked: &dyn Fn(&str) -> bool,
) -> (Option<String>, String) {
    let relative = |path: &str| Some(shown(&found.prefix, path));
    let production = own.iter().find(|path| path.contains("prod"));
    if let Some(path) = production.or_else(|| own.iter().find(|path| path.rsplit('/').next() == Some(".env"))) {
        return (relative(path), "services read it, and it is not in the repository".to_owned());
    }
    let shown_by = |path: &String| {
        let name = original(path.rsplit('/').next()?)?;
        let file = tree::join(tree::parent(path), &name);
        let rank = production_rank(&name).filter(|_| !tracked(&file))?;
        Some((rank, path.clone(), file))
    };
    if let Some((_, example, file)) = examples.iter().filter_map(shown_by).min() {
        let example = &example;
        return (relative(&file), format!("{} shows what is in it", shown(&found.prefix, example)));
    }
    // One that lies with a service is that service's, not Compose's own.
    let alongside = tree::join(&found.prefix, found.files.first().map_or("", |file| tree::parent(file)));
    match own.iter().find(|path| [found.prefix.as_str(), &alongside].contains(&tree::parent(path))) {
        Some(path) => (relative(path), "services read it, and it is not in the repository".to_owned()),
        None => match values_of_variables(found, tracked) {
            Some(path) => {
                (relative(&path), "the compose file has variables from it, and it is not in the repository".to_owned())
            }
            None => (None, String::new()),
        },
    }
}

/// The `.env` that Compose reads by itself, where it is here, belongs to no commit, and gives the compose file values.
fn values_of_variables(found: &Found, tracked: &dyn Fn(&str) -> bool) -> Option<String> {
    let path = composes_own(found);
    let bytes = tree::read(&Dir(found.repository.clone()), &path).ok().flatten().filter(|_| !tracked(&path))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let lines = text.lines().map(str::trim).filter(|line| !line.starts_with('#'));
    let mut keys = lines
        .filter_map(|line| Some(line.strip_prefix("export ").unwrap_or(line).split_once('=')?.0.trim().to_owned()));
    let is_used = |key: String| {
        let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
        let used = |text: &str| ["$", "${"].iter().any(|sign| text.split(&format!("{sign}{key}")).skip(1).any(ends));
        !key.is_empty() && found.compose.templates.iter().any(|template| used(&template.text))
    };
    keys.any(is_used).then_some(path)
}

/// The `.env` that Compose reads by itself, relative to the repository.
fn composes_own(found: &Found) -> String {
    let alongside = found.files.first().map_or("", |file| tree::parent(file));
    tree::join(&tree::join(&found.prefix, alongside), ".env")
}

/// What a login session, Compose or the deployment gives by itself.
const GIVEN: [&str; 6] = ["CM_REVISION", "COMPOSE_PROJECT_NAME", "HOME", "PATH", "PWD", "USER"];

/// Whether only servers can have the values of variables: each has its `.env`, and no commit may.
fn needs_values(found: &Found, tracked: &dyn Fn(&str) -> bool, ignored: &dyn Fn(&str) -> bool) -> bool {
    let file = composes_own(found);
    let services = found.compose.services.iter().flat_map(|service| &service.templates);
    let mut texts = found.compose.templates.iter().chain(services).map(|template| &template.text);
    let lacks =
        |text: &str| template::wanted(text, &|name| GIVEN.contains(&name)).is_ok_and(|wanted| !wanted.is_empty());
    !tracked(&file) && ignored(&file) && texts.any(|text| lacks(text))
}

/// A path of the repository as it is written in `cm.toml`.
pub fn shown(prefix: &str, path: &str) -> String {
    match path.strip_prefix(prefix).map(|rest| rest.trim_start_matches('/')) {
        Some(rest) if tree::is_within(path.as_bytes(), prefix) => rest.to_owned(),
        _ => {
            let up = "../".repeat(prefix.split('/').filter(|part| !part.is_empty()).count());
            debug_assert!(Place::at(prefix, &format!("{up}{path}")).inside().is_some());
            format!("{up}{path}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_names_its_file() {
        for (name, wanted) in [
            (".env.example", Some(".env")),
            (".env.production.example", Some(".env.production")),
            ("prod.env.sample", Some("prod.env")),
            ("env.template", Some(".env")),
            ("config.yml.example", None),
            (".env", None),
        ] {
            assert_eq!(original(name).as_deref(), wanted, "{name}");
        }
    }

    #[test]
    fn only_what_belongs_to_production_is_its_env_file() {
        for (name, wanted) in [
            (".env.production", Some(0)),
            ("prod.env", Some(1)),
            (".env", Some(2)),
            (".env.dev", None),
            (".env.dev-azure", None),
            (".env.single-bucket", None),
            (".env.test", None),
        ] {
            assert_eq!(production_rank(name), wanted, "{name}");
        }
    }

    #[test]
    fn paths_are_shown_as_they_are_written_beside_the_configuration() {
        assert_eq!(shown("", "a/b"), "a/b");
        assert_eq!(shown("shop", "shop/.env"), ".env");
        assert_eq!(shown("shop", "lib/x"), "../lib/x");
    }
}
