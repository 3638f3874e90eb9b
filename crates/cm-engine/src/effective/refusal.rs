//! A compose file that the server's Compose does not take: its own message, which file it is
//! about, and which version would take it.

use cm_core::{Exit, Failure};
use cm_project::compose::is_key;

/// Why Compose does not take a version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Its exit status; 124 if it did not end in time.
    pub status: i32,
    /// What it said.
    pub lines: Vec<String>,
}

/// Parts of the file, with where they stand if that matters, and the first version of Compose that has them.
const FEATURES: [(&str, &str); 23] = [
    ("watch.include", "2.34.0"),
    ("provenance", "2.39.0"),
    ("sbom", "2.39.0"),
    ("include", "2.20.3"),
    ("develop", "2.22.0"),
    ("dockerfile_inline", "2.17.0"),
    ("additional_contexts", "2.17.0"),
    ("content", "2.23.1"),
    ("env_file", "2.24.0"),
    ("attach", "2.20.0"),
    ("annotations", "2.16.0"),
    ("required", "2.20.0"),
    ("label_file", "2.32.2"),
    ("post_start", "2.30.0"),
    ("pre_stop", "2.30.0"),
    ("gpus", "2.30.0"),
    ("provider", "2.36.0"),
    ("models", "2.38.0"),
    ("use_api_socket", "2.38.0"),
    ("entitlements", "2.27.1"),
    ("start_interval", "2.20.2"),
    ("interface_name", "2.36.0"),
    ("restart", "2.17.0"),
];

/// How Compose begins to say that it does not know a flag.
const UNKNOWN_FLAG: &str = "unknown flag: ";

/// Flags that cm uses, and the first version that has them.
const FLAGS: [(&str, &str); 5] = [
    ("--format", "2.0.0"),
    ("--hash", "2.0.0"),
    ("--wait", "2.1.1"),
    ("--quiet-pull", "2.2.0"),
    ("--interactive", "2.3.0"),
];

/// All of them are in versions from this one on.
const FLAGS_SINCE: &str = "2.17.0";

/// The first version that has `!reset` and `!override`; older ones read past them.
pub const TAGS_SINCE: &str = "2.24.4";

impl Refusal {
    fn text(&self) -> String {
        self.lines.join("\n")
    }

    fn says(&self, words: &[&str]) -> bool {
        let text = self.text();
        words.iter().any(|word| text.contains(word))
    }

    /// Why this is no judgement on the file: Compose is not there, or something that the server
    /// does not have yet and later steps look for by name.
    pub fn unanswered(&self) -> Option<String> {
        let not_there = ["unknown flag: --ansi", "is not a docker command", "unknown command: docker compose"];
        if self.status == 127 || self.says(&not_there) {
            return Some("Docker Compose v2 is not there".to_owned());
        }
        if self.says(&["is missing a value", "couldn't find env file"]) || self.is_about_a_missing_env_file() {
            return self.message();
        }
        self.says(&["there is no such directory"]).then(|| "the project's directory is not there yet".to_owned())
    }

    fn is_about_a_missing_env_file(&self) -> bool {
        let missing = |line: &String| {
            line.contains("env file") && line.contains("not found")
                || line.contains("open ") && line.contains(".env") && line.contains("no such file or directory")
        };
        self.lines.iter().any(missing)
    }

    /// The line that says what is wrong, warnings left out.
    fn message(&self) -> Option<String> {
        let lines = self.lines.iter().filter(|line| !line.contains("level=warning"));
        let flag = lines.clone().find(|line| line.contains(UNKNOWN_FLAG));
        flag.or(lines.clone().next_back()).or(self.lines.last()).cloned()
    }

    /// What this version of Compose is too old for, and the version that has it, if that is known.
    pub fn takes(&self, version: &str) -> Option<(String, Option<&'static str>)> {
        let text = self.text();
        if let Some((_, rest)) = text.split_once(UNKNOWN_FLAG) {
            let flag = rest.split_whitespace().next().unwrap_or_default();
            let since = FLAGS.iter().find(|(known, _)| *known == flag).map_or(FLAGS_SINCE, |(_, since)| since);
            return Some((format!("the flag {flag}"), Some(since)));
        }
        let text = text.to_lowercase();
        let refused = |path: &str| {
            let (within, name) = path.rsplit_once('.').unwrap_or(("", path));
            text.contains(within)
                && (text.contains(&format!("additional property {name} is not allowed"))
                    || text.contains(&format!("additional properties '{name}' not allowed"))
                    || text.contains(&format!("{name} contains an invalid type"))
                    || text.contains(&format!("{name}.0 must be a string")))
        };
        let known = FEATURES.iter().find(|(path, _)| refused(path));
        match known {
            Some((path, since)) => is_older(version, since).then(|| ((*path).to_owned(), Some(*since))),
            None => refused_key(&text).filter(|key| is_key(key)).map(|key| (key.to_owned(), None)),
        }
    }

    /// The failure, with what there is to do.
    pub fn failure(&self, host: &str, version: &str, files: &[String]) -> Failure {
        let message = self.message().unwrap_or_else(|| format!("it ended with {}", self.status));
        let named = files.iter().any(|file| message.contains(file.as_str()));
        let about = if named { String::new() } else { format!("{}: ", files.join(", ")) };
        let failure = Failure::new(
            Exit::Config,
            "compose.config",
            format!("on {host}: Docker Compose {version} refuses the file: {about}{message}"),
        );
        match self.takes(version) {
            Some((feature, Some(since))) => failure.hint(format!(
                "{feature} takes Docker Compose {since} or later; {host} has {version}: update it there, or leave {feature} out"
            )),
            Some((feature, None)) => failure.hint(format!(
                "later versions of Docker Compose have {feature}; {host} has {version}: update it there, or leave {feature} out where it stands"
            )),
            None => failure.hint("fix the file; nothing was changed"),
        }
    }
}

/// The key that Compose does not take, by the words of its versions.
fn refused_key(text: &str) -> Option<&str> {
    let between = |start: &str, end: &str| Some(text.split_once(start)?.1.split_once(end)?.0);
    between("additional property ", " is not allowed").or_else(|| between("additional properties '", "' not allowed"))
}

/// Whether a version is older than another, by its numbers.
pub fn is_older(version: &str, than: &str) -> bool {
    let numbers = |text: &str| -> Vec<u64> {
        let core = text.trim_start_matches('v').split(['-', '+']).next().unwrap_or_default();
        core.split('.').map(|part| part.parse().unwrap_or_default()).collect()
    };
    !version.is_empty() && numbers(version) < numbers(than)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(line: &str) -> Refusal {
        Refusal { status: 15, lines: vec!["time=1 level=warning msg=\"x\"".to_owned(), line.to_owned()] }
    }

    #[test]
    fn an_old_compose_is_told_apart_from_a_wrong_file() {
        let include = refusal("validating compose.yml: (root) Additional property include is not allowed");
        assert_eq!(include.takes("2.18.1"), Some(("include".to_owned(), Some("2.20.3"))));
        assert_eq!(include.takes("2.40.3"), None, "a typo elsewhere");
        for (line, version, wanted) in [
            (
                "unknown flag: --hash\n\nUsage:  docker compose config",
                "2.18.1",
                Some(("the flag --hash", Some("2.0.0"))),
            ),
            (
                "services.web.build Additional property provenance is not allowed",
                "2.26.1",
                Some(("provenance", Some("2.39.0"))),
            ),
            (
                "services.web.develop.watch.0 Additional property include is not allowed",
                "2.26.1",
                Some(("watch.include", Some("2.34.0"))),
            ),
            (
                "services.web.build additional properties 'no_cache_filter' not allowed",
                "2.40.3",
                Some(("no_cache_filter", None)),
            ),
            ("services.web Additional property imge is not allowed", "2.26.1", None),
            ("services.web additional properties 'imge' not allowed", "2.40.3", None),
        ] {
            let takes = refusal(line).takes(version);
            assert_eq!(takes.as_ref().map(|(name, since)| (name.as_str(), *since)), wanted, "{line}");
        }
        let flag = Refusal {
            status: 1,
            lines: ["unknown flag: --format", "Run 'docker compose config --help'"].map(str::to_owned).into(),
        };
        assert_eq!(flag.message().as_deref(), Some("unknown flag: --format"));
        let failure = include.failure("web", "2.18.1", &["compose.yml".to_owned()]);
        assert!(
            failure.message.ends_with(
                "refuses the file: validating compose.yml: (root) Additional property include is not allowed"
            )
        );
        assert!(failure.hint.expect("hint").contains("2.20.3 or later; web has 2.18.1"));
    }

    #[test]
    fn what_the_server_lacks_is_no_judgement_on_the_file() {
        for line in [
            "env file /srv/app/.env.production not found: stat /srv/app/.env.production: no such file or directory",
            "couldn't find env file: /srv/app/.env.production",
            "required variable Q is missing a value: need Q",
            "docker: 'compose' is not a docker command.",
        ] {
            assert!(refusal(line).unanswered().is_some(), "{line}");
        }
        assert_eq!(refusal("yaml: line 3: did not find expected ','").unanswered(), None);
    }

    #[test]
    fn versions_compare_by_their_numbers() {
        for (version, than, older) in [
            ("2.9.0", "2.20.3", true),
            ("2.26.1-4", "2.24.4", false),
            ("v2.24.4", "2.24.4", false),
            ("", "2.0.0", false),
        ] {
            assert_eq!(is_older(version, than), older, "{version} {than}");
        }
    }
}
