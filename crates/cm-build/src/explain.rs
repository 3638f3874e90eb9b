//! A failure on a host, with the code and the cure of what Docker and the system said there;
//! what else is known of it stays in the hint.

use cm_core::{Exit, Failure};

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
    let more = failure.hint.as_deref().filter(|_| failure.code.starts_with("build.")).unwrap_or_default();
    let more = more.split_once("All of its log:").map(|(_, path)| format!(". All of its log:{path}"));
    let mut cured = cm_engine::cured(host, failure.clone());
    if cured.code != failure.code
        && let (Some(hint), Some(more)) = (&mut cured.hint, more)
    {
        hint.push_str(&more);
    }
    cured
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
