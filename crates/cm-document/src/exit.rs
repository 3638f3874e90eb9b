//! The exit codes of every program, in one enum, so that a script can tell
//! "checked, and the answer is no" from "could not check".

/// What a program's exit status means. The numbers are a contract: scripts and
/// man pages name them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Exit {
    /// Everything asked for was done.
    Done,
    /// A defect in the program itself.
    Bug,
    /// The command line is wrong.
    Usage,
    /// An earlier stage failed, so nothing was done.
    Refused,
    /// The document on stdin cannot be used.
    BadInput,
    /// The work was done, but the document could not be written to stdout.
    Undelivered,
    /// `cm.toml`, the compose file or the environment is wrong.
    Config,
    /// A host could not be reached.
    Unreachable,
    /// Somebody else holds the deploy lock; try again later.
    LockHeld,
    /// The deploy lock was lost while working.
    LockLost,
    /// The changed services could not be determined.
    Detect,
    /// The backup failed, or could not be verified.
    Backup,
    /// Checkout, build or restart failed.
    Build,
    /// Checked, and a service is not healthy.
    Unhealthy,
    /// Health could not be checked.
    HealthUnknown,
    /// Verified, and a check failed.
    VerifyFailed,
    /// Verification could not be carried out.
    VerifyUnknown,
    /// Rolled back, and what runs now is healthy.
    RolledBack,
    /// The rollback itself failed.
    RollbackFailed,
    /// There is no verified release to go back to.
    NothingToRollBackTo,
    /// Ended by SIGINT (Ctrl-C).
    Interrupted,
    /// Ended by SIGTERM or SIGHUP.
    Terminated,
}

impl Exit {
    /// Every exit code, in the order of its number.
    pub const ALL: [Exit; 22] = [
        Exit::Done,
        Exit::Bug,
        Exit::Usage,
        Exit::Refused,
        Exit::BadInput,
        Exit::Undelivered,
        Exit::Config,
        Exit::Unreachable,
        Exit::LockHeld,
        Exit::LockLost,
        Exit::Detect,
        Exit::Backup,
        Exit::Build,
        Exit::Unhealthy,
        Exit::HealthUnknown,
        Exit::VerifyFailed,
        Exit::VerifyUnknown,
        Exit::RolledBack,
        Exit::RollbackFailed,
        Exit::NothingToRollBackTo,
        Exit::Interrupted,
        Exit::Terminated,
    ];

    /// The number the process exits with.
    pub fn code(self) -> u8 {
        match self {
            Exit::Done => 0,
            Exit::Bug => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::BadInput => 4,
            Exit::Undelivered => 5,
            Exit::Config => 6,
            Exit::Unreachable => 7,
            Exit::LockHeld => 10,
            Exit::LockLost => 11,
            Exit::Detect => 20,
            Exit::Backup => 21,
            Exit::Build => 30,
            Exit::Unhealthy => 40,
            Exit::HealthUnknown => 41,
            Exit::VerifyFailed => 50,
            Exit::VerifyUnknown => 51,
            Exit::RolledBack => 60,
            Exit::RollbackFailed => 61,
            Exit::NothingToRollBackTo => 62,
            Exit::Interrupted => 130,
            Exit::Terminated => 143,
        }
    }

    /// One line for the table in `--help` and the man pages.
    pub fn meaning(self) -> &'static str {
        match self {
            Exit::Done => "done",
            Exit::Bug => "a bug in the program",
            Exit::Usage => "wrong usage",
            Exit::Refused => "refused: an earlier stage failed",
            Exit::BadInput => "bad input document",
            Exit::Undelivered => "done, but the document could not be delivered",
            Exit::Config => "configuration is wrong",
            Exit::Unreachable => "host unreachable",
            Exit::LockHeld => "lock held by somebody else (retry later)",
            Exit::LockLost => "lock lost",
            Exit::Detect => "detecting changes failed",
            Exit::Backup => "backup failed",
            Exit::Build => "checkout, build or restart failed",
            Exit::Unhealthy => "checked, and unhealthy",
            Exit::HealthUnknown => "health could not be checked",
            Exit::VerifyFailed => "verified, and failing",
            Exit::VerifyUnknown => "could not verify",
            Exit::RolledBack => "rolled back, and healthy",
            Exit::RollbackFailed => "rollback failed",
            Exit::NothingToRollBackTo => "nothing to roll back to",
            Exit::Interrupted => "interrupted (SIGINT)",
            Exit::Terminated => "terminated (SIGTERM, SIGHUP)",
        }
    }

    /// Whether it says nothing about the release: nobody looked, or nobody may go on. Nothing is
    /// rolled back for it, and a resumed run does that step again.
    pub fn is_no_verdict(self) -> bool {
        matches!(self, Exit::HealthUnknown | Exit::VerifyUnknown | Exit::LockLost)
    }

    /// The exit code with this number. An unknown number is a failure nobody
    /// classified, which is what [`Exit::Bug`] says.
    pub fn from_code(code: u64) -> Exit {
        Exit::ALL.into_iter().find(|exit| u64::from(exit.code()) == code).unwrap_or(Exit::Bug)
    }

    /// The `EXIT STATUS` table shown below every program's `--help`.
    pub fn table() -> String {
        let rows = Exit::ALL.map(|exit| format!("  {:>3}  {}", exit.code(), exit.meaning()));
        format!("Exit status:\n{}", rows.join("\n"))
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
