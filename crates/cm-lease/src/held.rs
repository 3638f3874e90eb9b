//! The whole lock, held: the kernel lock here and the record on every host, renewed in
//! the background. However it is dropped, the hosts are told; only a death by SIGKILL,
//! a lost connection or a power cut leaves records behind, for one lease at most.

use crate::holder::{Attempt, Holder};
use crate::local::{self, Local};
use crate::record::Record;
use crate::remote::{self, Renewal};
use cm_core::{Failure, Log, Result};
use cm_host::Host;
use futures_util::future::join_all;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// For telling the hosts of a program that is interrupted.
const RELEASE_LIMIT: Duration = Duration::from_secs(5);

/// What is to be locked.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The lock file of this machine.
    pub file: PathBuf,
    /// The directory of the lock on each host, such as `~/.local/state/cm/PROJECT`.
    pub dir: String,
    /// The hosts; they are locked in the order of their names.
    pub hosts: Vec<Host>,
    /// Where the loss of a lock is told.
    pub log: Log,
}

/// The lock, held until it is released or dropped.
#[derive(Debug)]
pub struct Held {
    local: Option<Local>,
    dir: String,
    nonce: String,
    hosts: Vec<Host>,
    renewal: Option<JoinHandle<()>>,
    lost: watch::Sender<bool>,
}

/// Takes all of it, or nothing.
///
/// # Errors
/// [`cm_core::Exit::Unreachable`], or [`cm_core::Exit::Config`] where there is something
/// in a lock's place that cannot be understood.
pub async fn take(wanted: &Wanted, record: &Record) -> Result<Attempt<Held>> {
    let local = match Local::take(&wanted.file, record).await? {
        Attempt::Taken(local) => local,
        Attempt::Held(holder) => return Ok(Attempt::Held(holder)),
    };
    let mut held = Held {
        local: Some(local),
        dir: wanted.dir.clone(),
        nonce: record.nonce.clone(),
        hosts: Vec::new(),
        renewal: None,
        lost: watch::Sender::new(false),
    };
    match held.take_hosts(wanted, record).await {
        Ok(None) => {
            held.renewal = held.renew(record.lease(), wanted.log.clone());
            Ok(Attempt::Taken(held))
        }
        Ok(Some(holder)) => {
            held.release().await?;
            Ok(Attempt::Held(holder))
        }
        Err(failure) => {
            // Why it could not be taken is the news, not what became of the rest.
            let _released = held.release().await;
            Err(failure)
        }
    }
}

impl Held {
    /// The hosts on which it is held.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    async fn take_hosts(&mut self, wanted: &Wanted, record: &Record) -> Result<Option<Box<Holder>>> {
        let mut hosts = wanted.hosts.clone();
        hosts.sort_by(|a, b| a.name().cmp(b.name()));
        // Who has the first has nearly always all of them: the others are asked at once. Where somebody else
        // has one, all take turns in the order of the names, so that one of them gets through.
        let others = hosts.split_off(hosts.len().min(1));
        if let Some(holder) = self.take_in_order(hosts, record).await? {
            return Ok(Some(holder));
        }
        if self.take_at_once(&others, record).await? { Ok(None) } else { self.take_in_order(others, record).await }
    }

    /// Takes all of them, or none; whether it did.
    async fn take_at_once(&mut self, hosts: &[Host], record: &Record) -> Result<bool> {
        self.hosts.extend(hosts.iter().cloned());
        let taken = join_all(hosts.iter().map(|host| remote::take(host, &self.dir, record))).await;
        let taken: Vec<Attempt<()>> = taken.into_iter().collect::<Result<_>>()?;
        if taken.iter().all(|attempt| matches!(attempt, Attempt::Taken(()))) {
            return Ok(true);
        }
        self.hosts.truncate(self.hosts.len() - hosts.len());
        let released = join_all(hosts.iter().map(|host| release_host(host, &self.dir, &self.nonce))).await;
        released.into_iter().collect::<Result<()>>()?;
        Ok(false)
    }

    async fn take_in_order(&mut self, hosts: Vec<Host>, record: &Record) -> Result<Option<Box<Holder>>> {
        for host in hosts {
            // First noted, then asked: an attempt interrupted partway may have succeeded, and
            // a release compares the nonce.
            self.hosts.push(host.clone());
            if let Attempt::Held(holder) = remote::take(&host, &self.dir, record).await? {
                self.hosts.pop();
                return Ok(Some(holder));
            }
        }
        Ok(None)
    }

    /// What names this holding.
    pub fn nonce(&self) -> &str {
        &self.nonce
    }

    /// Whether a renewal found that the lock of a host is not ours any more.
    pub fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Ends when a renewal finds that the lock of a host is not ours any more; never if none does.
    pub fn lost(&self) -> impl Future<Output = ()> + use<> {
        let mut lost = self.lost.subscribe();
        async move {
            if lost.wait_for(|lost| *lost).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn renew(&self, lease: Duration, log: Log) -> Option<JoinHandle<()>> {
        if self.hosts.is_empty() {
            return None;
        }
        let file = self.local.as_ref()?.path().to_owned();
        let (hosts, dir, nonce, lost) = (self.hosts.clone(), self.dir.clone(), self.nonce.clone(), self.lost.clone());
        let keeper = Keeper { file, dir, nonce, lease, lost, log };
        Some(tokio::spawn(async move {
            join_all(hosts.into_iter().map(|host| keeper.keep_alive(host))).await;
        }))
    }

    /// Gives everything back, the hosts first: all at once, in one round trip each.
    ///
    /// # Errors
    /// The first host that could not be told; its record lapses by itself.
    pub async fn release(mut self) -> Result<()> {
        let result = self.release_hosts().await;
        drop(self.local.take());
        result
    }

    async fn release_hosts(&mut self) -> Result<()> {
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
            let _ended = renewal.await;
        }
        let hosts = std::mem::take(&mut self.hosts);
        let (dir, nonce) = (&self.dir, &self.nonce);
        let released = join_all(hosts.iter().map(|host| release_host(host, dir, nonce))).await;
        released.into_iter().collect()
    }
}

impl Drop for Held {
    /// A program that is interrupted drops what it holds. Its hosts are told here, in
    /// a limited time, because nobody comes back to do it.
    fn drop(&mut self) {
        // Not awaited: where tasks share this thread it comes to its end only after this.
        if let Some(renewal) = self.renewal.take() {
            renewal.abort();
        }
        if self.hosts.is_empty() {
            return;
        }
        // In a thread of its own, because one that runs tasks must not wait for others.
        let release = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
            runtime.block_on(async { timeout(RELEASE_LIMIT, self.release_hosts()).await }).ok()
        };
        let _lapses_otherwise = std::thread::scope(|threads| threads.spawn(release).join());
    }
}

/// The connection may have gone since the last time; then once more over a new one.
async fn release_host(host: &Host, dir: &str, nonce: &str) -> Result<()> {
    match remote::release(host, dir, nonce).await {
        Err(failure) if failure.retryable => {
            let log = Log::new("cm-lease", cm_core::Format::Text, cm_core::Level::Fail);
            let again = Host::connect(host.target(), &log).await?;
            remote::release(&again, dir, nonce).await.map(drop)
        }
        other => other.map(drop),
    }
}

/// What keeps the leases of all hosts.
struct Keeper {
    file: PathBuf,
    dir: String,
    nonce: String,
    lease: Duration,
    lost: watch::Sender<bool>,
    log: Log,
}

impl Keeper {
    /// Renews one host's lease until it is lost.
    async fn keep_alive(&self, mut host: Host) {
        let mut warned = false;
        loop {
            tokio::time::sleep(self.lease / if warned { 10 } else { 3 }).await;
            // A host on which nothing changes hears from here alone which step the run is at.
            let news = local::news(&self.file, &self.nonce);
            match remote::renew(&host, &self.dir, &self.nonce, &news).await {
                Ok(Renewal::Renewed) => {
                    if std::mem::take(&mut warned) {
                        self.log.info(format!("the lease of the deploy lock on {:?} is renewed again", host.name()));
                    }
                }
                Ok(Renewal::Lost(sight)) => {
                    self.lost.send_replace(true);
                    self.log.failure(&remote::lost(&host, sight));
                    return;
                }
                Err(failure) => {
                    if !std::mem::replace(&mut warned, true) {
                        self.log.warn(format!(
                            "cannot renew the lease of the deploy lock on {:?}, trying again: {failure}",
                            host.name()
                        ));
                    }
                    host = reconnect(host, &failure, &self.log).await;
                }
            }
        }
    }
}

async fn reconnect(host: Host, failure: &Failure, log: &Log) -> Host {
    if !failure.retryable {
        return host;
    }
    match Host::connect(host.target(), log).await {
        Ok(again) => again,
        Err(_) => host,
    }
}
