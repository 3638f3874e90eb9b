//! What the preflight says of backups before anything is done.

use crate::lab::Lab;
use serde_json::Value;
use std::process::{Command, Stdio};

const TOML: &str = "[[backup]]\nkind = \"mysql\"\nservice = \"app\"\ndatabase = \"shop\"\n[backup.copy]\n\
    command = [[\"cat\"], [\"no-such-program\", \"{name}\"]]\nremove = [\"no-such-remover\", \"{name}\"]\n\
    [[backup]]\nkind = \"redis\"\nservice = \"later\"\n\
    [[backup]]\nkind = \"command\"\nname = \"own\"\ncommand = [\"scripts/dump\"]\n";
const SERVICES: &str = "  app: {image: app}\n  later: {image: app}\n";

/// The findings with that code, a line each.
fn found(lab: &Lab, code: &str) -> Vec<String> {
    let answer = lab.databases.run("cm-health", &["--preflight"]);
    let document = answer.document();
    let findings = document["facts"]["health"]["preflight"]["findings"].as_array().cloned().unwrap_or_default();
    let of_code = findings.iter().filter(|finding| finding["code"] == code);
    let line = |finding: &Value| {
        let text = |key: &str| finding[key].as_str().unwrap_or_default().to_owned();
        format!("{}: {} ({})", text("weight"), text("message"), text("hint"))
    };
    of_code.map(line).collect()
}

#[test]
fn programs_that_backups_need_are_looked_for_before_anything_is_done() {
    let lab = Lab::new("pre", TOML, SERVICES, "");
    lab.databases.start("app", &[], &["files"], &["true"]);
    let missing = found(&lab, "backup");
    assert_eq!(missing.len(), 2, "{missing:?}");
    assert!(missing[0].starts_with("fail: there is no no-such-program on the host, which the copy"), "{missing:?}");
    assert!(missing[0].contains("~/.local/bin") && missing[1].contains("no-such-remover"), "{missing:?}");
    lab.databases.exec("app", &["sh", "-c", "rm -f /usr/bin/mariadb-dump /usr/bin/mysqldump"], "");
    let missing = found(&lab, "backup");
    let of_kind = "fail: there is no mariadb-dump or mysqldump in the container of app, which the backup of app needs";
    assert!(missing.len() == 3 && missing[0].starts_with(of_kind), "{missing:?}");
    lab.databases.configure(
        &TOML.replace("[\"cat\"]", "[\"true\"]").replace("remove =", "on_failure = \"warn\"\nremove ="),
        SERVICES,
    );
    assert!(found(&lab, "backup")[1].starts_with("warn: "));

    // Who was stopped by a backup that died is named, with the way up.
    let container = lab.databases.container("app");
    assert_eq!(found(&lab, "stopped"), [""; 0]);
    let docker =
        |words: &[&str]| Command::new("docker").args(words).stderr(Stdio::null()).output().expect("docker").stdout;
    let id = docker(&["inspect", "--format", "{{.Id}}", &container]);
    let directory = lab.databases.home.path().join(".local/state/cm/shop/stopped");
    std::fs::create_dir_all(&directory).expect("made");
    std::fs::write(directory.join("uploads"), id).expect("written");
    assert_eq!(found(&lab, "stopped"), [""; 0], "it runs");
    docker(&["stop", "--time", "1", &container]);
    let stopped = found(&lab, "stopped");
    assert!(stopped.len() == 1 && stopped[0].contains(&format!("docker start {container}")), "{stopped:?}");
}
