//! A deployment to a real Docker Swarm of three managers with a registry: what is deployed, changed, broken and drained
//! there is asked of Swarm itself, and of the services, through each node.
//!
//! `CM_SWARM_KILLS=10` loses a node at ten moments of a deployment instead of the rest, which takes half an hour: first the
//! one that has what a job needs, as soon as it begins, and then the leader, the manager that cm.toml names first, and
//! another one in turns, at any moment. It counts those after which the run ended with the truth, the next plain run
//! succeeded, and the ledger and the Swarm agreed; nextest would end it, so run the test's own program.
//!
//! `CM_SWARM_FAULTS=1` adds what a registry does wrong: one without room, each kind of refusal, one that hangs in the middle
//! of a push, and a node that gets nothing from it; and it moves a platform over that Compose runs.
//!
//! How long each part takes is on stderr. `CM_SWARM_FROM='a rollback'` leaves out the parts before that one, but those that
//! make a worker and want a login, and the one that ends both.
use cm_testkit::{Answer, Load, Sandbox, until};
use serde_json::Value;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

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

    fn succeeds_soon(&self, node: &str, line: &str) {
        until(line, LIMIT, || self.on(node, &format!("{line} >/dev/null 2>&1 && echo done || :")).contains("done"));
    }

    /// What a node answers to a request.
    fn ask(&self, node: &str, path: &str) -> Value {
        let said = self.on(node, &format!("curl -s -m 5 http://127.0.0.1{path}"));
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{node}{path}: {error}: {said}"))
    }

    /// Of `web` and `api`, as a node answers.
    fn versions(&self, node: &str) -> [Value; 2] {
        [self.ask(node, "/")["version"].clone(), self.ask(node, "/api/")["version"].clone()]
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

    /// As root in the container of a node, or of the registry.
    fn as_root(&self, machine: &str, line: &str) {
        let output = Command::new("docker").args(["exec", &self.0.container(machine), "sh", "-c", line]).output();
        let output = output.expect("docker");
        assert!(output.status.success(), "{machine}: {line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// The registry with other settings: lines are added to its file, or taken from it.
    fn registry(&self, edit: &str) {
        self.registry_at(edit, "registry:5000");
    }

    fn registry_at(&self, edit: &str, address: &str) {
        self.as_root("registry", &format!("cd /etc/docker/registry && {edit}"));
        let output = Command::new("docker").args(["restart", "-t", "1", &self.0.container("registry")]).output();
        assert!(output.expect("docker").status.success(), "the registry starts again");
        self.succeeds_soon("node1", &format!("curl -s http://{address}/v2/"));
    }

    fn preflight(&self, flags: &[&str]) -> Answer {
        self.0.laptop("cm-health", &[&["--preflight"], flags].concat())
    }
}

fn up() -> Swarm {
    Swarm(Sandbox::up_swarm("swarm"))
}

/// A part of the test, with its name.
type Part = (&'static str, fn(&Swarm));

#[test]
fn a_project_is_deployed_to_a_swarm_and_rolled_back_as_one_release() {
    let mut swarm = up();
    first_deployment(&swarm);
    let kills = number_of("CM_SWARM_KILLS");
    if kills > 0 {
        return nodes_are_lost(&mut swarm, kills);
    }
    let parts: [Part; 17] = [
        ("a job fails", a_job_that_fails_leaves_everything_running),
        ("one service", what_runs_already_is_left_alone),
        ("a config", a_changed_config_is_another_config),
        ("a broken release", a_broken_release_goes_back_as_a_whole),
        ("a drained node", a_node_that_is_drained_is_no_failure),
        ("a worker", a_node_that_nobody_looked_at_is_named),
        ("a login", the_registry_wants_a_login),
        ("old images", old_images_go_from_nodes_and_registry),
        ("probes", a_probe_asks_each_task_on_its_node),
        ("all managers again", all_are_managers_again),
        ("no push, no pull", an_image_that_does_not_come_touches_no_container),
        ("registry faults", what_a_registry_does_has_its_own_words),
        ("a rollback", a_rollback_needs_no_registry),
        ("refusals", what_a_swarm_cannot_do_is_refused_before_anything_is_done),
        ("another platform", an_image_that_no_node_can_run_is_refused_before_anything_is_done),
        ("a move", what_compose_runs_moves_over_with_its_data),
        ("no Swarm", what_is_no_swarm_says_so),
    ];
    let faults = number_of("CM_SWARM_FAULTS") > 0;
    let parts = parts
        .into_iter()
        .filter(|(name, _)| faults || !["no push, no pull", "registry faults", "a move"].contains(name))
        .collect::<Vec<_>>();
    let from = std::env::var("CM_SWARM_FROM").unwrap_or_default();
    let wanted = |(name, _): &Part| !from.is_empty() && ["a worker", "a login", "all managers again"].contains(name);
    let at = parts.iter().position(|(name, _)| *name == from).unwrap_or(0);
    let parts = parts.into_iter().enumerate().filter(|(number, part)| *number >= at || wanted(part));
    for (_, (name, part)) in parts {
        let began = Instant::now();
        part(&swarm);
        let _told = writeln!(std::io::stderr(), "{name}: {:.1} s", began.elapsed().as_secs_f64());
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

/// What the two last releases need stays, on every node and in the registry; what else this Swarm pushed goes, and nothing
/// that somebody else's tag names.
fn old_images_go_from_nodes_and_registry(swarm: &Swarm) {
    let ids = |node: &str| -> Vec<String> {
        let line = "docker image ls --no-trunc --format '{{.Repository}} {{.ID}}' | sed -n 's,^registry:5000/shop/web ,,p' | sort -u";
        swarm.on(node, line).lines().map(str::to_owned).collect()
    };
    let tags = || -> Vec<String> {
        let said = swarm.on("node1", &format!("curl -s -u {LOGIN} http://registry:5000/v2/shop/web/tags/list"));
        let tags: Value = serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"));
        tags["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    // The first release has another tag, by somebody else.
    let of_node = "docker image ls --format '{{.CreatedAt}} {{.Repository}}:{{.Tag}}' | sort";
    let first = format!("{of_node} | sed -n 's,.* registry:5000/shop/web:\\(cm-.*\\),\\1,p' | head -1");
    let oldest = swarm.on("node1", &first);
    let golden = "registry:5000/shop/web:golden";
    swarm.on(
        "node1",
        &format!(
            "docker tag registry:5000/shop/web:{oldest} {golden} && docker push -q {golden} && docker image rm {golden}"
        ),
    );
    swarm.write("web/VERSION", "5\n");
    swarm.0.commit("one more");
    swarm.deployed(&["--no-backup"]);
    let before = tags();
    assert!(before.len() == 5 && before.contains(&oldest), "{oldest}: {before:?}");
    for node in ["node1", "node2", "node3"] {
        // An ended task keeps its image.
        swarm.on(node, "docker container prune -f");
    }
    let good = std::fs::read_to_string(swarm.0.laptop.join("cm.toml")).expect("cm.toml");
    swarm.write("cm.toml", &format!("{good}\n[prune]\nkeep = 2\n"));
    let pruned = swarm.0.laptop("cm-build", &["prune"]);
    swarm.write("cm.toml", &good);
    assert_eq!(pruned.code, 0, "{}", pruned.stderr);
    assert!(pruned.stderr.contains("the registry registry:5000 keeps old images: 1 image stayed"), "{}", pruned.stderr);
    for node in ["node1", "node2", "node3"] {
        assert!((1..=2).contains(&ids(node).len()), "{node}: {:?}: {}", ids(node), pruned.stderr);
    }
    let left = tags();
    let (of_others, ours): (Vec<_>, Vec<_>) = left.iter().partition(|tag| **tag == oldest || *tag == "golden");
    assert_eq!((of_others.len(), ours.len()), (2, 2), "{left:?}: {}", pruned.stderr);
}

/// Node3 is a worker from here on: cm logs in there only where cm.toml says so.
fn a_node_that_nobody_looked_at_is_named(swarm: &Swarm) {
    let good = std::fs::read_to_string(swarm.0.laptop.join("cm.toml")).expect("cm.toml");
    let third = ", \"${DEPLOY_USER}@${NODE3_VPS_IP}\"]";
    assert!(good.contains(third), "{good}");
    swarm.write("cm.toml", &good.replace(third, "]"));
    swarm.succeeds_soon("node1", "docker node demote node3");
    let preflight = swarm.preflight(&[]);
    assert_eq!(preflight.code, 0, "{}", preflight.stderr);
    assert!(preflight.stderr.contains("no address in cm.toml that answers is node3: "), "{}", preflight.stderr);
    let pruned = swarm.0.laptop("cm-build", &["prune"]);
    assert_eq!(pruned.code, 0, "{}", pruned.stderr);
    assert!(pruned.stderr.contains("old images stay on node3"), "{}", pruned.stderr);
    swarm.write("cm.toml", &good.replace(third, "]\nworkers = [\"${DEPLOY_USER}@${NODE3_VPS_IP}\"]"));
    let preflight = swarm.preflight(&[]);
    assert!(!preflight.stderr.contains("node3"), "{}", preflight.stderr);
}

/// Only the manager has it: it hands it to the nodes, and removes old images with it.
const LOGIN: &str = "shop:tags-4711";

/// The same for the registry: bcrypt, of five rounds.
const LOGIN_HASH: &str = "shop:$2b$05$DYkZwyqK2PfDYPDj9v71levEyiAisAoUm/H5oWhPpln719fhHH0ii";

fn the_registry_wants_a_login(swarm: &Swarm) {
    let settings = "auth: {htpasswd: {realm: shop, path: /etc/docker/registry/logins}}";
    swarm.registry(&format!("cp config.yml open.yml && echo '{LOGIN_HASH}' >logins && echo '{settings}' >>config.yml"));
    let refused = swarm.preflight(&[]);
    let code = &refused.document()["error"]["code"];
    assert_eq!((refused.code, code), (6, &"preflight.registry".into()), "{}", refused.stderr);
    assert!(refused.stderr.contains("the registry registry:5000 refuses the deploy user"), "{}", refused.stderr);
    let (user, password) = LOGIN.split_once(':').expect("a login");
    swarm.on("node1", &format!("echo {password} | docker login -u {user} --password-stdin registry:5000 2>/dev/null"));
    let preflight = swarm.preflight(&[]);
    assert_eq!(preflight.code, 0, "{}", preflight.stderr);
    let node2 = "could not take over: the registry registry:5000 refuses the deploy user there";
    assert!(preflight.stderr.contains(node2) && !preflight.stderr.contains("node3"), "{}", preflight.stderr);
}

fn a_probe_asks_each_task_on_its_node(swarm: &Swarm) {
    let good = std::fs::read_to_string(swarm.0.laptop.join("cm.toml")).expect("cm.toml");
    for (probe, words) in [
        ("\"http://127.0.0.1:8000/health\"", ""),
        ("\"tcp://127.0.0.1:8000\"", ""),
        ("[\"python3\", \"-c\", \"import os; raise SystemExit(os.environ['PORT'] != '8000')\"]", ""),
        ("\"http://127.0.0.1:8001/\"", "its probe: "),
        ("\"tcp://127.0.0.1:8001\"", "its probe: "),
        ("[\"python3\", \"-c\", \"raise SystemExit(3)\"]", "its probe: "),
    ] {
        swarm.write("cm.toml", &format!("{good}\n[services.api]\nprobe = {probe}\n"));
        // One that fails is asked until then; one that does well has all the time of a busy machine.
        let limit = if words.is_empty() { "60s" } else { "12s" };
        let health = swarm.0.laptop("cm-health", &["--service", "api", "--timeout", limit]);
        assert_eq!(health.code, if words.is_empty() { 0 } else { 40 }, "{probe}: {}", health.stderr);
        assert!(health.stderr.contains(words), "{probe}: {}", health.stderr);
    }
    swarm.write("cm.toml", &good);
}

fn all_are_managers_again(swarm: &Swarm) {
    swarm.registry("cp open.yml config.yml");
    swarm.on("node1", "docker node promote node3 >/dev/null");
    let now = std::fs::read_to_string(swarm.0.laptop.join("cm.toml")).expect("cm.toml");
    let third = "\"${DEPLOY_USER}@${NODE3_VPS_IP}\"]";
    swarm.write("cm.toml", &now.replace(&format!("]\nworkers = [{third}"), &format!(", {third}")));
    until("node3 is a manager", LIMIT, || {
        swarm.on("node1", "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}'").contains("node3 Reachable")
    });
}

/// A registry without room, and then a node that gets nothing from it. The deployment of the rollback's part is the next one.
fn an_image_that_does_not_come_touches_no_container(swarm: &Swarm) {
    let before = [swarm.tasks("web"), swarm.tasks("api")];
    swarm.write("web/VERSION", "6\n");
    swarm.0.commit("to be brought");
    swarm.registry("cp config.yml good.yml && sed -i 's,/var/lib/registry,/dev/shm/registry,' config.yml");
    swarm.as_root("registry", "head -c 1G /dev/zero >/dev/shm/full 2>/dev/null || df /dev/shm | grep -q 100%");
    let pushed = swarm.0.deploy(&["--no-backup"]);
    swarm.registry("cp good.yml config.yml");
    not_brought(&pushed, "swarm.push", "has its disk room");
    assert!(pushed.stderr.contains("could not bring shop/web to the registry registry:5000"), "{}", pushed.stderr);

    let hosts = "cp /etc/hosts /tmp/hosts && echo 127.0.0.1 registry >>/etc/hosts";
    swarm.as_root("node3", hosts);
    // The preflight sees it; one that comes after the preflight, who brings images.
    let refused = swarm.0.deploy(&["--no-backup"]);
    let pulled = swarm.0.laptop("bash", &["-c", "set -o pipefail; cm-detect </dev/null | cm-build"]);
    swarm.as_root("node3", "cat /tmp/hosts >/etc/hosts");
    let code = |answer: &Answer| answer.document()["error"]["code"].clone();
    assert_eq!((refused.code, code(&refused)), (6, "preflight.registry".into()), "{}", refused.stderr);
    assert_eq!((pulled.code, code(&pulled)), (30, "swarm.pull".into()), "{}", pulled.stderr);
    assert!(pulled.stderr.contains("on that node: `docker pull`"), "{}", pulled.stderr);
    assert!(pulled.stderr.contains("node node3 cannot get registry:5000/shop/web@sha256:"), "{}", pulled.stderr);
    assert_eq!([swarm.tasks("web"), swarm.tasks("api")], before, "nothing was switched");
    assert_eq!(swarm.on("node1", "docker service ls -q --filter label=cm.pull"), "", "nothing is left behind");
}

fn not_brought(answer: &Answer, code: &str, hint: &str) {
    assert_eq!((answer.code, &answer.document()["error"]["code"]), (60, &code.into()), "{}", answer.stderr);
    for words in [hint, "its images are built; no container was touched"] {
        assert!(answer.stderr.contains(words), "{words}: {}", answer.stderr);
    }
    assert!(!answer.stderr.contains("being replaced") && !answer.stderr.contains("touched. "), "{}", answer.stderr);
}

/// Between the nodes and the registry: hands requests on, but answers those that push as `$ARGV[0]` says, a status, or
/// `hang`.
const BETWEEN: &str = r#"use IO::Socket::INET;
my $how = shift;
$SIG{CHLD} = "IGNORE";
my $all = IO::Socket::INET->new(LocalPort => 5000, Listen => 50, ReuseAddr => 1) or die $!;
while (my $one = $all->accept) {
    next if fork;
    my $head = "";
    while (defined(my $line = <$one>)) { $head .= $line; last if $line eq "\r\n" }
    if ($head =~ /^(POST|PATCH|PUT) /) {
        sleep 600 if $how eq "hang";
        my $body = $how == 403 ? q({"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}) : "no";
        print $one "HTTP/1.1 $how Refused\r\nContent-Type: application/json\r\nContent-Length: ", length $body, "\r\nConnection: close\r\n\r\n", $body;
        exit;
    }
    my $real = IO::Socket::INET->new("127.0.0.1:5001") or exit;
    $head =~ s/\r\nConnection:[^\r]*//i;
    $head =~ s/\r\n\r\n$/\r\nConnection: close\r\n\r\n/;
    print $real $head;
    while (sysread $real, my $data, 65536) { syswrite $one, $data }
    exit;
}
"#;

fn what_a_registry_does_has_its_own_words(swarm: &Swarm) {
    let before = [swarm.tasks("web"), swarm.tasks("api")];
    swarm.write("web/VERSION", "to-be-pushed\n");
    swarm.0.commit("to be pushed");
    let registry = swarm.0.container("registry");
    let between = |how: &str| {
        swarm.registry_at("cp config.yml good.yml && sed -i 's/:5000/:5001/' config.yml", "registry:5001");
        let perl = ["exec", "-d", &registry, "perl", "-e", BETWEEN, how];
        assert!(Command::new("docker").args(perl).output().expect("docker").status.success());
        swarm.succeeds_soon("node1", "curl -sf http://registry:5000/v2/");
    };
    for (how, hint) in [
        ("403", "`docker login` on the manager, as one who may push to registry:5000/shop/web"),
        ("500", "has its disk room"),
        ("507", "has its disk room"),
    ] {
        between(how);
        let pushed = swarm.0.deploy(&["--no-backup"]);
        swarm.registry("cp good.yml config.yml");
        not_brought(&pushed, "swarm.push", hint);
    }
    between("hang");
    let ended = std::thread::scope(|scope| {
        let running = scope.spawn(|| swarm.0.deploy(&["--no-backup"]));
        std::thread::sleep(Duration::from_secs(20));
        assert!(!running.is_finished(), "it hangs");
        swarm.registry("cp good.yml config.yml");
        running.join().expect("no panic")
    });
    // The engine tries again by itself; where it gives up, that has its own words.
    if ended.code != 0 {
        not_brought(&ended, "swarm.push", "is the registry up");
        assert_eq!([swarm.tasks("web"), swarm.tasks("api")], before, "nothing was switched");
        swarm.deployed(&["--no-backup"]);
    }
}

/// What it needs is on the nodes, and who asks the registry would wait for ever.
fn a_rollback_needs_no_registry(swarm: &Swarm) {
    let registry = swarm.0.container("registry");
    let switch = |verb: &str| {
        let status = Command::new("docker").args([verb, &registry]).output().expect("docker").status;
        assert!(status.success(), "docker {verb} {registry}");
    };
    let before = swarm.versions("node2");
    // A node that was drained does not have what was deployed meanwhile. After what went wrong, the next run succeeds.
    swarm.write("web/VERSION", "7\n");
    swarm.0.commit("to be rolled back");
    swarm.deployed(&["--no-backup"]);
    switch("pause");
    let preflight = swarm.preflight(&[]);
    let back = swarm.0.laptop("cm-rollback", &[]);
    switch("unpause");
    assert_eq!(back.code, 60, "{}", back.stderr);
    assert_eq!(swarm.versions("node2"), before, "{}", back.stderr);
    let code = &preflight.document()["error"]["code"];
    assert_eq!((preflight.code, code), (6, &"preflight.registry".into()), "{}", preflight.stderr);
    assert!(preflight.stderr.contains("the registry registry:5000 does not answer"), "{}", preflight.stderr);
}

fn an_image_that_no_node_can_run_is_refused_before_anything_is_done(swarm: &Swarm) {
    let before = [swarm.tasks("web"), swarm.tasks("api")];
    swarm.on(
        "node1",
        "tar -c /etc/hostname 2>/dev/null | docker import --platform linux/arm64 - shop/foreign:1 >/dev/null",
    );
    let (good, bad) = ("    image: curateme/caddy:1\n", "    image: shop/foreign:1\n");
    swarm.replace("docker-compose.production.yml", good, bad);
    let answer = swarm.0.deploy(&["--no-backup"]);
    assert!(answer.stderr.contains("is for linux/arm64, and node node"), "{}", answer.stderr);
    assert_eq!(answer.document()["error"]["code"], "swarm.platform", "{}", answer.stderr);
    assert_eq!([swarm.tasks("web"), swarm.tasks("api")], before, "{}", answer.stderr);
    swarm.replace("docker-compose.production.yml", bad, good);
}

/// As cm-guide(7) says: a label for the node of the data, `docker compose down`, and the first deployment, of all services.
fn what_compose_runs_moves_over_with_its_data(swarm: &Swarm) {
    let (file, good) = ("docker-compose.production.yml", std::fs::read_to_string(swarm.0.laptop.join("cm.toml")));
    let good = good.expect("cm.toml");
    swarm.on("node1", "docker stack rm shop >/dev/null");
    until("nothing runs", Duration::from_secs(90), || {
        NODES.iter().all(|node| swarm.on(node, "docker ps -q").is_empty())
    });
    let (head, swarm_and_more) = good.split_once("[swarm]").expect("a section");
    let (_, tail) = swarm_and_more.split_once("[protect]").expect("the next one");
    swarm.write("cm.toml", &format!("{head}[protect]{tail}").replace("engine = \"swarm\"\n", ""));
    let plain = "    restart: unless-stopped\n    deploy:\n      endpoint_mode: dnsrr\n";
    let pinned = format!(
        "    command: [redis-server, --appendonly, \"yes\", --dir, /data]\n    volumes: [\"data:/data\"]\n{plain}      placement: {{constraints: [node.labels.data == true]}}\n"
    );
    swarm.replace(file, plain, &pinned);
    swarm.replace(file, "\nconfigs:\n  prices:", "\nvolumes:\n  data: {}\n\nconfigs:\n  prices:");
    swarm.deployed(&["--full", "--no-backup"]);
    swarm.on("node1", "docker exec shop-cache-1 redis-cli SET moved yes");
    swarm.on("node1", "docker node update --label-add data=true node1 >/dev/null");
    swarm.write("cm.toml", &good);
    swarm.0.commit("a Swarm again");
    let before = swarm.on("node1", "docker ps -q | sort");
    let refused = swarm.0.deploy(&["--full", "--no-backup"]);
    let code = &refused.document()["error"]["code"];
    assert_eq!((refused.code, code), (6, &"preflight.swarm".into()), "{}", refused.stderr);
    let words = "shop is a project of Docker Compose on this server, which runs 6 containers of it";
    assert!(refused.stderr.contains(words), "{}", refused.stderr);
    assert_eq!(swarm.on("node1", "docker ps -q | sort"), before, "nothing was touched");
    let began = Instant::now();
    swarm.on("node1", "docker compose -p shop down 2>/dev/null");
    let down = began.elapsed().as_secs_f64();
    let moved = swarm.deployed(&["--full", "--no-backup"]);
    let of = |stage: &Value| format!("{} {}", stage["step"].as_str().unwrap_or_default(), stage["duration_ms"]);
    let stages: Vec<String> = moved.document()["stages"].as_array().into_iter().flatten().map(of).collect();
    let all = began.elapsed().as_secs_f64();
    let _told =
        writeln!(std::io::stderr(), "the move: down for at most {all:.1} s, {down:.1} s of it for `down`: {stages:?}");
    let data = || swarm.on("node1", "docker exec $(docker ps -q --filter name=shop_cache) redis-cli GET moved");
    assert_eq!(data(), "yes", "the volume is the same");
    let back = swarm.0.laptop("cm-rollback", &[]);
    assert_eq!((back.code, data().as_str()), (60, "yes"), "to what Compose ran, on the Swarm: {}", back.stderr);
}

fn what_is_no_swarm_says_so(swarm: &Swarm) {
    let good = std::fs::read_to_string(swarm.0.laptop.join("cm.toml")).expect("cm.toml");
    let third = good.replace("NODE1_VPS_IP", "NODE3_VPS_IP");
    let alone: Vec<&str> = third.lines().filter(|line| !line.starts_with("managers")).collect();
    swarm.write("cm.toml", &alone.join("\n"));
    // Node3 has been promoted shortly before, and a node learns of either a little later.
    swarm.succeeds_soon("node1", "docker node demote node3");
    swarm.succeeds_soon("node3", "docker swarm leave");
    let none = swarm.preflight(&[]);
    assert_eq!(none.code, 6, "{}", none.stderr);
    let once = |words: &str| none.stderr.matches(words).count() == 1;
    assert!(
        once("this engine is not part of a Swarm") && !none.stderr.contains("not a swarm manager"),
        "{}",
        none.stderr
    );
    assert_eq!(none.document()["error"]["code"], "preflight.swarm", "{}", none.stderr);
    swarm.write("cm.toml", &good);
    // Two managers are left, and one of them stops: nothing can be asked any more.
    let second = swarm.0.container("node2");
    let switch = |verb: &str| drop(Command::new("docker").args([verb, &second]).output().expect("docker"));
    switch("pause");
    // A leader knows some seconds later that it leads nobody; until then it answers, and then Docker waits for another one.
    let at_once = swarm.preflight(&[]);
    swarm.succeeds_soon("node1", "! timeout 10 docker node ls");
    let lost = swarm.preflight(&[]);
    switch("unpause");
    for lost in [&at_once, &lost] {
        let code = &lost.document()["error"]["code"];
        assert_eq!((lost.code, code), (6, &"preflight.swarm".into()), "{}", lost.stderr);
    }
    assert!(
        ["1 of 2 managers do not answer the one that was asked: ", "too few of its managers answer"]
            .iter()
            .any(|words| at_once.stderr.contains(words)),
        "{}",
        at_once.stderr
    );
    assert!(lost.stderr.contains("too few of its managers answer"), "{}", lost.stderr);
}

/// As long as the deployments last in which nodes are lost, these go at any moment of one.
fn nodes_are_lost(swarm: &mut Swarm, kills: usize) {
    for file in ["web/VERSION", "api/VERSION"] {
        swarm.write(file, "none-lost\n");
    }
    swarm.0.commit("none lost");
    let began = Instant::now();
    swarm.deployed(&["--no-backup"]);
    let lasts = began.elapsed();
    for number in 0..kills {
        a_node_that_is_lost_is_no_loss(swarm, number, lasts);
    }
}

/// Who is lost, and when: first the node of what a job needs, at once, so that the next run meets a Swarm that has not
/// noticed; then any, at any moment.
fn victim(swarm: &Swarm, number: usize, leader: &str, lasts: Duration) -> (String, Duration) {
    if number == 0 {
        let cache = swarm.tasks("cache");
        return (cache[0].split(' ').nth(1).expect("a node").to_owned(), Duration::from_millis(200));
    }
    let other = NODES.into_iter().find(|node| *node != "node1" && *node != leader).expect("a third one");
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").subsec_nanos();
    ([leader, "node1", other][number % 3].to_owned(), lasts.mul_f64(f64::from(nanos % 1000) / 1000.0))
}

const NODES: [&str; 3] = ["node1", "node2", "node3"];

fn a_node_that_is_lost_is_no_loss(swarm: &mut Swarm, number: usize, lasts: Duration) {
    let leader =
        swarm.on("node2", "docker node ls --format '{{.Hostname}} {{.ManagerStatus}}' | sed -n 's/ Leader//p'");
    let (victim, delay) = victim(swarm, number, &leader, lasts);
    let asked = NODES.into_iter().find(|node| *node != victim).expect("another one");
    let url = swarm.0.home.variable(&format!("{}_URL", asked.to_uppercase())).expect("a URL").to_owned();
    swarm.0.home.set("APP_URL", &url);
    // The one that was lost last time has a proxy again a little after it is a manager again.
    let answers = "curl -sf -m 5 http://127.0.0.1/ && curl -sf -m 5 http://127.0.0.1/api/";
    until("the node answers", Duration::from_secs(90), || {
        swarm.on(asked, &format!("{{ {answers}; }} >/dev/null 2>&1 && echo done || :")).contains("done")
    });
    let before = swarm.versions(asked);
    let version = format!("lost-{number}");
    for file in ["web/VERSION", "api/VERSION"] {
        swarm.write(file, &format!("{version}\n"));
    }
    swarm.0.commit(&version);
    let container = swarm.0.container(&victim);
    let killer = std::thread::spawn(move || {
        std::thread::sleep(delay);
        Command::new("docker").args(["kill", &container]).output().is_ok_and(|output| output.status.success())
    });
    let answer = swarm.0.deploy(&["--no-backup"]);
    assert!(killer.join().expect("no panic"), "docker kill {victim}");
    let story = format!("{victim} (leader {leader}) killed after {delay:?}: exit {}: {}", answer.code, answer.stderr);
    let now = || swarm.versions(asked);
    match answer.code {
        0 => assert_eq!(now(), [version.as_str(), version.as_str()], "{story}"),
        60 => assert_eq!(now(), before, "{story}"),
        // It got no further than to ask what earlier runs have left.
        7 if answer.stdout.is_empty() => assert_eq!(now(), before, "{story}"),
        // Nobody may say that there is nothing to roll back to: there is.
        code => assert!(code != 62 && answer.document()["error"]["code"].is_string(), "{story}"),
    }
    let began = Instant::now();
    let next = swarm.0.deploy(&["--no-backup"]);
    let took = began.elapsed();
    assert_eq!(next.code, 0, "{story}\nthe next one: {}", next.stderr);
    until("the proxy knows the new tasks", LIMIT, || now() == [version.as_str(), version.as_str()]);
    let again = swarm.deployed(&["--no-backup"]);
    assert!(again.stderr.contains("nothing to build"), "ledger and Swarm agree: {}", again.stderr);
    Command::new("docker").args(["start", &swarm.0.container(&victim)]).output().expect("docker start");
    until("the node is back", Duration::from_secs(90), || {
        let all = swarm.on(asked, "docker node ls --format '{{.Status}} {{.ManagerStatus}}'");
        all.lines().filter(|line| ["Ready Leader", "Ready Reachable"].contains(line)).count() == 3
    });
    let why = if answer.stdout.is_empty() { Value::Null } else { answer.document()["error"]["message"].clone() };
    let first = story.lines().next().unwrap_or_default();
    let first = first.split(": [").next().unwrap_or_default();
    let _told = writeln!(std::io::stderr(), "{number}: {first}: {why}; the next one took {took:?}");
}

/// A config that no Swarm takes, a variable that no program is started with, a service that the managers do not hand on.
fn what_is_too_large_is_refused_before_anything_is_done(swarm: &Swarm) {
    let before = [swarm.tasks("web"), swarm.tasks("api")];
    let (file, plain) = ("docker-compose.production.yml", "    image: shop/web\n");
    let labels: String = (0..8).map(|number| format!("      l{number}: {}\n", "x".repeat(100_000))).collect();
    let labelled = format!("{plain}    labels:\n{labels}");
    let compose = std::fs::read_to_string(swarm.0.laptop.join(file)).expect(file);
    swarm.write(file, &compose.replacen(plain, &labelled, 1));
    swarm.0.commit("large labels");
    let prices = swarm.on("node1", "find /home/curateme/platform -name prices* -type f");
    swarm.on("node1", &format!("cp -p {prices} /tmp/prices && head -c 600000 /dev/zero >{prices}"));
    let env = "/home/curateme/platform/.env.production";
    swarm.on("node1", &format!("cp -p {env} /tmp/env && printf 'GREETING=%0140000d\\n' 0 >>{env}"));
    let large = swarm.preflight(&[]);
    swarm.on("node1", &format!("cp -p /tmp/prices {prices}"));
    let refused = swarm.0.deploy(&["--no-backup"]);
    swarm.on("node1", &format!("cp -p /tmp/env {env}"));
    let variable =
        "api: environment: GREETING has 140010 bytes with its name; no program is started with more than 128 KiB";
    // Only the deployment pushes the commit with the labels.
    for (answer, all) in
        [(&large, &[variable][..]), (&refused, &[variable, "web: labels: the service comes to 801 kB"])]
    {
        let code = &answer.document()["error"]["code"];
        assert_eq!((answer.code, code), (6, &"preflight.stack".into()), "{}", answer.stderr);
        for words in all {
            assert!(answer.stderr.contains(words), "{words}: {}", answer.stderr);
        }
        assert!(!answer.stderr.contains("0000000000"), "no value is shown");
    }
    assert!(large.stderr.contains("config prices has 600000 bytes; a Swarm takes 500 kB"), "{}", large.stderr);
    swarm.write(file, &compose);
    swarm.0.commit("no labels");
    assert_eq!([swarm.tasks("web"), swarm.tasks("api")], before, "nothing was touched");
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
    let file = std::fs::read_to_string(swarm.0.laptop.join("docker-compose.production.yml")).expect("a compose file");
    let line = 1 + file.lines().position(|line| line.contains("privileged")).expect("the key");
    let place = format!("docker-compose.production.yml:{line}: web: privileged");
    assert!(answer.stderr.contains(&place), "{}", answer.stderr);
    swarm.replace("docker-compose.production.yml", "    privileged: true\n", "");

    what_is_too_large_is_refused_before_anything_is_done(swarm);

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

    swarm.write("cm.toml", &format!("{good}\n[services.api]\nupdate = \"rolling\"\n"));
    let jobs = swarm.0.laptop("cm-detect", &[]);
    assert_eq!((jobs.code, &jobs.document()["error"]["code"]), (6, &"config.engine".into()), "{}", jobs.stderr);
    swarm.write("cm.toml", &good);
    assert_eq!(swarm.tasks("web"), before, "nothing was touched");
}
