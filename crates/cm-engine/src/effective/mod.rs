//! The effective project of a host: what `docker compose config` on that server says of a
//! commit, with that server's env files, environment, profiles and version of Compose. It is
//! asked before the checkout moves: the few files of a commit that Compose reads are laid out in
//! a private directory, among links to everything else that is there, and removed again.
//!
//! Resolved values are secrets. They stay in the memory of whoever asked; no type here shows
//! them, and the messages of Compose are cleaned on the server.

mod absent;
mod answer;
mod bundle;
mod difference;
mod drift;
mod fact;
mod refusal;

pub use absent::Need;
pub use answer::{Answer, Model, Runs};
pub use difference::{Difference, differences};
pub use drift::ASIDE_FROM_CONFIGURATION;
pub use refusal::Refusal;

use crate::Compose;
use cm_core::{Exit, Failure, Result};
use cm_host::Secrets;
use refusal::{TAGS_SINCE, is_older};
use std::collections::{BTreeMap, BTreeSet};

/// Compose answers within this time, in seconds, or hangs. Less than a command may take, so that
/// the server still removes what was laid out.
const LIMIT_SECONDS: u64 = 50;

/// A value of fewer characters is no secret where the files of the commit have it, too. As [`cm_host::Secrets::public`].
const PUBLIC: usize = 16;

const ASK: &str = include_str!("ask.sh");

/// One container as a line of JSON. Only those of the project itself show their environment.
const FORMAT: &str = concat!(
    r#"{"id":{{json .Id}},"name":{{json .Name}},"image_id":{{json .Image}},"image":{{json .Config.Image}},"#,
    r#""status":{{json .State.Status}},"exit_code":{{json .State.ExitCode}},"restart":{{json .HostConfig.RestartPolicy.Name}},"#,
    r#""project":{{json (index .Config.Labels "com.docker.compose.project")}},"#,
    r#""service":{{json (index .Config.Labels "com.docker.compose.service")}},"#,
    r#""working_dir":{{json (index .Config.Labels "com.docker.compose.project.working_dir")}},"#,
    r#""config_hash":{{json (index .Config.Labels "com.docker.compose.config-hash")}},"#,
    r#""version":{{json (index .Config.Labels "com.docker.compose.version")}},"#,
    r#""alongside":{{json (index .Config.Labels "cm.beside")}}"#,
    r#"{{if eq "PROJECT" (index .Config.Labels "com.docker.compose.project")}},"env":{{json .Config.Env}}{{end}}}"#
);

/// The files of one commit that Compose reads; paths are relative to the checkout.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Version {
    /// Files with their content, as the commit has them.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Files that the commit does not have, and a checkout of another one may.
    pub gone: BTreeSet<String>,
}

/// What a host is asked.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// The version that is to run, then those that run.
    pub versions: Vec<Version>,
    /// Variables of the compose files, whose values on the host decide which paths are meant.
    pub variables: BTreeSet<String>,
    /// Variables whose values are those of secrets and configs: whether they are set is asked, and nothing else.
    pub secrets: BTreeSet<String>,
}

/// What came of it.
#[derive(Debug)]
pub enum Asked {
    /// There is no checkout: the first deployment makes it.
    Nothing,
    /// Compose answered.
    Answer(Box<Answer>),
    /// Compose could not be asked, or misses what only a later step brings; why.
    Unknown(String),
}

impl Compose<'_> {
    /// Asks the host what the project is, in one round trip. Changes nothing there.
    ///
    /// # Errors
    /// [`Exit::Config`] with Compose's own message if it refuses the version that is to run;
    /// [`Exit::Unreachable`] if the host or its Compose does not answer in time.
    pub async fn effective(&self, question: &Question) -> Result<Asked> {
        let bundle = bundle::pack(question)?;
        let (checkout, prefix) = self.place();
        let count = question.versions.len().to_string();
        let fixed =
            [self.host().path(checkout), prefix.to_owned(), count, LIMIT_SECONDS.to_string(), FORMAT.to_owned()];
        let hiding = Secrets::SCRIPTS.map(str::to_owned).into_iter().chain([self.secrets().sources().join("\n")]);
        let arguments = fixed.into_iter().chain(hiding).chain(self.options());
        let output = self.host().script(ASK, arguments).stdin(bundle).output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        if text.lines().next() == Some("cm nothing") {
            return Ok(Asked::Nothing);
        }
        if !output.success() || text.lines().last() != Some("cm end") {
            let failure = Failure::new(
                Exit::Config,
                "compose.ask",
                format!("on {}: could not ask Compose what the project is", self.host().name()),
            );
            return Err(failure
                .cause(output.stderr.trim())
                .hint("it takes sh, tar, base64, awk and room for a few files in /tmp on the server"));
        }
        let mut answer = Answer::read(&text, question.versions.len());
        if let Ok(head) = &answer.head {
            let (name, listed) = (head.name().to_owned(), answer.containers.take());
            answer.containers = crate::sight(self.host()).runs(self.host(), &name, listed).await?;
        }
        let unread = question.versions.first().is_some_and(Version::has_tags) && is_older(&answer.version, TAGS_SINCE);
        if unread && answer.head.is_ok() {
            return Err(too_old_for_tags(self.host().name(), &answer.version));
        }
        answer.judged(self.host().name(), self.files())
    }
}

impl Version {
    /// Those of the variables that are set and may be secrets: a word of under 16 characters that stands in a file of the
    /// commit is none.
    fn without_public(&self, variables: BTreeMap<String, Option<String>>) -> BTreeMap<String, String> {
        let files: Vec<_> = self.files.values().map(|content| String::from_utf8_lossy(content)).collect();
        let is_public = |value: &str| value.len() < PUBLIC && files.iter().any(|text| text.contains(value));
        let set = variables.into_iter().filter_map(|(name, value)| Some((name, value?)));
        set.filter(|(_, value)| !is_public(value)).collect()
    }

    /// Whether a file uses `!reset` or `!override`, which an old Compose reads past.
    fn has_tags(&self) -> bool {
        let has = |text: &[u8]| {
            let text = String::from_utf8_lossy(text);
            let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
            lines
                .filter_map(|line| line.split_once(": "))
                .any(|(_, value)| ["!reset", "!override"].iter().any(|tag| value.trim_start().starts_with(tag)))
        };
        self.files.iter().any(|(path, text)| path.ends_with("ml") && has(text))
    }
}

fn too_old_for_tags(host: &str, version: &str) -> Failure {
    let message =
        format!("on {host}: Docker Compose {version} reads past `!reset` and `!override`, which the file uses");
    Failure::new(Exit::Config, "compose.config", message)
        .hint(format!("they take Docker Compose {TAGS_SINCE} or later: update it there; nothing was changed"))
}

impl Answer {
    fn judged(self, host: &str, files: &[String]) -> Result<Asked> {
        match &self.head {
            Ok(_) => Ok(Asked::Answer(Box::new(self))),
            Err(refusal) if refusal.status == 124 => Err(Failure::new(
                Exit::Unreachable,
                "host.timeout",
                format!("on {host}: no end of `docker compose config` within {LIMIT_SECONDS} s"),
            )
            .hint("Compose there, or a file system that it reads, hangs; look at it before you try again")
            .retryable()),
            Err(refusal) => match refusal.unanswered() {
                Some(why) => Ok(Asked::Unknown(why)),
                None => Err(refusal.failure(host, &self.version, files)),
            },
        }
    }
}
