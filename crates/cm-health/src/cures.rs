//! What to do about a service that is not healthy, by why it is not.

use cm_core::codes;
use cm_gate::Verdict;

/// By the verdict's code. Of a process that ended by itself, its exit status says more.
const CURES: [(&str, &str); 14] = [
    (
        "oom-killed",
        "give it more memory (mem_limit, deploy.resources.limits.memory), or make room: `docker stats --no-stream` there",
    ),
    ("unhealthy", "run its healthcheck by hand in the container; one that only needs longer wants a start_period"),
    ("check-failed", "run its healthcheck by hand in the container; one that only needs longer wants a start_period"),
    (
        "starting",
        "if it only needs longer, give its healthcheck a start_period, or `timeout` under [health] in cm.toml",
    ),
    ("no-answer", "does it listen on 0.0.0.0 rather than 127.0.0.1, and on the port that `probe` in cm.toml names?"),
    ("created", "`docker start CONTAINER` there says why it does not start"),
    ("missing", "`docker compose ps -a` there shows what is there; deploy it again"),
    ("paused", "`docker unpause CONTAINER` there; who paused it?"),
    ("dead", "`docker rm -f CONTAINER` there; if that fails, the engine's log says why"),
    ("wrong-image", "somebody else built or started it meanwhile; deploy it again"),
    ("replaced", "somebody else replaced it meanwhile; find out who, then deploy it again"),
    (
        "not-finished",
        "a job that takes longer wants a longer `timeout`; a service that stays wants `restart: unless-stopped`",
    ),
    ("restarted", "its process ended and was started again: the last lines of its log say why"),
    ("not-running", "`docker inspect CONTAINER` there shows its state"),
];

/// What the exit status of a process says, as Docker and shells use it.
const STATUSES: [(i64, &str); 5] = [
    (126, "its command cannot be executed: the file's mode, or its first line, is wrong in the image"),
    (127, "its command is not in the image: look at `entrypoint` and `command`"),
    (137, "it was killed from outside: by `docker kill`, or for want of memory of the host (`dmesg`)"),
    (139, "it crashed (segmentation fault): an image for another platform, or a broken library"),
    (143, "it was asked to end (SIGTERM): by whom?"),
];

/// What the last words of a process can be about; of hosts and logins a service speaks for itself.
const OF_A_PROCESS: [&str; 8] = [
    "build.disk-full",
    "build.no-address",
    "build.no-command",
    "build.not-executable",
    "build.out-of-memory",
    "build.platform",
    "build.port-in-use",
    "build.quota",
];

/// Whether a shell, or Docker, has not found the program of a health check.
fn has_no_program(line: &str) -> bool {
    let by_shell = ["/bin/sh: ", "sh: ", "/bin/bash: ", "bash: "].iter().any(|shell| line.starts_with(shell));
    let by_docker = line.starts_with("OCI runtime exec failed");
    let of_docker = ["executable file not found in $PATH", "no such file or directory: unknown"];
    (by_shell && line.trim_end().ends_with("not found"))
        || (by_docker && of_docker.iter().any(|words| line.contains(words)))
}

/// What to do about a health check that was not run, by what was said in its place.
fn of_a_check(said: &str) -> Option<String> {
    if said.lines().any(has_no_program) {
        let cure = "the image has no such program as its health check runs: put it there, or let the check run one that it has";
        return Some(cure.to_owned());
    }
    cm_engine::code_of(said).filter(|code| ["build.disk-full", "build.quota"].contains(code)).and_then(codes::cure)
}

/// What to do, in one line; `own` is what the engine has to say of this code.
pub fn cure(verdict: &Verdict, own: Option<&str>) -> String {
    let known = |said: &str| cm_engine::code_of(said).filter(|code| OF_A_PROCESS.contains(code)).and_then(codes::cure);
    let known = known(&verdict.log_tail.join("\n"));
    let check = verdict.health_output.as_deref().and_then(of_a_check);
    let ended = ["exited", "restarting", "restarted"].contains(&verdict.code.as_str());
    let status = verdict.exit_code.filter(|_| ended);
    let status = STATUSES.iter().find(|(code, _)| Some(*code) == status).map(|(_, cure)| *cure);
    let by_code = CURES.iter().find(|(code, _)| *code == verdict.code).map(|(_, cure)| *cure);
    let cure = status
        .or(known.as_deref())
        .or(check.as_deref())
        .or(own)
        .or(by_code)
        .unwrap_or("fix what its last lines say: `docker logs` there has all of them");
    match &verdict.container {
        Some(container) => cure.replace("CONTAINER", container),
        None => cure.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::cure;
    use cm_gate::{State, Verdict};

    #[test]
    fn every_way_to_be_unhealthy_has_something_to_do() {
        let no_room = "OCI runtime exec failed: write /tmp/runc-process34: no space left on device: unknown";
        let no_program = r#"OCI runtime exec failed: exec failed: unable to start container process: exec: "curl": executable file not found in $PATH: unknown"#;
        for (code, exit_code, log, checked, words) in [
            ("exited", Some(127), "", "", "not in the image"),
            ("restarting", Some(1), "listen tcp :80: bind: address already in use", "", "ss -ltnp"),
            ("exited", Some(1), "ValueError", "", "docker logs"),
            ("oom-killed", Some(137), "", "", "more memory"),
            ("unhealthy", Some(0), "", "", "run its healthcheck by hand"),
            ("unhealthy", Some(0), "", "connection refused", "run its healthcheck by hand"),
            ("unhealthy", Some(0), "", "404: not found", "run its healthcheck by hand"),
            ("check-failed", Some(0), "", no_room, "docker system df"),
            ("unhealthy", Some(0), "", no_program, "no such program"),
            ("unhealthy", Some(0), "", "/bin/sh: 1: curl: not found", "no such program"),
            ("paused", None, "", "", "docker unpause shop-web"),
            ("something new", None, "", "", "docker logs"),
        ] {
            let verdict = Verdict {
                service: "web".to_owned(),
                host: "one".to_owned(),
                state: State::Unhealthy,
                code: code.to_owned(),
                message: "is not".to_owned(),
                container: Some("shop-web".to_owned()),
                exit_code,
                health_output: Some(checked.to_owned()).filter(|said| !said.is_empty()),
                log_tail: vec![log.to_owned()],
                readings: 1,
                waited_ms: 1,
                timeline: Vec::new(),
            };
            assert!(cure(&verdict, None).contains(words), "{code}: {}", cure(&verdict, None));
        }
    }
}
