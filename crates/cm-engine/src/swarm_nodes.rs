//! What only the other machines of a Swarm know: whether another manager could take over, whether the registry answers
//! it, and the room on its disk. Asked once before a deployment, of the managers that cm.toml names; a node that nobody
//! can log in to is known by what Swarm says of it.

use crate::interface::{Matter, Obstacle};
use crate::swarm_obstacles::{stop, warn};
use cm_core::{Exit, Format, Level, Log, Result};
use cm_host::{Host, Target};
use cm_project::Project;
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::time::Duration;

/// One manager answers within this time.
const LIMIT: Duration = Duration::from_secs(60);

/// Less room on the disk of a node's engine is too little for new images, in KiB.
const ROOM: u64 = 2 << 20;

/// Clocks that differ by more make a deploy lock lapse too early or too late, in seconds.
const SKEW: i64 = 15;

/// How a registry says that it does not have an image, in lower case.
const ANSWERS: [&str; 5] =
    ["manifest unknown", "not found", "name unknown", "repository does not exist", "manifest for"];

/// Arguments: IMAGE CHECKOUT FILE... IMAGE is one of the registry that nobody has; the files are the host's own.
const LOOK: &str = r#"# Looks whether a manager could take over.
said=$(timeout 20 docker pull --quiet "$1" 2>&1)
[ $? -ne 124 ] || said='no answer within 20 s'
printf 'registry %s\n' "$(printf '%s' "$said" | tr '\n' ' ')"
docker info --format 'manager {{.Swarm.ControlAvailable}}'
root=$(docker info --format '{{.DockerRootDir}}') && printf 'disk %s\n' "$(df -Pk -- "$root" | awk 'NR == 2 { print $4 }')"
date '+clock %s'
registry=${1%%/*}
config=${DOCKER_CONFIG:-$HOME/.docker}/config.json
if [ -f "$config" ]; then
    # An entry with a login is an object and not a word: no secret is looked at.
    grep -oE "\"(credsStore|$registry)\": *\"[a-z0-9-]+\"" "$config" | sed 's/.*: *"/helper /; s/"$//'
fi
if command -v bash >/dev/null; then
    ready=$(docker node inspect --format '{{.Status.State}} {{.Status.Addr}}' $(docker node ls -q) 2>/dev/null | sed -n 's/^ready //p')
    for address in $ready; do
        timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/7946"' "$address" 2>/dev/null || printf 'closed %s\n' "$address"
    done
fi
cd -- "$2" 2>/dev/null && [ -e .git ] || exit 0
echo checkout
shift 2
for file do
    if [ -f "$file" ]; then printf 'file %s %s\n' "$(sha256sum <"$file" | cut -d ' ' -f 1)" "$file"; fi
done
exit 0"#;

/// What one manager said.
#[derive(Clone, Debug, Default)]
struct Said {
    registry: String,
    manages: bool,
    room: Option<u64>,
    clock: Option<i64>,
    helpers: Vec<String>,
    closed: Vec<String>,
    has_checkout: bool,
    files: BTreeMap<String, String>,
}

pub(crate) async fn look(project: &Project, host: &Host) -> Result<Vec<Obstacle>> {
    let quiet = Log::new("cm-engine", Format::Text, Level::Fail);
    let target = host.target();
    let others = target.others.iter().map(|address| async {
        let target = Target { address: address.clone(), others: Vec::new(), ..target.clone() };
        let asked = match Host::connect(&target, &quiet).await {
            Ok(other) => ask(project, &other).await,
            Err(failure) => Err(failure),
        };
        (address.clone(), asked)
    });
    let (own, others) = tokio::join!(ask(project, host), join_all(others));
    let (own, registry) = (own?, project.registry()?);
    let mut found: Vec<Obstacle> = registry_answers(&registry, &own.registry).into_iter().collect();
    found.extend(of_node(&target.address, &own));
    found.extend(credentials(&registry, &own.helpers));
    for (address, said) in others {
        match said {
            Ok(said) => {
                found.extend(registry_answers(&registry, &said.registry).map(|one| at(&address, one)));
                found.extend(of_node(&address, &said));
                found.extend(takes_over(&address, &said, &own));
            }
            Err(failure) => found.push(cannot(&address, failure.message)),
        }
    }
    Ok(found)
}

async fn ask(project: &Project, host: &Host) -> Result<Said> {
    let (registry, checkout) = (project.registry()?, project.host(host.name())?.checkout()?);
    let files = project.env_file().into_iter().chain(project.protected());
    let arguments = [format!("{registry}/cm/none:none"), host.path(&checkout)].into_iter().chain(files);
    let said = host.script(LOOK, arguments).limit(LIMIT).text(Exit::HealthUnknown, "engine.unreachable").await?;
    Ok(Said::read(&said))
}

impl Said {
    fn read(text: &str) -> Said {
        let mut said = Said::default();
        for line in text.lines() {
            let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
            match word {
                "registry" => rest.clone_into(&mut said.registry),
                "manager" => said.manages = rest == "true",
                "disk" => said.room = rest.parse().ok(),
                "clock" => said.clock = rest.parse().ok(),
                "helper" => said.helpers.push(rest.to_owned()),
                "closed" => said.closed.push(rest.to_owned()),
                "checkout" => said.has_checkout = true,
                "file" => {
                    if let Some((digest, file)) = rest.split_once(' ') {
                        said.files.insert(file.to_owned(), digest.to_owned());
                    }
                }
                _ => {}
            }
        }
        said
    }
}

fn registry_answers(registry: &str, said: &str) -> Option<Obstacle> {
    let lower = said.to_lowercase();
    if ANSWERS.iter().any(|words| lower.contains(words)) {
        return None;
    }
    let what = if ["denied", "unauthorized", "authentication"].iter().any(|words| lower.contains(words)) {
        "refuses the deploy user"
    } else {
        "does not answer"
    };
    Some(stop(
        Matter::Registry,
        format!("the registry {registry} {what}: {}", said.trim()),
        "is it up, does the engine trust it (`insecure-registries` for one without TLS), is the deploy user logged in there (docker login)?",
    ))
}

fn at(address: &str, obstacle: Obstacle) -> Obstacle {
    Obstacle { message: format!("{address}: {}", obstacle.message), ..obstacle }
}

fn of_node(address: &str, said: &Said) -> Vec<Obstacle> {
    let mut found = Vec::new();
    if let Some(room) = said.room.filter(|room| *room < ROOM) {
        let message = format!("{address}: {} MB are left on the disk of its engine", room / 1024);
        found.push(warn(Matter::Nodes, message, "make room there: docker system df; docker image prune"));
    }
    if !said.closed.is_empty() {
        let message = format!("{address} cannot reach port 7946 of {}", said.closed.join(", "));
        let hint = "nodes need 2377/tcp, 7946/tcp and udp, and 4789/udp of each other: without them services do not find \
            each other across nodes";
        found.push(warn(Matter::Nodes, message, hint));
    }
    found
}

/// A login that ends within hours is frozen into each service: a task that moves later cannot be pulled.
fn credentials(registry: &str, helpers: &[String]) -> Option<Obstacle> {
    let short = ["ecr-login", "gcloud", "gcr", "acr-env"];
    let helper = helpers.iter().find(|helper| short.contains(&helper.as_str()));
    let expires = helper.is_some() || registry.contains(".dkr.ecr.");
    let by = helper.map_or_else(String::new, |helper| format!(" (credential helper {helper})"));
    expires.then(|| {
        warn(
            Matter::Registry,
            format!("the login at {registry} ends within hours{by}, and a service keeps the one it was deployed with"),
            "a task that moves to another node later cannot be pulled there: use a login that lasts, such as a robot account",
        )
    })
}

fn cannot(address: &str, why: impl std::fmt::Display) -> Obstacle {
    let hint = "until it can, the loss of the other managers stops deployments; fix it, or take it out of `managers`";
    warn(Matter::Nodes, format!("the manager {address} could not take over: {why}"), hint)
}

/// Why a manager could not continue the work of the one that says `own`.
fn takes_over(address: &str, said: &Said, own: &Said) -> Vec<Obstacle> {
    let mut found = Vec::new();
    if !said.manages {
        found.push(cannot(address, "it does not speak for the Swarm"));
    } else if !said.has_checkout {
        found.push(cannot(address, "it has no checkout"));
    } else {
        let differs = |(file, digest): &(&String, &String)| said.files.get(*file) != Some(*digest);
        let files: Vec<&str> = own.files.iter().filter(differs).map(|(file, _)| file.as_str()).collect();
        if !files.is_empty() {
            found.push(cannot(address, format!("{} there is not what it is here", files.join(", "))));
        }
    }
    if let (Some(here), Some(there)) = (own.clock, said.clock)
        && (here - there).abs() > SKEW
    {
        let message = format!("the clock of {address} differs by {} s", (here - there).abs());
        found.push(warn(Matter::Nodes, message, "let both follow a time server: a Swarm and the deploy lock need it"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "registry manifest unknown \nmanager true\ndisk 9000000\nclock 1000\ncheckout\nfile aa .env\n";

    fn told(text: &str) -> Vec<String> {
        let (own, other) = (Said::read(SAID), Said::read(text));
        let all = of_node("n2", &other).into_iter().chain(takes_over("n2", &other, &own));
        all.map(|one| one.message).collect()
    }

    #[test]
    fn a_manager_that_is_like_the_other_one_could_take_over() {
        assert!(told(SAID).is_empty());
        for (text, words) in [
            (SAID.replace("true", "false"), "does not speak"),
            (SAID.replace("checkout\n", ""), "no checkout"),
            (SAID.replace("file aa", "file bb"), ".env there is not"),
            (SAID.replace("file aa .env\n", ""), ".env there is not"),
            (SAID.replace("clock 1000", "clock 1060"), "differs by 60 s"),
            (SAID.replace("disk 9000000", "disk 90000"), "87 MB are left"),
            (format!("{SAID}closed 10.0.0.3\n"), "port 7946 of 10.0.0.3"),
        ] {
            let told = told(&text);
            assert!(told.len() == 1 && told[0].contains(words), "{words}: {told:?}");
        }
    }

    #[test]
    fn a_registry_that_has_no_such_image_answers() {
        for said in [
            "Error response from daemon: manifest for registry:5000/cm/none:none not found: manifest unknown: manifest unknown",
            "Error response from daemon: pull access denied for r/cm/none, repository does not exist or may require 'docker login'",
        ] {
            assert!(registry_answers("r", said).is_none(), "{said}");
        }
        for (said, words) in [
            ("Error response from daemon: Get \"https://r/v2/\": dial tcp: lookup r: no such host", "does not answer"),
            ("Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client", "does not answer"),
            ("unauthorized: authentication required", "refuses the deploy user"),
            ("", "does not answer"),
        ] {
            let found = registry_answers("r", said).expect(said);
            assert!(found.stops && found.message.contains(words), "{}", found.message);
        }
    }

    #[test]
    fn a_login_that_ends_soon_is_told() {
        assert!(credentials("r:5000", &[]).is_none() && credentials("r:5000", &["pass".to_owned()]).is_none());
        assert!(credentials("r:5000", &["ecr-login".to_owned()]).is_some());
        assert!(credentials("1.dkr.ecr.eu-1.amazonaws.com", &[]).is_some());
    }
}
