//! Where a service says that it is healthy: the URL in its healthcheck, else a path that
//! its sources look like they answer. The first is known, the second is a guess.

use super::files::{Found, SKIPPED};
use super::groups::own_directory;
use cm_project::compose::{Context, Service};
use cm_project::tree;
use serde_json::Value;
use std::path::Path;

/// Where a service answers inside its container.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// The port in the container.
    pub port: u16,
    /// The path, with its `/`.
    pub path: String,
    /// Where it was found.
    pub from: String,
    /// Whether a healthcheck asks it already.
    pub known: bool,
}

/// What a service has to say about its health.
#[derive(Debug)]
pub struct Health {
    /// Whether Docker checks it, by the compose file or by its image.
    pub checked: bool,
    /// Where it can be asked.
    pub endpoint: Option<Endpoint>,
}

/// Paths under which services answer about their health, the usual first.
const PATHS: [&str; 9] =
    ["/healthz", "/health", "/api/health", "/readyz", "/livez", "/health/ready", "/status", "/ping", "/up"];

/// Endings of sources.
const SOURCES: [&str; 16] =
    ["py", "js", "mjs", "cjs", "ts", "tsx", "go", "rs", "rb", "java", "kt", "php", "cs", "ex", "exs", "conf"];

/// At most so many files of so many bytes are read per service.
const MAX_FILES: usize = 2_000;
const MAX_BYTES: u64 = 256 << 10;

impl Health {
    /// What `service` says.
    pub fn of(found: &Found, service: &Service) -> Health {
        let dockerfile = dockerfile(found, service).unwrap_or_default();
        let of_image = instruction(&dockerfile, "HEALTHCHECK").filter(|check| !check.starts_with("NONE"));
        let asked = match service.has_healthcheck {
            true => test_of(service).and_then(|test| url(&test)).map(|at| (at, "its healthcheck")),
            false => of_image.as_deref().and_then(url).map(|at| (at, "its image's HEALTHCHECK")),
        };
        let checked = service.has_healthcheck || of_image.is_some();
        let endpoint = match asked {
            Some(((port, path), from)) => Some(Endpoint { port, path, from: from.to_owned(), known: true }),
            None => guess(found, service, &dockerfile),
        };
        Health { checked, endpoint }
    }
}

/// The port that the outside reaches `port` of the service's container by, unless only
/// the server itself does.
pub fn published(service: &Service, port: u16) -> Option<u16> {
    service.ports.iter().find_map(|text| {
        let text = text.split('/').next().unwrap_or(text);
        let parts: Vec<&str> = text.rsplitn(3, ':').collect();
        let (inside, outside, address) = (parts.first()?, parts.get(1)?, parts.get(2).copied().unwrap_or("0.0.0.0"));
        let is_ours = inside.parse() == Ok(port) && !matches!(address, "127.0.0.1" | "[::1]" | "localhost");
        outside.parse().ok().filter(|_| is_ours)
    })
}

/// The service's Dockerfile, if it can be read.
fn dockerfile(found: &Found, service: &Service) -> Option<String> {
    let build = service.build.as_ref()?;
    if let Some(inline) = &build.inline {
        return Some(inline.clone());
    }
    let Context::Directory(context) = &build.context else { return None };
    let path = tree::Place::at(context, build.dockerfile.as_deref().unwrap_or("Dockerfile"));
    let bytes = tree::read(&tree::Dir(found.repository.clone()), path.inside()?).ok().flatten()?;
    String::from_utf8(bytes).ok()
}

/// The rest of the last line of a Dockerfile that begins with `keyword`, continued lines joined.
fn instruction(text: &str, keyword: &str) -> Option<String> {
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let mut lines = joined.lines().rev().map(str::trim);
    lines.find_map(|line| {
        let (first, rest) = line.split_once(char::is_whitespace)?;
        first.eq_ignore_ascii_case(keyword).then(|| rest.trim().to_owned())
    })
}

fn test_of(service: &Service) -> Option<String> {
    let test = service.configuration.get("healthcheck")?.get("test")?;
    Some(match test {
        Value::String(text) => text.clone(),
        Value::Array(words) => words.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => return None,
    })
}

/// The port and path of the first `http://localhost…` in a command.
fn url(command: &str) -> Option<(u16, String)> {
    let (_, rest) = command.split_once("http://")?;
    let end = rest.find(|c: char| c.is_whitespace() || "'\"`|);,".contains(c)).unwrap_or(rest.len());
    let (authority, path) = rest[..end].split_at(rest[..end].find('/').unwrap_or(end));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "80"));
    let is_own = matches!(host, "localhost" | "127.0.0.1" | "0.0.0.0");
    let path = if path.is_empty() { "/" } else { path };
    port.parse().ok().filter(|_| is_own && !path.contains('$')).map(|port| (port, path.to_owned()))
}

/// A path that the sources name and a port that the files around them name.
fn guess(found: &Found, service: &Service, dockerfile: &str) -> Option<Endpoint> {
    let port = port_of(service, dockerfile)?;
    let directory = own_directory(service, &found.prefix)?;
    let (path, file) = path_in(&found.repository.join(&directory), &mut MAX_FILES.clone())?;
    Some(Endpoint { port, path: path.to_owned(), from: format!("{directory}/{file}"), known: false })
}

/// The port a service listens on: `PORT`, what is published, exposed, or in the Dockerfile.
fn port_of(service: &Service, dockerfile: &str) -> Option<u16> {
    let text = |value: &Value| value.as_str().map(str::to_owned).or_else(|| value.as_u64().map(|n| n.to_string()));
    let set = service.configuration.get("environment").and_then(|all| all.get("PORT")).and_then(text);
    let published = service.ports.first().and_then(|port| port.rsplit(':').next().map(str::to_owned));
    let exposed = service.configuration.get("expose").and_then(|all| all.get(0)).and_then(text);
    // A command of its own on a shared image is often a worker, which listens nowhere.
    let of_image = || instruction(dockerfile, "EXPOSE").filter(|_| service.configuration.get("command").is_none());
    let candidates = [set, published, exposed, of_image()];
    let number = |text: String| text.split(['/', ' ']).next().and_then(|port| port.parse::<u16>().ok());
    candidates.into_iter().flatten().find_map(number)
}

/// The first of [`PATHS`] that a source below `directory` has in quotes, and that file.
fn path_in(directory: &Path, left: &mut usize) -> Option<(&'static str, String)> {
    let mut entries: Vec<_> = std::fs::read_dir(directory).ok()?.flatten().collect();
    entries.sort_by_key(std::fs::DirEntry::file_name);
    let mut best: Option<(&'static str, String)> = None;
    for entry in entries {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let Ok(kind) = entry.file_type() else { continue };
        let hit = match () {
            () if kind.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) => {
                path_in(&entry.path(), left).map(|(path, file)| (path, format!("{name}/{file}")))
            }
            () if kind.is_file() && is_source(&name) && *left > 0 => {
                *left -= 1;
                named_in(&entry.path()).map(|path| (path, name))
            }
            () => None,
        };
        best = [best, hit].into_iter().flatten().min_by_key(|(path, _)| rank(path));
    }
    best
}

fn rank(path: &str) -> usize {
    PATHS.iter().position(|known| *known == path).unwrap_or(PATHS.len())
}

fn is_source(name: &str) -> bool {
    let is_test = name.contains("test") || name.contains("spec.");
    !is_test && name.rsplit_once('.').is_some_and(|(_, end)| SOURCES.contains(&end))
}

fn named_in(file: &Path) -> Option<&'static str> {
    let size = file.metadata().ok()?.len();
    let text = (size <= MAX_BYTES).then(|| std::fs::read_to_string(file).ok()).flatten()?;
    let quoted = |path: &&&str| ['"', '\'', '`'].iter().any(|quote| text.contains(&format!("{quote}{path}{quote}")));
    PATHS.iter().find(quoted).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_of_a_healthcheck_is_found() {
        for (command, wanted) in [
            ("CMD curl -f http://localhost:8080/healthz", Some((8080, "/healthz"))),
            ("CMD-SHELL wget -qO- http://127.0.0.1/ || exit 1", Some((80, "/"))),
            ("CMD node -e fetch('http://localhost:3000/api/health')", Some((3000, "/api/health"))),
            ("CMD curl -f http://localhost:3000", Some((3000, "/"))),
            ("CMD curl http://other:80/x", None),
            ("CMD curl http://localhost:${PORT}/x", None),
            ("CMD redis-cli ping", None),
        ] {
            assert_eq!(url(command), wanted.map(|(port, path)| (port, path.to_owned())), "{command}");
        }
    }

    #[test]
    fn the_last_healthcheck_of_a_dockerfile_counts() {
        let text =
            "FROM a AS b\nHEALTHCHECK NONE\nFROM b\nhealthcheck --interval=5s \\\n  CMD curl http://localhost:1/x\n";
        assert_eq!(instruction(text, "HEALTHCHECK").and_then(|check| url(&check)), Some((1, "/x".to_owned())));
    }
}
