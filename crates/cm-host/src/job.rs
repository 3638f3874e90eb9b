//! A job: a long change in a session of its own on the host. It outlives this program and the
//! connection; whoever asks for the same one again follows it, or takes what it left.

use crate::Fenced;
use crate::command::{Change, Life};
use cm_core::{Exit, Result};

/// Ends a job: see [`Fenced::end_job`]. For scripts that do it on their way; its arguments are
/// the job's directory and the beginning of the key of one that may stay, or nothing.
pub const END_JOB: &str = concat!("# Ends a long command.\n", crate::small_sh!(), include_str!("end.sh"));

const JOB: &str = concat!("# Runs a long command.\n", crate::small_sh!(), include_str!("job.sh"));

/// How a job came to run: the first line it is said in.
const NEWS: [(&str, Begun); 3] =
    [("cm-job started", Begun::Now), ("cm-job adopted", Begun::Before), ("cm-job ended", Begun::AndEnded)];

/// How a job came to run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Begun {
    /// It was started.
    Now,
    /// The same command ran already, for a program that was killed or a connection that was lost.
    Before,
    /// The same command had run to its good end already, and nobody had asked.
    AndEnded,
}

impl Fenced {
    /// Ends the job of `dir`, if one runs there, with all that it started, and forgets how it
    /// ended: the next one begins again. With `keep`, a job whose key begins with that word stays.
    ///
    /// # Errors
    /// [`Exit::Unreachable`], [`Exit::LockLost`]; `exit` if it cannot be ended.
    pub async fn end_job(&self, dir: &str, keep: &str, exit: Exit) -> Result<()> {
        self.script(END_JOB, [self.path(dir), keep.to_owned()]).text(exit, "host.job").await.map(drop)
    }
}

impl Change<'_> {
    /// Runs it in a session of its own, which outlives this program and the connection, and
    /// hands every line it writes to `line`. `dir` is the directory on the host for what there is
    /// to know of it; one job at a time runs there. Where one with this `key` (one line; for
    /// [`END_JOB`] its first word tells) runs already, or has run to its good end, that one is
    /// followed; another one is ended first. The fence is asked when everything else has been
    /// waited for, and for one that is only followed as well.
    ///
    /// # Errors
    /// As [`crate::Command::stream`].
    pub async fn job(
        mut self,
        dir: &str,
        key: &str,
        exit: Exit,
        code: &str,
        mut line: impl FnMut(&str),
    ) -> Result<Begun> {
        let fence: Vec<String> = self.fence.iter().flat_map(|fence| fence.argv()).collect();
        let fixed = ["sh", "-c", JOB, "sh", &self.host.path(dir), key, END_JOB, &fence.len().to_string()];
        let fixed: Vec<String> = fixed.iter().map(|word| (*word).to_owned()).collect();
        self.argv = fixed.into_iter().chain(fence).chain(self.argv).collect();
        self.life = Life::Job;
        let mut begun = Begun::Now;
        let followed = self.stream(exit, code, |text| match news(text) {
            Some(how) => begun = how,
            None => line(text),
        });
        followed.await.map(|()| begun)
    }
}

/// Whether a line tells how the job came to run, rather than what it says.
pub(crate) fn news(line: &str) -> Option<Begun> {
    NEWS.iter().find(|(said, _)| *said == line).map(|(_, begun)| *begun)
}
