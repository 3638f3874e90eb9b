//! What surrounds a deployment: the working tree, branches, Python, bad input.

use crate::repo::Repo;
use serde_json::json;

#[test]
fn uncommitted_changes_are_told_with_the_services_they_miss() {
    let repo = Repo::shop();
    repo.write("web/src/index.js", "changed\n");
    repo.write("lib/untracked.py", "X = (\n");
    let detected = repo.detect(&["--base", "HEAD"]).done();
    assert!(detected.actions().is_empty());
    let dirty = &detected.facts()["dirty"];
    assert_eq!(dirty["files"], json!(["lib/untracked.py", "web/src/index.js"]));
    assert_eq!((&dirty["count"], &dirty["services"]), (&json!(2), &json!(["api", "web", "worker"])));
    assert!(
        detected.stderr.contains("[WARN] uncommitted changes are not deployed (2 files: lib/untracked.py"),
        "{}",
        detected.stderr
    );
    assert_eq!(detected.document["stages"][0]["status"], json!("warned"));
}

#[test]
fn a_dockerfile_that_the_commit_lacks_is_told() {
    let repo = Repo::shop();
    repo.git(&["mv", "web/Dockerfile", "web/Dockerfile.old"]);
    repo.git(&["commit", "-qm", "renamed"]);
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert!(
        detected.stderr.contains("[WARN] web: its Dockerfile web/Dockerfile is not in the commit"),
        "{}",
        detected.stderr
    );
}

#[test]
fn another_branch_is_told_and_head_is_deployed() {
    let repo = Repo::shop();
    repo.git(&["checkout", "-q", "-b", "feature"]);
    let head = repo.change("web/src/index.js", "2\n");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert_eq!((&detected.document["commit"], &detected.document["branch"]), (&json!(head), &json!("develop")));
    assert!(detected.stderr.contains("[WARN] you are on branch feature, not on develop"), "{}", detected.stderr);
    repo.git(&["checkout", "-q", "--detach"]);
    let detached = repo.detect(&["--base", "HEAD~1"]).done();
    assert!(detached.stderr.contains("HEAD is detached"), "{}", detached.stderr);
}

#[test]
fn a_branch_that_is_asked_for_is_deployed_from_its_tip() {
    let repo = Repo::shop();
    let develop = repo.git(&["rev-parse", "HEAD"]);
    repo.git(&["checkout", "-q", "-b", "feature"]);
    let feature = repo.change("web/src/index.js", "2\n");
    let detected = repo.detect(&["--base", &develop, "--branch", "develop"]).done();
    assert_eq!(detected.document["commit"], json!(develop));
    repo.git(&["checkout", "-q", "develop"]);
    let detected = repo.detect(&["--base", &develop, "--branch", "feature"]).done();
    assert_eq!((&detected.document["commit"], &detected.document["branch"]), (&json!(feature), &json!("feature")));
    assert_eq!(detected.actions(), ["web build"]);
    let output = repo.command(&["--base", &develop]).env("CM_BRANCH", "feature").output().expect("runs");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!((&document["commit"], &document["branch"]), (&json!(feature), &json!("feature")));
    repo.git(&["update-ref", "refs/remotes/origin/theirs", &feature]);
    let remote = repo.detect(&["--base", &develop, "--branch", "theirs"]).done();
    assert_eq!(remote.document["commit"], json!(feature));
    repo.git(&["tag", "v1"]);
    let tag = repo.detect(&["--base", &develop, "--branch", "v1"]);
    assert!(tag.exit == 2 && tag.stderr.contains("cm-detect --head v1"), "{}", tag.stderr);
    let unknown = repo.detect(&["--base", &develop, "--branch", "feture"]);
    assert_eq!(unknown.exit, 2);
    assert!(unknown.stderr.contains("did you mean \"feature\"?"), "{}", unknown.stderr);
}

#[test]
fn what_was_pushed_is_deployed_when_that_is_asked_for() {
    let repo = Repo::shop();
    let pushed = repo.git(&["rev-parse", "HEAD"]);
    repo.git(&["update-ref", "refs/remotes/origin/develop", &pushed]);
    repo.change("web/src/index.js", "2\n");
    let detected = repo.detect(&["--base", &pushed, "--pushed"]).done();
    assert_eq!(detected.document["commit"], json!(pushed));
    let local = repo.detect(&["--base", &pushed]).done();
    assert_eq!(local.facts()["unpushed"], json!(1));
    let none = repo.detect(&["--base", &pushed, "--pushed", "--branch", "other"]);
    assert_eq!((none.exit, &none.document["error"]["code"]), (20, &json!("detect.not-pushed")));
}

#[test]
fn a_diverged_branch_and_an_unfinished_merge_are_told() {
    let repo = Repo::shop();
    let first = repo.git(&["rev-parse", "HEAD"]);
    let theirs = repo.change("docs/notes.md", "theirs\n");
    repo.git(&["update-ref", "refs/remotes/origin/develop", &theirs]);
    repo.git(&["reset", "-q", "--hard", &first]);
    repo.change("docs/notes.md", "ours\n");
    std::fs::write(repo.path().join(".git/MERGE_HEAD"), format!("{theirs}\n")).expect("write");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert!(detected.stderr.contains("origin/develop has 1 commit that"), "{}", detected.stderr);
    assert!(detected.stderr.contains("a merge is in progress"), "{}", detected.stderr);
}

#[test]
fn names_that_are_no_branch_are_refused() {
    let repo = Repo::shop();
    for name in ["--upload-pack=x", "$(id)", "a b", "a;b", "../x"] {
        let detected = repo.detect(&["--base", "HEAD", &format!("--branch={name}")]);
        assert_eq!(detected.exit, 2, "{name}: {}", detected.stderr);
    }
    let revision = repo.detect(&["--base=--output=x"]);
    assert_eq!(revision.exit, 2, "{}", revision.stderr);
}

#[test]
fn a_python_file_that_does_not_compile_stops_the_deploy() {
    let repo = Repo::shop();
    repo.change("api/main.py", "def f():\n    return (\n\nx = = 1\n");
    let detected = repo.detect(&["--base", "HEAD~1"]);
    assert_eq!(detected.exit, 20, "{}", detected.stderr);
    let error = &detected.document["error"];
    assert_eq!(error["code"], json!("detect.python-syntax"));
    assert!(error["message"].as_str().expect("text").contains("api/main.py:2:"), "{error}");
    assert!(error["hint"].as_str().expect("text").contains("--skip-syntax-check"), "{error}");
    assert_eq!(detected.document["status"], json!("failed"));
    let skipped = repo.detect(&["--base", "HEAD~1", "--skip-syntax-check"]).done();
    assert_eq!(skipped.actions(), ["api build"]);
}

#[test]
fn python_is_judged_as_committed_and_only_where_it_is_used() {
    let repo = Repo::shop();
    repo.write("docs/broken.py", "def (\n");
    repo.change("api/main.py", "# -*- coding: latin-1 -*-\nX = 1\n");
    repo.write("api/main.py", "def (\n");
    let detected = repo.detect(&["--base", "HEAD~1"]).done();
    assert!(
        detected.stderr.contains("[WARN] no service that changes uses it, but docs/broken.py:1:"),
        "{}",
        detected.stderr
    );
    assert!(detected.stderr.contains("syntax of 1 changed Python file OK (Python 3"), "{}", detected.stderr);
}

#[test]
fn every_python_file_of_a_service_that_never_ran_is_checked() {
    let repo = Repo::shop();
    repo.write("api/Dockerfile", "FROM python\nCOPY api /api\n");
    repo.change("lib/shared.py", "def (\n");
    // Of what --base does not know, all counts as changed: the library is in the worker's image.
    let detected = repo.detect(&["--base", "nowhere", "--on-unknown-base", "all"]);
    assert_eq!(detected.exit, 20, "{}", detected.stderr);
    let web = repo.detect(&["--base", "nowhere", "--on-unknown-base", "all", "--service", "api"]).done();
    assert_eq!(web.actions(), ["api build"]);
}

#[test]
fn a_machine_without_python_says_that_nothing_was_checked() {
    let repo = Repo::shop();
    repo.change("api/main.py", "def (\n");
    let output = repo.command(&["--base", "HEAD~1"]).env("PATH", "/nonexistent").output().expect("runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert!(
        stderr.contains("[WARN] the syntax of 1 changed Python file was NOT checked: there is no python3"),
        "{stderr}"
    );
}

#[test]
fn explain_is_text() {
    let repo = Repo::shop();
    repo.change("lib/shared.py", "X = 2\n");
    let detected = repo.detect(&["--base", "HEAD~1", "--explain", "api"]).done();
    for wanted in [
        "api on main: build its image and replace its container",
        "    lib/shared.py: a COPY in the Dockerfile takes it",
        "    api/Dockerfile (dockerfile)",
        "    lib (dockerfile-copy)",
        "    api.env (env-file)",
    ] {
        assert!(detected.stdout.contains(wanted), "{wanted:?} in\n{}", detected.stdout);
    }
    assert_eq!(repo.detect(&["--base", "HEAD", "--explain", "apii"]).exit, 2);
}

#[test]
fn without_a_compose_file_it_says_how_to_name_one() {
    let repo = Repo::with(&[("cm.toml", "project = \"x\"\n"), ("a", "1\n")]);
    for args in [&["--base", "HEAD"][..], &["--base", "HEAD", "--repo", "."]] {
        let detected = repo.detect(args);
        let error = &detected.document["error"];
        assert_eq!((detected.exit, &error["code"]), (6, &json!("compose.no-file")), "{}", detected.stderr);
        assert!(error["hint"].as_str().expect("a hint").contains("--compose-file"), "{error}");
    }
}

#[test]
fn bad_input_has_its_exit_code_and_a_hint() {
    let repo = Repo::shop();
    let outside = repo.command(&["--base", "HEAD"]).current_dir(repo.home()).output().expect("runs");
    assert_eq!(outside.status.code(), Some(6), "{}", String::from_utf8_lossy(&outside.stderr));

    std::fs::write(repo.home().join("compose.yml"), "services:\n  a: {image: b}\n").expect("write");
    let no_repository = repo.command(&["--base", "HEAD"]).current_dir(repo.home()).output().expect("runs");
    assert_eq!(no_repository.status.code(), Some(20), "{}", String::from_utf8_lossy(&no_repository.stderr));

    let empty = Repo::empty();
    empty.write("compose.yml", "services:\n  a: {image: b}\n");
    let detected = empty.detect(&["--base", "HEAD"]);
    assert_eq!((detected.exit, &detected.document["error"]["code"]), (20, &json!("detect.no-commits")));

    for (path, text, exit, wanted) in [
        ("docker-compose.yml", "services:\n  web: [\n", 6, "docker-compose.yml:"),
        ("web/Dockerfile", "FROM x\nCOPPY a b\n", 6, "web/Dockerfile:2:1: unknown instruction"),
        ("cm.toml", "projct = \"x\"\n", 6, "cm.toml:1:1: unknown key"),
        ("cm.toml", "[groups]\nfront = [\"wbe\"]\n", 6, "cm.toml:2:10: there is no service \"wbe\""),
    ] {
        let repo = Repo::shop();
        repo.change(path, text);
        let detected = repo.detect(&["--base", "HEAD~1"]);
        assert_eq!(detected.exit, exit, "{}", detected.stderr);
        assert!(detected.stderr.contains(wanted), "{}", detected.stderr);
        assert!(detected.stderr.contains('^'), "{}", detected.stderr);
    }
}

#[test]
fn without_hosts_and_without_a_base_it_says_what_to_do() {
    let repo = Repo::with(&[("compose.yml", "services:\n  a: {image: b}\n")]);
    let detected = repo.detect(&[]);
    assert_eq!((detected.exit, &detected.document["error"]["code"]), (6, &json!("config.no-host")));
    assert!(detected.stderr.contains("--host user@server"), "{}", detected.stderr);
    let local = repo.detect(&["--host", "here=local"]).done();
    assert_eq!(local.actions(), ["a recreate"]);
    assert_eq!(local.document["services"][0]["host"], json!("here"));
}

#[test]
fn the_repository_is_only_read() {
    let repo = Repo::shop();
    repo.change("web/src/index.js", "2\n");
    repo.write("web/src/index.js", "3\n");
    let listing = || {
        let output = std::process::Command::new("find")
            .args([".", "-printf", "%p %s %T@ %i\n"])
            .current_dir(repo.path())
            .output();
        String::from_utf8_lossy(&output.expect("find").stdout).into_owned()
    };
    let before = listing();
    repo.detect(&["--base", "HEAD~1"]).done();
    assert_eq!(listing(), before);
}

#[test]
fn worktrees_and_directories_kept_elsewhere_work() {
    let repo = Repo::shop();
    repo.change("web/src/index.js", "2\n");
    repo.git(&["worktree", "add", "-q", "--detach", "../tree"]);
    // `.git` is a file in both.
    repo.git(&["clone", "-q", "--separate-git-dir", "../kept", ".", "../apart"]);
    for directory in ["../tree/web", "../apart/web"] {
        let output =
            repo.command(&["--base", "HEAD~1"]).current_dir(repo.path().join(directory)).output().expect("runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
        assert_eq!(document["services"][0]["action"], json!("build"), "{directory}: {stderr}");
        assert_eq!(document["facts"]["detect"]["dirty"]["count"], json!(0), "{directory}: {stderr}");
    }
    std::fs::write(repo.path().join("../tree/web/src/index.js"), "3\n").expect("write");
    let output = repo.command(&["--base", "HEAD"]).current_dir(repo.path().join("../tree")).output().expect("runs");
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!(document["facts"]["detect"]["dirty"]["files"], json!(["web/src/index.js"]));
}

#[test]
fn a_submodule_counts_by_its_commit_and_its_working_tree_is_looked_at() {
    let repo = Repo::shop();
    let other = Repo::with(&[("f", "1\n")]);
    let source = format!("file://{}", other.path().display());
    repo.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &source, "worker/vendor"]);
    repo.commit("submodule");
    let added = repo.detect(&["--base", "HEAD~1"]).done();
    assert_eq!(added.actions(), ["worker build"]);
    assert_eq!(added.facts()["dirty"]["count"], json!(0), "{}", added.stderr);
    repo.write("worker/vendor/f", "2\n");
    let dirty = repo.detect(&["--base", "HEAD"]).done();
    assert_eq!(dirty.facts()["dirty"]["files"], json!(["worker/vendor"]));
    assert_eq!(dirty.facts()["dirty"]["services"], json!(["worker"]));
    assert!(dirty.actions().is_empty());
}

#[test]
fn a_pushed_branch_decides_nothing_about_this_machine() {
    let repo = Repo::shop();
    let refused = |code: &str, command: &mut std::process::Command| {
        let output = command.output().expect("runs");
        let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a document");
        assert_eq!(document["error"]["code"], json!(code), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    refused("config.local-host", repo.command(&[]).env_remove("CM_ALLOW_LOCAL"));
    repo.change("cm.toml", "[hosts.main]\naddress = \"x@${AWS_SECRET_ACCESS_KEY}.example.org\"\n");
    let mut command = repo.command(&[]);
    let said = refused("config.variable-not-allowed", command.env("AWS_SECRET_ACCESS_KEY", "planted-secret"));
    assert!(!said.contains("planted-secret") && said.contains("CM_ALLOW_ENV=AWS_SECRET_ACCESS_KEY"), "{said}");
    std::fs::write(repo.home().join("private"), "the line of a private file\n").expect("write");
    std::fs::remove_file(repo.path().join("cm.toml")).expect("remove");
    std::os::unix::fs::symlink("../home/private", repo.path().join("cm.toml")).expect("a link");
    let said = refused("config.unreadable", &mut repo.command(&[]));
    assert!(!said.contains("the line of"), "{said}");
}

#[test]
fn files_that_bring_each_other_in_end_somewhere() {
    let includes = |next: usize| format!("include: [c{next}.yml, d{next}.yml]\n");
    let mut files = vec![("compose.yml".to_owned(), includes(0))];
    for level in 0..30 {
        for name in ["c", "d"] {
            files.push((format!("{name}{level}.yml"), includes(level + 1)));
        }
    }
    files.extend(["c30.yml", "d30.yml"].map(|name| (name.to_owned(), "services: {}\n".to_owned())));
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let detected = Repo::with(&files).detect(&["--base", "HEAD"]);
    assert_eq!(detected.document["error"]["code"], json!("compose.too-large"), "{}", detected.stderr);
}
