//! What a Swarm runs of a stack, in one round trip to a manager: its nodes, the services with how their last update
//! ended, and every task over all nodes with its error.

use crate::election;
use crate::node::{Node, in_doubt};
use crate::task::{Task, in_place};
use crate::update::Update;
use crate::value::text;
use cm_core::{Exit, Failure, Result};
use cm_host::Host;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

const LOOK: &str = include_str!("sight.sh");

/// Swarm has decided within this time whether a node that does not answer is gone; one of which only the other managers
/// say so stays as it is for ever.
const DOUBT: Duration = Duration::from_secs(45);

/// The label of a service by which cm knows that it made it; its value is the project.
pub(crate) const LABEL: &str = "cm.project";

/// The label of a service that is a job; its value is the job's name.
pub(crate) const JOB_LABEL: &str = "cm.job";

/// The label with the image as the compose file names it.
pub(crate) const IMAGE_LABEL: &str = "cm.image";

/// What a manager says of a stack.
#[derive(Clone, Debug, Default)]
pub struct Sight {
    /// Every node of the Swarm.
    pub nodes: Vec<Node>,
    /// The services, by name without the stack's.
    pub services: BTreeMap<String, Seen>,
    /// By image as the services name it, its id on the manager that was asked.
    pub images: BTreeMap<String, String>,
}

/// A service as it is.
#[derive(Clone)]
pub struct Seen {
    /// Its name with the stack's.
    pub full_name: String,
    /// How its last update ended.
    pub update: Update,
    /// Swarm's words about that.
    pub message: String,
    /// When that update began, RFC 3339; empty if there was none.
    pub update_began: String,
    /// The project that cm made it for; empty if somebody else made it.
    pub project: String,
    /// The image it should run, pinned by digest where cm made the service.
    pub image: String,
    /// The same as the compose file names it, as far as that is known.
    pub name: String,
    /// How many tasks it should have; `None` for one on each node.
    pub replicas: Option<u64>,
    /// The configs and secrets that it uses, or is rolled back to, by name.
    pub contents: Vec<String>,
    /// Its variables, as NAME=VALUE; secrets may be among them.
    pub env: Vec<String>,
    /// Its tasks, also those that ended.
    pub tasks: Vec<Task>,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seen").field("update", &self.update).field("tasks", &self.tasks).finish_non_exhaustive()
    }
}

impl Seen {
    /// What fills its places: one task for each, or one that failed to.
    pub fn in_place(&self) -> Vec<Task> {
        in_place(&self.tasks)
    }
}

impl Sight {
    /// How many nodes are there for tasks.
    pub fn nodes_for_tasks(&self) -> usize {
        self.nodes.iter().filter(|node| node.takes_tasks()).count()
    }

    /// Asks `host`, a manager, about the stack `name`.
    ///
    /// # Errors
    /// [`Exit::Unreachable`]; [`Exit::HealthUnknown`] where the host does not speak for a Swarm, with what to do.
    pub async fn of(host: &Host, name: &str) -> Result<Sight> {
        let began = Instant::now();
        loop {
            match Sight::once(host, name).await {
                Err(failure) if election::lasts(&failure, began) => tokio::time::sleep(election::PAUSE).await,
                other => return other,
            }
        }
    }

    /// The same once Swarm has decided about every node, or takes longer than it should. Where that was waited for, `tell`
    /// heard the names of the nodes, and the answer is `true`.
    ///
    /// # Errors
    /// As [`Sight::of`].
    pub async fn once_decided(host: &Host, name: &str, tell: impl FnOnce(&str)) -> Result<(Sight, bool)> {
        let (began, mut tell) = (Instant::now(), Some(tell));
        loop {
            let sight = Sight::of(host, name).await?;
            let doubted = in_doubt(&sight.nodes);
            if doubted.is_empty() || began.elapsed() > DOUBT {
                return Ok((sight, tell.is_none()));
            }
            if let Some(tell) = tell.take() {
                tell(&doubted.join(", "));
            }
            tokio::time::sleep(election::PAUSE).await;
        }
    }

    async fn once(host: &Host, name: &str) -> Result<Sight> {
        let output = host.script(LOOK, [name]).output().await?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.success() || said.lines().last() != Some("cm end") {
            return Err(no_manager(host, &said, &output.stderr));
        }
        Sight::read(&said, name).map_err(|error| {
            let message = format!("on {}: the Swarm's answer cannot be read", host.name());
            Failure::new(Exit::HealthUnknown, "engine.answer", message).cause(error)
        })
    }

    fn read(said: &str, stack: &str) -> std::result::Result<Sight, serde_json::Error> {
        let json = |section: &str| -> std::result::Result<Vec<Value>, serde_json::Error> {
            lines(said, section).map(serde_json::from_str).collect()
        };
        let nodes: Vec<Node> = json("cm nodes")?.iter().map(Node::read).collect();
        let mut services = BTreeMap::new();
        let (specs, tasks) = tasks(lines(said, "cm tasks"))?;
        // A job is none of what should run.
        let is_job = |service: &Value| service.pointer("/Spec/Labels").is_some_and(|all| all.get(JOB_LABEL).is_some());
        for service in json("cm services")?.into_iter().filter(|service| !is_job(service)) {
            let full = text(&service, "/Spec/Name");
            let name = full.strip_prefix(&format!("{stack}_")).unwrap_or(full).to_owned();
            let id = text(&service, "/ID");
            let own = tasks.iter().filter(|(_, task)| text(task, "/ServiceID") == id);
            let own = own.map(|(number, task)| {
                let spec = specs.get(number).unwrap_or(&Value::Null);
                let node = nodes.iter().find(|node| node.id == text(task, "/NodeID"));
                let read = Task::read(task, spec, &name, &service, node.map_or("", |node| node.name.as_str()));
                let lost = node.map_or(!text(task, "/NodeID").is_empty(), Node::is_gone);
                Task { lost, ..read }
            });
            let own = own.collect();
            services.insert(name.clone(), seen(&service, own));
        }
        let pairs = lines(said, "cm images").filter_map(|line| line.split_once(' '));
        let images = pairs.map(|(image, id)| (image.to_owned(), id.to_owned())).collect();
        Ok(Sight { nodes, services, images })
    }

    /// The services of this stack that cm did not make for `project`.
    pub fn foreign(&self, project: &str) -> Vec<&str> {
        let other = self.services.iter().filter(|(_, seen)| seen.project != project);
        other.map(|(name, _)| name.as_str()).collect()
    }
}

/// What tasks are made of, by its number, and each task with that number.
type Tasks<'a> = (BTreeMap<&'a str, Value>, Vec<(&'a str, Value)>);

fn tasks<'a>(lines: impl Iterator<Item = &'a str>) -> std::result::Result<Tasks<'a>, serde_json::Error> {
    let (mut specs, mut tasks) = (BTreeMap::new(), Vec::new());
    for line in lines {
        let mut words = line.splitn(3, ' ');
        let (kind, number) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let value = serde_json::from_str(words.next().unwrap_or_default())?;
        match kind {
            "spec" => drop(specs.insert(number, value)),
            _ => tasks.push((number, value)),
        }
    }
    Ok((specs, tasks))
}

fn seen(service: &Value, tasks: Vec<Task>) -> Seen {
    let mut contents = Vec::new();
    for spec in ["Spec", "PreviousSpec"] {
        for (list, name) in [("Configs", "ConfigName"), ("Secrets", "SecretName")] {
            let all = service.pointer(&format!("/{spec}/TaskTemplate/ContainerSpec/{list}")).and_then(Value::as_array);
            contents.extend(all.into_iter().flatten().filter_map(|one| Some(one.get(name)?.as_str()?.to_owned())));
        }
    }
    let env = service.pointer("/Spec/TaskTemplate/ContainerSpec/Env").and_then(Value::as_array);
    Seen {
        full_name: text(service, "/Spec/Name").to_owned(),
        update: Update::read(service),
        message: text(service, "/UpdateStatus/Message").to_owned(),
        update_began: text(service, "/UpdateStatus/StartedAt").to_owned(),
        project: text(service, &format!("/Spec/Labels/{LABEL}")).to_owned(),
        image: text(service, "/Spec/TaskTemplate/ContainerSpec/Image").to_owned(),
        name: Some(text(service, &format!("/Spec/Labels/{IMAGE_LABEL}")))
            .filter(|name| !name.is_empty())
            .unwrap_or_else(|| text(service, "/Spec/TaskTemplate/ContainerSpec/Image"))
            .to_owned(),
        replicas: service.pointer("/Spec/Mode/Replicated/Replicas").and_then(Value::as_u64),
        contents,
        env: env.into_iter().flatten().filter_map(|pair| pair.as_str().map(str::to_owned)).collect(),
        tasks,
    }
}

fn lines<'a>(said: &'a str, section: &'a str) -> impl Iterator<Item = &'a str> {
    let own = said.lines().skip_while(move |line| *line != section).skip(1);
    own.take_while(|line| !line.starts_with("cm ")).filter(|line| !line.is_empty())
}

/// Why `host` does not speak for a Swarm, by its own word about itself: in `said`, the line after `cm info`, as
/// `docker info --format '{{json .Swarm}}'` has it. `errors` is what the commands said that failed; they repeat each
/// other, and where the host is no manager they say nothing else than the message.
pub fn no_manager(host: &Host, said: &str, errors: &str) -> Failure {
    let info: Option<Value> = lines(said, "cm info").next().and_then(|line| serde_json::from_str(line).ok());
    let name = host.name();
    let fail = |code: &str, message: String| Failure::new(Exit::HealthUnknown, code, message);
    let because = |failure: Failure| match each_once(errors) {
        said if said.is_empty() => failure,
        said => failure.cause(said),
    };
    // Docker 26 answers for an engine that is not there, without a word in it, and ends well.
    let Some(info) = info.filter(|info| !text(info, "/LocalNodeState").is_empty()) else {
        return because(fail("engine.unreachable", format!("on {name}: the Docker engine does not answer")))
            .hint("on the host: `docker info`; is the engine running, and is the deploy user in the group docker?")
            .retryable();
    };
    let controls = info.get("ControlAvailable").and_then(Value::as_bool).unwrap_or(false);
    match text(&info, "/LocalNodeState") {
        "active" if controls => because(fail("swarm.no-quorum", format!("on {name}: the Swarm cannot be asked: too few of its managers answer")))
            .hint("start the managers that are down: `docker info --format '{{json .Swarm.RemoteManagers}}'` there lists all of them, and needs no majority. Only if they are lost for good: `docker swarm init --force-new-cluster` on one that is left")
            .retryable(),
        "active" => fail("swarm.worker", format!("on {name}: this node is a worker of the Swarm, and only a manager can be asked"))
            .hint("name a manager as `address` in cm.toml, or make this one a manager: `docker node promote` on a manager"),
        "locked" => fail("swarm.locked", format!("on {name}: the Swarm is locked on this node"))
            .hint("unlock it there: `docker swarm unlock`"),
        _ => fail("swarm.none", format!("on {name}: this engine is not part of a Swarm, and cm.toml says engine = \"swarm\""))
            .hint("begin one there: `docker swarm init`, and `docker swarm join` on the others; or remove `engine` from cm.toml"),
    }
}

/// The lines of `text` without those that were there before.
fn each_once(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = concat!(
        "cm info\n{\"LocalNodeState\":\"active\",\"ControlAvailable\":true}\ncm nodes\n",
        r#"{"ID":"n1","Description":{"Hostname":"one"}}"#,
        "\ncm services\n",
        r#"{"ID":"s1","Spec":{"Name":"shop_web","Labels":{"cm.project":"shop"},"Mode":{"Replicated":{"Replicas":2}},"TaskTemplate":{"ContainerSpec":{"Image":"r/web@sha256:1","Configs":[{"ConfigName":"shop_a-1"}]}}},"PreviousSpec":{"TaskTemplate":{"ContainerSpec":{"Secrets":[{"SecretName":"shop_b-1"}]}}},"UpdateStatus":{"State":"paused","Message":"because"}}"#,
        "\n",
        r#"{"ID":"s2","Spec":{"Name":"shop_db"}}"#,
        "\ncm tasks\n",
        "spec 1 {\"ContainerSpec\":{\"Image\":\"r/web@sha256:1\"}}\n",
        r#"task 1 {"ID":"t1","ServiceID":"s1","NodeID":"n1","Slot":1,"DesiredState":"running","Status":{"State":"running"}}"#,
        "\n",
        r#"task 1 {"ID":"t2","ServiceID":"s1","NodeID":"n1","Slot":2,"DesiredState":"running","Status":{"State":"running"}}"#,
        "\ncm images\nr/web@sha256:1 sha256:aa\ncm end\n"
    );

    #[test]
    fn a_stack_is_read_with_its_nodes_and_tasks() {
        let sight = Sight::read(SAID, "shop").expect("json");
        let web = &sight.services["web"];
        assert_eq!((web.update, web.message.as_str(), web.replicas), (Update::Paused, "because", Some(2)));
        assert_eq!(web.contents, ["shop_a-1", "shop_b-1"]);
        assert_eq!((web.in_place().len(), web.tasks[0].node.as_str()), (2, "one"));
        assert!(web.tasks.iter().all(|task| task.image == "r/web@sha256:1"), "what both are made of is said once");
        assert_eq!(sight.images["r/web@sha256:1"], "sha256:aa");
        assert_eq!(sight.foreign("shop"), ["db"]);
        assert_eq!(
            Sight::read("cm info\n{}\ncm nodes\ncm services\ncm end\n", "shop").expect("json").services.len(),
            0
        );
        assert!(Sight::read("cm services\n{\ncm end\n", "shop").is_err());
    }

    /// A service with variables of 600 kB has ten tasks, each of which shows all of them: what is sent is the service, and
    /// what its tasks are made of, before and after an update.
    #[tokio::test]
    async fn what_many_tasks_are_made_of_is_sent_once() {
        const DOCKER: &str = r#"#!/bin/sh
many() { head -c 600000 /dev/zero | tr '\0' "$1"; }
case "$1 $2" in
"info "*) echo '{"LocalNodeState":"active","ControlAvailable":true}' ;;
"node ls") echo n1 ;;
"node inspect") echo '{"ID":"n1","Description":{"Hostname":"one"}}' ;;
"service ls") echo s1 ;;
"service inspect") case $4 in *Image*) echo r/web ;; *) printf '{"ID":"s1","Spec":{"Name":"shop_web","TaskTemplate":{"ContainerSpec":{"Env":["A=%s"]}}}}\n' "$(many x)" ;; esac ;;
"service ps") seq 10 ;;
"inspect --type") for id in 1 2 3 4 5 6 7 8 9 10; do
    printf '{"ID":"%s","ServiceID":"s1","NodeID":"n1","Slot":%s}\n' $id $id
    [ $id -eq 3 ] && name=y || name=x
    printf '{"ContainerSpec":{"Env":["A=%s"]}}\n' "$(many $name)"
done ;;
esac
"#;
        let dir = tempfile::tempdir().expect("dir");
        let program = dir.path().join("docker");
        std::fs::write(&program, DOCKER).expect("write");
        std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
        let log = cm_core::Log::new("test", cm_core::Format::Text, cm_core::Level::Fail);
        let host = Host::connect(&cm_host::Target::at("local", "local"), &log).await.expect("local");
        let path = dir.path().display().to_string();
        let line = "PATH=$1:$PATH; exec sh -c \"$2\" sh shop";
        let said = host.command(["sh", "-c", line, "sh", &path, LOOK]).text(Exit::Build, "swarm.look").await;
        let said = said.expect("an answer");
        assert!((1_800_000..1_900_000).contains(&said.len()), "{} bytes", said.len());
        let sight = Sight::read(&said, "shop").expect("an answer that can be read");
        let old: Vec<_> =
            sight.services["web"].tasks.iter().filter(|task| !task.current).map(|task| &*task.id).collect();
        assert_eq!((sight.services["web"].tasks.len(), old), (10, vec!["3"]));
    }

    #[tokio::test]
    async fn an_engine_that_does_not_answer_is_not_called_one_without_a_swarm() {
        let log = cm_core::Log::new("test", cm_core::Format::Text, cm_core::Level::Fail);
        let host = Host::connect(&cm_host::Target::at("local", "local"), &log).await.expect("local");
        let code = |info: &str| no_manager(&host, &format!("cm info\n{info}\n"), "Cannot connect").code;
        // As Docker 26.1.5 says it of an engine that is stopped, and ends with 0.
        let silent = r#"{"NodeID":"","NodeAddr":"","LocalNodeState":"","ControlAvailable":false,"Error":"","RemoteManagers":null}"#;
        assert_eq!((code(silent), code("")), ("engine.unreachable".into(), "engine.unreachable".into()));
        assert_eq!(code(r#"{"LocalNodeState":"inactive"}"#), "swarm.none");
        assert_eq!(code(r#"{"LocalNodeState":"active"}"#), "swarm.worker");
        assert_eq!(code(r#"{"LocalNodeState":"active","ControlAvailable":true}"#), "swarm.no-quorum");
    }

    #[test]
    fn what_docker_says_to_each_command_is_said_once() {
        let docker = "Error response from daemon: no leader\nError response from daemon: no leader\n\n  other \n";
        assert_eq!(each_once(docker), "Error response from daemon: no leader\nother");
        assert_eq!(each_once("\n"), "");
    }
}
