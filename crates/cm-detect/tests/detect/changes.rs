//! From two commits to a plan: real repositories, compared with `--base`.

use crate::repo::Repo;
use serde_json::json;

#[test]
fn a_change_acts_on_the_services_that_take_it_and_on_no_other() {
    for (path, wanted) in [
        ("web/src/index.js", vec!["web build"]),
        ("lib/shared.py", vec!["api build", "worker build"]),
        ("worker/Dockerfile", vec!["worker build"]),
        ("api.env", vec!["api recreate"]),
        ("web/README.md", vec![]),
        ("docs/notes.md", vec![]),
        ("sites/new", vec!["proxy reload"]),
        ("page.html", vec!["proxy restart"]),
    ] {
        let repo = Repo::shop();
        let text =
            if path.ends_with("Dockerfile") { "FROM python\nCOPY lib /lib\nCOPY worker /w\n" } else { "# new\n" };
        repo.change(path, text);
        assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().actions(), wanted, "{path}");
    }
}

#[test]
fn the_document_says_what_and_why() {
    let repo = Repo::shop();
    let base = repo.git(&["rev-parse", "HEAD"]);
    repo.write("web/src/new.js", "2\n");
    let head = repo.change("docs/notes.md", "m\n");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    let document = &detected.document;
    assert_eq!((&document["project"], &document["branch"]), (&json!("shop"), &json!("develop")));
    assert_eq!(document["commit"], json!(head));
    assert_eq!(document["services"].as_array().map(Vec::len), Some(5));
    let reasons = json!([{"path": "web/src/new.js", "rule": "dockerfile-copy"}]);
    assert_eq!(
        document["services"][0],
        json!({"name": "web", "host": "main", "action": "build", "base": base, "reasons": reasons})
    );
    assert_eq!(document["services"][2]["host"], json!("side"));
    let facts = detected.facts();
    assert_eq!((&facts["head"], &facts["changed_files"]), (&json!(head), &json!(2)));
    assert_eq!(facts["unmapped"], json!(["docs/notes.md"]));
    assert_eq!(facts["dirty"], json!({"count": 0, "files": [], "services": []}));
    assert!(detected.stderr.contains("1 of 5 services change: web"), "{}", detected.stderr);
}

#[test]
fn nothing_changed_is_nothing_to_do() {
    let repo = Repo::shop();
    let detected = repo.detect(&["--base", "HEAD"]).done();
    assert!(detected.actions().is_empty());
    assert_eq!(detected.facts()["changed_files"], json!(0));
}

#[test]
fn the_compose_file_acts_on_the_services_it_changes() {
    let compose = |from: &str, to: &str| {
        let repo = Repo::shop();
        let text = std::fs::read_to_string(repo.path().join("docker-compose.yml")).expect("there");
        assert!(text.contains(from));
        repo.change("docker-compose.yml", &text.replace(from, to));
        repo.detect(&["--base", "HEAD~1"]).done()
    };
    assert_eq!(compose("mongo:7", "mongo:8").actions(), ["db recreate"]);
    assert_eq!(compose("web: {build: web}", "web: {build: {context: web, args: {A: 1}}}").actions(), ["web build"]);
    assert_eq!(compose("{build: web}", "{build: web, environment: [A=1]}").actions(), ["web recreate"]);
    assert_eq!(compose("  db: {image: 'mongo:7'}\n", "").actions(), ["db remove"]);
    assert_eq!(compose("services:\n", "services:\n  new: {build: web}\n").actions(), ["new build"]);
    assert_eq!(compose("services:\n", "services:\n  new: {image: redis}\n").actions(), ["new recreate"]);
    let comment = compose("services:\n", "# only a comment\nservices:\n");
    assert!(comment.actions().is_empty());
    assert_eq!(comment.facts()["unmapped"], json!([]));
    let removed = compose("  db: {image: 'mongo:7'}\n", "");
    assert_eq!(removed.reasons("db"), ["removed"]);
    assert_eq!(removed.facts()["removed"], json!(["db"]));
}

#[test]
fn protected_files_are_never_moved() {
    let repo = Repo::shop();
    repo.change("Caddyfile", ":81\n");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert!(detected.actions().is_empty());
    assert_eq!(detected.facts()["protected"], json!(["Caddyfile"]));
    assert!(detected.stderr.contains("[WARN] changed in the commit, but the servers keep their own: Caddyfile"));
}

#[test]
fn asked_for_services_build_unchanged_and_others_are_left_with_a_warning() {
    let repo = Repo::shop();
    repo.change("lib/shared.py", "X = 2\n");
    let detected = repo.detect(&["--base", "HEAD~1", "--group", "front", "--service", "worker"]).done();
    assert_eq!(detected.actions(), ["web build", "worker build"]);
    assert_eq!(detected.reasons("web"), ["selected"]);
    assert_eq!(detected.reasons("worker"), ["dockerfile-copy lib/shared.py", "selected"]);
    assert_eq!(detected.reasons("api"), ["dockerfile-copy lib/shared.py", "not-selected"]);
    assert_eq!(detected.facts()["not_selected"], json!(["api"]));
    assert!(detected.stderr.contains("[WARN] changed, but not asked for, so left as they are: api"));
}

#[test]
fn unknown_groups_and_services_name_the_nearest() {
    let repo = Repo::shop();
    for (args, hint) in [(["--group", "frnt"], "\"front\""), (["--service", "wrker"], "\"worker\"")] {
        let detected = repo.detect(&[&["--base", "HEAD"], &args[..]].concat());
        assert_eq!(detected.exit, 2, "{}", detected.stderr);
        assert!(detected.stderr.contains(&format!("hint: did you mean {hint}?")), "{}", detected.stderr);
        assert_eq!(detected.document["status"], json!("failed"));
    }
}

#[test]
fn full_does_everything_anew() {
    let repo = Repo::shop();
    let detected = repo.detect(&["--base", "HEAD", "--full"]).done();
    assert_eq!(detected.actions(), ["web build", "api build", "worker build", "db recreate", "proxy recreate"]);
    assert_eq!(detected.reasons("db"), ["full"]);
    assert_eq!(detected.facts()["full"], json!(true));
    let some = repo.detect(&["--base", "HEAD", "--full", "--group", "front"]).done();
    assert_eq!(some.actions(), ["web build"]);
}

#[test]
fn images_built_on_a_siblings_image_are_rebuilt_with_it() {
    let repo = Repo::with(&[
        (
            "compose.yml",
            "services:\n  base: {build: base, image: acme/base}\n  app: {build: app}\n  top: {build: {context: top, additional_contexts: {a: 'service:app'}}}\n  side: {image: x, network_mode: 'service:app'}\n  other: {image: y}\n",
        ),
        ("base/Dockerfile", "FROM scratch\nCOPY f /\n"),
        ("app/Dockerfile", "FROM acme/base\n"),
        ("top/Dockerfile", "FROM a\n"),
        ("base/f", "1\n"),
    ]);
    repo.change("base/f", "2\n");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert_eq!(detected.actions(), ["base build", "app build", "top build", "side recreate"]);
    assert_eq!(detected.reasons("top"), ["base-image:app base/f"]);
    assert_eq!(detected.reasons("side"), ["shared-namespace:app base/f"]);
}

#[test]
fn a_service_that_is_not_built_any_more_is_only_replaced() {
    let repo = Repo::with(&[
        ("compose.yml", "services:\n  web: {build: ., image: acme/web}\n"),
        ("Dockerfile", "FROM x\nCOPY a /a\n"),
        ("a", "1\n"),
    ]);
    repo.write("a", "2\n");
    repo.change("compose.yml", "services:\n  web: {image: acme/web}\n");
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().actions(), ["web recreate"]);
}

#[test]
fn who_depends_on_a_replaced_container_follows_it() {
    let compose = "services:
  db: {image: mongo, label_file: db.labels, volumes: ['./db.conf:/c']}
  web: {image: web, depends_on: {db: {condition: service_started, restart: true}}}
  api: {image: api, depends_on: {web: {condition: service_started, restart: true}}}
  job: {image: job, depends_on: [db]}
  copy: {image: copy, volumes_from: ['db:ro']}
";
    let repo = Repo::with(&[("compose.yml", compose), ("db.labels", "a=1\n"), ("db.conf", "1\n")]);
    repo.change("db.labels", "a=2\n");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert_eq!(detected.actions(), ["db recreate", "web restart", "api restart", "copy recreate"]);
    assert_eq!(detected.reasons("db"), ["label-file db.labels"]);
    assert_eq!(detected.reasons("web"), ["restarts-with:db db.labels"]);
    assert_eq!(detected.reasons("copy"), ["shared-volumes:db db.labels"]);
    repo.change("db.conf", "2\n");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert_eq!(detected.actions(), ["db restart", "web restart", "api restart"]);
}

#[test]
fn links_are_paths_and_lead_to_others() {
    let repo = Repo::with(&[
        ("compose.yml", "services:\n  web: {build: web, volumes: ['./conf:/conf']}\n"),
        ("web/Dockerfile", "FROM x\nCOPY src /src\n"),
        ("web/src/a", "1\n"),
        ("web/src/b", "1\n"),
        ("real/1/c", "1\n"),
        ("real/2/c", "2\n"),
    ]);
    let link = |target: &str, path: &str| {
        let _gone = std::fs::remove_file(repo.path().join(path));
        std::os::unix::fs::symlink(target, repo.path().join(path)).expect("link");
        repo.commit(path);
    };
    link("a", "web/src/link");
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().reasons("web"), ["dockerfile-copy web/src/link"]);
    link("b", "web/src/link");
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().actions(), ["web build"]);
    // A file in the place of a link of the same text.
    std::fs::remove_file(repo.path().join("web/src/link")).expect("removed");
    repo.change("web/src/link", "b");
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().actions(), ["web build"]);
    link("real/1", "conf");
    link("real/2", "conf");
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().reasons("web"), ["mounted-folder conf"]);
    repo.change("real/2/c", "3\n");
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().reasons("web"), ["mounted-folder real/2/c"]);
    repo.change("real/1/c", "3\n");
    assert!(repo.detect(&["--base", "HEAD~1"]).done().actions().is_empty());
}

#[test]
fn profiles_that_are_off_are_left_alone() {
    let compose = "services:\n  web: {build: .}\n  tools: {build: ., profiles: [tools]}\n";
    let files = [("docker-compose.yml", compose), ("Dockerfile", "FROM x\nCOPY f /\n"), ("f", "1")];
    let repo = Repo::with(&files);
    repo.change("f", "2");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert_eq!(detected.actions(), ["web build"]);
    assert_eq!(detected.reasons("tools"), ["profile-not-active"]);
    assert_eq!(repo.detect(&["--base", "HEAD~1", "--service", "tools"]).done().actions(), ["tools build"]);
}

#[test]
fn renames_modes_submodules_and_odd_names_are_seen() {
    let repo = Repo::shop();
    repo.git(&["mv", "web/src/index.js", "docs/index.js"]);
    repo.commit("rename");
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().actions(), ["web build"]);

    repo.git(&["update-index", "--chmod=+x", "api/main.py"]);
    repo.git(&["commit", "-q", "-m", "mode"]);
    repo.git(&["checkout", "-q", "."]);
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().actions(), ["api build"]);

    let commit = repo.git(&["rev-parse", "HEAD"]);
    repo.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{commit},worker/vendor")]);
    repo.git(&["commit", "-q", "-m", "submodule"]);
    assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().actions(), ["worker build"]);

    use std::os::unix::ffi::OsStrExt;
    let name = std::ffi::OsStr::from_bytes(b"caf\xe9.js");
    std::fs::create_dir_all(repo.path().join("web/src")).expect("directory");
    std::fs::write(repo.path().join("web/src").join(name), "x").expect("write");
    repo.git(&["add", "web"]);
    repo.git(&["commit", "-q", "-m", "bytes"]);
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert_eq!(detected.reasons("web"), ["dockerfile-copy \"web/src/caf\\351.js\""]);
}

#[test]
fn any_two_revisions_are_compared_without_a_checkout() {
    let repo = Repo::shop();
    let base = repo.git(&["rev-parse", "HEAD"]);
    let head = repo.change("web/src/index.js", "2\n");
    repo.change("lib/shared.py", "X = 3\n");
    repo.git(&["clone", "-q", "--bare", ".", "bare.git"]);
    let bare = repo.path().join("bare.git");
    let args = ["--repo", bare.to_str().expect("UTF-8"), "--base", &base, "--head", &head];
    let detected = repo.command(&args).current_dir("/").output().expect("runs");
    let document: serde_json::Value = serde_json::from_slice(&detected.stdout).expect("a document");
    assert_eq!(document["commit"], json!(head));
    assert_eq!(document["services"][0]["action"], json!("build"));
    assert_eq!(document["services"][1]["action"], json!("none"));
    let other = repo.detect(&[&args[..], &["--compose-file", "missing.yml"]].concat());
    assert_eq!(other.exit, 6);
    assert!(other.stderr.contains("cannot read the compose file missing.yml"), "{}", other.stderr);
}

#[test]
fn the_sample_platform_maps_each_directory_to_its_services() {
    let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/platform");
    let repo = Repo::empty();
    let copied =
        std::process::Command::new("cp").args(["-a", &format!("{sample}/."), "."]).current_dir(repo.path()).status();
    assert!(copied.expect("cp").success());
    repo.commit("first");
    for (path, wanted) in [
        ("apps/dashboard/templates/new.html", vec!["dashboard build"]),
        ("apps/docs/content/new.md", vec!["docs build"]),
        ("services/backend/curateme/gateway/new.py", vec!["backend-gateway build"]),
        ("services/backend/curateme/jobs/new.py", vec!["celery-worker build", "celery-beat build"]),
        ("services/runner/curateme_runner/new.py", vec!["runner-agent build"]),
        (
            "packages/common/curateme_common/new.py",
            vec![
                "backend-b2b build",
                "backend-gateway build",
                "celery-worker build",
                "celery-beat build",
                "runner-agent build",
            ],
        ),
        ("apps/dashboard/README.md", vec![]),
        ("Caddyfile", vec![]),
    ] {
        repo.change(path, "# new\n");
        assert_eq!(repo.detect(&["--base", "HEAD~1"]).done().actions(), wanted, "{path}");
    }
}
