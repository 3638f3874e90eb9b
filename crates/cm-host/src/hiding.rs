//! The values of env files are written and shown nowhere but on their server: what a command says is
//! searched for them there, before it travels, plain and as JSON, URLs, hex and base64 write them. In
//! the place of a value stands `${NAME}`, the variable that holds it.

use crate::command::Command;

const SCRIPT: &str = include_str!("redact.sh");
const PROGRAM: &str = include_str!("redact.awk");

/// Where the values are that a command must not show, in the order in which they are read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Secrets {
    plain: Vec<String>,
    sources: Vec<String>,
}

impl Secrets {
    /// The values of an env file. Relative paths start in the command's directory.
    #[must_use]
    pub fn file(mut self, path: &str) -> Self {
        self.sources.push(format!("env:{path}"));
        self
    }

    /// The environment of a container and the secrets that are mounted in it.
    #[must_use]
    pub fn container(mut self, name: &str) -> Self {
        self.sources.push(format!("container:{name}"));
        self
    }

    /// A file that everybody may read: a short value that stands in it is no secret.
    #[must_use]
    pub fn public(mut self, path: &str) -> Self {
        self.plain.push(format!("plain:{path}"));
        self
    }

    /// For a script that hides what its own commands say: a script, and a program for awk. It is
    /// called as `sh -c SCRIPT sh all PROGRAM COUNT SOURCE... COMMAND...`.
    pub const SCRIPTS: [&str; 2] = [SCRIPT, PROGRAM];

    /// The sources, as that script takes them.
    pub fn sources(&self) -> Vec<String> {
        self.plain.iter().chain(&self.sources).cloned().collect()
    }

    /// What goes in front of a command; `all`: whether stdout is for people, too.
    pub(crate) fn argv(&self, all: bool) -> Vec<String> {
        let sources = self.sources();
        let mode = if all { "all" } else { "errors" };
        let fixed = ["sh", "-c", SCRIPT, "sh", mode, PROGRAM, &sources.len().to_string()].map(str::to_owned);
        fixed.into_iter().chain(sources).collect()
    }
}

impl<Kind> Command<'_, Kind> {
    /// Hides these values in all that it says.
    pub fn hiding(mut self, secrets: &Secrets) -> Self {
        self.hides = secrets.argv(true);
        self
    }

    /// Hides these values in what it says on stderr: stdout is read by this program, which has to
    /// keep it to itself.
    pub fn hiding_in_errors(mut self, secrets: &Secrets) -> Self {
        self.hides = secrets.argv(false);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Host, Target};
    use cm_core::{Exit, Format, Level, Log};

    const ENV: &str = "JWT=tok3n-very-secret\nexport SHORT=hunt3r\nPORT=8080\nDEBUG=true\n\
        QUOTED=\"a \\\"quoted\\\" pass#word\"\nSPACED='p@ss w0rd/+'\nPEM=\"-----BEGIN KEY-----\n\
        MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n-----END KEY-----\"\n";

    async fn said(script: &'static str, arguments: &[&str]) -> (String, String, Option<i32>) {
        let target = Target::at("local", "local");
        let host = Host::connect(&target, &Log::new("test", Format::Text, Level::Fail)).await.expect("local");
        let dir = tempfile::tempdir().expect("dir");
        std::fs::write(dir.path().join(".env"), ENV).expect("write");
        std::fs::write(dir.path().join("compose.yml"), "ports: [\"8080:80\"]").expect("write");
        let secrets = Secrets::default().public("compose.yml").file(".env").file("none.env");
        let command = host.script(script, arguments.iter().copied()).cwd(&dir.path().display().to_string());
        let output = command.hiding(&secrets).output().await.expect("run");
        (output.text(), output.stderr.trim_end().to_owned(), output.status.code())
    }

    #[tokio::test]
    async fn values_are_hidden_in_every_form_and_nothing_else_is() {
        let script = "printf '%s\n' \"$@\"; echo \"error $1\" >&2; exit 7";
        let arguments = [
            "tok3n-very-secret:80",
            "hunt3r",
            "xhunt3rx",
            "8080 true",
            "a \"quoted\" pass#word",
            r#"{"x":"a \"quoted\" pass#word"}"#,
            "p@ss w0rd/+",
            "p%40ss%20w0rd%2F%2B",
            "p%40ss+w0rd%2F%2B",
            "dG9rM24tdmVyeS1zZWNyZXQ=",
            "dXNlcjp0b2szbi12ZXJ5LXNlY3JldA==",
            "746f6b336e2d766572792d736563726574",
            "746F6B336E2D766572792D736563726574",
            "aHVudDNy",
            "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj",
            "BgkqhkiG9w0BAQEFAASCBKcwggSj",
        ];
        let (text, error, code) = said(script, &arguments).await;
        assert_eq!((error.as_str(), code), ("error ${JWT}:80", Some(7)));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..6], ["${JWT}:80", "${SHORT}", "xhunt3rx", "8080 true", "${QUOTED}", r#"{"x":"${QUOTED}"}"#]);
        assert_eq!(lines[6..9], ["${SPACED}"; 3]);
        for (line, argument) in lines.iter().zip(arguments).skip(9) {
            assert!(line.contains("${") && !line.contains(&argument[2..argument.len() - 3]), "{argument}: {line}");
        }
    }

    #[tokio::test]
    async fn lines_are_shown_as_they_come_and_the_command_may_read_stdin() {
        let target = Target::at("local", "local");
        let host = Host::connect(&target, &Log::new("test", Format::Text, Level::Fail)).await.expect("local");
        let began = std::time::Instant::now();
        let mut first = None;
        let command = host.script("cat; sleep 2; echo last", [""; 0]).stdin("first\n");
        let shown = |line: &str| {
            if line == "first" {
                first = Some(began.elapsed());
            }
        };
        command.hiding(&Secrets::default()).stream(Exit::Build, "build.x", shown).await.expect("ok");
        assert!(first.expect("shown") < began.elapsed() - std::time::Duration::from_secs(1));
    }
}
