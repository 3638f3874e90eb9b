//! What Docker and the system say when a host itself is in the way, told apart from a
//! release that is wrong: with a code and a hint of its own.

use cm_core::{Exit, Failure};

/// What is said, lower case; the code; what to do, with `HOST` in it.
const KNOWN: [(&str, &str, &str); 6] = [
    (
        "no space left on device",
        "build.disk-full",
        "make room on HOST: `docker system df` there says what takes it, `cm-build prune </dev/null` removes old images; then deploy again",
    ),
    (
        "port is already allocated",
        "build.port-in-use",
        "on HOST: `docker ps` and `ss -ltnp` show who has the port; stop it, or publish another one",
    ),
    (
        "address already in use",
        "build.port-in-use",
        "on HOST: `ss -ltnp` shows who has the address; stop it, or publish another one",
    ),
    (
        "permission denied while trying to connect",
        "engine.permission",
        "on HOST, as root: `usermod -aG docker USER` for the deploy user, and log in again",
    ),
    (
        "cannot connect to the docker daemon",
        "engine.down",
        "on HOST: `systemctl status docker`; start it, then deploy again",
    ),
    (
        "failed to connect to the docker api",
        "engine.down",
        "on HOST: `systemctl status docker`; start it, then deploy again",
    ),
];

/// The failure with the code and the hint of what was known about it. An engine that does
/// not answer keeps a host from being built on; whether anything is healthy was not asked.
pub fn explain(host: &str, failure: Failure) -> Failure {
    let failure = match failure.exit {
        Exit::HealthUnknown if failure.code.starts_with("engine.") => Failure { exit: Exit::Build, ..failure },
        _ => failure,
    };
    if !matches!(failure.exit, Exit::Build | Exit::Config) {
        return failure;
    }
    let said = failure.to_string().to_lowercase();
    match KNOWN.iter().find(|(words, ..)| said.contains(words)) {
        None => failure,
        Some((_, code, hint)) => {
            let more = failure.hint.as_deref().filter(|_| failure.code.starts_with("build.")).unwrap_or_default();
            let more = more.split_once("All of its log:").map(|(_, path)| format!(". All of its log:{path}"));
            let hint = format!("{}{}", hint.replace("HOST", host), more.unwrap_or_default());
            Failure { code: (*code).to_owned(), ..failure }.hint(hint)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::explain;
    use cm_core::{Exit, Failure};

    #[test]
    fn what_is_wrong_with_the_host_has_a_code_of_its_own() {
        let cases = [
            ("write /x: no space left on device", "build.disk-full"),
            ("Bind for 0.0.0.0:80 failed: port is already allocated", "build.port-in-use"),
            ("permission denied while trying to connect to the Docker daemon socket", "engine.permission"),
            ("Cannot connect to the Docker daemon at unix:///var/run/docker.sock.", "engine.down"),
            ("exit code: 1", "build.up"),
        ];
        for (said, code) in cases {
            let failure = explain("web", Failure::new(Exit::Build, "build.up", "it failed").cause(said));
            assert_eq!(failure.code, code, "{said}");
            assert!(failure.hint.is_none_or(|hint| hint.contains("web")), "{said}");
        }
    }

    #[test]
    fn an_engine_that_is_down_is_no_word_about_health() {
        let failure = Failure::new(Exit::HealthUnknown, "engine.unreachable", "no answer");
        assert_eq!(explain("web", failure).exit, Exit::Build);
    }
}
