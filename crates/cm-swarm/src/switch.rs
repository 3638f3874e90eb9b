//! Services go from one release to the next: step by step in the order in which they depend on each other, each step
//! awaited before the next one begins. The first service that does not get there ends it, and says why; whoever asked
//! then takes the whole release back. What Swarm did by itself meanwhile (a rollback, a pause) is no success.

use crate::content::{Content, Names, Source};
use crate::election::patiently;
use crate::service::Service;
use crate::sight::{IMAGE_LABEL, LABEL, Seen, Sight};
use crate::stack::Stack;
use crate::task::Task;
use crate::update::Update;
use cm_core::{Exit, Failure, Result, Stop, interruption};
use cm_host::{Fenced, Secrets};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);

/// Docker answers within this time, also where a leader has to be chosen first.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// As often a task of a new service may fail before that is an answer.
const MOST_FAILURES: usize = 2;

const DEPLOY: &str = r#"# Deploys services of a stack.
# $1 the stack; the file is on stdin.
exec docker stack deploy --compose-file - --resolve-image never --with-registry-auth "$1""#;

const CREATE: &str = r#"# Makes a config or a secret.
# $1 config or secret, $2 name, $3 stack, $4 project; the content is on stdin.
docker "$1" inspect "$2" >/dev/null 2>&1 && exit 0
exec docker "$1" create --label "com.docker.stack.namespace=$3" --label "cm.project=$4" "$2" - >/dev/null"#;

const FORGET: &str = r#"# Removes configs and secrets that nothing needs.
# $1 the stack, $2 the project, $3 how many of each stay all the same, then the names of those that stay.
stack=$1 project=$2 keep=$3
shift 3
for kind in config secret; do
    ids=$(docker "$kind" ls -q --filter "label=cm.project=$project" --filter "label=com.docker.stack.namespace=$stack") || exit
    [ -n "$ids" ] || continue
    docker "$kind" inspect --format '{{.CreatedAt.UnixNano}} {{.Spec.Name}}' $ids 2>/dev/null | sort -rn |
        awk -v keep="$keep" '{ key = $2; sub(/-[0-9a-f]*$/, "", key); if (++count[key] > keep) print $2 }' |
        while read -r name; do
            for kept do [ "$kept" != "$name" ] || continue 2; done
            # One that is in use all the same stays.
            docker "$kind" rm "$name" >/dev/null 2>&1 || :
        done
done"#;

/// As many contents of each config and secret stay, for a person who wants one back by hand.
const KEPT_CONTENTS: usize = 3;

const LAST_LINES: &str = r#"# Reads the last lines of a task.
docker service logs --raw --tail 20 "$1" 2>&1 | tail -c 8192"#;

/// A node that is away says nothing of its tasks.
const LOG_LIMIT: Duration = Duration::from_secs(10);

const FORCE: &str = r#"# Lets a service begin again.
exec docker service update --force --detach --quiet "$1" >/dev/null"#;

const REMOVE: &str = r#"# Removes services.
for name do docker service rm "$name" >/dev/null 2>&1 || ! docker service inspect "$name" >/dev/null 2>&1 || exit 1; done"#;

/// What takes services of a stack to what its file says.
pub struct Switch<'a> {
    /// A manager, behind the deploy lock.
    pub host: &'a Fenced,
    /// The stack.
    pub stack: &'a Stack,
    /// The project of cm.toml.
    pub project: &'a str,
    /// The images, as the registry names them.
    pub images: BTreeMap<String, String>,
    /// How long a step may take.
    pub limit: Duration,
    /// How long a task may wait for a node that has room for it; nodes come back.
    pub room_limit: Duration,
}

impl Switch<'_> {
    /// Makes the configs and secrets that are not there; `value` gives that of a variable. Their names, by kind and key.
    ///
    /// # Errors
    /// [`Exit::Config`]: `swarm.content` for one that cannot be read, `swarm.too-large` for one that no Swarm takes;
    /// [`Exit::Build`], [`Exit::LockLost`], [`Exit::Unreachable`].
    pub async fn contents(&self, values: &BTreeMap<String, String>) -> Result<BTreeMap<&'static str, Names>> {
        let mut names: BTreeMap<&'static str, Names> = BTreeMap::new();
        for content in &self.stack.contents {
            let name = match &content.source {
                Source::External(name) => name.clone(),
                source => {
                    let bytes = self.bytes(content, source, values).await?;
                    self.make(content, &bytes).await?
                }
            };
            names.entry(content.kind).or_default().insert(content.key.clone(), name);
        }
        Ok(names)
    }

    /// Removes those of earlier releases that no service uses or would go back to by Swarm's own rollback, and that are
    /// not among `names`. A release that is rolled back to has its own made again from its commit.
    ///
    /// # Errors
    /// [`Exit::Build`], [`Exit::LockLost`], [`Exit::Unreachable`].
    pub async fn forget(&self, names: &BTreeMap<&str, Names>) -> Result<()> {
        let now = Sight::of(self.host, &self.stack.name).await?;
        let used = now.services.values().flat_map(|seen| seen.contents.iter());
        let kept = used.chain(names.values().flat_map(BTreeMap::values)).cloned();
        let own = [self.stack.name.clone(), self.project.to_owned(), KEPT_CONTENTS.to_string()];
        let arguments = own.into_iter().chain(kept);
        self.host.script(FORGET, arguments).text(Exit::Build, "swarm.content").await.map(drop)
    }

    async fn bytes(&self, content: &Content, source: &Source, values: &BTreeMap<String, String>) -> Result<Vec<u8>> {
        let lost = |what: String| {
            let message = format!("on {}: {} {}: {what}", self.host.name(), content.kind, content.key);
            Failure::new(Exit::Config, "swarm.content", message)
        };
        let bytes = match source {
            Source::File(path) => {
                let read = self.host.read(path, Exit::Config).await?;
                read.ok_or_else(|| {
                    lost(format!("{path} is not there")).hint("put the file there, or fix the compose file")
                })?
            }
            Source::Variable(name) => {
                let value = values.get(name).filter(|value| !value.is_empty());
                let value =
                    value.ok_or_else(|| lost(format!("{name} has no value")).hint("set it in the env file there"))?;
                value.clone().into_bytes()
            }
            Source::Inline(text) => text.clone().into_bytes(),
            Source::External(_) => Vec::new(),
        };
        let Some(unfit) = content.unfit(bytes.len()) else { return Ok(bytes) };
        Err(Failure::new(Exit::Config, unfit.code, format!("on {}: {}", self.host.name(), unfit.why)).hint(unfit.hint))
    }

    async fn make(&self, content: &Content, bytes: &[u8]) -> Result<String> {
        let name = content.name(bytes);
        let arguments = [content.kind, &name, &self.stack.name, self.project];
        let make = async || {
            self.host.script(CREATE, arguments).stdin(bytes).limit(LIMIT).text(Exit::Build, "swarm.content").await
        };
        patiently(make).await?;
        Ok(name)
    }

    /// Takes `services` there; `tell` hears of each step. `before` is what the Swarm ran until now.
    ///
    /// # Errors
    /// [`Exit::Unhealthy`]: `swarm.paused`, `swarm.rolled-back`, `swarm.failed` or `swarm.timeout` with
    /// the service, the node and Swarm's words; [`Exit::Build`] with Docker's; [`Exit::LockLost`], [`Exit::Unreachable`].
    pub async fn carry_out(
        &self,
        services: &[String],
        names: &BTreeMap<&str, Names>,
        before: &Sight,
        mut tell: impl FnMut(&[String]),
    ) -> Result<()> {
        for step in self.stack.steps(services) {
            Stop::requested().map_or(Ok(()), |exit| Err(interruption(exit)))?;
            tell(&step);
            let mut file = self.stack.file(&step, &self.images, names);
            mark(&mut file, self.project, self.stack);
            let (mut nodes, mut at_once) = (before.nodes_for_tasks(), false);
            loop {
                take_turns(&mut file, self.stack, nodes, at_once);
                self.deploy(&file).await?;
                self.revive(&step, before).await?;
                match self.wait(&step, nodes, at_once).await? {
                    Waited::Done => break,
                    Waited::FewerNodes(left) => nodes = left,
                    Waited::Blocked => at_once = true,
                }
            }
        }
        Ok(())
    }

    async fn deploy(&self, file: &Value) -> Result<()> {
        let deploy = async || {
            let deploy = self.host.script(DEPLOY, [self.stack.name.clone()]).stdin(file.to_string());
            deploy.limit(LIMIT).text(Exit::Build, "swarm.deploy").await
        };
        patiently(deploy).await.map(drop)
    }

    /// A service whose update Swarm had stopped or rolled back stays so, if what it is to be is what it is.
    async fn revive(&self, step: &[String], before: &Sight) -> Result<()> {
        let now = Sight::of(self.host, &self.stack.name).await?;
        for name in step {
            let (Some(old), Some(new)) = (before.services.get(name), now.services.get(name)) else { continue };
            let stuck =
                matches!(new.update, Update::Paused | Update::RolledBack) && new.update_began == old.update_began;
            if stuck {
                self.host.script(FORCE, [self.full(name)]).text(Exit::Build, "swarm.deploy").await?;
            }
        }
        Ok(())
    }

    /// Waits until a step is done, or until its services have to be updated in another way, since a task finds no node.
    pub(crate) async fn wait(&self, step: &[String], nodes: usize, at_once: bool) -> Result<Waited> {
        let began = Instant::now();
        let mut placed = began;
        loop {
            let sight = Sight::of(self.host, &self.stack.name).await?;
            let mut waits = None;
            for name in step {
                let state = sight
                    .services
                    .get(name)
                    .map_or(State::Waits("is not there yet".to_owned()), |seen| judge(seen, &sight));
                match state {
                    State::Done => {}
                    State::Waits(why) => waits = waits.or(Some((name, why))),
                    State::Failed(code, why) => {
                        let failure = self.failure(code, name, &why);
                        return Err(self.with_last_lines(failure, sight.services.get(name)).await);
                    }
                }
            }
            let Some((name, why)) = waits else { return Ok(Waited::Done) };
            if !why.starts_with(NO_NODE) {
                placed = Instant::now();
            } else if sight.nodes_for_tasks() < nodes {
                return Ok(Waited::FewerNodes(sight.nodes_for_tasks()));
            } else if !at_once && placed.elapsed() > BLOCKED && self.is_blocked(name, &sight) {
                return Ok(Waited::Blocked);
            }
            if began.elapsed() > self.limit || placed.elapsed() > self.room_limit {
                let message = format!("{why} after {} s", began.elapsed().as_secs());
                return Err(self.failure("swarm.timeout", name, &message));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether tasks of `service` keep each other from being replaced: an update that was broken off has left two in one
    /// place, and with them on every node that may have one, the task of another place waits for ever.
    fn is_blocked(&self, service: &str, sight: &Sight) -> bool {
        let has_room = |service: &Service| service.has_room(sight.nodes_for_tasks());
        !self.stack.services.get(service).is_none_or(has_room)
            && sight.services.get(service).is_some_and(|seen| has_two_in_one_place(&seen.tasks))
    }

    /// With what the last task that failed wrote, where its node still says so.
    async fn with_last_lines(&self, failure: Failure, seen: Option<&Seen>) -> Failure {
        let failed = seen.into_iter().flat_map(|seen| &seen.tasks).filter(|task| task.current && task.has_failed());
        let Some(task) = failed.max_by_key(|task| &task.created) else { return failure };
        let command = self.host.script(LAST_LINES, [task.id.clone()]).hiding(&Secrets::default().container(&task.id));
        let said = command.limit(LOG_LIMIT).output().await.map(|output| output.text()).unwrap_or_default();
        if said.is_empty() { failure } else { failure.cause(format!("its last lines:\n{}", cm_core::redact(&said))) }
    }

    fn failure(&self, code: &'static str, service: &str, why: &str) -> Failure {
        Failure::new(Exit::Unhealthy, code, format!("on {}: {service} {why}", self.host.name())).hint(format!(
            "`docker service ps --no-trunc {0}` and `docker service logs {0}` on a manager say more; `cm-rollback` rolls back to the last verified release",
            self.full(service)
        ))
    }

    fn full(&self, service: &str) -> String {
        format!("{}_{service}", self.stack.name)
    }

    /// Removes services of the stack.
    ///
    /// # Errors
    /// [`Exit::Build`], [`Exit::LockLost`], [`Exit::Unreachable`].
    pub async fn remove(&self, services: &[String]) -> Result<()> {
        if services.is_empty() {
            return Ok(());
        }
        let names: Vec<String> = services.iter().map(|name| self.full(name)).collect();
        let remove = async || {
            self.host.script(REMOVE, names.clone()).limit(LIMIT).text(Exit::Build, "swarm.remove").await.map(drop)
        };
        patiently(remove).await
    }
}

/// By these labels cm knows what it made, and from what.
fn mark(file: &mut Value, project: &str, stack: &Stack) {
    let services = file.get_mut("services").and_then(Value::as_object_mut);
    for (name, service) in services.into_iter().flatten() {
        if !service["deploy"]["labels"].is_object() {
            service["deploy"]["labels"] = Value::Object(serde_json::Map::new());
        }
        service["deploy"]["labels"][LABEL] = project.into();
        if let Some(service_of_stack) = stack.services.get(name) {
            service["deploy"]["labels"][IMAGE_LABEL] = service_of_stack.image.clone().into();
        }
    }
}

fn has_two_in_one_place(tasks: &[Task]) -> bool {
    let live: Vec<&Task> = tasks.iter().filter(|task| task.is_live()).collect();
    live.iter().any(|one| live.iter().filter(|other| other.slot == one.slot).count() > 1)
}

/// Where no node has room for one more task, the old one goes first; `at_once`: all of them.
fn take_turns(file: &mut Value, stack: &Stack, nodes: usize, at_once: bool) {
    let services = file.get_mut("services").and_then(Value::as_object_mut);
    for (name, service) in services.into_iter().flatten() {
        if stack.services.get(name).is_some_and(|service| service.start_first && !service.has_room(nodes)) {
            service["deploy"]["update_config"]["order"] = "stop-first".into();
        }
        if at_once && stack.services.get(name).is_some_and(|service| !service.has_room(nodes)) {
            service["deploy"]["update_config"]["parallelism"] = 0.into();
        }
    }
}

/// How a [`State::Waits`] of a task begins that Swarm finds no node for.
const NO_NODE: &str = "has no node for";

/// A task that finds no node for so long is waiting for what does not come by itself.
const BLOCKED: Duration = Duration::from_secs(5);

/// How waiting for a step ended.
pub(crate) enum Waited {
    Done,
    /// There are only so many nodes any more: what was to start first may have to stop first.
    FewerNodes(usize),
    /// The tasks of a service are in each other's way, and have to be replaced all at once.
    Blocked,
}

/// How far a service is.
#[derive(Debug, Eq, PartialEq)]
enum State {
    Done,
    Waits(String),
    Failed(&'static str, String),
}

fn judge(seen: &Seen, sight: &Sight) -> State {
    let failed: Vec<&Task> = seen.tasks.iter().filter(|task| task.current && task.has_failed()).collect();
    let why =
        || failed.iter().max_by_key(|task| &task.created).map_or_else(|| seen.message.clone(), |task| words(task));
    match seen.update {
        Update::Paused => {
            return State::Failed("swarm.paused", format!("was not updated: Swarm stopped partway: {}", why()));
        }
        Update::RolledBack => {
            let message = format!("was rolled back by Swarm itself: {}", seen.message);
            return State::Failed("swarm.rolled-back", message);
        }
        Update::Running | Update::Done => {}
    }
    let live: Vec<&Task> = seen.tasks.iter().filter(|task| task.is_live()).collect();
    let pending = live.iter().find(|task| task.state == "pending" && !task.error.is_empty());
    if seen.update == Update::Running {
        let waits = pending.map(|task| format!("{NO_NODE} {}: {}", task.name(), task.error));
        return State::Waits(waits.unwrap_or_else(|| "is being updated".to_owned()));
    }
    let runs = live.iter().filter(|task| task.current && task.state == "running").count();
    let nodes = sight.nodes_for_tasks();
    let wanted = seen.replicas.map_or(0, |replicas| usize::try_from(replicas).unwrap_or(usize::MAX));
    if live.iter().all(|task| task.current && task.state == "running")
        && runs >= wanted
        && (runs > 0 || seen.replicas == Some(0) || nodes == 0)
    {
        return State::Done;
    }
    if failed.len() >= MOST_FAILURES {
        return State::Failed("swarm.failed", format!("does not start: {}", why()));
    }
    match pending {
        Some(task) => State::Waits(format!("{NO_NODE} {}: {}", task.name(), task.error)),
        None => State::Waits(format!("runs {runs} of {} tasks", wanted.max(live.len()))),
    }
}

fn words(task: &Task) -> String {
    let node = if task.node.is_empty() { "no node" } else { &task.node };
    let error = if task.error.is_empty() { &task.state } else { &task.error };
    format!("{} on {node}: {error}", task.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::Node;
    use serde_json::json;

    fn task(state: &str, current: bool) -> Task {
        let desired = if matches!(state, "failed" | "rejected") { "shutdown" } else { "running" };
        let own = |text: &str| text.to_owned();
        Task {
            state: own(state),
            desired: own(desired),
            slot: own("1"),
            node: own("one"),
            service: own("web"),
            error: own("no"),
            current,
            ..Task::default()
        }
    }

    fn state(update: &str, replicas: Option<u64>, tasks: &[Task]) -> State {
        let service = json!({"UpdateStatus": {"State": update, "Message": "said"}});
        let seen = Seen {
            full_name: String::new(),
            update: Update::read(&service),
            message: "said".to_owned(),
            update_began: String::new(),
            project: String::new(),
            image: String::new(),
            name: String::new(),
            replicas,
            contents: Vec::new(),
            env: Vec::new(),
            tasks: tasks.to_vec(),
        };
        let node = Node { state: "ready".to_owned(), availability: "active".to_owned(), ..Node::default() };
        judge(&seen, &Sight { nodes: vec![node], ..Sight::default() })
    }

    #[test]
    fn a_service_is_done_when_what_it_should_be_runs_and_nothing_else_does() {
        let (good, old) = (task("running", true), task("running", false));
        assert_eq!(state("completed", Some(2), &[good.clone(), good.clone()]), State::Done);
        assert_eq!(state("", None, std::slice::from_ref(&good)), State::Done);
        assert_eq!(state("", Some(0), &[]), State::Done);
        for (update, replicas, tasks) in [
            ("", Some(2), vec![good.clone()]),
            ("", Some(1), vec![old.clone()]),
            ("", Some(1), vec![good.clone(), old]),
            ("updating", Some(1), vec![good.clone()]),
            ("rollback_started", Some(1), vec![good.clone()]),
            ("", Some(1), vec![task("pending", true)]),
            ("", Some(1), vec![task("failed", true), task("ready", true)]),
            ("", None, vec![]),
        ] {
            assert!(matches!(state(update, replicas, &tasks), State::Waits(_)), "{update} {tasks:?}");
        }
    }

    #[test]
    fn what_swarm_gave_up_by_itself_is_no_success() {
        let good = [task("running", true)];
        for (update, code) in [
            ("paused", "swarm.paused"),
            ("rollback_paused", "swarm.paused"),
            ("rollback_completed", "swarm.rolled-back"),
            ("something new", "swarm.paused"),
        ] {
            let State::Failed(found, _) = state(update, Some(1), &good) else { panic!("{update}") };
            assert_eq!(found, code);
        }
        let State::Failed(code, why) = state("", Some(1), &[task("rejected", true), task("rejected", true)]) else {
            panic!()
        };
        assert_eq!((code, why.as_str()), ("swarm.failed", "does not start: web.1 on one: no"));
        let before = [task("failed", false), task("failed", false), task("starting", true)];
        assert!(matches!(state("", Some(1), &before), State::Waits(_)), "what the service was before does not count");
    }

    #[test]
    fn the_old_task_goes_first_where_no_node_has_room_for_one_more() {
        let deploy = |parallelism: u64| json!({"replicas": 2, "placement": {"max_replicas_per_node": 1}, "update_config": {"parallelism": parallelism}});
        for (nodes, parallelism, order) in
            [(3, 1, "start-first"), (2, 1, "stop-first"), (3, 0, "stop-first"), (4, 0, "start-first")]
        {
            let config = json!({"name": "shop", "services": {"api": {"image": "api", "deploy": deploy(parallelism)}, "web": {"image": "web"}}});
            let stack = Stack::of(&config);
            let mut file = stack.file(&["api".to_owned(), "web".to_owned()], &BTreeMap::new(), &BTreeMap::new());
            take_turns(&mut file, &stack, nodes, false);
            assert_eq!(
                file["services"]["api"]["deploy"]["update_config"]["order"], order,
                "{nodes} nodes, {parallelism} at once"
            );
            assert_eq!(file["services"]["web"]["deploy"]["update_config"]["order"], "start-first");
        }
    }

    #[test]
    fn tasks_that_are_in_each_other_s_way_are_replaced_at_once() {
        let at = |slot: &str, state: &str| Task { slot: slot.to_owned(), ..task(state, false) };
        assert!(has_two_in_one_place(&[at("1", "running"), at("1", "running"), at("2", "pending")]));
        assert!(!has_two_in_one_place(&[at("1", "failed"), at("1", "running"), at("2", "pending")]));
        let deploy = json!({"replicas": 2, "placement": {"max_replicas_per_node": 1}});
        let config = json!({"name": "shop", "services": {"api": {"image": "api", "deploy": deploy}}});
        let stack = Stack::of(&config);
        for (nodes, wanted) in [(2, json!(0)), (3, Value::Null)] {
            let mut file = stack.file(&["api".to_owned()], &BTreeMap::new(), &BTreeMap::new());
            take_turns(&mut file, &stack, nodes, true);
            assert_eq!(file["services"]["api"]["deploy"]["update_config"]["parallelism"], wanted, "{nodes} nodes");
        }
    }

    #[test]
    fn an_update_that_waits_for_a_node_says_so() {
        let task = Task { error: "no suitable node".to_owned(), ..task("pending", true) };
        let State::Waits(why) = state("updating", Some(1), &[task]) else { panic!("it waits") };
        assert!(why.starts_with("has no node for web.1") && why.ends_with("no suitable node"), "{why}");
    }

    #[test]
    fn every_service_bears_the_project_s_mark() {
        let mut file = json!({"services": {"web": {"deploy": {"labels": {"a": "b"}}}, "db": {"image": "db"}}});
        let stack = Stack::of(&json!({"name": "shop", "services": {"db": {"image": "db:1"}}}));
        mark(&mut file, "shop", &stack);
        assert_eq!(file["services"]["web"]["deploy"]["labels"], json!({"a": "b", "cm.project": "shop"}));
        assert_eq!(file["services"]["db"]["deploy"]["labels"], json!({"cm.project": "shop", "cm.image": "db:1"}));
    }
}
