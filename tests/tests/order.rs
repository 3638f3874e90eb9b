//! Services change places: a port, a name or a volume goes over from one to another, services come and go, and what ran
//! before is kept by name. What happened is asked of Docker, and of the ports.

#![expect(clippy::print_stdout, reason = "a long test tells where it is")]

use cm_testkit::{Answer, Sandbox};
use std::fs;

const CONFIG: &str = "project = \"shop\"\nbranch = \"develop\"\n[compose]\nfiles = [\"compose.yml\"]\n\
    [hosts.platform]\naddress = \"${DEPLOY_USER}@${PLATFORM_VPS_IP}\"\ncheckout = \"~/platform\"\n\
    [protect]\nfiles = [\"Caddyfile\", \".env.production\"]\n[health]\nwindow = \"1s\"\nreadings = 2\n";

/// One service that answers with its name on a port of the host.
fn service(name: &str, says: &str, more: &str) -> String {
    format!(
        "  {name}:\n    image: curateme/python:1\n    init: true\n    restart: unless-stopped\n    stop_grace_period: 2s\n\
         \x20   working_dir: /tmp\n    command: ['sh', '-c', 'echo {says} >index.html; exec python3 -m http.server 80']\n{more}"
    )
}

fn port(host: u16) -> String {
    format!("    ports: ['127.0.0.1:{host}:80']\n")
}

/// Commits and pushes this project.
fn commit(sandbox: &Sandbox, services: &[String], more: &str) {
    let text = format!("name: shop\nservices:\n{}{more}", services.concat());
    fs::write(sandbox.laptop.join("compose.yml"), text).expect("write");
    fs::write(sandbox.laptop.join("cm.toml"), CONFIG).expect("write");
    let line = "git add -A && git commit -qm change && git push -q origin HEAD:develop";
    let answer = sandbox.laptop("bash", &["-c", line]);
    assert_eq!(answer.code, 0, "{answer:?}");
}

fn deploy(sandbox: &Sandbox, options: &str) -> Answer {
    let line =
        format!("set -o pipefail; cm-detect {options} </dev/null | cm-build -v {options} | cm-health | cm-record");
    sandbox.laptop("bash", &["-c", &line])
}

/// Every command of Compose that a dry run tells of, in its order, with what the moment decides left out.
fn foreseen(sandbox: &Sandbox, options: &str) -> Vec<String> {
    let line = format!("set -o pipefail; cm-detect {options} </dev/null | cm-build --dry-run {options}");
    let answer = sandbox.laptop("bash", &["-c", &line]);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    commands(&answer.stderr)
}

/// The lines of Compose in what was said.
fn commands(said: &str) -> Vec<String> {
    let line =
        |line: &str| line.find("cd ").filter(|_| line.contains("docker compose")).map(|at| line[at..].to_owned());
    said.lines().filter_map(line).collect()
}

/// What answers on each port of the server, in their order.
fn served(sandbox: &Sandbox, ports: &[u16]) -> Vec<String> {
    let ask = |port: &u16| {
        let script =
            "for i in 1 2 3 4 5 6 7 8; do curl -sf http://127.0.0.1:$1/ && exit 0; sleep 0.5; done; echo nobody";
        sandbox.server("platform", &["sh", "-c", script, "sh", &port.to_string()])
    };
    ports.iter().map(ask).collect()
}

fn names(sandbox: &Sandbox) -> Vec<String> {
    let filter = "label=com.docker.compose.project=shop";
    let text = sandbox.server("platform", &["docker", "ps", "-a", "--format", "{{.Names}}", "--filter", filter]);
    let mut names: Vec<String> = text.lines().map(str::to_owned).collect();
    names.sort();
    names
}

fn release(sandbox: &Sandbox) -> String {
    let script = "tail -n 1 .local/state/cm/shop/ledger.jsonl | sed 's/.*\"id\":\"\\([^\"]*\\)\".*/\\1/'";
    sandbox.server("platform", &["sh", "-c", script])
}

#[test]
fn services_change_places_in_an_order_that_works_forward_and_backward() {
    let sandbox = Sandbox::up("order");
    let volume = |name: &str| format!("    volumes: ['{name}:/data']\n");
    let volumes = "volumes:\n  data: {}\n";
    let first = [
        service("web", "web-1", &format!("{}    container_name: shop-front\n", port(8080))),
        service("a", "a-1", &port(8101)),
        service("b", "b-1", &port(8102)),
        service("store", "store-1", &volume("data")),
        service("gone", "gone-1", ""),
    ];
    commit(&sandbox, &first, volumes);
    let answer = deploy(&sandbox, "");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stderr.contains("no later rollback will choose it by itself"), "{}", answer.stderr);
    assert_eq!(served(&sandbox, &[8080, 8101, 8102]), ["web-1", "a-1", "b-1"]);
    let good = release(&sandbox);

    println!(
        "--- a new name with port and container_name kept, a port swap, a volume that goes over, a removed service"
    );
    let second = [
        service("site", "site-2", &format!("{}    container_name: shop-front\n", port(8080))),
        service("a", "a-2", &port(8102)),
        service("b", "b-2", &port(8101)),
        service("database", "database-2", &volume("data")),
        service("new", "new-2", &port(8103)),
    ];
    commit(&sandbox, &second, volumes);
    let foreseen_commands = foreseen(&sandbox, "");
    assert!(foreseen_commands.iter().any(|line| line.contains(" up -d ")), "{foreseen_commands:?}");
    let answer = deploy(&sandbox, "");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert_eq!(commands(&answer.stderr), foreseen_commands, "word for word");
    assert_eq!(served(&sandbox, &[8080, 8101, 8102, 8103]), ["site-2", "b-2", "a-2", "new-2"]);
    assert_eq!(names(&sandbox), ["shop-a-1", "shop-b-1", "shop-database-1", "shop-front", "shop-new-1"]);
    assert!(answer.stderr.contains("shop-front leaves first: site takes the name shop-front"), "{}", answer.stderr);

    println!("--- no check has verified a release: none is chosen, and the way there is offered");
    let refused = sandbox.laptop("bash", &["-c", "cm-rollback --service a </dev/null"]);
    assert_eq!(refused.code, 62, "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("`cm-rollback --to {good}` rolls back to it")), "{}", refused.stderr);

    println!("--- and back, in the same order backwards");
    let answer = sandbox.laptop("cm-rollback", &["--to", &good]);
    assert_eq!(answer.code, 60, "{}", answer.stderr);
    assert_eq!(served(&sandbox, &[8080, 8101, 8102]), ["web-1", "a-1", "b-1"]);

    println!("--- --full with removed services, whose containers Compose removes by itself");
    // Somebody was there before.
    sandbox.server("platform", &["docker", "rm", "-f", "shop-gone-1"]);
    let third = [service("a", "a-3", &port(8101)), service("b", "b-3", &port(8102))];
    commit(&sandbox, &third, "");
    let foreseen_commands = foreseen(&sandbox, "--full");
    let answer = deploy(&sandbox, "--full");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert_eq!(commands(&answer.stderr), foreseen_commands, "word for word");
    assert_eq!(served(&sandbox, &[8101, 8102]), ["a-3", "b-3"]);
    assert_eq!(names(&sandbox), ["shop-a-1", "shop-b-1"]);

    println!("--- what a rollback needs outlives a cleaning of images without a name, pulled images too");
    let image = |tag: &str| format!("{}    image: curateme/{tag}\n", "");
    let pulled = |text: &str| service("p", text, "").replace("    image: curateme/python:1\n", &image("moving:1"));
    let pull = |mark: &str| {
        let script =
            "printf 'FROM curateme/python:1\nRUN echo %s >/x\n' \"$1\" | docker build -q -t curateme/moving:1 -";
        sandbox.server("platform", &["sh", "-c", script, "sh", mark])
    };
    pull("one");
    commit(&sandbox, &[pulled("p-1")], "");
    let answer = deploy(&sandbox, "");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let (good, before) = (release(&sandbox), running(&sandbox, "shop-p-1"));
    pull("two");
    commit(&sandbox, &[pulled("p-2")], "");
    let answer = deploy(&sandbox, "");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert_ne!(running(&sandbox, "shop-p-1"), before, "the tag has moved");
    let bad = release(&sandbox);
    sandbox.server("platform", &["docker", "image", "prune", "-f"]);
    let answer = sandbox.laptop("cm-rollback", &["--to", &good]);
    assert_eq!(answer.code, 60, "{}", answer.stderr);
    assert_eq!(running(&sandbox, "shop-p-1"), before);

    println!("--- one that takes every image without a container is seen, and what it took is named");
    sandbox.server("platform", &["docker", "image", "prune", "-af"]);
    let answer = sandbox.laptop("cm-rollback", &["--to", &bad]);
    assert_eq!(answer.code, 62, "{}", answer.stderr);
    assert!(answer.stderr.contains("the images to roll back to are gone: p"), "{}", answer.stderr);
    assert!(answer.stderr.contains("docker pull"), "{}", answer.stderr);
    let listed = sandbox.laptop("cm-rollback", &["--list", "--wide"]).stdout;
    let row = listed.lines().find(|line| line.contains(&bad)).expect(&listed);
    assert!(row.split_whitespace().any(|cell| cell == "gone"), "{listed}");
    assert_eq!(running(&sandbox, "shop-p-1"), before, "it runs on");
}

fn running(sandbox: &Sandbox, container: &str) -> String {
    sandbox.server("platform", &["docker", "inspect", "--format", "{{.Image}}", container])
}
