//! Projects on disk: where they are found, what they default to, what they refuse.

use cm_core::Exit;
use cm_project::{OnChange, Project, all_tracked};
use std::path::Path;
use tempfile::TempDir;

fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().expect("a temporary directory");
    for (path, text) in files {
        let path = directory.path().join(path);
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("directory");
        std::fs::write(path, text).expect("write");
    }
    directory
}

const COMPOSE: &str = "services:\n  web: {image: w}\n  job: {image: j}\n  redis: {image: r}\n";

#[test]
fn the_sample_platform_loads() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/platform");
    let project = Project::open(&sample, None, all_tracked).expect("it loads");
    assert_eq!((project.name().as_str(), project.remote()), ("curateme", "origin"));
    let hosts: Vec<&str> = project.hosts().iter().map(|host| host.name.as_str()).collect();
    assert_eq!(hosts, ["platform", "runners"]);
    assert_eq!(project.services_on("runners"), ["runner-agent"]);
    assert_eq!(project.services_on("platform").len(), 9);
    assert_eq!(project.group("gateway").expect("there"), ["backend-gateway"]);
    assert_eq!(project.config.protect.files, ["Caddyfile", ".env.production"]);
    assert_eq!(project.on_change("caddy"), OnChange::Reload);
    assert_eq!(project.on_change("redis"), OnChange::Restart);
    assert_eq!(project.verify().checks.len(), 8);
    assert_eq!(project.backups()[0].service_name(), "mongodb");
    assert_eq!(project.compose_name(), "platform");
    let b2b = project.service("backend-b2b").expect("there");
    assert_eq!(b2b.container_name.as_deref(), Some("curateme-backend-b2b"));
    assert!(b2b.has_healthcheck && !project.service("docs").expect("there").has_healthcheck);
}

#[test]
fn a_project_is_found_from_a_directory_inside_it() {
    let directory =
        directory(&[("cm.toml", "project = \"x\"\n"), ("compose.yaml", COMPOSE), ("a/b/c", ""), (".git/HEAD", "")]);
    let project = Project::open(&directory.path().join("a/b"), None, all_tracked).expect("found above");
    assert_eq!(project.root, directory.path().canonicalize().expect("there"));
    assert_eq!((project.name().as_str(), project.prefix.as_str()), ("x", ""));
    assert_eq!(project.compose.names(), ["web", "job", "redis"]);
}

#[test]
fn a_project_can_be_a_part_of_a_repository() {
    let toml = "[protect]\nfiles = [\"Caddyfile\"]\n";
    let compose = "services:\n  web: {build: ../lib, volumes: ['./Caddyfile:/c']}\n";
    let directory = directory(&[("deploy/cm.toml", toml), ("deploy/compose.yml", compose), (".git/HEAD", "")]);
    let project = Project::open(&directory.path().join("deploy"), None, all_tracked).expect("found");
    assert_eq!(project.prefix, "deploy");
    assert_eq!(project.compose_files(), ["deploy/compose.yml"]);
    assert_eq!(project.protected(), ["deploy/Caddyfile"]);
    let web = project.service("web").expect("there");
    assert_eq!(web.mounts[0].source.inside(), Some("deploy/Caddyfile"));
}

#[test]
fn a_compose_file_in_a_directory_of_its_own_has_its_paths_and_its_env_file_there() {
    let of = |toml: &str, more: &[(&str, &str)]| {
        let compose = "services:\n  web: {image: 'app:${TAG}', volumes: ['./conf:/c']}\n";
        let files = [("cm.toml", toml), ("deploy/compose.yml", compose), ("deploy/.env", "TAG=1\n"), (".git/HEAD", "")];
        let directory = directory(&[&files[..], more].concat());
        let project = Project::open(directory.path(), None, all_tracked).expect("found");
        let mount = project.compose.services[0].mounts[0].source.inside().map(str::to_owned);
        (project.compose_directory(), project.env_file(), project.variable_files(), mount)
    };
    let (deploy, mount) = ("deploy".to_owned(), Some("deploy/conf".to_owned()));
    let named = of("[compose]\nfiles = [\"deploy/compose.yml\"]\n", &[(".env", "TAG=2\n")]);
    assert_eq!(named, (deploy.clone(), None, vec!["deploy/.env".to_owned()], mount.clone()));
    let env_file = of("[compose]\nfiles = [\"./deploy/compose.yml\"]\nenv_file = \".env.production\"\n", &[]);
    let file = ".env.production".to_owned();
    assert_eq!(env_file, (deploy.clone(), Some(file.clone()), vec![file], mount.clone()));
    let led = of("", &[(".env", "COMPOSE_FILE=deploy/compose.yml\n")]);
    assert_eq!(led, (deploy, Some(".env".to_owned()), vec![".env".to_owned()], mount));
}

#[test]
fn nothing_is_looked_for_outside_the_repository() {
    let directory = directory(&[("cm.toml", ""), ("compose.yml", COMPOSE), ("repo/.git/HEAD", ""), ("repo/a/x", "")]);
    let failure =
        Project::open(&directory.path().join("repo/a"), None, all_tracked).expect_err("nothing in the repository");
    assert_eq!((failure.exit, failure.code.as_str()), (Exit::Config, "config.no-project"));
    assert!(failure.message.contains("repo/a, ") && failure.message.ends_with("/repo"), "{}", failure.message);
    assert!(failure.hint.expect("a hint").contains("-C DIR"));
}

#[test]
fn a_compose_file_alone_is_a_project_without_hosts() {
    let directory = directory(&[("docker-compose.yml", COMPOSE)]);
    let mut project = Project::open(directory.path(), None, all_tracked).expect("found");
    assert!(project.hosts().is_empty() && project.host_of("web").is_none());
    assert_eq!((project.branch().as_str(), project.remote()), ("main", "origin"));
    project.use_hosts(&["me@server:~/x".to_owned()]).expect("an address");
    assert_eq!(project.host_of("web").map(|host| host.name.as_str()), Some("server"));
    assert!(project.lock().file.to_string_lossy().ends_with("-deploy.lock"));
}

#[test]
fn the_first_host_without_services_takes_the_rest() {
    let toml = "[hosts.jobs]\naddress = \"j\"\nservices = [\"job\"]\n[hosts.main]\naddress = \"m\"\n[hosts.spare]\naddress = \"s\"\n";
    let directory = directory(&[("cm.toml", toml), ("compose.yml", COMPOSE)]);
    let project = Project::open(directory.path(), None, all_tracked).expect("found");
    assert_eq!(project.services_on("jobs"), ["job"]);
    assert_eq!(project.services_on("main"), ["web", "redis"]);
    assert!(project.services_on("spare").is_empty());
    assert_eq!(project.host("mian").expect_err("unknown").hint.as_deref(), Some("did you mean \"main\"?"));
}

#[test]
fn names_that_the_compose_file_does_not_have_are_refused() {
    for (toml, code, hint) in [
        ("[groups]\nall = [\"web\", \"jbo\"]\n", "config.unknown-service", "job"),
        ("[hosts.a]\naddress = \"a\"\nservices = [\"rediss\"]\n", "config.unknown-service", "redis"),
        ("[services.wbe]\non_change = \"reload\"\n", "config.unknown-service", "web"),
        (
            "[hosts.main]\naddress = \"a\"\n[backup]\nhost = \"mian\"\nservice = \"redis\"\n",
            "config.unknown-host",
            "main",
        ),
    ] {
        let directory = directory(&[("cm.toml", toml), ("compose.yml", COMPOSE)]);
        let failure = Project::open(directory.path(), None, all_tracked).expect_err(toml);
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Config, code), "{failure}");
        assert_eq!(failure.hint, Some(format!("did you mean {hint:?}?")), "{failure}");
        assert!(failure.message.starts_with("cm.toml:"), "{failure}");
    }
}

#[test]
fn a_configuration_can_be_named() {
    let directory = directory(&[
        ("other.toml", "project = \"named\"\n"),
        ("cm.toml", "project = \"x\"\n"),
        ("compose.yml", COMPOSE),
    ]);
    let project = Project::open(directory.path(), Some(Path::new("other.toml")), all_tracked).expect("found");
    assert_eq!(project.name(), "named");
    let failure = Project::open(directory.path(), Some(Path::new("none.toml")), all_tracked).expect_err("not there");
    assert_eq!(failure.code, "config.unreadable");
}
