//! The first deployment to servers that have Docker, git and nothing of the project: what they
//! lack is said before anything is changed, and the deployment brings the rest.

use cm_testkit::{Answer, Sandbox};
use std::process::Command;
use std::time::Duration;

const SERVERS: [&str; 2] = ["platform", "runners"];

/// As the servers see the repository; the laptop has another address for it.
const REPOSITORY: &str = "repository = \"ssh://git@origin/srv/git/platform.git\"\n";

fn on(sandbox: &Sandbox, server: &str, line: &str) -> String {
    sandbox.server(server, &["sh", "-c", line])
}

fn on_laptop(sandbox: &Sandbox, line: &str) -> Answer {
    sandbox.laptop("bash", &["-c", &format!("set -o pipefail; {line}")])
}

fn there(sandbox: &Sandbox) -> Vec<String> {
    SERVERS.map(|server| on(sandbox, server, "ls -A ~/platform 2>/dev/null || :; docker ps -aq")).to_vec()
}

#[test]
fn a_server_with_nothing_gets_the_checkout_and_runs_the_commit() {
    let sandbox = Sandbox::up("first");
    for server in SERVERS {
        on(&sandbox, server, "mv ~/platform/.env.production ~/env && mv ~/platform/Caddyfile ~ && rm -rf ~/platform");
    }
    let nothing = there(&sandbox);

    // The address that the laptop has means nothing to them.
    let preflight = on_laptop(&sandbox, "cm-health --preflight </dev/null");
    assert_eq!(
        (preflight.code, &preflight.document()["error"]["code"]),
        (6, &"preflight.origin".into()),
        "{preflight:?}"
    );
    for words in ["there is no ~/platform yet", "Could not resolve hostname", "`repository` in cm.toml"] {
        assert!(preflight.stderr.contains(words), "{words}: {}", preflight.stderr);
    }
    let text = std::fs::read_to_string(sandbox.laptop.join("cm.toml")).expect("cm.toml");
    let text = text.replace("window = \"10s\"", "window = \"2s\"");
    std::fs::write(sandbox.laptop.join("cm.toml"), format!("{REPOSITORY}{text}")).expect("cm.toml");
    sandbox.commit("where servers clone from");
    assert_eq!(sandbox.laptop("git", &["push", "-q", "origin", "HEAD:develop"]).code, 0);

    // Nobody but the server has its env file.
    let preflight = on_laptop(&sandbox, "cm-health --preflight </dev/null");
    assert_eq!((preflight.code, &preflight.document()["error"]["code"]), (6, &"preflight.env-file".into()));
    assert!(preflight.stderr.contains("mkdir -p ~/platform"), "{}", preflight.stderr);
    assert!(!preflight.stderr.contains("protected file"), "the commit brings a Caddyfile: {}", preflight.stderr);
    for flags in ["--dry-run", ""] {
        let build = on_laptop(&sandbox, &format!("cm-detect {flags} </dev/null | cm-build {flags}"));
        assert_eq!((build.code, &build.document()["error"]["code"]), (30, &"build.env-file".into()), "{build:?}");
    }
    assert_eq!(there(&sandbox), nothing, "nothing was changed");

    for server in SERVERS {
        on(
            &sandbox,
            server,
            "mkdir platform && mv env platform/.env.production && mv Caddyfile platform && echo mine >platform/notes.txt",
        );
    }
    let env = || {
        SERVERS.map(|server| {
            on(
                &sandbox,
                server,
                "cd platform && stat -c '%i %a %U' .env.production Caddyfile && sha256sum .env.production Caddyfile notes.txt",
            )
        })
    };
    let before = env();
    what_the_deployment_would_refuse(&sandbox);
    assert_eq!(env(), before);
    let preflight = on_laptop(&sandbox, "cm-health --preflight </dev/null");
    assert_eq!(preflight.code, 0, "{preflight:?}");
    assert!(preflight.stderr.contains("the deployment makes it from ssh://git@origin"), "{}", preflight.stderr);
    let foreseen = on_laptop(&sandbox, "cm-detect --dry-run </dev/null | cm-build --dry-run");
    assert_eq!(foreseen.code, 0, "{foreseen:?}");
    assert!(foreseen.stderr.contains("~/platform is made from ssh://git@origin"), "{}", foreseen.stderr);
    assert!(!there(&sandbox)[0].contains(".git"), "a dry run makes nothing");

    // Killed early, it leaves all or nothing of a checkout.
    let detected = on_laptop(&sandbox, "cm-detect </dev/null >plan.json");
    assert_eq!(detected.code, 0, "{detected:?}");
    for delay in ["0.4", "0.9", "1.6"] {
        let killed = on_laptop(&sandbox, &format!("timeout -s KILL {delay} cm-build <plan.json >/dev/null"));
        assert_ne!(killed.code, 0, "{killed:?}");
        std::thread::sleep(Duration::from_millis(300));
    }
    std::fs::remove_file(sandbox.laptop.join("plan.json")).expect("remove");

    // Whoever starts one service has the volumes of all. One that holds data is of a database whose container is gone.
    let label = "--label com.docker.compose";
    let volume = "platform_mongodb-data";
    on(
        &sandbox,
        "platform",
        &format!("docker volume create {label}.project=platform {label}.volume=mongodb-data {volume}"),
    );
    let as_root = |line: &str| {
        let container = sandbox.container("platform");
        let line = format!("cd \"$(docker volume inspect -f '{{{{.Mountpoint}}}}' {volume})\" && {line}");
        let done = Command::new("docker").args(["exec", "-u", "root", &container, "sh", "-c", &line]).output();
        assert!(done.as_ref().is_ok_and(|done| done.status.success()), "{done:?}");
    };
    as_root("echo data >WiredTiger");
    let refused = on_laptop(&sandbox, "cm-detect </dev/null | cm-backup");
    assert_eq!(refused.code, 21, "{refused:?}");
    assert!(refused.stderr.contains(&format!("but its data is there (volume {volume})")), "{}", refused.stderr);
    as_root("rm WiredTiger");
    let first = sandbox.deploy(&[]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let commit = on_laptop(&sandbox, "git rev-parse HEAD").stdout.trim().to_owned();
    for server in SERVERS {
        assert_eq!(
            on(&sandbox, server, "cd platform && git rev-parse HEAD '@{upstream}'"),
            format!("{commit}\n{commit}")
        );
        let status = on(&sandbox, server, "cd platform && git status --porcelain");
        assert_eq!(status, "M Caddyfile\n?? notes.txt", "all other files are the commit's");
    }
    assert_eq!(env(), before, "the servers' own files are the same files");
    let history = on_laptop(&sandbox, "cm-record history --json");
    assert!(history.stdout.contains("verified"), "{history:?}");
}

/// What the commit has elsewhere and what its compose file needs of the env file: the preflight says what the deployment
/// would, before there is a checkout.
fn what_the_deployment_would_refuse(sandbox: &Sandbox) {
    let pointer = "version https://git-lfs.github.com/spec/v1\\noid sha256:4d7a\\nsize 12345\\n";
    let link = |path: &str| {
        format!("git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),{path} && git add .gitmodules")
    };
    let module = |path: &str, url: &str| {
        format!(
            "git config -f .gitmodules submodule.{path}.path {path}; git config -f .gitmodules submodule.{path}.url {url}; {}",
            link(path)
        )
    };
    let lfs = format!(
        "echo '*.png filter=lfs' >.gitattributes && printf '{pointer}' >a.png && git -c filter.lfs.clean=cat -c filter.lfs.process= -c filter.lfs.required=false add .gitattributes a.png"
    );
    let compose = "docker-compose.production.yml";
    for (change, code, words) in [
        (
            module("vendor", "../none.git"),
            "submodule",
            "submodule vendor: cannot be fetched from ssh://git@origin/srv/git/none.git",
        ),
        (module("vendor", "ssh://git@nowhere.invalid/x.git"), "submodule", "getent hosts HOST"),
        (
            module("vendor", "../platform.git").replace("$(git rev-parse HEAD)", &"ab".repeat(20)),
            "submodule",
            "submodule vendor: commit abababababababababababababababababababab is not in ssh://git@origin/srv/git/platform.git",
        ),
        (format!("touch .gitmodules; {}", link("vendor")), "submodule", "is in no .gitmodules of the commit"),
        (lfs, "content", "a.png is in Git LFS, and git-lfs is not installed here"),
        (
            "echo '*.key filter=git-crypt' >.gitattributes && git add .gitattributes".to_owned(),
            "content",
            "wants the filter git-crypt",
        ),
        (
            format!(
                "sed -i '0,/image:/s//labels: [\"a=${{NOBODY_HAS_IT:?}}\"]\\n    image:/' {compose} && git add {compose}"
            ),
            "unset-variable",
            "NOBODY_HAS_IT (docker-compose.production.yml:",
        ),
    ] {
        let changed = on_laptop(sandbox, &format!("{change} && git commit -qm 'to be refused'"));
        assert_eq!(changed.code, 0, "{change}: {changed:?}");
        let preflight = on_laptop(sandbox, "cm-health --preflight </dev/null");
        let found = (preflight.code, preflight.document()["error"]["code"].as_str().unwrap_or_default().to_owned());
        assert_eq!(found, (6, format!("preflight.{code}")), "{change}: {}", preflight.stderr);
        assert!(preflight.stderr.contains(words), "{words}: {}", preflight.stderr);
        assert_eq!(on_laptop(sandbox, "git reset -q --hard HEAD~1").code, 0);
    }
    // One that can be brought is no obstacle.
    let good = on_laptop(sandbox, &format!("{} && git commit -qm good", module("vendor", "../platform.git")));
    assert_eq!(good.code, 0, "{good:?}");
    let preflight = on_laptop(sandbox, "cm-health --preflight </dev/null");
    assert_eq!(preflight.code, 0, "{}", preflight.stderr);
    assert_eq!(on_laptop(sandbox, "git reset -q --hard HEAD~1").code, 0);
}

#[test]
fn a_project_that_runs_from_another_directory_is_not_made_a_second_time() {
    let sandbox = Sandbox::up("elsewhere");
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
    assert_eq!(sandbox.laptop("git", &["push", "-q", "origin", "HEAD:develop"]).code, 0);
    let first = on_laptop(&sandbox, "cm-build --service docs </dev/null");
    assert_eq!(first.code, 0, "{}", first.stderr);
    let text = std::fs::read_to_string(sandbox.laptop.join("cm.toml")).expect("cm.toml");
    std::fs::write(sandbox.laptop.join("cm.toml"), format!("{REPOSITORY}{}", text.replace("~/platform", "~/other")))
        .expect("cm.toml");
    let running = on(&sandbox, "platform", "mkdir other && cp -p platform/.env.production other && docker ps -q");
    for call in ["cm-build --service docs --dry-run </dev/null", "cm-build --service docs </dev/null"] {
        let build = on_laptop(&sandbox, call);
        assert_eq!((build.code, &build.document()["error"]["code"]), (6, &"checkout.elsewhere".into()), "{build:?}");
        assert!(build.stderr.contains("checkout = \"/home/curateme/platform\""), "{}", build.stderr);
    }
    let preflight = on_laptop(&sandbox, "cm-health --preflight </dev/null");
    assert_eq!(
        (preflight.code, &preflight.document()["error"]["code"]),
        (6, &"preflight.elsewhere".into()),
        "{preflight:?}"
    );
    assert_eq!(on(&sandbox, "platform", "ls -A other; docker ps -q"), format!(".env.production\n{running}"));
}
