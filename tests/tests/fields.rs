//! Losing a field never turns a no into a yes. The documents are those of a real deployment; the no is a real one: a release that
//! dies, a check that fails, a lock that somebody else holds, a database that is not there. Each program reads the
//! document once for each field that can be taken out of it, and must never say that all is well.
//!
//! `CM_FIELDS=all` takes every field out for every program; without it those that ask a server get a sample.

#![expect(clippy::print_stdout, reason = "a long test tells where it is, and its numbers")]

use cm_testkit::{Answer, Sandbox};
use serde_json::Value;

const DASHBOARD: &str = "apps/dashboard/server.py";
const LOCK: &str = ".local/state/cm/curateme/lock.json";
const ANOTHERS: &str = r#"{"schema":"cm.lock/1","owner":"bob@desk","nonce":"00000000-0000-7000-8000-000000000000","since":"2026-01-01T00:00:00Z","lease_seconds":3600,"process":{"machine":"desk","boot_id":"another","pid_namespace":1,"pid":1,"start":1}}"#;

/// Every path to a value in `value`, but for the entries of long lists of numbers.
fn paths(value: &Value, at: &str, all: &mut Vec<String>) {
    let below: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(list) => {
            list.iter().take(5).enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => Vec::new(),
    };
    for (key, value) in below {
        let path = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
        paths(value, &path, all);
        all.push(path);
    }
}

fn without(whole: &Value, path: &str) -> String {
    let mut value = whole.clone();
    let (parent, key) = path.rsplit_once('/').expect("a path");
    match value.pointer_mut(parent).expect("its parent") {
        Value::Object(map) => drop(map.shift_remove(&key.replace("~1", "/").replace("~0", "~"))),
        Value::Array(list) => drop(list.remove(key.parse().expect("an index"))),
        _ => unreachable!("{path}"),
    }
    value.to_string()
}

struct World {
    sandbox: Sandbox,
    tried: usize,
    wrong: Vec<String>,
}

impl World {
    fn up() -> World {
        let sandbox = Sandbox::up("fields");
        sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
        let checks = "[[verify.checks]]\nname = \"Nobody\"\nurl = \"http://127.0.0.1:9/\"\nstatus = 200\nservice = \"dashboard\"\n\n[backup]";
        sandbox.change("cm.toml", "[backup]", checks, "a check that fails");
        let answer = sandbox.laptop("bash", &["-c", "git push -q origin HEAD:develop"]);
        assert_eq!(answer.code, 0, "{answer:?}");
        World { sandbox, tried: 0, wrong: Vec::new() }
    }

    fn on(&self, script: &str, arguments: &[&str]) -> String {
        self.sandbox.server("platform", &[&["sh", "-c", script, "sh"], arguments].concat())
    }

    fn call(&self, line: &str, input: Option<&str>) -> Answer {
        let laptop = self.sandbox.laptop.display().to_string();
        self.sandbox.home.run("bash", &["-c", line], &laptop, input.map(str::as_bytes))
    }

    /// `line` says no to `whole`, and to what is left of it without any one field; `is_yes` tells a yes.
    fn deny(&mut self, line: &str, whole: &Value, sample: usize, is_yes: impl Fn(&Answer) -> bool) {
        let first = self.call(line, Some(&whole.to_string()));
        assert!(!is_yes(&first), "{line} says no to the whole document: {first:?}");
        let mut all = Vec::new();
        paths(whole, "", &mut all);
        let step = if std::env::var_os("CM_FIELDS").is_some() { 1 } else { all.len().div_ceil(sample).max(1) };
        let before = self.tried;
        for path in all.iter().step_by(step) {
            let answer = self.call(line, Some(&without(whole, path)));
            self.tried += 1;
            assert!(![1, 101].contains(&answer.code), "{line} without {path}: {answer:?}");
            if is_yes(&answer) {
                self.wrong.push(format!("{line} without {path}: exit {}: {}", answer.code, answer.stderr));
            }
        }
        println!("--- {line} (exit {}): {} of {} fields", first.code, self.tried - before, all.len());
    }
}

fn is_done(answer: &Answer) -> bool {
    answer.code == 0
}

#[test]
fn losing_a_field_never_turns_a_no_into_a_yes() {
    let mut world = World::up();
    let good = world.call("set -o pipefail; cm-build --service dashboard </dev/null | cm-health | cm-record", None);
    assert_eq!(good.code, 0, "{}", good.stderr);
    let healthy = good.document();
    world.deny("cm-verify --skip-canary", &healthy, 15, is_done);

    let at = "\nSERVICE = ";
    world.sandbox.change(DASHBOARD, at, &format!("\nraise SystemExit(3)\n{at}"), "dashboard: dies");
    let plan = world.call("git push -q origin HEAD:develop && cm-detect --service dashboard </dev/null", None);
    assert_eq!(plan.code, 0, "{}", plan.stderr);

    // Nothing is changed under somebody else's lock.
    world.on("printf '%s\\n' \"$2\" >\"$1\"", &[LOCK, ANOTHERS]);
    world.deny("cm-lock", &plan.document(), 4, is_done);
    world.deny("cm-build", &plan.document(), 6, |answer| answer.code == 0 && !answer.stderr.contains("nothing"));
    assert_eq!(world.on("cat \"$1\"; rm -f \"$1\"", &[LOCK]), ANOTHERS);
    // A database that is there and does not run is not one that was never started.
    let compose = "cd platform && docker compose -f docker-compose.production.yml --env-file .env.production";
    world.on(&format!("{compose} create mongodb"), &[]);
    world.deny("cm-backup", &plan.document(), 4, is_done);
    world.on(&format!("{compose} rm -f mongodb"), &[]);

    let built = world.call("cm-build", Some(&plan.stdout));
    assert_eq!(built.code, 0, "{}", built.stderr);
    world.deny("cm-health --timeout 8s", &built.document(), 6, is_done);
    let failed = world.call("cm-health --timeout 8s", Some(&built.stdout));
    assert_eq!(failed.code, 40, "{}", failed.stderr);
    let failed = failed.document();
    for line in
        ["cm-detect", "cm-backup", "cm-build", "cm-health", "cm-verify", "cm-lock", "cm-build push", "cm-build prune"]
    {
        world.deny(line, &failed, 10, is_done);
    }
    // It would roll back, or says why it cannot; never that there is nothing to do.
    let says_nothing =
        |answer: &Answer| answer.code == 0 && !answer.stderr.contains("rolling back on platform: dashboard");
    world.deny("cm-rollback --on-failure --dry-run", &failed, 8, says_nothing);
    // What failed is never recorded, told or shown as a success.
    let succeeded = |answer: &Answer| {
        answer.code == 0
            && !["failed", "rolled back", "would"].iter().any(|word| answer.stderr.to_lowercase().contains(word))
    };
    world.deny("cm-record", &failed, 5, succeeded);
    let history = world.call("cm-record history --json", None);
    let records: Value = serde_json::from_str(&history.stdout).expect("JSON");
    let of_run =
        records["platform"].as_array().expect("records").iter().find(|record| record["id"] == failed["run"]["id"]);
    assert_eq!(of_run.expect("recorded")["verdict"], "failed", "{records:#}");
    assert!(world.wrong.is_empty(), "{}", world.wrong.join("\n\n"));
    println!("{} documents without a field: 0 became a yes", world.tried);
}
