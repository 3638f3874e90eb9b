//! Images that a host needs and does not have are pulled in a step of their own, before anything is replaced: what is
//! refused there has touched no container, and who watches sees how much is there. `up` then finds them.

use crate::image_name::full_name;
use crate::{Compose, Config};
use cm_core::{Exit, Failure, Result};
use cm_host::{Fenced, Host, Transfer};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One image is pulled within this time.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// What is asked of the engine besides.
const BESIDES: Duration = Duration::from_secs(60);

const PULL: &str = concat!(
    "# Pulls an image.\n",
    cm_host::small_sh!(),
    cm_host::transfer_sh!(),
    r#"# $1 `always` to pull it all the same where it is there, $2 image, $3 platform, $4 how many seconds it may take
[ "$1" = always ] || ! docker image inspect "$2" >/dev/null 2>&1 || exit 0
transfer "$4" pull "$2" "$3""#
);

const NAMES: [&str; 6] =
    ["docker", "image", "ls", "--digests", "--format", "{{.Repository}}:{{.Tag}} {{.Repository}}@{{.Digest}}"];

/// An image that is to be pulled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Missing {
    /// Its name.
    pub image: String,
    /// What it has to run on; empty for the host's own.
    pub platform: String,
    /// Whether the host may have one of that name.
    pub always: bool,
    /// The services that run it.
    pub services: Vec<String>,
}

/// The names of the images that a host has. What cannot be asked is none: each image is looked for then.
pub async fn image_names(host: &Host) -> BTreeSet<String> {
    let said = host.command(NAMES).output().await.map(|output| output.text()).unwrap_or_default();
    said.split_whitespace().filter(|name| !name.contains("<none>")).map(str::to_owned).collect()
}

/// The images that `services` are to be started from and that have to be pulled, the host having those `there`.
pub fn missing(config: &Config, services: &[String], there: &BTreeSet<String>) -> Vec<Missing> {
    let mut found: BTreeMap<(&str, &str), Missing> = BTreeMap::new();
    for name in services {
        let Some(definition) = config.services.get(name) else { continue };
        let Some(pull) = &definition.pull else { continue };
        if !pull.always && there.contains(&full_name(&definition.image)) {
            continue;
        }
        let (image, platform) = (definition.image.as_str(), pull.platform.as_str());
        let new = || Missing {
            image: image.to_owned(),
            platform: platform.to_owned(),
            always: pull.always,
            services: Vec::new(),
        };
        let one = found.entry((image, platform)).or_insert_with(new);
        one.always |= pull.always;
        one.services.push(name.clone());
    }
    found.into_values().collect()
}

impl Missing {
    /// The command as a person would type it.
    pub fn words(&self) -> String {
        let platform = if self.platform.is_empty() { String::new() } else { format!("--platform {} ", self.platform) };
        format!("docker pull {platform}{}", self.image)
    }
}

impl Compose<'_> {
    /// Pulls an image; `tell` gets how much of it is there.
    ///
    /// # Errors
    /// [`Exit::Build`] `build.pull` with Docker's words; [`Exit::LockLost`], [`Exit::Unreachable`].
    pub async fn pull(&self, fenced: &Fenced, missing: &Missing, mut tell: impl FnMut(Transfer)) -> Result<()> {
        let always = if missing.always { "always" } else { "" };
        let seconds = LIMIT.as_secs().to_string();
        let arguments = [always, missing.image.as_str(), missing.platform.as_str(), &seconds];
        let command = fenced.script(PULL, arguments).limit(LIMIT + BESIDES).hiding(self.secrets());
        let line = |line: &str| Transfer::read(line).into_iter().for_each(&mut tell);
        let pulled = command.stream(Exit::Build, "build.pull", line).await;
        pulled.map_err(|failure| match failure.code == "build.pull" {
            true => {
                let message = format!("on {}: could not pull {}", fenced.name(), missing.image);
                Failure { message, ..Transfer::without_lines(failure) }
            }
            false => failure,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn found(service: Value, there: &[&str]) -> Vec<String> {
        let config = Config::read(&json!({"name": "shop", "services": {"web": service}}));
        let there = there.iter().map(|name| (*name).to_owned()).collect();
        missing(&config, &["web".to_owned(), "gone".to_owned()], &there).iter().map(Missing::words).collect()
    }

    #[test]
    fn what_up_would_pull_is_pulled_before_it() {
        let none = [""; 0];
        for (service, there, wanted) in [
            (json!({"image": "redis:7"}), vec!["redis:6"], vec!["docker pull redis:7"]),
            (json!({"image": "redis:7"}), vec!["redis:7"], none.to_vec()),
            (json!({"image": "docker.io/library/redis"}), vec!["redis:latest"], none.to_vec()),
            (json!({"image": "redis@sha256:00"}), vec!["redis@sha256:00"], none.to_vec()),
            (json!({"image": "r:5000/redis"}), vec!["redis:latest"], vec!["docker pull r:5000/redis"]),
            (json!({"image": "redis:7", "pull_policy": "always"}), vec!["redis:7"], vec!["docker pull redis:7"]),
            (json!({"image": "redis:7", "pull_policy": "missing"}), vec![], vec!["docker pull redis:7"]),
            (json!({"image": "redis:7", "pull_policy": "daily"}), vec!["redis:7"], none.to_vec()),
            (json!({"image": "redis:7", "pull_policy": "daily"}), vec![], vec!["docker pull redis:7"]),
            (json!({"image": "redis:7", "pull_policy": "never"}), vec![], none.to_vec()),
            (json!({"image": "redis:7", "pull_policy": "build"}), vec![], none.to_vec()),
            (json!({"image": "web:1", "build": {"context": "."}}), vec![], none.to_vec()),
            (json!({"build": {"context": "."}}), vec![], none.to_vec()),
            (json!({"provider": {"type": "x"}}), vec![], none.to_vec()),
            (
                json!({"image": "redis:7", "platform": "linux/arm64"}),
                vec![],
                vec!["docker pull --platform linux/arm64 redis:7"],
            ),
        ] {
            assert_eq!(found(service.clone(), &there), wanted, "{service} {there:?}");
        }
    }

    #[test]
    fn what_another_service_builds_is_pulled_by_nobody() {
        let users = ["shop-web", "shop-web:latest", "docker.io/library/app:2", "app:3", "extra"];
        let mut services = json!({
            "web": {"build": {"context": "."}},
            "app": {"image": "app:2", "build": {"context": ".", "tags": ["app:3", "extra:latest"]}},
        });
        for (number, image) in users.into_iter().enumerate() {
            services[format!("user{number}")] = json!({"image": image, "pull_policy": "always"});
        }
        services["other"] = json!({"image": "app:4"});
        let config = Config::read(&json!({"name": "shop", "services": services}));
        let names: Vec<String> = config.services.keys().cloned().collect();
        let found = missing(&config, &names, &BTreeSet::new());
        assert_eq!(found.iter().map(Missing::words).collect::<Vec<_>>(), ["docker pull app:4"]);
    }

    #[test]
    fn an_image_of_several_services_is_pulled_once() {
        let service = |policy: &str| json!({"image": "redis:7", "pull_policy": policy});
        let config = json!({"services": {"a": service("missing"), "b": service("always"), "c": service("missing")}});
        let there = ["redis:7".to_owned()].into();
        let services = ["a", "b", "c"].map(str::to_owned);
        let found = missing(&Config::read(&config), &services, &there);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].services.join(" "), found[0].always), ("b".to_owned(), true));
        let found = missing(&Config::read(&config), &services, &BTreeSet::new());
        assert_eq!((found[0].services.join(" "), found.len()), ("a b c".to_owned(), 1));
    }
}
