//! Where a backup is made: next to the data, where that goes, or through a tunnel.

/// Where the program works.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RunOn {
    /// On the server, if this version is installed there.
    Auto,
    /// On this machine, through a tunnel.
    ThisMachine,
    /// On the server in any case.
    Server,
}
