//! Images go to the team's registry, and their names become digests: what was built once runs on every node, and is
//! the same tomorrow. A name that moves would be resolved by each node at its own time.

use crate::answer::Answer;
use cm_core::{Exit, Failure, Log, Result, Task};
use cm_host::{Command, Fenced, Transfer};
use std::collections::BTreeMap;
use std::time::Duration;

/// One image is pulled or pushed within this time: a registry that hangs does not end by itself, and is no host that does
/// not answer.
const TRANSFER: Duration = Duration::from_secs(15 * 60);

/// Both, and what is asked of the engine besides.
const LIMIT: Duration = Duration::from_secs(32 * 60);

const PUSH: &str = concat!(
    "# Brings an image to the registry, where it was not brought there before.\n",
    cm_host::small_sh!(),
    cm_host::transfer_sh!(),
    r#"# $1 image, $2 its repository there, $3 project, $4 `again` to bring it there all the same, $5 how many seconds a
# transfer may take. An image that is not on the manager is pulled first. Its tag is its own id, so that no push takes the
# place of another one, and says for whom it is. Prints whether it was pushed, and its id, its platform and its digests.
set -eu
docker image inspect "$1" >/dev/null 2>&1 || transfer "$5" pull "$1"
id=$(docker image inspect --format '{{.Id}}' "$1")
cluster=$(docker info --format '{{.Swarm.Cluster.ID}}')
tag=$2:cm-$(printf '%.12s-%.60s-%.8s' "${id#sha256:}" "$3" "$cluster")
pushed=yes
for digest in $(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$id"); do
    case $digest in "$2"@*) pushed=no ;; esac
done
docker tag "$id" "$tag"
if [ "$pushed" = yes ] || [ "$4" = again ]; then
    pushed=yes
    transfer "$5" push "$tag"
fi
docker image inspect --format "$pushed {{.Id}} {{.Os}}/{{.Architecture}}{{range .RepoDigests}} {{.}}{{end}}" "$tag""#
);

/// An image in the registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Published {
    /// Its name with the digest.
    pub pinned: String,
    /// Its id, the same on every node.
    pub id: String,
    /// What it runs on, such as `linux/amd64`.
    pub platform: String,
    /// Whether it was pushed now, and not before.
    pub pushed: bool,
}

impl Published {
    /// Its name without the digest.
    pub(crate) fn image(&self) -> &str {
        self.pinned.split('@').next().unwrap_or(&self.pinned)
    }
}

/// How images come to the registry.
#[derive(Clone, Copy, Debug)]
pub struct Push<'a> {
    /// Its address.
    pub registry: &'a str,
    /// The project they are for.
    pub project: &'a str,
    /// Whether also those are pushed that were before: the registry may have lost them. Else the nodes may have them,
    /// and a rollback needs no registry.
    pub again: bool,
}

/// Pushes `images` of the manager, and says under which names the registry has them. Who watches `log` sees each on its way.
///
/// # Errors
/// [`Exit::Build`] `swarm.push` with Docker's words; [`Exit::LockLost`], [`Exit::Unreachable`].
pub async fn publish(
    host: &Fenced,
    images: &[String],
    push: Push<'_>,
    log: &Log,
) -> Result<BTreeMap<String, Published>> {
    let Push { registry, project, again } = push;
    let mut published = BTreeMap::new();
    for image in images {
        let repository = repository_in(image, registry);
        let again = if again { "again" } else { "" };
        let limit = TRANSFER.as_secs().to_string();
        let arguments = [image.as_str(), &repository, project, again, &limit];
        let task = log.task(&format!("{}: bringing {image} to {registry}", host.name())).at(host.name(), None);
        let said = told(host.script(PUSH, arguments).limit(LIMIT), &task).await;
        let said = said.map_err(|failure| about(failure, host.name(), image, registry))?;
        let found = read(&said, &repository).ok_or_else(|| {
            let message =
                format!("on {}: Docker names no digest of {image} after it was pushed to {registry}", host.name());
            Failure::new(Exit::Build, "swarm.push", message)
        })?;
        published.insert(image.clone(), found);
    }
    Ok(published)
}

/// Runs `PUSH`, showing how far it is; gives what else it says.
async fn told<Kind>(command: Command<'_, Kind>, task: &Task) -> Result<String> {
    let mut said = String::new();
    let line = |line: &str| match Transfer::read(line) {
        Some(transfer) => transfer.show(task),
        None => said.push_str(&format!("{line}\n")),
    };
    command.stream(Exit::Build, "swarm.push", line).await.map_err(Transfer::without_lines)?;
    Ok(said)
}

fn about(failure: Failure, host: &str, image: &str, registry: &str) -> Failure {
    if failure.code != "swarm.push" {
        return failure;
    }
    let hint = hint(&failure.causes.join("\n"), &repository_in(image, registry));
    Failure { message: format!("on {host}: could not bring {image} to the registry {registry}"), ..failure }.hint(hint)
}

/// What to do, by how Docker `said` what the registry answered.
fn hint(said: &str, repository: &str) -> String {
    match Answer::read(said) {
        Answer::Refuses => {
            format!(
                "the registry refuses the deploy user: `docker login` on the manager, as one who may push to {repository}"
            )
        }
        Answer::ReadOnly => {
            "the registry takes no images now: is it read-only, as during its garbage collection?".to_owned()
        }
        Answer::TooLarge => {
            "a proxy in front of the registry takes no layer that is so large: raise its limit (nginx: client_max_body_size 0), or make the layer smaller".to_owned()
        }
        Answer::Fails => {
            "the registry cannot store it: has its disk room, or the project its quota? Its own log says why. \
            `cm-build prune` removes old images there, and its garbage collection makes the room free"
                .to_owned()
        }
        Answer::NoImage | Answer::Silent => {
            "is the registry up, does the manager reach and trust it, and is the image there?".to_owned()
        }
    }
}

/// The repository of `registry` that `image` is brought to.
pub fn repository_in(image: &str, registry: &str) -> String {
    format!("{registry}/{}", path_of(image, registry))
}

/// The path of a repository for `image`: without a registry, a tag and a digest.
pub(crate) fn path_of(image: &str, registry: &str) -> String {
    let own = image.strip_prefix(&format!("{registry}/")).unwrap_or(image);
    let named = own.split('@').next().unwrap_or(own);
    let path = match named.split_once('/') {
        Some((first, rest)) if first.contains(['.', ':']) || first == "localhost" => rest,
        _ => named,
    };
    match path.rsplit_once(':') {
        Some((path, tag)) if !tag.contains('/') => path.to_owned(),
        _ => path.to_owned(),
    }
}

fn read(said: &str, repository: &str) -> Option<Published> {
    said.lines().rev().find_map(|line| read_line(line, repository))
}

fn read_line(line: &str, repository: &str) -> Option<Published> {
    let mut words = line.split_whitespace();
    let pushed = words.next()? == "yes";
    let (id, platform) = (words.next()?.to_owned(), words.next()?.to_owned());
    let pinned =
        words.find(|digest| digest.strip_prefix(repository).is_some_and(|rest| rest.starts_with('@')))?.to_owned();
    Some(Published { pinned, id, platform, pushed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_keeps_its_path_in_the_team_s_registry() {
        for (image, path) in [
            ("web", "web"),
            ("acme/web:1.2", "acme/web"),
            ("r:5000/acme/web", "acme/web"),
            ("r:5000/acme/web:3", "acme/web"),
            ("ghcr.io/acme/web@sha256:00", "acme/web"),
            ("localhost/web:1", "web"),
            ("other:5000/x/y:1", "x/y"),
        ] {
            assert_eq!(path_of(image, "r:5000"), path, "{image}");
        }
    }

    #[test]
    fn what_the_registry_answers_decides_what_to_do() {
        for (said, words) in [
            ("denied: requested access to the resource is denied", "may push to r/shop/web"),
            ("unsupported: The operation is unsupported.", "is it read-only"),
            ("received unexpected HTTP status: 500 Internal Server Error", "has its disk room"),
            ("received unexpected HTTP status: 507 Refused", "has its disk room"),
            ("received unexpected HTTP status: 413 Request Entity Too Large", "client_max_body_size"),
            ("dial tcp 10.0.0.1:5000: connect: connection refused", "is the registry up"),
        ] {
            let hint = hint(said, "r/shop/web");
            assert!(hint.contains(words), "{said}: {hint}");
            assert!(!hint.contains("touched"), "who pushes does not know what else was done: {hint}");
        }
    }

    /// `PUSH` with a Docker of which `push` does as `push` says, and 1 s for it.
    async fn pushed(push: &str) -> Result<String> {
        let dir = tempfile::tempdir().expect("dir");
        let program = dir.path().join("docker");
        let docker = format!("#!/bin/sh\ncase $1 in push) {push} ;; image) echo sha256:aa ;; esac\n");
        std::fs::write(&program, docker).expect("write");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        let log = cm_core::Log::new("test", cm_core::Format::Text, cm_core::Level::Fail);
        let host = cm_host::Host::connect(&cm_host::Target::at("local", "local"), &log).await.expect("local");
        let line = "PATH=$1:$PATH; exec sh -c \"$2\" sh web r/web shop again 1";
        let path = dir.path().display().to_string();
        told(host.command(["sh", "-c", line, "sh", &path, PUSH]), &log.task("web")).await
    }

    #[tokio::test]
    async fn a_registry_that_hangs_ends_as_a_push_that_failed_and_says_so() {
        let failure = about(pushed("sleep 30").await.expect_err("it hangs"), "shop", "web", "r");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Build, "swarm.push"));
        assert_eq!(failure.message, "on shop: could not bring web to the registry r");
        assert!(
            failure.causes.join(" ").contains("docker push r/web:cm-aa-shop- has not ended within 1 s"),
            "{failure}"
        );
        assert!(failure.hint.is_some_and(|hint| hint.contains("is the registry up")));
        let refused = pushed("echo denied >&2; exit 1").await.expect_err("it is refused");
        assert!(!refused.causes.join(" ").contains("has not ended"), "{refused}");
        assert_eq!(pushed("exit 0").await.expect("pushed"), "sha256:aa\n");
    }

    #[test]
    fn the_digest_is_that_of_the_registry() {
        let said = "no sha256:aa linux/amd64 other/web@sha256:1 r/web@sha256:2 r/web2@sha256:3";
        let found = read(said, "r/web").expect("a digest");
        assert_eq!(
            (found.pinned.as_str(), found.id.as_str(), found.platform.as_str()),
            ("r/web@sha256:2", "sha256:aa", "linux/amd64")
        );
        assert!(!found.pushed);
        assert_eq!(read("yes sha256:aa linux/amd64 other/web@sha256:1", "r/web"), None);
        assert_eq!(read("", "r/web"), None);
    }
}
