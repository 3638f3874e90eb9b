//! Images go to the team's registry, and their names become digests: what was built once runs on every node, and is
//! the same tomorrow. A name that moves would be resolved by each node at its own time.

use crate::answer::Answer;
use cm_core::{Exit, Failure, Result};
use cm_host::Fenced;
use std::collections::BTreeMap;
use std::time::Duration;

/// One image is pushed within this time.
const LIMIT: Duration = Duration::from_secs(15 * 60);

const PUSH: &str = r#"# Brings an image to the registry, where it was not brought there before.
# $1 image, $2 its repository there, $3 project, $4 `again` to bring it there all the same. An image that is not on the
# manager is pulled first. Its tag is its own id, so that no push takes the place of another one, and says for whom it
# is. Prints whether it was pushed, and its id, its platform and its digests.
set -eu
docker image inspect "$1" >/dev/null 2>&1 || docker pull --quiet "$1" >/dev/null
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
    docker push --quiet "$tag" >/dev/null
fi
docker image inspect --format "$pushed {{.Id}} {{.Os}}/{{.Architecture}}{{range .RepoDigests}} {{.}}{{end}}" "$tag""#;

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

/// Pushes `images` of the manager, and says under which names the registry has them.
///
/// # Errors
/// [`Exit::Build`] `swarm.push` with Docker's words; [`Exit::LockLost`], [`Exit::Unreachable`].
pub async fn publish(host: &Fenced, images: &[String], push: Push<'_>) -> Result<BTreeMap<String, Published>> {
    let Push { registry, project, again } = push;
    let mut published = BTreeMap::new();
    for image in images {
        let repository = repository_in(image, registry);
        let again = if again { "again" } else { "" };
        let arguments = [image.as_str(), &repository, project, again];
        let said = host.script(PUSH, arguments).limit(LIMIT).text(Exit::Build, "swarm.push").await;
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

fn about(failure: Failure, host: &str, image: &str, registry: &str) -> Failure {
    if failure.code != "swarm.push" {
        return failure;
    }
    let hint = hint(&failure.causes.join("\n"), &repository_in(image, registry));
    Failure { message: format!("on {host}: could not bring {image} to the registry {registry}"), ..failure }.hint(hint)
}

/// What to do, by how Docker `said` what the registry answered.
fn hint(said: &str, repository: &str) -> String {
    let what = match Answer::read(said) {
        Answer::Refuses => {
            format!(
                "The registry refuses the deploy user: `docker login` on the manager, as one who may push to {repository}"
            )
        }
        Answer::ReadOnly => {
            "The registry takes no images now: is it read-only, as during its garbage collection?".to_owned()
        }
        Answer::Fails => {
            "The registry cannot store it: has its disk room, or the project its quota? Its own log says why. \
            `cm-build prune` removes old images there, and its garbage collection makes the room free"
                .to_owned()
        }
        Answer::NoImage | Answer::Silent => {
            "Is the registry up, does the manager reach and trust it, and is the image there?".to_owned()
        }
    };
    format!("no service was touched. {what}")
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
    let mut words = said.lines().last()?.split_whitespace();
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
            ("dial tcp 10.0.0.1:5000: connect: connection refused", "Is the registry up"),
        ] {
            let hint = hint(said, "r/shop/web");
            assert!(hint.starts_with("no service was touched. ") && hint.contains(words), "{said}: {hint}");
        }
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
