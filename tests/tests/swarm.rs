//! A deployment to a real Docker Swarm of three managers with a registry: what is deployed, changed, broken and drained
//! there is asked of Swarm itself, and of the services, through each node.
//!
//! `CM_SWARM_KILLS=10` loses a node at ten moments of a deployment, which takes long: the leader, the manager that cm.toml
//! names first, and another one in turns.
use cm_testkit::{Answer, Load, Sandbox, until};
use serde_json::Value;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

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
    let mut swarm = up();
    first_deployment(&swarm);
    a_job_that_fails_leaves_everything_running(&swarm);
    what_runs_already_is_left_alone(&swarm);
    a_changed_config_is_another_config(&swarm);
    a_broken_release_goes_back_as_a_whole(&swarm);
    a_node_that_is_drained_is_no_failure(&swarm);
    what_a_swarm_cannot_do_is_refused_before_anything_is_done(&swarm);
    for number in 0..number_of("CM_SWARM_KILLS") {
        a_node_that_is_lost_is_no_loss(&mut swarm, number);
    }
}

fn number_of(variable: &str) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
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
    assert_eq!(names, ["cache", "cache", "api", "web", "proxy"], "what a job needs, then as they depend on each other");
    let commit = swarm.0.laptop("git", &["rev-parse", "--short=7", "HEAD"]).stdout.trim().to_owned();
    for words in ["running seed", &format!("seed | seeded {commit} hello"), "seed is done"] {
        assert!(answer.stderr.contains(words), "{words}: {}", answer.stderr);
    }
}

fn a_job_that_fails_leaves_everything_running(swarm: &Swarm) {
    let before = [swarm.tasks("api"), swarm.tasks("web")];
    let (good, bad) = ("print('seeded'", "raise SystemExit('no room'");
    swarm.replace("docker-compose.production.yml", good, bad);
    let answer = swarm.0.deploy(&[]);
    assert_eq!((answer.code, &answer.document()["error"]["code"]), (30, &"release.failed".into()), "{}", answer.stderr);
    for words in ["seed failed (exit code 1); nothing was switched", "no room"] {
        assert!(answer.stderr.contains(words), "{words}: {}", answer.stderr);
    }
    assert_eq!([swarm.tasks("api"), swarm.tasks("web")], before);
    swarm.replace("docker-compose.production.yml", bad, good);
}

fn what_runs_already_is_left_alone(swarm: &Swarm) {
    let before = [swarm.tasks("api"), swarm.tasks("cache"), swarm.tasks("proxy")];
    swarm.write("web/VERSION", "2\n");
    swarm.0.commit("web: 2");
    let port = swarm.0.home.variable("APP_URL").and_then(|url| url.rsplit(':').next()?.parse().ok()).expect("a port");
    let load = Load::start(port, "shop.example", "/", 200);
    let answer = swarm.deployed(&[]);
    let counts = load.stop();
    assert!(counts.failed.is_empty() && counts.bodies.len() > 1, "{counts}: {:?}", counts.failed);
    assert!(answer.stderr.contains("backup verified: shop:"), "on whichever node it runs: {}", answer.stderr);
    assert!(answer.stderr.contains("services change: web") || answer.stderr.contains(", web"), "{}", answer.stderr);
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
    // The cache may have been there, and has no volume.
    swarm.deployed(&["--no-backup"]);
    assert_eq!(swarm.ask("node1", "/")["version"], "4");
    swarm.on("node1", "docker node update --availability active node3 >/dev/null");
}

/// The node goes at a random moment of a deployment of both services.
fn a_node_that_is_lost_is_no_loss(swarm: &mut Swarm, number: usize) {
    let leader =
        swarm.on("node2", "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}' | sed -n 's/ Leader//p'");
    let nodes = ["node1", "node2", "node3"];
    let other = nodes.into_iter().find(|node| *node != "node1" && *node != leader).expect("a third one");
    let victim = [leader.as_str(), "node1", other][number % 3].to_owned();
    let asked = nodes.into_iter().find(|node| *node != victim).expect("another one");
    let url = swarm.0.home.variable(&format!("{}_URL", asked.to_uppercase())).expect("a URL").to_owned();
    swarm.0.home.set("APP_URL", &url);
    let before = [swarm.ask(asked, "/")["version"].clone(), swarm.ask(asked, "/api/")["version"].clone()];
    let version = format!("lost-{number}");
    for file in ["web/VERSION", "api/VERSION"] {
        swarm.write(file, &format!("{version}\n"));
    }
    swarm.0.commit(&version);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").subsec_nanos();
    let delay = Duration::from_millis(1_000 + u64::from(nanos) % 20_000);
    let container = swarm.0.container(&victim);
    let killer = std::thread::spawn(move || {
        std::thread::sleep(delay);
        Command::new("docker").args(["kill", &container]).output().is_ok_and(|output| output.status.success())
    });
    let answer = swarm.0.deploy(&["--no-backup"]);
    assert!(killer.join().expect("no panic"), "docker kill {victim}");
    let story = format!("{victim} (leader {leader}) killed after {delay:?}: exit {}: {}", answer.code, answer.stderr);
    let now = || [swarm.ask(asked, "/")["version"].clone(), swarm.ask(asked, "/api/")["version"].clone()];
    match answer.code {
        0 => assert_eq!(now(), [version.as_str(), version.as_str()], "{story}"),
        60 => assert_eq!(now(), before, "{story}"),
        _ => assert!(answer.document()["error"]["code"].is_string(), "{story}"),
    }
    let next = swarm.0.deploy(&["--no-backup"]);
    assert_eq!(next.code, 0, "{story}\nthe next one: {}", next.stderr);
    until("the proxy knows the new tasks", LIMIT, || now() == [version.as_str(), version.as_str()]);
    let again = swarm.deployed(&["--no-backup"]);
    assert!(again.stderr.contains("nothing to build"), "ledger and Swarm agree: {}", again.stderr);
    Command::new("docker").args(["start", &swarm.0.container(&victim)]).output().expect("docker start");
    until("the node is back", Duration::from_secs(90), || {
        let all = swarm.on(asked, "docker node ls --format '{{.Status}} {{.ManagerStatus}}'");
        all.lines().filter(|line| ["Ready Leader", "Ready Reachable"].contains(line)).count() == 3
    });
    let _told = writeln!(std::io::stderr(), "{}", story.lines().next().unwrap_or_default());
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
    assert!(answer.stderr.contains("docker-compose.production.yml:69: web: privileged"), "{}", answer.stderr);
    swarm.replace("docker-compose.production.yml", "    privileged: true\n", "");

    let prices = swarm.on("node1", "find /home/curateme/platform -name prices* -type f");
    swarm.on("node1", &format!("cp -p {prices} /tmp/prices && head -c 600000 /dev/zero >{prices}"));
    let large = swarm.preflight(&[]);
    swarm.on("node1", &format!("cp -p /tmp/prices {prices}"));
    assert_eq!(large.code, 6, "{}", large.stderr);
    assert!(large.stderr.contains("config prices has 600000 bytes; a Swarm takes 500 kB"), "{}", large.stderr);

    let third = good.replace("NODE1_VPS_IP", "NODE3_VPS_IP");
    swarm.write("cm.toml", &third);
    swarm.on("node1", "docker node demote node3 >/dev/null");
    let another = swarm.preflight(&[]);
    assert_eq!(another.code, 0, "another manager is asked: {}", another.stderr);
    assert!(another.stderr.contains("does not speak for its Swarm"), "{}", another.stderr);
    let alone: Vec<&str> = third.lines().filter(|line| !line.starts_with("managers")).collect();
    swarm.write("cm.toml", &alone.join("\n"));
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

    swarm.write("cm.toml", &format!("{good}\n[services.api]\nprobe = \"http://127.0.0.1:1/\"\n"));
    let jobs = swarm.0.laptop("cm-detect", &[]);
    assert_eq!((jobs.code, &jobs.document()["error"]["code"]), (6, &"config.engine".into()), "{}", jobs.stderr);
    swarm.write("cm.toml", &good);
    assert_eq!(swarm.tasks("web"), before, "nothing was touched");
}
