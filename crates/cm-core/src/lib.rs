//! What every program of cm is: a filter over one deployment document. This crate holds the
//! filter, the journal, signals, and what people see on stderr; the document itself, exit codes
//! and failures are those of `cm-document`, under one roof with the rest here. It knows no
//! network, no Docker and no configuration file.

mod ahead;
mod args;
mod clean;
mod command_line;
mod done;
mod filter;
mod input;
mod journal;
mod live;
mod log;
mod meaning;
mod output;
mod redact;
mod signal;
mod table;
mod tool;

pub use ahead::{Ahead, Early, Found};
pub use args::CommonArgs;
pub use clean::clean;
pub use cm_document::{
    Action, BranchName, CommitId, Document, EVENT_SCHEMA, Event, EventError, EventService, EventStage, EventStatus,
    Exit, Failure, HostName, ImageRef, MAX_BYTES, MAX_ENTRIES, OrFail, Part, ProjectName, Reason, Result, RunError,
    RunId, SCHEMA, Service, ServiceName, Severity, Skip, Stage, StageStatus, Status, Step, Undo, UndoRelease,
    UndoService, all_healthy, codes, cut, decapitalized, facts, parse_strict, plural, size, time,
};
pub use command_line::{COMPLETE, command, introduction};
pub use done::Done;
pub use filter::{interruption, main};
pub use journal::{Journal, private_dir, runtime_dir, state_dir, write_whole};
pub use live::Task;
pub use log::{Format, Level, Log};
pub use meaning::{Meaning, is_colored};
pub use output::Io;
pub use redact::{add_secret, hide, redact};
pub use signal::{Signals, Stop, is_ignored};
pub use table::{Column, fitted, folded, table};
pub use tool::{Accepts, Run, Tool};

/// Who deploys: `$CM_ACTOR`, else `USER@HOSTNAME`.
pub fn actor() -> String {
    let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
    if let Some(actor) = variable("CM_ACTOR") {
        return actor;
    }
    let user = variable("USER").or_else(|| variable("LOGNAME")).unwrap_or_else(user_of_process);
    let uname = rustix::system::uname();
    format!("{user}@{}", uname.nodename().to_string_lossy())
}

/// Cron and containers set no `USER`; the account database knows, or the number is all there is.
fn user_of_process() -> String {
    let uid = rustix::process::getuid().as_raw().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut names = accounts.lines().filter_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        (fields.get(2) == Some(&uid.as_str())).then(|| fields[0].to_owned())
    });
    names.next().unwrap_or_else(|| format!("uid {uid}"))
}
