//! Where backups are kept: a directory on a server, or of this machine. A backup is
//! received as `NAME.partial`, synced, read back under that name, and gets its
//! final name only when it is verified. While it is written or read it is locked,
//! so that the next run can tell what a dead one left behind, and removes it.

use crate::listed::{self, Listed};
use crate::pipe::{self, Blocking};
use crate::prepared::Prepared;
use cm_archive::manifest::Manifest;
use cm_archive::{Contents, ReadError, drained};
use cm_core::{Exit, Failure, Result};
use cm_host::{Fenced, Host};
use std::io::Read;
use std::time::Duration;
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;

/// A transfer ends with its connection; this only bounds what nothing else does.
const TRANSFER_LIMIT: Duration = Duration::from_secs(12 * 60 * 60);

/// How long removing a partial file may take when the program ends.
const DISCARD_LIMIT: Duration = Duration::from_secs(5);

/// How long a transfer that is given up may take to end.
const ABANDON_LIMIT: Duration = Duration::from_secs(10);

/// `$1` directory, `$2` what the names begin with. Makes the directory, removes what dead
/// runs left, says how much is free and shows the newest manifest.
const PREPARE: &str = r#"# Looks at the directory of backups.
set -eu
umask 077
mkdir -p -- "$1"
cd -- "$1"
dead() {
  [ -f "$1" ] && [ ! -L "$1" ] || return 1
  if command -v flock > /dev/null; then flock -n "$1" true; else [ -n "$(find "$1" -mmin +60)" ]; fi
}
for left in ./"$2"*.partial; do
  if dead "$left"; then rm -f -- "$left"; printf 'removed %s\n' "${left#./}"; fi
done
printf 'free %s\n' "$(df -Pk -- . | awk 'NR == 2 { printf "%.0f", $4 * 1024 }')"
newest=
# The time comes right after the prefix: `shop` is not `shop-2`.
for manifest in ./"$2"-[0-9][0-9][0-9][0-9][0-9][0-9][0-9][0-9]T*.manifest.json; do
  if [ -f "${manifest%.manifest.json}" ]; then newest=$manifest; fi
done
printf 'manifest\n'
[ -z "$newest" ] || cat -- "$newest""#;

/// `$1` directory, `$2` name. stdin is the backup. Never over another file; what this
/// script made it removes if it fails, and nothing else.
const RECEIVE: &str = r#"# Writes the backup.
set -euC
umask 077
cd -- "$1"
[ ! -e "$2" ] || { echo "$2 is there already" >&2; exit 1; }
exec 9> "$2.partial"
trap 'rm -f -- "$2.partial"' EXIT
if command -v flock > /dev/null; then flock -n 9; fi
cat >&9
sync -- "$2.partial"
stat -c %s -- "$2.partial"
trap - EXIT"#;

/// `$1` directory, `$2` name, then a program that reads the file on its stdin.
const WITH_FILE: &str = r#"# Reads the backup.
set -eu
cd -- "$1"
exec < "$2"
if command -v flock > /dev/null; then flock -s -n 0 || true; fi
shift 2
exec "$@""#;

/// `$1` directory, `$2` name. stdin is the manifest. The backup's name comes last: a
/// manifest alone is no backup.
const COMMIT: &str = include_str!("commit.sh");

/// `$1` directory, `$2` name.
const DISCARD: &str = r#"# Removes a backup that was given up.
cd -- "$1" && rm -f -- "$2.partial" "$2.manifest.json.partial""#;

/// `$1` directory, `$2` name, `$3` `noted` where what was noted of it stays. The backup goes first: a manifest alone is no
/// backup. One that somebody reads, or a run still writes, stays.
const REMOVE: &str = include_str!("remove.sh");

/// `$1` directory, `$2` name.
const FORGET: &str = r#"# Removes what was noted of a backup that is gone.
cd -- "$1" && [ ! -e "$2" ] && rm -f -- "$2.manifest.json" "$2.copy""#;

/// A directory of backups.
#[derive(Clone, Debug)]
pub struct Store {
    host: Host,
    directory: String,
}

/// A backup on its way into the directory.
#[derive(Debug)]
pub struct Receiving {
    name: String,
    task: JoinHandle<Result<String>>,
}

/// What a backup was found to hold, with the hash of the file it was read from.
pub trait Hashed: Send + 'static {
    /// SHA-256 of the file, in hexadecimal.
    fn sha256(&self) -> &str;
}

impl Hashed for Contents {
    fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// What is being written, which goes when the program is told to end.
#[derive(Debug)]
pub struct Partial<'a> {
    store: &'a Store,
    name: &'a str,
    ended: bool,
}

impl<'a> Partial<'a> {
    /// The backup `name` is being written to `store`.
    pub fn new(store: &'a Store, name: &'a str) -> Self {
        Partial { store, name, ended: false }
    }

    /// It was removed already.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Gives it its name where it is `verified`, and removes it where it is not.
    ///
    /// # Errors
    /// Why it is not, or has no name: then there is no backup of that name.
    pub async fn finish(mut self, verified: Result<(Manifest, Vec<String>)>) -> Result<(Manifest, Vec<String>)> {
        let committed = match verified {
            Ok((manifest, warnings)) => self.store.commit(self.name, &manifest).await.map(|()| (manifest, warnings)),
            Err(failure) => Err(failure),
        };
        self.ended = true;
        if committed.is_err() {
            self.store.discard(self.name).await;
        }
        committed
    }
}

impl Drop for Partial<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let discard = tokio::time::timeout(DISCARD_LIMIT, self.store.discard(self.name));
            // Whatever is left is visibly partial, and the next run removes it.
            let _in_time = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(discard));
        }
    }
}

/// What became of a backup that was to be removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// Somebody reads it, and it stays.
    InUse,
}

impl Store {
    /// The directory `directory` of `host`; `~` is the home there.
    pub fn new(host: Host, directory: &str) -> Self {
        let directory = host.path(directory);
        Store { host, directory }
    }

    /// Where a backup of that name is, for people.
    pub fn display(&self, name: &str) -> String {
        let path = format!("{}/{name}", self.directory.trim_end_matches('/'));
        if self.host.target().is_local() { path } else { format!("{}:{path}", self.host.name()) }
    }

    /// The host that the directory is on.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The host's name; `None` for this machine.
    pub fn host_name(&self) -> Option<&str> {
        (!self.host.target().is_local()).then(|| self.host.name())
    }

    /// The path of a backup on its host.
    pub fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory.trim_end_matches('/'))
    }

    /// What the scripts of a backup begin their arguments with: the directory and its name.
    pub fn arguments(&self, name: &str) -> [String; 2] {
        [self.directory.clone(), name.to_owned()]
    }

    /// Makes the directory, removes what dead runs left of the backups that begin
    /// with `prefix`, and looks at what is there.
    ///
    /// # Errors
    /// [`Exit::Backup`] if the directory cannot be used.
    pub async fn prepare(&self, prefix: &str) -> Result<Prepared> {
        let command = self.host.script(PREPARE, self.arguments(prefix));
        let text = command.text(Exit::Backup, "backup.directory").await.map_err(|failure| {
            let hint = format!("the user who deploys must be able to write in {}", self.directory);
            failure.hint(hint)
        })?;
        Ok(Prepared::parse(&text))
    }

    /// Starts to receive the backup `name`; what is written goes there.
    pub fn receive(&self, name: &str) -> (Blocking<DuplexStream>, Receiving) {
        let (sink, source) = pipe::pipe();
        (sink, self.receiving(name, source))
    }

    /// As [`Store::receive`], for what comes from another command.
    pub fn receive_stream(&self, name: &str) -> (DuplexStream, Receiving) {
        let (sink, source) = tokio::io::duplex(pipe::CAPACITY);
        (sink, self.receiving(name, source))
    }

    fn receiving(&self, name: &str, mut source: DuplexStream) -> Receiving {
        let (host, arguments) = (self.host.clone(), self.arguments(name));
        let task = tokio::spawn(async move {
            let command = host.script(RECEIVE, arguments).limit(TRANSFER_LIMIT);
            command.copy_from(&mut source, Exit::Backup, "backup.store").await
        });
        Receiving { name: name.to_owned(), task }
    }

    /// Waits until everything that was written is on disk; `bytes` is how much it is.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the host said, such as a full disk.
    pub async fn received(&self, receiving: Receiving, bytes: u64) -> Result<()> {
        let said = receiving.task.await.map_err(|error| Failure::bug("the transfer ended").cause(error))??;
        if said.trim().parse() == Ok(bytes) {
            return Ok(());
        }
        let message = format!("{} did not arrive whole", self.display(&receiving.name));
        Err(Failure::new(Exit::Backup, "backup.store", message)
            .cause(format!("{bytes} bytes were sent, {said} arrived"))
            .retryable())
    }

    /// Gives up a transfer whose sending side failed with `failure`, and says which
    /// of the two was the reason.
    pub async fn abandon(&self, receiving: Receiving, failure: Failure) -> Failure {
        match tokio::time::timeout(ABANDON_LIMIT, receiving.task).await {
            Ok(Ok(Ok(_))) => self.discard(&receiving.name).await,
            Ok(Ok(Err(refused))) if failure.code == "backup.write" => return refused,
            // Whatever is left there is visibly partial; the next run removes it.
            _ => {}
        }
        failure
    }

    /// Reads the received backup `name` to its last byte as `read` understands it, and has the host
    /// hash it.
    ///
    /// # Errors
    /// [`Exit::Backup`] if it is not intact, or the two hashes differ.
    pub async fn read_back<T: Hashed>(
        &self,
        name: &str,
        read: impl FnOnce(&mut (dyn Read + Send)) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T> {
        let partial = format!("{name}.partial");
        let (source, mut sink) = pipe::pipe();
        let reading = tokio::task::spawn_blocking(move || drained(Box::new(source), read));
        let with_file = |program: &[&str]| {
            let program = program.iter().map(|word| (*word).to_owned());
            self.host.script(WITH_FILE, self.arguments(&partial).into_iter().chain(program)).limit(TRANSFER_LIMIT)
        };
        let (cat, sum) = (with_file(&["cat"]), with_file(&["sha256sum"]));
        let copying = async {
            let copied = cat.copy_to(&mut sink, Exit::Backup, "backup.read-back").await;
            drop(sink);
            copied
        };
        let (copied, summed) = tokio::join!(copying, sum.text(Exit::Backup, "backup.read-back"));
        let read = reading.await.map_err(|error| Failure::bug("the reading thread ended").cause(error))?;
        let damaged = |what: String| {
            Failure::new(Exit::Backup, "backup.not-proved", format!("{} is not intact", self.display(&partial)))
                .cause(what)
                .hint("the disk or the connection may be at fault; try again, and look at the host's kernel log")
        };
        copied?;
        let contents = read.map_err(|error| damaged(error.to_string()))?;
        let summed = summed?;
        let sum = summed.split_whitespace().next().unwrap_or_default();
        if sum != contents.sha256() {
            return Err(damaged(format!("its SHA-256 is {sum} on the host, and {} as it arrived", contents.sha256())));
        }
        Ok(contents)
    }

    /// Starts to read the file `name`; what it holds comes out of the first half.
    pub fn open(&self, name: &str) -> (Blocking<DuplexStream>, JoinHandle<Result<u64>>) {
        let (source, mut sink) = pipe::pipe();
        let (host, arguments) = (self.host.clone(), self.arguments(name));
        let task = tokio::spawn(async move {
            let arguments = arguments.into_iter().chain(["cat".to_owned()]);
            let command = host.script(WITH_FILE, arguments).limit(TRANSFER_LIMIT);
            command.copy_to(&mut sink, Exit::Backup, "backup.read").await
        });
        (source, task)
    }

    /// The content of the small file `name`; `None` if it is not there.
    ///
    /// # Errors
    /// [`Exit::Backup`] if it cannot be read.
    pub async fn read(&self, name: &str) -> Result<Option<Vec<u8>>> {
        self.host.read(&self.path(name), Exit::Backup).await
    }

    /// Gives the verified backup its name.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the host said; there is then no backup of that name.
    pub async fn commit(&self, name: &str, manifest: &Manifest) -> Result<()> {
        let command = self.host.script(COMMIT, self.arguments(name)).stdin(manifest.to_text());
        command.text(Exit::Backup, "backup.store").await.map(drop)
    }

    /// Removes what was received of `name`, as far as the host can be reached.
    pub async fn discard(&self, name: &str) {
        let _left_for_the_next_run = self.host.script(DISCARD, self.arguments(name)).output().await;
    }

    /// Removes the backup `name` and its manifest, through a handle of the same host that changes it; what was noted of
    /// it stays, where its copy elsewhere is still to be removed.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the host said.
    pub async fn remove(&self, host: &Fenced, name: &str, has_copy: bool) -> Result<Removal> {
        let noted = if has_copy { "noted" } else { "" };
        let arguments = self.arguments(name).into_iter().chain([noted.to_owned()]);
        let output = host.script(REMOVE, arguments).output().await?;
        match output.status.code() {
            Some(0) => Ok(Removal::Removed),
            Some(45) => Ok(Removal::InUse),
            _ => {
                let message = format!("cannot remove {}", self.display(name));
                Err(Failure::new(Exit::Backup, "prune.remove", message).cause(output.stderr.trim_end()))
            }
        }
    }

    /// Removes what was noted of the backup `name`, which is gone, and so is its copy.
    ///
    /// # Errors
    /// [`Exit::Backup`] with what the host said.
    pub async fn forget(&self, name: &str) -> Result<()> {
        self.host.script(FORGET, self.arguments(name)).text(Exit::Backup, "prune.remove").await.map(drop)
    }

    /// Backups that were removed, and whose copies elsewhere could not be.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub async fn list_gone(&self) -> Result<Vec<Listed>> {
        Ok(self.listing().await?.map(|listing| listed::parse_gone(&listing)).unwrap_or_default())
    }

    /// The files of the directory, by name; `None` if there is no such directory.
    ///
    /// # Errors
    /// [`Exit::Backup`] if it cannot be read.
    pub async fn list(&self) -> Result<Option<Vec<Listed>>> {
        Ok(self.listing().await?.map(|listing| listed::parse(&listing)))
    }

    async fn listing(&self) -> Result<Option<Vec<u8>>> {
        let output = self.host.script(listed::LIST, [self.directory.clone()]).output().await?;
        match output.status.code() {
            Some(0) => Ok(Some(output.stdout)),
            Some(44) => Ok(None),
            _ => {
                let message = format!("cannot list {}", self.display(""));
                Err(Failure::new(Exit::Backup, "backup.directory", message).cause(output.stderr.trim_end()))
            }
        }
    }
}
