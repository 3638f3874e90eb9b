//! A deployment to a real Docker Swarm of three managers with a registry: what is deployed, changed, broken and drained
//! there is asked of Swarm itself, and of the services, through each node.

use cm_testkit::{Answer, Sandbox, until};
use serde_json::Value;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);

struct Swarm(Sandbox);

impl Swarm {
    fn on(&self, node: &str, line: &str) -> String {
        self.0.server(node, &["sh", "-c", line])
    }

    fn write(&self, path: &str, text: &str) {
        std::fs::write(self.0.laptop.join(path), text).expect(path);
    }

    fn replace(&self, path: &str, from: &str, to: &str) {
        self.0.change(path, from, to, &format!("{path}: {to}"));
    }

    /// What a node answers to a request.
    fn ask(&self, node: &str, path: &str) -> Value {
        let said = self.on(node, &format!("curl -s -m 5 http://127.0.0.1{path}"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{node}{path}: {error}: {said}"))
    }

    /// By service, the tasks that run, each with its node and its image.
    fn tasks(&self, service: &str) -> Vec<String> {
        let line = format!(
            "docker service ps --no-trunc --filter desired-state=running --format '{{{{.ID}}}} {{{{.Node}}}} {{{{.Image}}}}' shop_{service}"
        );
        let said = self.on("node1", &line);
        let mut tasks: Vec<String> = said.lines().map(str::to_owned).collect();
        tasks.sort();
        tasks
    }

    fn deployed(&self, flags: &[&str]) -> Answer {
        let answer = self.0.deploy(flags);
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        answer
    }

    fn preflight(&self, flags: &[&str]) -> Answer {
        self.0.laptop("cm-health", &[&["--preflight"], flags].concat())
    }
}

fn up() -> Swarm {
    Swarm(Sandbox::up_swarm("swarm"))
}

#[test]
fn a_project_is_deployed_to_a_swarm_and_rolled_back_as_one_release() {
    let swarm = up();
    first_deployment(&swarm);
    what_runs_already_is_left_alone(&swarm);
    a_changed_config_is_another_config(&swarm);
    a_broken_release_goes_back_as_a_whole(&swarm);
    a_node_that_is_drained_is_no_failure(&swarm);
    what_a_swarm_cannot_do_is_refused_before_anything_is_done(&swarm);
}

fn first_deployment(swarm: &Swarm) {
    let answer = swarm.deployed(&[]);
    assert!(answer.stderr.contains("All 4 services healthy!"), "{}", answer.stderr);
    for node in ["node1", "node2", "node3"] {
        let api = swarm.ask(node, "/api/");
        assert_eq!(
            (&api["version"], &api["greeting"], &api["prices"]),
            (&"1".into(), &"hello".into(), &"tea 3".into())
        );
        assert_eq!(api["secret"], true);
    }
    let api = swarm.tasks("api");
    assert_eq!(api.len(), 2, "{api:?}");
    assert!(api.iter().all(|task| task.contains("registry:5000/shop/api@sha256:")), "{api:?}");
    assert!(!answer.stderr.contains("swarm-token-4711") && !answer.stdout.contains("swarm-token-4711"));
    let order: Vec<&str> = answer.stderr.lines().filter(|line| line.contains(": updating ")).collect();
    let names: Vec<&str> = order.iter().filter_map(|line| line.split("updating ").nth(1)).collect();
    assert_eq!(names, ["cache", "api", "web", "proxy"], "as they depend on each other");
}

fn what_runs_already_is_left_alone(swarm: &Swarm) {
    let before = [swarm.tasks("api"), swarm.tasks("cache"), swarm.tasks("proxy")];
    swarm.write("web/VERSION", "2\n");
    swarm.0.commit("web: 2");
    let answer = swarm.deployed(&[]);
    assert!(answer.stderr.contains("1 of 4 services change: web"), "{}", answer.stderr);
    assert_eq!(swarm.ask("node2", "/")["version"], "2");
    assert_eq!([swarm.tasks("api"), swarm.tasks("cache"), swarm.tasks("proxy")], before);
    let again = swarm.deployed(&[]);
    assert!(again.stderr.contains("nothing to build"), "{}", again.stderr);
}

fn a_changed_config_is_another_config(swarm: &Swarm) {
    let before = swarm.tasks("api");
    swarm.write("api/prices", "tea 4\n");
    swarm.0.commit("dearer tea");
    swarm.deployed(&[]);
    until("the proxy knows the new tasks", LIMIT, || swarm.ask("node1", "/api/")["prices"] == "tea 4");
    assert!(swarm.tasks("api").iter().all(|task| !before.contains(task)));
    let configs = swarm.on("node1", "docker config ls --format '{{.Name}}'");
    assert_eq!(configs.lines().filter(|name| name.starts_with("shop_prices-")).count(), 2, "{configs}");
}

fn a_broken_release_goes_back_as_a_whole(swarm: &Swarm) {
    swarm.write("api/VERSION", "broken\n");
    swarm.write("web/VERSION", "3\n");
    swarm.0.commit("a bad one");
    let answer = swarm.0.deploy(&[]);
    assert_eq!(answer.code, 60, "{}", answer.stderr);
    for words in ["api was not updated: Swarm stopped partway", "rolled back, healthy and verified"] {
        assert!(answer.stderr.contains(words), "{words}: {}", answer.stderr);
    }
    assert_eq!(swarm.ask("node3", "/api/")["version"], "1");
    assert_eq!(swarm.ask("node3", "/")["version"], "2");
    let health = swarm.0.laptop("cm-health", &["--all"]);
    assert_eq!(health.code, 0, "{}", health.stderr);
}

fn a_node_that_is_drained_is_no_failure(swarm: &Swarm) {
    swarm.on("node1", "docker node update --availability drain node3 >/dev/null");
    until("its tasks are elsewhere", LIMIT, || {
        swarm.tasks("api").len() == 2 && swarm.tasks("api").iter().all(|task| !task.contains("node3"))
    });
    let preflight = swarm.preflight(&[]);
    assert_eq!(preflight.code, 0, "{}", preflight.stderr);
    assert!(preflight.stderr.contains("node node3 takes no new tasks (drain)"), "{}", preflight.stderr);
    for (file, text) in [("api/VERSION", "2\n"), ("web/VERSION", "4\n")] {
        swarm.write(file, text);
    }
    swarm.0.commit("a good one, after a bad one");
    swarm.deployed(&[]);
    assert_eq!(swarm.ask("node1", "/")["version"], "4");
    swarm.on("node1", "docker node update --availability active node3 >/dev/null");
}

fn what_a_swarm_cannot_do_is_refused_before_anything_is_done(swarm: &Swarm) {
    let before = swarm.tasks("web");
    let good = std::fs::read_to_string(swarm.0.laptop.join("cm.toml")).expect("cm.toml");
    swarm.replace(
        "docker-compose.production.yml",
        "    image: shop/web\n",
        "    image: shop/web\n    privileged: true\n",
    );
    let answer = swarm.0.deploy(&[]);
    assert_eq!((answer.code, &answer.document()["error"]["code"]), (6, &"preflight.stack".into()), "{}", answer.stderr);
    assert!(answer.stderr.contains("docker-compose.production.yml:50: web: privileged"), "{}", answer.stderr);
    swarm.replace("docker-compose.production.yml", "    privileged: true\n", "");

    swarm.write("cm.toml", &good.replace("NODE1_VPS_IP", "NODE3_VPS_IP"));
    swarm.on("node1", "docker node demote node3 >/dev/null");
    let worker = swarm.preflight(&[]);
    assert_eq!(worker.code, 6, "{}", worker.stderr);
    assert!(worker.stderr.contains("this node is a worker of the Swarm"), "{}", worker.stderr);
    swarm.on("node1", "docker node promote node3 >/dev/null");

    swarm.write("cm.toml", &good.replace("registry:5000", "registry:5001"));
    let silent = swarm.preflight(&[]);
    assert_eq!(
        (silent.code, &silent.document()["error"]["code"]),
        (6, &"preflight.registry".into()),
        "{}",
        silent.stderr
    );

    swarm.write("cm.toml", &good.replace("project = \"shop\"", "project = \"other\""));
    let foreign = swarm.preflight(&[]);
    assert_eq!(foreign.code, 6, "{}", foreign.stderr);
    assert!(foreign.stderr.contains("a stack \"shop\" that cm did not make for \"other\""), "{}", foreign.stderr);

    swarm.write("cm.toml", &format!("{good}\n[[release]]\nservice = \"api\"\ncommand = [\"true\"]\n"));
    let jobs = swarm.0.laptop("cm-detect", &[]);
    assert_eq!((jobs.code, &jobs.document()["error"]["code"]), (6, &"config.engine".into()), "{}", jobs.stderr);
    swarm.write("cm.toml", &good);
    assert_eq!(swarm.tasks("web"), before, "nothing was touched");
}
