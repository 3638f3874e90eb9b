//! A commit whose compose file needs a key that a server's env file does not have: it is
//! said before anything is changed, by name, and no value is said at all.

use cm_testkit::{Answer, Sandbox};

const COMPOSE: &str = "docker-compose.production.yml";

fn deploy(sandbox: &Sandbox, flags: &str) -> Answer {
    let line = format!(
        "set -o pipefail; git push -q origin HEAD:develop && cm-detect --group docs {flags} </dev/null | cm-build {flags}"
    );
    sandbox.laptop("bash", &["-c", &line])
}

/// What a deployment of the docs would change: the checkout, the containers, the images.
fn state(sandbox: &Sandbox) -> String {
    let line = "cd ~/platform && git rev-parse HEAD && git status --porcelain && sha256sum .env.production \
                && docker ps -a --no-trunc --format '{{.ID}} {{.Image}}' && docker image ls --no-trunc -q | sort";
    sandbox.server("platform", &["sh", "-c", line])
}

/// The values of the server's env file that are long enough to be told from other words.
fn values(sandbox: &Sandbox) -> Vec<String> {
    let text = sandbox.server("platform", &["sh", "-c", "cat ~/platform/.env.production"]);
    let values = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
    values.map(|(_, value)| value.trim().to_owned()).filter(|value| value.len() > 8).collect()
}

#[test]
fn a_key_that_a_server_lacks_stops_the_deployment_before_it_begins() {
    let sandbox = Sandbox::up("envkeys");
    sandbox.change("cm.toml", "window = \"10s\"", "window = \"2s\"", "a shorter window");
    let pushed = sandbox.laptop("git", &["push", "-q", "origin", "HEAD:develop"]);
    assert_eq!(pushed.code, 0, "{pushed:?}");
    let first = sandbox.laptop("cm-build", &["--service", "docs"]);
    assert_eq!(first.code, 0, "{}", first.stderr);
    let append = "printf 'OTHER_KEY=a-value-nobody-may-see\\n' >> ~/platform/.env.production";
    sandbox.server("platform", &["sh", "-c", append]);
    let (before, values) = (state(&sandbox), values(&sandbox));
    assert!(values.contains(&"a-value-nobody-may-see".to_owned()), "{}", values.len());

    let from = "      PORT: \"8080\"\n";
    sandbox.change(COMPOSE, from, "      PORT: \"8080\"\n      NEW: ${NEW_KEY:?set it}\n", "docs: a new key");
    for flags in ["--dry-run", ""] {
        let answer = deploy(&sandbox, flags);
        assert_eq!(answer.code, 30, "{flags}: {}", answer.stderr);
        let document = answer.document();
        assert_eq!(document["error"]["code"], "build.env-keys", "{flags}");
        let text = format!("{}{document}", answer.stderr);
        for word in ["platform", ".env.production", "NEW_KEY", "docs", COMPOSE] {
            assert!(text.contains(word), "{word}: {text}");
        }
        assert!(values.iter().all(|value| !text.contains(value)), "a value is said");
        assert_eq!(state(&sandbox), before, "{flags}: nothing was changed");
    }

    sandbox.server("platform", &["sh", "-c", "echo NEW_KEY=now-it-is-there >> ~/platform/.env.production"]);
    let answer = deploy(&sandbox, "");
    assert_eq!(answer.code, 0, "{}", answer.stderr);
    let environment =
        sandbox.server("platform", &["docker", "inspect", "--format", "{{.Config.Env}}", "curateme-docs"]);
    assert!(environment.contains("NEW=now-it-is-there"), "the container has it");
}
