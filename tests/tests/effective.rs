//! What a server's own Compose says is what counts: names, profiles, replicas, variables and drift that
//! only the server knows. One sandbox, and on it one small project of its own.

#[path = "effective/differential.rs"]
mod differential;
#[path = "effective/made.rs"]
mod made;

use cm_testkit::history::Files;
use cm_testkit::{Answer, Sandbox};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

/// Never in a document, a log or an argument.
const PLANTED: &str = "planted-4711-nobody-may-see-me";

const TOML: &str = r#"project = "shop"
branch = "main"
repository = "/home/curateme/shop.git"

[compose]
files = ["compose.yml"]

[hosts.web]
address = "curateme@${PLATFORM_VPS_IP}"
checkout = "~/shop"

[protect]
files = [".env"]

[health]
window = "2s"
"#;

const COMPOSE: &str = r#"name: ${STACK:-shop}
x-idle: &idle
  image: curateme/redis:1
  entrypoint: [sleep, "3600"]
  restart: always
  stop_grace_period: 1s
  init: true
services:
  web:
    <<: *idle
    image: shop-web
    build: '${ROOT}/web'
    environment:
      COLOUR: ${COLOUR:-red}
      API_TOKEN: ${API_TOKEN}
    env_file: '.env.${STAGE}'
    volumes: ['./conf/${STAGE}/site.conf:/site.conf:ro']
    depends_on:
      migrate: {condition: service_completed_successfully}
    ports: ['127.0.0.1:18080:80']
    healthcheck: {test: [CMD, 'true'], interval: 60s, retries: 3}
  migrate:
    image: shop-web
    entrypoint: ['true']
    restart: 'no'
  worker: {<<: *idle, profiles: [worker]}
  never: {<<: *idle, profiles: [never]}
  off: {<<: *idle, scale: 0}
  few:
    <<: *idle
    deploy: {replicas: "${WORKERS:-1}"}
"#;

/// The project, deployed once.
struct Shop {
    sandbox: Sandbox,
    laptop: PathBuf,
}

impl Shop {
    fn open() -> Shop {
        let sandbox = Sandbox::up("effective");
        let laptop = sandbox.home.path().join("shop");
        let shop = Shop { sandbox, laptop };
        shop.on("git init -q --bare -b main shop.git && mkdir shop");
        let env = format!(
            "STACK=shop-x\nCOMPOSE_PROJECT_NAME=shop-y\nCOMPOSE_PROFILES=worker\nWORKERS=0\nROOT=.\nSTAGE=prod\nAPI_TOKEN={PLANTED}\n"
        );
        shop.on(&format!("printf '%s' '{env}' > shop/.env"));
        std::fs::create_dir_all(&shop.laptop).expect("directory");
        shop.local(
            "git init -q -b main . && git remote add origin ssh://curateme@$PLATFORM_VPS_IP/home/curateme/shop.git",
        );
        for (path, text) in [
            ("cm.toml", TOML),
            ("compose.yml", COMPOSE),
            (".env.prod", "STAGED=one # a comment\n"),
            ("conf/prod/site.conf", "a\n"),
            ("conf/other/site.conf", "a\n"),
            ("web/Dockerfile", "FROM curateme/redis:1\nCOPY app /app\n"),
            ("web/app", "1\n"),
        ] {
            shop.write(path, text);
        }
        shop.push("begin");
        shop
    }

    /// Runs a line on the server and wants success.
    fn on(&self, line: &str) -> String {
        self.sandbox.server("platform", &["sh", "-c", line])
    }

    /// Runs a line on the laptop, in the project.
    fn run(&self, line: &str) -> Answer {
        let directory = self.laptop.display().to_string();
        self.sandbox.home.run("bash", &["-c", &format!("set -o pipefail; {line}")], &directory, None)
    }

    fn local(&self, line: &str) {
        let answer = self.run(line);
        assert_eq!(answer.code, 0, "{line}: {answer:?}");
    }

    fn write(&self, path: &str, text: &str) {
        let file = self.laptop.join(path);
        std::fs::create_dir_all(file.parent().expect("parent")).expect("directory");
        std::fs::write(file, text).expect(path);
    }

    fn change(&self, path: &str, from: &str, to: &str) {
        let text = std::fs::read_to_string(self.laptop.join(path)).expect(path);
        assert_eq!(text.matches(from).count(), 1, "{from:?} is once in {path}");
        self.write(path, &text.replacen(from, to, 1));
    }

    /// A commit that no server has yet.
    fn commit(&self, message: &str) {
        self.local(&format!("git add -A && git commit -qm '{message}'"));
    }

    fn push(&self, message: &str) {
        self.commit(message);
        self.local("git push -q origin HEAD:main");
    }

    /// Throws away what was not pushed.
    fn reset(&self) {
        self.local("git reset -q --hard origin/main");
    }

    fn detect(&self, flags: &str) -> Plan {
        let answer = self.run(&format!("cm-detect {flags} </dev/null"));
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        assert!(!format!("{}{}", answer.stdout, answer.stderr).contains(PLANTED), "a value is shown");
        Plan { document: answer.document(), said: answer.stderr }
    }

    fn deploy(&self) {
        let answer = self.run("cm-detect </dev/null | cm-build | cm-health | cm-verify --skip-canary | cm-record");
        assert_eq!(answer.code, 0, "{}", answer.stderr);
        assert!(!format!("{}{}", answer.stdout, answer.stderr).contains(PLANTED), "a value is shown");
    }

    /// Whether the programs that wait were told, before the server answered, that there is something to do.
    fn expected(&self, plan: &Plan) -> bool {
        let run = plan.document["run"]["id"].as_str().expect("an ID");
        self.sandbox.home.path().join("state/cm/runs").join(run).join("changes-expected").exists()
    }

    /// What a question leaves on the server: nothing.
    fn left(&self) -> String {
        self.on("ls -d /tmp/cm-compose.* 2>/dev/null || :")
    }
}

/// What was planned.
struct Plan {
    document: Value,
    said: String,
}

impl Plan {
    fn service(&self, name: &str) -> &Value {
        let services = self.document["services"].as_array().expect("services");
        services.iter().find(|service| service["name"] == name).unwrap_or_else(|| panic!("no {name}"))
    }

    fn action(&self, name: &str) -> &str {
        self.service(name)["action"].as_str().expect("an action")
    }

    fn rules(&self, name: &str) -> Vec<&str> {
        let reasons = self.service(name)["reasons"].as_array().expect("reasons");
        reasons.iter().filter_map(|reason| reason["rule"].as_str()).collect()
    }

    fn fact(&self) -> &Value {
        &self.document["facts"]["detect"]["effective"]["web"]
    }

    /// The services with something to do.
    fn acted(&self) -> Vec<&str> {
        let services = self.document["services"].as_array().expect("services");
        services
            .iter()
            .filter(|service| service["action"] != "none")
            .filter_map(|service| service["name"].as_str())
            .collect()
    }
}

/// What is tried on the project; it leaves it as it was, or further on.
type Case = fn(&Shop);

/// For whoever waits.
fn tell(line: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "{line}");
}

#[test]
fn what_the_servers_compose_says_counts() {
    let shop = Shop::open();
    let cases: [(&str, Case); 14] = [
        ("names, profiles, replicas and jobs are the server's", names_profiles_replicas),
        ("what was deployed once is deployed again", second_deployment),
        ("another spelling changes nothing", spelling),
        ("a changed setting is named", settings),
        ("variables that only the server knows lead to files", variables),
        ("drift is named, and applied where cm.toml says so", drift),
        ("what no profile starts any more is left as it is, and said", idle),
        ("what others make and is missing is found before the build", external),
        ("a file that Compose refuses is refused in its words", refused),
        ("an old Compose is told which version it takes", old_compose),
        ("a compose file in a directory of its own is read as Compose reads it", subdirectory),
        ("a second checkout with the same project is refused", staging),
        ("made-up projects are judged as Compose judges them", differs_as_compose_says),
        ("a Compose that hangs is given up", hangs),
    ];
    for (name, case) in cases {
        tell(&format!("case: {name}"));
        case(&shop);
        assert_eq!(shop.left(), "", "{name}: something was left on the server");
    }
}

fn names_profiles_replicas(shop: &Shop) {
    shop.deploy();
    let plan = shop.detect("");
    assert_eq!(plan.acted(), [""; 0], "{}", plan.said);
    assert!(!shop.expected(&plan));
    let fact = plan.fact();
    assert_eq!(fact["project"], "shop-y");
    assert_eq!(fact["commit"], plan.document["commit"]);
    let services = &fact["services"];
    assert_eq!((&services["off"]["replicas"], &services["few"]["replicas"]), (&0.into(), &0.into()));
    assert_eq!((&services["migrate"]["job"], &services["web"]["job"]), (&true.into(), &false.into()));
    assert_eq!(services["web"]["ports"][0], "127.0.0.1:18080/tcp");
    assert!(services.get("never").is_none(), "{services}");
    assert_eq!(fact["images"]["shop-web"], serde_json::json!(["migrate", "web"]));
    let running = shop.on("docker ps --format '{{.Label \"com.docker.compose.project\"}}/{{.Label \"com.docker.compose.service\"}}' | sort");
    assert_eq!(running, "shop-y/web\nshop-y/worker", "the profile's service was deployed");
}

fn second_deployment(shop: &Shop) {
    shop.change("compose.yml", "${COLOUR:-red}", "${COLOUR:-blue}");
    shop.push("blue");
    assert!(shop.expected(&shop.detect("")));
    shop.deploy();
    let colour = shop.on("docker exec shop-y-web-1 printenv COLOUR");
    assert_eq!(colour, "blue");
    assert_eq!(shop.detect("").acted(), [""; 0]);
}

fn spelling(shop: &Shop) {
    shop.change("compose.yml", "interval: 60s", "interval: 1m");
    shop.change("compose.yml", "['127.0.0.1:18080:80']", "[{target: 80, published: '18080', host_ip: 127.0.0.1}]");
    shop.change(".env.prod", "# a comment", "# another comment");
    shop.commit("the same");
    let plan = shop.detect("");
    assert_eq!(plan.acted(), [""; 0], "{}", plan.said);
    assert!(!plan.said.contains("only the server knows"), "the server was asked: {}", plan.said);
    shop.reset();
}

fn settings(shop: &Shop) {
    shop.change("compose.yml", "retries: 3", "retries: 4");
    shop.change(".env.prod", "STAGED=one", "STAGED=two");
    shop.commit("not pushed");
    let head = shop.on("git -C shop rev-parse HEAD");
    let plan = shop.detect("--dry-run");
    assert_eq!(plan.action("web"), "recreate", "{}", plan.said);
    let rules = plan.rules("web");
    for rule in ["compose-configuration:environment.STAGED", "compose-configuration:healthcheck.retries"] {
        assert!(rules.contains(&rule), "{rule}: {rules:?}");
    }
    assert_eq!(plan.action("worker"), "none");
    assert_eq!(shop.on("git -C shop rev-parse HEAD; git -C shop status --porcelain"), format!("{head}\n?? .env"));
    shop.reset();
}

fn variables(shop: &Shop) {
    for (path, action) in [("web/app", "build"), ("conf/prod/site.conf", "restart"), ("conf/other/site.conf", "none")] {
        shop.write(path, "changed\n");
        shop.commit(path);
        let plan = shop.detect("");
        assert_eq!(plan.action("web"), action, "{path}: {}", plan.said);
        shop.reset();
    }
}

fn drift(shop: &Shop) {
    shop.on("sed -i 's/^WORKERS=/COLOUR=green\\nWORKERS=/' shop/.env");
    let plan = shop.detect("");
    assert_eq!((plan.action("web"), plan.rules("web")), ("none", vec!["drift:environment.COLOUR"]), "{}", plan.said);
    assert!(plan.said.contains("does not run as its configuration says"), "{}", plan.said);
    assert!(plan.said.contains("cm-detect --service web"), "{}", plan.said);
    assert_eq!(shop.detect("--service web").action("web"), "build", "what the warning names deploys it");
    assert_eq!(plan.fact()["drift"]["web"][0], "environment.COLOUR");
    shop.write("cm.toml", &format!("{TOML}\n[deploy]\ndrift = \"apply\"\n"));
    shop.push("apply what drifted");
    let plan = shop.detect("");
    assert_eq!((plan.action("web"), plan.action("worker")), ("recreate", "none"), "{}", plan.said);
    shop.deploy();
    assert_eq!(shop.on("docker exec shop-y-web-1 printenv COLOUR"), "green");
    assert_eq!(shop.detect("").acted(), [""; 0]);
    // How many there are is a matter of configuration, too.
    for (workers, rule) in [("2", "drift:no container"), ("1", "drift:replicas")] {
        shop.on(&format!("sed -i 's/^WORKERS=.*/WORKERS={workers}/' shop/.env"));
        let plan = shop.detect("");
        assert_eq!((plan.acted(), plan.rules("few")), (vec!["few"], vec![rule]), "{}", plan.said);
        shop.deploy();
        assert_eq!(shop.on("docker ps -q --filter label=com.docker.compose.service=few | wc -l"), workers);
        assert_eq!(shop.detect("").acted(), [""; 0]);
    }
    shop.change("compose.yml", "scale: 0", "scale: 1");
    shop.commit("one more");
    let plan = shop.detect("");
    assert_eq!(
        (plan.acted(), plan.rules("off")),
        (vec!["off"], vec!["compose-configuration:replicas"]),
        "{}",
        plan.said
    );
    shop.reset();
    for (away, back) in [("pause", "unpause"), ("stop -t 1", "start")] {
        shop.on(&format!("docker {away} shop-y-worker-1"));
        let plan = shop.detect("");
        assert_eq!((plan.acted(), plan.rules("worker")), (vec!["worker"], vec!["drift:not running"]), "{}", plan.said);
        shop.on(&format!("docker {back} shop-y-worker-1"));
    }
    shop.on("sed -i 's/^COMPOSE_PROJECT_NAME=.*/COMPOSE_PROJECT_NAME=shop-z/' shop/.env");
    let plan = shop.detect("");
    assert!(plan.said.contains("the compose project was shop-y and is shop-z now"), "{}", plan.said);
    shop.on("sed -i 's/^COMPOSE_PROJECT_NAME=.*/COMPOSE_PROJECT_NAME=shop-y/' shop/.env");
    // Somebody pulls, and the tag is another image's.
    shop.on("docker tag curateme/redis:1 kept && docker tag curateme/python:1 curateme/redis:1");
    let plan = shop.detect("");
    assert_eq!((plan.action("worker"), plan.rules("worker")), ("recreate", vec!["drift:image"]), "{}", plan.said);
    assert_eq!(plan.action("web"), "none");
    shop.on("docker tag kept curateme/redis:1 && docker rmi kept");
}

fn idle(shop: &Shop) {
    shop.on("sed -i 's/^COMPOSE_PROFILES=/#COMPOSE_PROFILES=/' shop/.env");
    shop.change("compose.yml", "worker: {<<: *idle,", "worker: {<<: *idle, environment: {A: '1'},");
    shop.push("a worker of another kind");
    let id = || shop.on("docker ps -q --no-trunc --filter label=com.docker.compose.service=worker");
    let before = id();
    assert!(!before.is_empty());
    for flags in ["", "--full --dry-run"] {
        let plan = shop.detect(flags);
        assert_eq!(
            (plan.action("worker"), plan.rules("worker")),
            ("none", vec!["profile-not-active"]),
            "{}",
            plan.said
        );
        assert_eq!(
            (plan.action("never"), &plan.fact()["idle"]),
            ("none", &serde_json::json!(["worker"])),
            "{}",
            plan.said
        );
        assert!(plan.said.contains("worker runs there, and no profile that is switched on starts it"), "{}", plan.said);
    }
    let answer = shop.run("set -o pipefail; cm-detect </dev/null | cm-build | cm-health | cm-record");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    assert!(answer.stderr.contains("not part of this: worker on web runs"), "{}", answer.stderr);
    assert_eq!(id(), before, "nobody touched it");
    shop.on("sed -i 's/^#COMPOSE_PROFILES=/COMPOSE_PROFILES=/' shop/.env");
    assert_eq!(shop.detect("").acted(), ["worker"], "switched on again, it is brought up to date");
    shop.deploy();
    assert_ne!(id(), before);
}

fn external(shop: &Shop) {
    let text = std::fs::read_to_string(shop.laptop.join("compose.yml")).expect("compose.yml");
    let more = "networks:\n  default: {name: edge, external: true}\nvolumes:\n  pool: {external: true}\nsecrets:\n  key: {file: ./key.pem}\n  \
        swarm: {external: true}\n  unset: {environment: SHOP_UNSET_KEY}\nconfigs:\n  site: {file: ./deploy/new.conf}\n";
    shop.write("compose.yml", &format!("{text}{more}"));
    let uses =
        "image: shop-web\n    secrets: [key, swarm, unset]\n    configs: [site]\n    pid: 'container:agent'\n    build";
    shop.change("compose.yml", "image: shop-web\n    build", uses);
    let binds = "worker: {<<: *idle, env_file: deploy/new.env, volumes: [{type: bind, source: ./deploy, target: /d}, \
        {type: bind, source: ./gone, target: /g}],";
    shop.change("compose.yml", "worker: {<<: *idle,", binds);
    // What the commit brings is not missing, although the checkout there has none of it yet.
    shop.write("deploy/new.conf", "new\n");
    shop.write("deploy/new.env", "NEW=1\n");
    shop.push("things that others make");
    let plan = shop.detect("");
    let wanted = [
        "container agent",
        "file /home/curateme/shop/key.pem",
        "network edge",
        "path /home/curateme/shop/gone",
        "secret swarm",
        "variable SHOP_UNSET_KEY",
    ];
    assert_eq!(plan.fact()["missing"], serde_json::json!(wanted), "{}", plan.said);
    let answer = shop.run("cm-detect </dev/null | cm-health --preflight");
    assert_eq!(
        (answer.code, &answer.document()["error"]["code"]),
        (6, &"preflight.external".into()),
        "{}",
        answer.stderr
    );
    assert!(answer.stderr.contains("docker network create edge"), "{}", answer.stderr);
    assert!(answer.stderr.contains("the variable SHOP_UNSET_KEY is not set"), "{}", answer.stderr);
    assert!(!answer.stderr.contains("does not accept the compose file"), "{}", answer.stderr);
    shop.local("git revert --no-edit HEAD >/dev/null && git push -q origin HEAD:main");
}

fn refused(shop: &Shop) {
    for (to, words) in [
        ("imge: shop-web\n    build", vec!["compose.yml", "imge"]),
        ("image: [\n    build", vec!["compose.yml:13:5: "]),
    ] {
        shop.change("compose.yml", "image: shop-web\n    build", to);
        shop.commit("wrong");
        let answer = shop.run("cm-detect </dev/null");
        assert_eq!(answer.code, 6, "{}", answer.stderr);
        for word in words {
            assert!(answer.stderr.contains(word), "{word}: {}", answer.stderr);
        }
        shop.reset();
    }
    // What Compose says may quote a value.
    shop.change("compose.yml", "127.0.0.1:18080:80", "127.0.0.1:18080:${API_TOKEN}");
    shop.commit("a value in the wrong place");
    let answer = shop.run("cm-detect </dev/null");
    assert_eq!((answer.code, &answer.document()["error"]["code"]), (6, &"compose.config".into()), "{}", answer.stderr);
    assert!(!format!("{}{}", answer.stdout, answer.stderr).contains(PLANTED), "a value is shown: {}", answer.stderr);
    shop.reset();
}

/// Puts another Compose in front of the server's own; `body` is a shell script's.
fn with_compose(shop: &Shop, body: &str, case: impl FnOnce()) {
    let metadata = r#"{"SchemaVersion":"0.1.0","Vendor":"t","Version":"v2.18.1","ShortDescription":"t"}"#;
    let script = format!("#!/bin/sh\ncase $1 in docker-cli-plugin-metadata) echo '{metadata}'; exit ;; esac\n{body}\n");
    let write = "mkdir -p ~/.docker/cli-plugins && printf";
    let encoded: String = script.bytes().map(|byte| format!("\\{byte:03o}")).collect();
    shop.on(&format!(
        "{write} '{encoded}' > ~/.docker/cli-plugins/docker-compose && chmod +x ~/.docker/cli-plugins/docker-compose"
    ));
    case();
    shop.on("rm -r ~/.docker/cli-plugins");
}

fn old_compose(shop: &Shop) {
    // What the server's own Compose would say is handed through, unless one of these is asked for.
    let own = "exec $(ls /usr/libexec/docker/cli-plugins/docker-compose /usr/lib/docker/cli-plugins/docker-compose 2>/dev/null | head -n 1) \"$@\"";
    let old = |pattern: &str, says: &str, code: u8| {
        format!(
            "case \"$*\" in *'version --short'*) echo 2.18.1 ;; {pattern}) echo '{says}' >&2; exit {code} ;; *) {own} ;; esac"
        )
    };
    for (pattern, says, words) in [
        (
            "*--format*",
            "unknown flag: --format\nRun docker compose config --help for more information",
            "the flag --format takes Docker Compose 2.0.0 or later; web has 2.18.1",
        ),
        (
            "*config*",
            "validating compose.yml: (root) Additional property include is not allowed",
            "include takes Docker Compose 2.20.3 or later; web has 2.18.1",
        ),
        (
            "*config*",
            "services.web.env_file.0 must be a string",
            "env_file takes Docker Compose 2.24.0 or later; web has 2.18.1",
        ),
        (
            "*config*",
            "services.web Additional property pre_start is not allowed",
            "later versions of Docker Compose have pre_start; web has 2.18.1",
        ),
    ] {
        with_compose(shop, &old(pattern, says, 15), || {
            let answer = shop.run("cm-detect </dev/null");
            let error = &answer.document()["error"]["code"];
            assert_eq!((answer.code, error), (6, &"compose.config".into()), "{}", answer.stderr);
            assert!(answer.stderr.contains(words), "{words}: {}", answer.stderr);
        });
    }
    with_compose(shop, &old("*--hash*", "unknown flag: --hash", 16), || {
        let plan = shop.detect("");
        assert!(plan.said.contains("Docker Compose 2.18.1 there has no `config --hash`"), "{}", plan.said);
    });
    // One that reads past them would deploy something else than what is written.
    shop.change("compose.yml", "    ports: ['127.0.0.1:18080:80']", "    ports: !override ['127.0.0.1:18081:80']");
    shop.commit("a tag");
    with_compose(shop, &old("no-such-call", "", 1), || {
        let answer = shop.run("cm-detect </dev/null");
        assert_eq!(answer.code, 6, "{}", answer.stderr);
        assert!(answer.stderr.contains("take Docker Compose 2.24.4 or later"), "{}", answer.stderr);
    });
    shop.reset();
}

/// A project whose compose file stands below `cm.toml`, next to an env file and files of its own.
fn subdirectory(shop: &Shop) {
    let toml = TOML.replace("shop", "sub").replace("compose.yml", "deploy/compose.yml").replace(".env", "deploy/.env");
    let compose = "services:\n  web:\n    image: curateme/redis:1\n    entrypoint: [sleep, '3600']\n    init: true\n    \
        restart: always\n    stop_grace_period: 1s\n    env_file: app.env\n    environment: {TAG: '${TAG}'}\n    \
        volumes: ['./conf:/conf:ro']\n";
    shop.on("git init -q --bare -b main sub.git && mkdir -p sub/deploy && echo TAG=server >sub/deploy/.env");
    for (path, text) in [
        ("cm.toml", toml.as_str()),
        ("deploy/compose.yml", compose),
        ("deploy/app.env", "A=1\n"),
        ("deploy/conf/a", "1\n"),
        (".env", "TAG=root\nCOMPOSE_PROJECT_NAME=root\n"),
    ] {
        shop.write(&format!("../sub/{path}"), text);
    }
    let run = |line: &str| {
        let answer = shop.run(&format!("cd ../sub && {line}"));
        assert_eq!(answer.code, 0, "{line}: {answer:?}");
        answer
    };
    run("git init -q -b main . && git add -A && git commit -qm begin");
    run("git remote add origin ssh://curateme@$PLATFORM_VPS_IP/home/curateme/sub.git && git push -q origin HEAD:main");
    run("cm-detect </dev/null | cm-build | cm-health | cm-record");
    let own = "cd sub && docker compose -f deploy/compose.yml";
    let id = shop.on(&format!("{own} ps -q --no-trunc web"));
    let seen = "docker inspect -f '{{.Config.Env}} {{range .Mounts}}{{.Source}}{{end}}'";
    let seen = shop.on(&format!("{seen} {id}"));
    assert!(seen.contains("TAG=server") && seen.ends_with("/home/curateme/sub/deploy/conf"), "{seen}");
    shop.on(&format!("{own} up -d"));
    assert_eq!(shop.on(&format!("{own} ps -q --no-trunc web")), id, "it is to Compose what it was to cm");
    for (path, action) in [("deploy/conf/a", "restart"), ("deploy/app.env", "recreate"), ("conf/a", "none")] {
        shop.write(&format!("../sub/{path}"), "A=2\n");
        run("git add -A && git commit -qm change");
        for flags in ["", "--base HEAD~1"] {
            let document = run(&format!("cm-detect {flags} </dev/null")).document();
            assert_eq!(document["services"][0]["action"], action, "{path} {flags}: {document}");
        }
        run("git reset -q --hard HEAD~1");
    }
    run("cm-health --all </dev/null");
    shop.on(&format!("{own} down -t 1 2>/dev/null && cd && rm -rf sub sub.git"));
}

fn staging(shop: &Shop) {
    shop.on("cp -a shop staging && sed -i 's/shop-y/shop-staging/' staging/.env");
    for name in ["shop-staging", "shop-y"] {
        shop.on(&format!("sed -i 's/^COMPOSE_PROJECT_NAME=.*/COMPOSE_PROJECT_NAME={name}/' staging/.env"));
        let answer = shop.run("cm-detect --host \"web=curateme@$PLATFORM_VPS_IP:~/staging\" </dev/null");
        let error = &answer.document()["error"]["code"];
        assert_eq!((answer.code, error), (6, &"detect.shared-project".into()), "{name}: {}", answer.stderr);
        assert!(answer.stderr.contains("/home/curateme/shop"), "{}", answer.stderr);
    }
    // Its first deployment, by a ledger of its own, and with the other's directory closed to it.
    shop.change("cm.toml", "project = \"shop\"", "project = \"staging\"");
    shop.commit("a project of its own");
    let staging = "cm-detect --host \"web=curateme@$PLATFORM_VPS_IP:~/staging\" </dev/null";
    for mode in ["755", "0"] {
        shop.on(&format!("chmod {mode} shop"));
        let answer = shop.run(staging);
        shop.on("chmod 755 shop");
        let error = &answer.document()["error"]["code"];
        assert_eq!((answer.code, error), (6, &"detect.shared-project".into()), "{mode}: {}", answer.stderr);
    }
    shop.on("sed -i 's/^COMPOSE_PROJECT_NAME=.*/COMPOSE_PROJECT_NAME=shop-staging/' staging/.env");
    let answer = shop.run(staging);
    assert_eq!(answer.code, 0, "told apart: {}", answer.stderr);
    shop.reset();
    shop.on("rm -r staging");
}

fn hangs(shop: &Shop) {
    with_compose(shop, "sleep 600", || {
        let answer = shop.run("cm-detect </dev/null");
        assert_eq!(
            (answer.code, &answer.document()["error"]["code"]),
            (7, &"host.timeout".into()),
            "{}",
            answer.stderr
        );
    });
}

/// How many projects are made up on a server.
const PROJECTS: usize = 24;

fn differs_as_compose_says(shop: &Shop) {
    let made = shop.sandbox.home.path().join("made");
    let projects = differential::make(&made::settings(), 0, PROJECTS);
    differential::write(&made, &projects);
    let ssh = "ssh -F \"$CM_SSH_CONFIG\" curateme@$PLATFORM_VPS_IP";
    shop.local(&format!("tar -C {} -cf - . | {ssh} 'mkdir /tmp/made && tar -C /tmp/made -xf -'", made.display()));
    let ask = ["sh", "-c", differential::ASK, "sh", "/tmp/made", "docker", "compose"];
    let answer = shop.sandbox.server("platform", &ask);
    let version = shop.sandbox.server("platform", &["docker", "compose", "version", "--short"]);
    shop.on("rm -r /tmp/made");
    judge(&projects, &answer, &version);
}

#[test]
#[ignore = "takes minutes: CM_COMPOSE=/path/to/docker-compose, CM_EFFECTIVE_PROJECTS=2000; CM_EFFECTIVE_FIRST=N for others"]
fn thousands_of_projects_are_judged_as_compose_judges_them() {
    let variable = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let number = |text: String| text.parse().expect("a number");
    let first = std::env::var("CM_EFFECTIVE_FIRST").map_or(0, number);
    let projects = differential::make(&made::newest_settings(), first, number(variable("CM_EFFECTIVE_PROJECTS")));
    let made = tempfile::tempdir().expect("directory");
    differential::write(made.path(), &projects);
    let ask = ["-c", differential::ASK, "sh"];
    let output = Command::new("sh").args(ask).arg(made.path()).arg(variable("CM_COMPOSE")).output().expect("sh");
    let version = Command::new(variable("CM_COMPOSE")).args(["version", "--short"]).output().expect("a version");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    judge(&projects, &text(output.stdout), text(version.stdout).trim());
}

fn judge(projects: &[(Files, Files)], answer: &str, version: &str) {
    let (with, without, refused) = differential::compare(projects, answer, version);
    for (tally, how) in [(with, "with a server"), (without, "from the commits alone")] {
        let (missed, extra) = (&tally.missed, &tally.extra);
        let counts = (tally.services, tally.replaced, missed.len(), extra.len());
        tell(&format!(
            "{} projects, {refused} of them refused, {how}; services, replaced, missed, extra: {counts:?}",
            projects.len()
        ));
        tell(&format!("extra: {extra:?}"));
        assert!(tally.services >= projects.len() && tally.replaced * 20 > tally.services, "{tally:?}");
        assert_eq!(*missed, [""; 0], "{how}");
        assert!(extra.len() * 100 < tally.services, "{how}: {extra:#?}");
    }
    assert!(refused * 20 <= projects.len(), "{:?}", differential::refusals(answer));
}
