//! Docker Compose and the Docker Engine on a host, typed: one function per thing
//! cm needs to know or to do. What Docker says in JSON is read leniently, and only
//! the fields that decisions rest on are kept.

mod alongside;
mod compose;
mod compose_sight;
mod condition;
mod config;
mod container;
mod cures;
pub mod effective;
mod engine;
mod gap;
mod image_name;
mod interface;
pub mod invocation;
mod job;
mod job_scripts;
mod memory;
mod obstacle;
mod port;
mod pull;
mod replace;
mod start_limits;
mod swarm_inside;
mod swarm_nodes;
mod swarm_obstacles;
mod swarm_sight;

pub use alongside::{alongside, remove_alongside};
pub use compose::{BuildOptions, Compose};
pub use condition::Condition;
pub use config::{Config, Definition, Pull};
pub use container::{ALONGSIDE_LABEL, Container, Health, Mount};
pub use cures::{code as code_of, cured};
pub use engine::{accepts, sight};
pub use gap::gaps;
pub use interface::{Inside, Matter, Obstacle, Others, Sight};
pub use invocation::{Alongside, Invocation, JobRun, UpOptions};
pub use job::{JobSight, find_job, follow_job, forget_job, keep_job_log, running_jobs, stop_job};
pub use port::Port;
pub use pull::{Missing, image_names, missing};
pub use replace::{make_way, remove_containers};

use cm_core::{Exit, Failure, Result};
use cm_host::{Fenced, Host, Output, Secrets};
use cm_project::Project;
use memory::Clocks;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

const NAMED: &str = r#"# Looks at containers.
set -u
ids=$*"#;

const TAG_ONCE: &str = r#"# Keeps an image under a name.
docker image inspect --format '{{.Id}}' "$2" >/dev/null 2>&1 || exec docker tag "$1" "$2""#;

const TAG_FOUND: &str = r#"# Names an image.
docker tag "$1" "$2" && exec docker image inspect --format '{{.Id}}' "$2""#;

/// One after the other, as each takes its layers off the disk; a line for each that is gone.
const REMOVE_IMAGES: &str = r#"# Removes names of images.
for name do docker image rm --no-prune -- "$name" >/dev/null 2>&1 && echo gone; done
exit 0"#;

/// One image is removed within this time.
const REMOVAL_LIMIT: Duration = Duration::from_secs(60);

/// As many are named in one request.
const MOST_IMAGES: usize = 100;

/// Docker's own JSON, or why there is none. Callers see "could not look", never "nothing there".
fn parse(text: &[u8], what: &str, host: &Host) -> Result<Value> {
    cm_host::parse_json(text).map_err(|error| {
        Failure::new(
            Exit::HealthUnknown,
            "engine.answer",
            format!("on {}: Docker's answer about {what} cannot be read", host.name()),
        )
        .cause(error)
    })
}

/// Every container of the project called `project`, running or not, one-off runs left out; see [`Sight`].
///
/// # Errors
/// [`Exit::Unreachable`], or [`Exit::HealthUnknown`] if the engine does not answer.
pub async fn containers(host: &Host, project: &str) -> Result<Vec<Container>> {
    sight(host).containers(host, project).await
}

/// The containers with these ids; one that is gone is left out.
///
/// # Errors
/// As [`containers`].
pub async fn containers_with_ids(host: &Host, ids: &[String]) -> Result<Vec<Container>> {
    static SCRIPT: LazyLock<String> = LazyLock::new(|| format!("{NAMED}{}", memory::INSPECT));
    inspected(host, host.script(&SCRIPT, ids.to_vec()).output().await?)
}

fn inspected(host: &Host, output: Output) -> Result<Vec<Container>> {
    if output.success() && output.stdout.trim_ascii().is_empty() {
        return Ok(Vec::new());
    }
    // A container that went away between the listing and the look makes inspect
    // fail but still print the others; the caller looks again soon.
    let vanished = output.stderr.contains("No such container") && !output.stdout.trim_ascii().is_empty();
    if !output.success() && !vanished {
        return Err(engine_failure(host, &output.stderr));
    }
    let (clocks, text) = Clocks::split(&output.stdout);
    let list = parse(text, "containers", host)?;
    let read = |value| Container::read(value).with_memory(value, &clocks);
    Ok(list.as_array().map(|list| list.iter().map(read).collect()).unwrap_or_default())
}

fn engine_failure(host: &Host, said: &str) -> Failure {
    Failure::new(
        Exit::HealthUnknown,
        "engine.unreachable",
        format!("on {}: the Docker engine does not answer", host.name()),
    )
    .cause(said.trim())
    .hint("on the host: `docker info`; is the engine running, and is the deploy user in the group docker?")
    .retryable()
}

/// The id of the image that `reference` names, or `None` if there is none.
///
/// # Errors
/// [`Exit::Unreachable`], or [`Exit::HealthUnknown`] if the engine does not answer.
pub async fn image_id(host: &Host, reference: &str) -> Result<Option<String>> {
    let output = host.command(["docker", "image", "inspect", "--format", "{{.Id}}", reference]).output().await?;
    match output.success() {
        true => Ok(Some(output.text())),
        false if output.stderr.to_lowercase().contains("no such image") => Ok(None),
        false => Err(engine_failure(host, &output.stderr)),
    }
}

/// The name of `project`'s Compose project on `host`, the one way to it: what this run's document
/// knows of it, else Compose's own answer there, which `COMPOSE_PROJECT_NAME` and the server's env
/// file have a say in; before there is a compose file, what it will answer as far as can be known.
///
/// # Errors
/// As [`Compose::config`].
pub async fn project_name(project: &Project, host: &Host, checkout: &str) -> Result<String> {
    if let Some(known) = project.effective(host.name()) {
        return Ok(known.project.clone());
    }
    match Compose::of(project, host, checkout).config().await {
        // What lies there may be a version that Compose refuses: the one that repairs it must get through.
        Err(failure)
            if ["checkout.missing", "compose.config"].contains(&failure.code.as_str()) || has_no_file(&failure) =>
        {
            let named = project.compose.name.clone().filter(|name| !name.contains('$'));
            Ok(named.unwrap_or_else(|| directory_name(project, checkout)))
        }
        config => Ok(config?.project),
    }
}

/// Every container of `project` on `host`, in whichever compose project its Compose puts them.
///
/// # Errors
/// As [`project_name`] and [`containers`].
pub async fn project_containers(project: &Project, host: &Host) -> Result<Vec<Container>> {
    let checkout = project.host(host.name())?.checkout()?;
    containers(host, &project_name(project, host, &checkout).await?).await
}

/// The name that Compose takes from the directory of `project` in its `checkout`, where neither
/// the compose file nor the environment has one.
pub fn directory_name(project: &Project, checkout: &str) -> String {
    let own = project.compose_directory();
    let directory = [checkout, &own].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
    let name = directory.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_lowercase();
    let name: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect();
    name.trim_start_matches(['-', '_']).to_owned()
}

/// A container that was made from another directory than `prefix`, Compose's project directory, of the checkout
/// at `path`, an absolute one: its name, and the checkout it seems to come from.
pub fn elsewhere<'a>(path: &str, prefix: &str, containers: &'a [Container]) -> Option<(&'a str, &'a str)> {
    let directory = format!("{path}/{prefix}");
    let other = |container: &&Container| {
        !container.working_dir.is_empty() && container.working_dir != directory.trim_end_matches('/')
    };
    let container = containers.iter().find(other)?;
    let directory = container.working_dir.strip_suffix(prefix).filter(|directory| directory.ends_with('/'));
    Some((&container.name, directory.unwrap_or(&container.working_dir).trim_end_matches('/')))
}

/// A container that was made from another directory than Compose's project directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stray {
    /// Its name.
    pub container: String,
    /// That directory.
    pub directory: String,
    /// Whether it is still there: then it is another checkout's.
    pub is_there: bool,
}

/// A container that was made from another directory than the `prefix` of `checkout`, which is there and
/// known to have the paths `places`; one whose directory is still there comes first. A directory of another name
/// may be the same.
///
/// # Errors
/// [`Exit::Unreachable`].
pub async fn stray(
    host: &Host,
    (checkout, prefix): (&str, &str),
    places: &[String],
    containers: &[Container],
) -> Result<Option<Stray>> {
    let below = |place: &str| format!("{place}/{prefix}").trim_end_matches('/').to_owned();
    let known: BTreeSet<String> = places.iter().map(|place| below(place)).collect();
    let mut others = BTreeMap::new();
    for container in containers.iter().filter(|one| !one.working_dir.is_empty() && !known.contains(&one.working_dir)) {
        others.entry(container.working_dir.as_str()).or_insert(container.name.as_str());
    }
    if others.is_empty() {
        return Ok(None);
    }
    let arguments = [host.path(&below(checkout))].into_iter().chain(others.keys().map(|other| (*other).to_owned()));
    let said = host.script(OTHER_DIRECTORY, arguments).output().await?.text();
    let found = said.split_once(' ').and_then(|(state, other)| Some((state, other, others.get(other)?)));
    Ok(found.map(|(state, directory, container)| Stray {
        container: (*container).to_owned(),
        directory: directory.to_owned(),
        is_there: state == "there",
    }))
}

/// Why nothing is deployed to a host whose containers come from a checkout that is still there: the two would take
/// each other's for their own.
pub fn shared_project(host: &str, stray: &Stray, here: (&str, &str)) -> Failure {
    let message = format!("on {host}: {}", stray_words(stray, here));
    Failure::new(Exit::Config, "detect.shared-project", message).hint(shared_project_hint(stray))
}

/// What to do about it.
pub fn shared_project_hint(stray: &Stray) -> String {
    format!(
        "nothing was changed; give this one a `project` of its own in cm.toml, and a compose project name of its own \
         (COMPOSE_PROJECT_NAME in its .env); or, if nothing is deployed from {} any more, remove that directory",
        stray.directory
    )
}

/// What people are told of a [`stray`] of the `prefix` of `checkout`.
pub fn stray_words(stray: &Stray, (checkout, prefix): (&str, &str)) -> String {
    let own = format!("{checkout}/{prefix}");
    let (name, directory) = (&stray.container, &stray.directory);
    format!(
        "{name} was made from {directory}, not from {}: paths in the compose file that begin with \".\" lead elsewhere \
         when it is replaced; if that is not meant, fix `checkout` in cm.toml",
        own.trim_end_matches('/')
    )
}

/// `$1` directory, then others. Prints the first that is not the same one after `there`, else the first that is gone
/// after `gone`.
const OTHER_DIRECTORY: &str = r#"# Looks whether containers come from another directory.
here=$(cd -- "$1" && pwd -P) || exit 0
shift
gone=
for other do
    real=$(cd -- "$other" 2>/dev/null && pwd -P) || { gone=${gone:-$other}; continue; }
    [ "$real" = "$here" ] || { printf 'there %s\n' "$other"; exit 0; }
done
[ -z "$gone" ] || printf 'gone %s\n' "$gone""#;

/// A checkout that was made, and has nothing checked out yet.
fn has_no_file(failure: &Failure) -> bool {
    let says = |cause: &String| cause.contains("no such file or directory") || cause.contains("no configuration file");
    failure.causes.iter().any(says)
}

/// Gives an image another name; the name may move from one image to another.
///
/// # Errors
/// `exit` with what Docker said.
pub async fn tag(host: &Fenced, image: &str, name: &str, exit: Exit) -> Result<()> {
    host.command(["docker", "tag", image, name]).text(exit, "engine.tag").await.map(drop)
}

/// Gives a container another name.
///
/// # Errors
/// `exit` with what Docker said.
pub async fn rename(host: &Fenced, id: &str, name: &str, exit: Exit) -> Result<()> {
    host.command(["docker", "rename", id, name]).text(exit, "engine.rename").await.map(drop)
}

/// Gives an image another name, unless that name is another image's already.
///
/// # Errors
/// `exit` with what Docker said.
pub async fn tag_once(host: &Fenced, image: &str, name: &str, exit: Exit) -> Result<()> {
    host.script(TAG_ONCE, [image, name]).text(exit, "engine.tag").await.map(drop)
}

/// Gives the image that `reference` names another name, and says its id.
///
/// # Errors
/// `exit` with what Docker said, such as that there is none.
pub async fn tag_found(host: &Fenced, reference: &str, name: &str, exit: Exit) -> Result<String> {
    host.script(TAG_FOUND, [reference, name]).text(exit, "engine.tag").await
}

/// Removes names of images, and each image with its last name. An image that
/// a container uses stays, and that is no error. How many are gone.
///
/// # Errors
/// [`Exit::Unreachable`].
pub async fn remove_images(host: &Fenced, names: &[String]) -> Result<usize> {
    let mut gone = 0;
    for names in names.chunks(MOST_IMAGES) {
        let limit = REMOVAL_LIMIT * u32::try_from(names.len()).unwrap_or(u32::MAX);
        gone += host.script(REMOVE_IMAGES, names.to_vec()).limit(limit).output().await?.text().lines().count();
    }
    Ok(gone)
}

/// The last `lines` lines of a container's log, stdout and stderr together.
///
/// # Errors
/// [`Exit::Unreachable`].
pub async fn log_tail(host: &Host, container: &str, lines: usize) -> Result<String> {
    let command = sight(host).logs().iter().copied().map(str::to_owned);
    let command = host.command(command.chain(["--tail".to_owned(), lines.to_string(), container.to_owned()]));
    let command = command.hiding(&Secrets::default().container(container));
    let output = command.output().await?;
    Ok(format!("{}{}", String::from_utf8_lossy(&output.stdout), output.stderr).trim_end().to_owned())
}

/// Runs a command inside a container.
///
/// # Errors
/// `exit` with what it said.
pub async fn exec(host: &Fenced, container: &str, argv: &[String], exit: Exit, code: &str) -> Result<String> {
    let mut command = vec!["docker".to_owned(), "exec".to_owned(), container.to_owned()];
    command.extend_from_slice(argv);
    host.command(command).hiding(&Secrets::default().container(container)).text(exit, code).await
}

/// The first bind-mounted file that `container` sees otherwise than the host does, or
/// cannot be asked about. A single mounted file follows its inode: once git or an
/// editor has put another file in its place, the container keeps the old one.
///
/// # Errors
/// [`Exit::Unreachable`].
pub async fn stale_mount(host: &Host, container: &Container) -> Result<Option<String>> {
    for mount in &container.binds {
        // A directory, or a file that is gone: nothing to compare with.
        let Some(outside) = host.read(&mount.source, Exit::Build).await.ok().flatten() else { continue };
        let inside = host.command(["docker", "exec", &container.id, "cat", &mount.destination]).output().await?;
        if !inside.success() || inside.stdout != outside {
            return Ok(Some(mount.destination.clone()));
        }
    }
    Ok(None)
}
