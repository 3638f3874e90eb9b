//! A command on a host: a list of arguments, a directory, a time limit. What only reads is made
//! by a [`Host`], what changes something by a [`crate::Fenced`]: the types tell them apart, and
//! what outlives this program can only be a change. How it is run is in [`crate::running`].

use crate::Host;
use crate::fence::Fence;
use cm_core::decapitalized;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

const KILL_ON_DISCONNECT: &str = concat!(crate::small_sh!(), include_str!("kill_on_disconnect.sh"));
const WHOLE: &str = include_str!("whole.sh");
const FINISH: &str = concat!(crate::small_sh!(), include_str!("finish.sh"));

/// Goes to a directory, where its links lead, and runs the rest there: `env -C` is not everywhere.
const ENTER: &str = r#"CDPATH='' cd -P -- "$1" || { echo "cannot change directory to $1" >&2; exit 125; }
shift
exec "$@""#;

/// Long enough for anything but builds and dumps.
const DEFAULT_LIMIT: Duration = Duration::from_secs(60);

/// What becomes of a command when this program or the connection ends first. By itself
/// it continues unseen until it writes something, and then dies of that: a build continues
/// alongside the rollback, a replacement of containers stops at any point.
#[derive(Clone, Debug)]
pub(crate) enum Life {
    /// What ssh makes of it: right for what is short or only reads.
    Plain,
    /// It is ended as well.
    WithUs,
    /// So is this one, of which there may be many at a time.
    WithUsAlongsideOthers,
    /// It continues to its end.
    ToItsEnd,
    /// It continues in a session of its own, where the next one finds it.
    Job,
}

/// What a command may do: only look. Nothing has to be held for it.
#[derive(Clone, Copy, Debug)]
pub struct Reads;

/// What a command may do: change the host. Only [`crate::Fenced`] makes one.
#[derive(Clone, Copy, Debug)]
pub struct Changes;

/// A command that changes the host.
pub type Change<'a> = Command<'a, Changes>;

/// A command that is not yet running.
#[derive(Clone, Debug)]
#[must_use = "a command does nothing until it is run"]
pub struct Command<'a, Kind = Reads> {
    pub(crate) host: &'a Host,
    pub(crate) fence: Option<Arc<Fence>>,
    pub(crate) argv: Vec<String>,
    cwd: Option<String>,
    env: Vec<(String, String)>,
    pub(crate) stdin: Option<Vec<u8>>,
    pub(crate) limit: Duration,
    pub(crate) life: Life,
    /// What stands in front of it and hides values in what it says.
    pub(crate) hides: Vec<String>,
    /// Whether somebody vouches for it: a command of a [`Host`] must not be one that changes.
    pub(crate) reads: bool,
    kind: PhantomData<Kind>,
}

impl<'a> Command<'a> {
    pub(crate) fn reading(host: &'a Host, argv: Vec<String>) -> Self {
        Command::new(host, argv, true, None)
    }
}

impl<'a> Change<'a> {
    pub(crate) fn changing(host: &'a Host, argv: Vec<String>, fence: Option<Arc<Fence>>) -> Self {
        Command::new(host, argv, false, fence)
    }

    /// Lets it continue to its end when this program or the connection ends, and starts it
    /// only when no other such command runs in its directory. It gets no stdin; its output
    /// comes at its end.
    pub fn to_its_end(mut self) -> Self {
        self.life = Life::ToItsEnd;
        self
    }
}

impl<'a, Kind> Command<'a, Kind> {
    fn new(host: &'a Host, argv: Vec<String>, reads: bool, fence: Option<Arc<Fence>>) -> Self {
        Command {
            host,
            fence,
            argv,
            cwd: None,
            env: Vec::new(),
            stdin: None,
            limit: DEFAULT_LIMIT,
            life: Life::Plain,
            hides: Vec::new(),
            reads,
            kind: PhantomData,
        }
    }

    /// Runs it in this directory of the host.
    pub fn cwd(mut self, path: &str) -> Self {
        self.cwd = Some(self.host.path(path));
        self
    }

    /// Sets a variable for it. Never a secret: others can see it in `ps`.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Gives it these bytes on stdin: all of them, or it is not begun.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// How long it may take; a minute if nothing is said.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Ends it with SIGTERM when this program or the connection ends, and starts it only
    /// when no other such command runs in its directory. It gets no stdin.
    pub fn ends_with_us(mut self) -> Self {
        self.life = Life::WithUs;
        self
    }

    /// Ends it with SIGTERM when this program or the connection ends, whatever else runs there.
    /// For what says nothing for long, which nothing else would end. It gets no stdin.
    pub fn ends_with_us_alongside_others(mut self) -> Self {
        self.life = Life::WithUsAlongsideOthers;
        self
    }

    /// The command as a person would type it on the host.
    pub fn display(&self) -> String {
        let words = self.argv.iter().map(|word| quote(word));
        let variables = self.env.iter().map(|(name, value)| format!("{name}={}", quote(value)));
        let line = variables.chain(words).collect::<Vec<_>>().join(" ");
        match &self.cwd {
            Some(cwd) => format!("cd {} && {line}", quote(cwd)),
            None => line,
        }
    }

    /// Its directory and `env NAME=VALUE…` in front: they are words, never text for a shell.
    pub(crate) fn full_argv(&self) -> Vec<String> {
        let mut argv = Vec::new();
        if let Some(cwd) = &self.cwd {
            argv.extend(["sh", "-c", ENTER, "sh", cwd].map(str::to_owned));
        }
        if !self.env.is_empty() {
            argv.push("env".to_owned());
            argv.extend(self.env.iter().map(|(name, value)| format!("{name}={value}")));
        }
        argv.extend(self.hides.iter().cloned());
        let around = match self.life {
            Life::WithUs => Some([KILL_ON_DISCONNECT, "sh", "alone"].as_slice()),
            Life::WithUsAlongsideOthers => Some([KILL_ON_DISCONNECT, "sh", "alongside"].as_slice()),
            Life::ToItsEnd => Some([FINISH, "sh"].as_slice()),
            Life::Plain | Life::Job => None,
        };
        if let Some(script) = around {
            argv.extend(["sh", "-c"].iter().chain(script).map(|word| (*word).to_owned()));
        }
        // Last, so that it asks when everything else has been waited for. A job asks by itself.
        let fence = self.fence.iter().filter(|_| !matches!(self.life, Life::Job));
        argv.extend(fence.flat_map(|fence| fence.argv()));
        argv.extend(self.argv.iter().cloned());
        argv
    }

    /// For a process of its own: it begins with all of its stdin, whoever dies before.
    pub(crate) fn argv_with_input(&self) -> Vec<String> {
        let length = self.stdin.as_ref().map(|bytes| bytes.len().to_string());
        let before = length.into_iter().flat_map(|length| ["sh", "-c", WHOLE, "sh", &length].map(str::to_owned));
        before.chain(self.full_argv()).collect()
    }

    /// What messages call it: a script by what it says of itself in its first line.
    pub(crate) fn title(&self) -> String {
        let script = self.argv.get(2).filter(|_| self.argv.starts_with(&["sh".to_owned(), "-c".to_owned()]));
        match script.and_then(|script| script.strip_prefix("# ")) {
            Some(comment) => {
                format!("what {}", decapitalized(comment.split(['.', '\n', ';', ':']).next().unwrap_or_default()))
            }
            None => format!("`{}`", shorten(&self.display())),
        }
    }

    pub(crate) fn ends_with_connection(&self) -> bool {
        matches!(self.life, Life::WithUs | Life::WithUsAlongsideOthers)
    }
}

/// Quoted as a POSIX shell would need it, so that people can paste it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+~%{}".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Messages name the command, they do not repeat a whole script.
fn shorten(text: &str) -> String {
    let line = text.replace('\n', " ");
    match line.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
