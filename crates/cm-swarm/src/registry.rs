//! The images of old releases in the team's registry. A registry may be shared by Swarms and by people, and to remove a
//! manifest removes it under every name: so a tag that cm pushes says which project of which Swarm it is for, and only
//! what such tags alone name is removed.

use crate::publish::{path_of, repository_in};
use cm_core::{Exit, Result, plural};
use cm_host::Fenced;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::time::Duration;

/// All repositories are looked through within this time.
const LIMIT: Duration = Duration::from_secs(5 * 60);

const FORGET: &str = include_str!("forget_tags.sh");

const BRING: &str = r#"# Brings images from the registry.
# $1 project, then for each image its repository and the first characters of its id
project=$1
shift
cluster=$(docker info --format '{{.Swarm.Cluster.ID}}') || exit
while [ $# -gt 1 ]; do
    docker pull --quiet "$1:cm-$2-$project-$(printf '%.8s' "$cluster")" >/dev/null 2>&1 || :
    shift 2
done"#;

/// As many characters of a project's name are in a tag.
const LONGEST: usize = 60;

/// As many characters of an image's id are in its tag.
const ID: usize = 12;

/// What tags of `project` end with, in the Swarm whose cluster is `cluster`.
fn mark(project: &str, cluster: &str) -> String {
    let short: String = project.chars().take(LONGEST).collect();
    format!("-{short}-{}", cluster.get(..8).unwrap_or(cluster))
}

/// Brings images that were pushed for `project` to a manager that does not have them, as where another one built them.
/// `images` are names of the compose file with ids. What does not come is told by nobody: it is as gone as before.
///
/// # Errors
/// [`Exit::Unreachable`].
pub async fn bring_back(host: &Fenced, registry: &str, project: &str, images: &[(String, String)]) -> Result<()> {
    let pairs = images.iter().flat_map(|(image, id)| {
        let hex = id.strip_prefix("sha256:").unwrap_or(id);
        [repository_in(image, registry), hex.get(..ID).unwrap_or(hex).to_owned()]
    });
    let short: String = project.chars().take(LONGEST).collect();
    let arguments: Vec<String> = [short].into_iter().chain(pairs).collect();
    host.script(BRING, arguments).limit(LIMIT).output().await.map(drop)
}

/// What became of a registry's old images.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Forgotten {
    /// The names that are gone.
    pub gone: Vec<String>,
    /// Why others are not, for people.
    pub stayed: Option<String>,
}

/// Removes what the registry has of `images` for `project`, unless its id is in `keep`. Only what this project of this
/// Swarm pushed, and nothing that a service uses.
///
/// # Errors
/// [`Exit::Build`] `swarm.registry-prune` where the manager cannot be asked; [`Exit::LockLost`], [`Exit::Unreachable`].
pub async fn forget_pushed(
    host: &Fenced,
    registry: &str,
    project: &str,
    images: &BTreeSet<String>,
    keep: &BTreeSet<String>,
) -> Result<Forgotten> {
    let code = "swarm.registry-prune";
    let cluster = host.command(["docker", "info", "--format", "{{.Swarm.Cluster.ID}}"]).text(Exit::Build, code).await?;
    let arguments = [registry.to_owned(), mark(project, cluster.trim())];
    let wanted = wanted(registry, images, keep);
    let said = host.script(FORGET, arguments).stdin(wanted).limit(LIMIT).text(Exit::Build, code).await?;
    Ok(Forgotten::read(&said))
}

fn wanted(registry: &str, images: &BTreeSet<String>, keep: &BTreeSet<String>) -> String {
    let repositories: BTreeSet<String> = images.iter().map(|image| path_of(image, registry)).collect();
    let mut lines = String::new();
    for repository in repositories {
        let _infallible = writeln!(lines, "repository {repository}");
    }
    for id in keep {
        let hex = id.strip_prefix("sha256:").unwrap_or(id);
        let _infallible = writeln!(lines, "keep {}", hex.get(..ID).unwrap_or(hex));
    }
    lines
}

impl Forgotten {
    fn read(said: &str) -> Forgotten {
        let of = |word: &str| said.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' ')).collect();
        let (gone, shared, refused, silent): (Vec<&str>, Vec<&str>, Vec<&str>, Vec<&str>) =
            (of("gone"), of("shared"), of("refused"), of("silent"));
        let stayed = match (refused.first(), silent.first()) {
            (Some(&"405"), _) => Some(
                "it does not let images be removed (405): switch that on, or let its own rules remove old ones"
                    .to_owned(),
            ),
            (Some(code), _) => Some(format!("it does not let the deploy user remove images ({code})")),
            (None, Some(words)) => Some(words.trim().to_owned()),
            (None, None) if !shared.is_empty() => Some(format!(
                "{} stayed there: another tag or a service has it, too",
                plural(shared.len() as u64, "image")
            )),
            (None, None) => None,
        };
        Forgotten { gone: gone.into_iter().map(str::to_owned).collect(), stayed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_says_whose_it_is() {
        assert_eq!(mark("shop", "abcdefghij"), "-shop-abcdefgh");
        assert_eq!(mark(&"p".repeat(99), "").len(), 62);
    }

    #[test]
    fn images_are_looked_for_in_the_registry_by_their_path() {
        let images = ["shop/web", "ghcr.io/acme/api:1"].map(str::to_owned).into();
        let keep = BTreeSet::from([format!("sha256:{}", "0123456789abcdef".repeat(4))]);
        assert_eq!(wanted("r:5000", &images, &keep), "repository acme/api\nrepository shop/web\nkeep 0123456789ab\n");
    }

    #[test]
    fn what_stays_is_said_with_the_reason() {
        let read = |said: &str| Forgotten::read(said);
        assert_eq!(
            read("gone a:cm-1\ngone b:cm-2\n"),
            Forgotten { gone: vec!["a:cm-1".to_owned(), "b:cm-2".to_owned()], stayed: None }
        );
        for (said, words) in [
            ("refused 405\n", "does not let images be removed (405)"),
            ("gone a:cm-1\nrefused 401\n", "the deploy user remove images (401)"),
            ("silent curl: (7) no route \n", "curl: (7) no route"),
            ("shared a:cm-1\n", "1 image stayed there"),
        ] {
            assert!(read(said).stayed.is_some_and(|stayed| stayed.contains(words)), "{said}");
        }
    }
}
