//! What only the other machines of a Swarm know: whether another manager could take over, whether the registry answers
//! it, and the room on its disk. Asked once before a deployment, of the nodes that cm.toml has an address of; the others
//! are named, since nobody looked at them.

use crate::interface::{Matter, Obstacle};
use crate::obstacle::{stop, warn};
use cm_core::{Exit, Format, Level, Log, Result};
use cm_host::{Host, Target};
use cm_project::Project;
use cm_swarm::Answer;
use futures_util::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// One manager answers within this time.
const LIMIT: Duration = Duration::from_secs(60);

/// Less room on the disk of a node's engine is too little for new images, in KiB.
const ROOM: u64 = 2 << 20;

/// Clocks that differ by more make a deploy lock lapse too early or too late, in seconds.
const SKEW: i64 = 15;

/// Arguments: IMAGE CHECKOUT FILE... IMAGE is one of the registry that nobody has; the files are the host's own.
const LOOK: &str = r#"# Looks whether a manager could take over.
said=$(timeout 20 docker pull --quiet "$1" 2>&1)
[ $? -ne 124 ] || said='no answer within 20 s'
printf 'registry %s\n' "$(printf '%s' "$said" | tr '\n' ' ')"
docker info --format 'manager {{.Swarm.ControlAvailable}} {{.Swarm.NodeID}}'
docker node inspect --format '{{.Status.State}} {{.ID}} {{.Description.Hostname}}' $(docker node ls -q 2>/dev/null) 2>/dev/null |
    sed -n 's/^ready /node /p'
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
    # A manager that lives closes at once a connection that does not speak TLS; the kernel of one that is stuck just takes it.
    docker node inspect --format '{{with .ManagerStatus}}{{.Addr}}{{end}} {{.Description.Hostname}}' $(docker node ls -q 2>/dev/null) 2>/dev/null |
        grep -v '^ ' | {
        while read -r address name; do
            {
                port=${address##*:} address=${address%:*} address=${address#[}
                if timeout 10 bash -c 'exec 3<>"/dev/tcp/$0/$1" && echo this is no TLS >&3 && head -c 1 <&3' "${address%]}" "$port" >/dev/null 2>&1; then
                    printf 'peer %s\n' "$name"
                else
                    printf 'silent %s\n' "$name"
                fi
            } &
        done
        wait
    }
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
    /// The ID of the node that it is; empty for none.
    node: String,
    /// Every node that is there, by ID with its name: known to managers alone.
    nodes: BTreeMap<String, String>,
    /// The managers, itself included, by name; and those of them that do not answer it.
    managers: BTreeSet<String>,
    silent: BTreeSet<String>,
    has_checkout: bool,
    files: BTreeMap<String, String>,
}

pub(crate) async fn look(project: &Project, host: &Host) -> Result<Vec<Obstacle>> {
    let quiet = &Log::new("cm-engine", Format::Text, Level::Fail);
    let target = host.target();
    let checkout = &project.host(host.name())?.checkout()?;
    let others = target.machines().map(|target| async move {
        // It has no name in cm.toml, and what is said of it is not said of the host.
        let target = Target { name: target.address.clone(), ..target };
        let asked = match Host::connect(&target, quiet).await {
            Ok(other) => ask(project, &other, checkout).await,
            Err(failure) => Err(failure),
        };
        (target.address, asked)
    });
    let (own, others) = tokio::join!(ask(project, host, checkout), join_all(others));
    let (own, registry) = (own?, project.registry()?);
    let mut found: Vec<Obstacle> = of_registry(&registry, &own.registry).into_iter().collect();
    found.extend(few_managers(&own));
    found.extend(of_node(&target.address, &own));
    found.extend(credentials(&registry, &own.helpers));
    for (address, said) in &others {
        let manages = target.others.contains(address);
        match said {
            Ok(said) => {
                found.extend(of_other_registry(address, &registry, &said.registry, manages));
                found.extend(of_node(address, said));
                found.extend(clock(address, said, &own));
                found.extend(if manages { takes_over(address, said, &own) } else { works(address, said, &own) });
            }
            Err(failure) if manages => found.push(cannot(address, &failure.message)),
            Err(failure) => found.push(unasked(address, &failure.message)),
        }
    }
    found.extend(unseen(&own, others.iter().filter_map(|(_, said)| said.as_ref().ok())));
    Ok(found)
}

async fn ask(project: &Project, host: &Host, checkout: &str) -> Result<Said> {
    let registry = project.registry()?;
    let files = project.env_file().into_iter().chain(project.protected());
    let arguments = [format!("{registry}/cm/none:none"), host.path(checkout)].into_iter().chain(files);
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
                "manager" => {
                    let (manages, node) = rest.split_once(' ').unwrap_or((rest, ""));
                    (said.manages, said.node) = (manages == "true", node.to_owned());
                }
                "node" => said.nodes.extend(rest.split_once(' ').map(|(id, name)| (id.to_owned(), name.to_owned()))),
                "peer" | "silent" => {
                    said.managers.insert(rest.to_owned());
                    if word == "silent" {
                        said.silent.insert(rest.to_owned());
                    }
                }
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

/// That half of the managers or more do not answer the one that speaks for the Swarm. For some seconds after it lost them a
/// leader answers as before; what it is told then is never done. Whom this machine reaches says nothing about that.
fn few_managers(own: &Said) -> Option<Obstacle> {
    let (all, silent) = (own.managers.len(), own.silent.len());
    if all == 0 || all - silent > all / 2 {
        return None;
    }
    let names: Vec<&str> = own.silent.iter().map(String::as_str).collect();
    let message = format!(
        "{silent} of {all} managers do not answer the one that was asked: {}; nothing can be changed without more than half of them",
        names.join(", ")
    );
    let hint = "start those managers, and see that the others reach their port 2377. Only if they are lost for good: \
        `docker swarm init --force-new-cluster` on one that is left";
    Some(stop(Matter::Engine, message, hint))
}

/// What the registry says to the manager, which hands its login to the nodes.
fn of_registry(registry: &str, said: &str) -> Option<Obstacle> {
    let (what, hint) = match Answer::read(said) {
        Answer::NoImage => return None,
        Answer::Refuses => ("refuses the deploy user", "log the deploy user in there, on the manager: docker login"),
        Answer::Fails | Answer::TooLarge => ("fails", "its own log says why: has its disk room?"),
        Answer::ReadOnly | Answer::Silent => {
            ("does not answer", "is it up, and does the engine trust it (`insecure-registries` for one without TLS)?")
        }
    };
    Some(stop(Matter::Registry, format!("the registry {registry} {what}: {}", said.trim()), hint))
}

/// What it says to another node: that needs no login of its own, unless it is a manager that may have to push.
fn of_other_registry(address: &str, registry: &str, said: &str, manages: bool) -> Option<Obstacle> {
    match Answer::read(said) {
        Answer::Refuses if manages => {
            Some(cannot(address, format!("the registry {registry} refuses the deploy user there (docker login)")))
        }
        Answer::NoImage | Answer::Refuses => None,
        Answer::ReadOnly | Answer::TooLarge | Answer::Fails | Answer::Silent => {
            of_registry(registry, said).map(|one| Obstacle { message: format!("{address}: {}", one.message), ..one })
        }
    }
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
    if !said.manages {
        return vec![cannot(address, "it does not speak for the Swarm")];
    }
    if !said.has_checkout {
        return vec![cannot(address, "it has no checkout")];
    }
    let differs = |(file, digest): &(&String, &String)| said.files.get(*file) != Some(*digest);
    let files: Vec<&str> = own.files.iter().filter(differs).map(|(file, _)| file.as_str()).collect();
    let why = (!files.is_empty()).then(|| format!("{} there is not what it is here", files.join(", ")));
    why.map(|why| cannot(address, why)).into_iter().collect()
}

/// Why a machine that is said to be a worker is none.
fn works(address: &str, said: &Said, own: &Said) -> Vec<Obstacle> {
    if own.nodes.contains_key(&said.node) {
        return Vec::new();
    }
    let message = format!("the worker {address} is no node of this Swarm that is ready");
    vec![warn(Matter::Nodes, message, "docker node ls; `docker swarm join` there, or take it out of `workers`")]
}

fn unasked(address: &str, why: &str) -> Obstacle {
    let hint = "until it can, old images stay there, and no probe and no backup reaches a task there";
    warn(Matter::Nodes, format!("the worker {address} cannot be asked: {why}"), hint)
}

fn clock(address: &str, said: &Said, own: &Said) -> Option<Obstacle> {
    let apart = (own.clock? - said.clock?).abs();
    let hint = "let both follow a time server: a Swarm and the deploy lock need it";
    (apart > SKEW).then(|| warn(Matter::Nodes, format!("the clock of {address} differs by {apart} s"), hint))
}

/// The nodes that run tasks, and that nobody looked at.
fn unseen<'a>(own: &'a Said, others: impl Iterator<Item = &'a Said>) -> Option<Obstacle> {
    let seen: BTreeSet<&str> = others.chain([own]).map(|said| said.node.as_str()).collect();
    let names: Vec<&str> =
        own.nodes.iter().filter(|(id, _)| !seen.contains(id.as_str())).map(|(_, name)| name.as_str()).collect();
    let message = format!(
        "no address in cm.toml that answers is {}: room, clock, ports and registry were not looked at there, and old images stay",
        names.join(", ")
    );
    let hint = "add its address to `workers` under [swarm]. Without, remove old images there yourself, from time to time: \
        docker image prune -a --filter until=240h";
    (!names.is_empty()).then(|| warn(Matter::Nodes, message, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "registry manifest unknown \nmanager true n1\nnode n1 one\nnode n2 two\ndisk 9000000\nclock 1000\ncheckout\nfile aa .env\n";

    fn told(text: &str) -> Vec<String> {
        let (own, other) = (Said::read(SAID), Said::read(text));
        let all =
            of_node("n2", &other).into_iter().chain(clock("n2", &other, &own)).chain(takes_over("n2", &other, &own));
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
    fn half_of_the_managers_that_do_not_answer_stop_and_fewer_do_not() {
        let told = |text: &str| few_managers(&Said::read(text));
        for text in ["", "peer one\n", "peer one\npeer two\n", "peer one\nsilent two\npeer three\n"] {
            assert!(told(text).is_none(), "{text}");
        }
        let half = told("peer one\nsilent two\n").expect("no majority");
        assert!(half.stops && half.message.starts_with("1 of 2 managers do not answer the one that was asked: two;"));
        let most = told("silent three\npeer one\nsilent two\n").expect("no majority");
        assert!(most.message.starts_with("2 of 3 managers do not answer") && most.message.contains("three, two"));
    }

    #[test]
    fn a_registry_that_has_no_such_image_answers() {
        for said in [
            "Error response from daemon: manifest for registry:5000/cm/none:none not found: manifest unknown: manifest unknown",
            "Error response from daemon: pull access denied for r/cm/none, repository does not exist or may require 'docker login'",
        ] {
            assert!(of_registry("r", said).is_none(), "{said}");
        }
        for (said, words) in [
            ("Error response from daemon: Get \"https://r/v2/\": dial tcp: lookup r: no such host", "does not answer"),
            ("Get \"https://r/v2/\": http: server gave HTTP response to HTTPS client", "does not answer"),
            ("unauthorized: authentication required", "refuses the deploy user"),
            ("received unexpected HTTP status: 503 Service Unavailable", "does not answer"),
            ("received unexpected HTTP status: 500 Internal Server Error", "fails"),
            ("", "does not answer"),
        ] {
            let found = of_registry("r", said).expect(said);
            assert!(found.stops && found.message.contains(words), "{}", found.message);
        }
    }

    #[test]
    fn another_node_pulls_with_the_manager_s_login_and_a_manager_needs_its_own() {
        let refused = "unauthorized: authentication required";
        assert_eq!(of_other_registry("n2", "r", refused, false).map(|one| one.message), None);
        let manager = of_other_registry("n2", "r", refused, true).expect("it may have to push");
        assert!(!manager.stops && manager.message.contains("n2 could not take over: the registry r refuses"));
        for manages in [false, true] {
            assert!(of_other_registry("n2", "r", "manifest unknown", manages).is_none());
            let silent = of_other_registry("n2", "r", "no answer within 20 s", manages).expect("it pulls nothing");
            assert!(silent.stops && silent.message.starts_with("n2: the registry r does not answer"));
        }
    }

    #[test]
    fn a_node_that_nobody_looked_at_is_named() {
        let (own, two) = (Said::read(SAID), Said::read("manager false n2\n"));
        let told = unseen(&own, std::iter::empty()).expect("two").message;
        assert!(told.starts_with("no address in cm.toml that answers is two: "), "{told}");
        assert!(unseen(&own, [&two].into_iter()).is_none());
        assert!(works("w", &two, &own).is_empty());
        for said in ["manager false n3\n", "manager false \n", ""] {
            let told = works("w", &Said::read(said), &own);
            assert!(
                told.len() == 1 && !told[0].stops && told[0].message.contains("w is no node of this Swarm"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_login_that_ends_soon_is_told() {
        assert!(credentials("r:5000", &[]).is_none() && credentials("r:5000", &["pass".to_owned()]).is_none());
        assert!(credentials("r:5000", &["ecr-login".to_owned()]).is_some());
        assert!(credentials("1.dkr.ecr.eu-1.amazonaws.com", &[]).is_some());
    }
}
