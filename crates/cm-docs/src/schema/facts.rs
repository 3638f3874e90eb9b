//! `facts` of the document: one part per program. A part may hold more than is named
//! here; what is named keeps its meaning.

use cm_checks::{CheckResult, Outcome};
use cm_core::Action;
use cm_gate::{State, Verdict};
use cm_ledger::ServiceState;
use cm_project::EffectiveHost;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What the programs found out.
#[derive(JsonSchema, Serialize)]
pub struct Facts {
    /// Of cm-lock acquire.
    pub lock: Option<Lock>,
    /// Of cm-detect.
    pub detect: Option<Detect>,
    /// Of cm-backup.
    pub backup: Option<Backup>,
    /// Of cm-build.
    pub build: Option<Build>,
    /// Of cm-health, with --preflight too.
    pub health: Option<Health>,
    /// Of cm-verify.
    pub verify: Option<Verify>,
    /// Of cm-rollback.
    pub rollback: Option<Rollback>,
    /// Of cm-record.
    pub record: Option<Record>,
}

/// The lock that is held.
#[derive(JsonSchema, Serialize)]
pub struct Lock {
    /// Names this one holding; a UUID.
    pub nonce: Option<String>,
    /// The lock file of the deploying machine.
    pub file: Option<String>,
    /// The hosts on which it is held.
    pub hosts: Option<Vec<String>>,
    /// The process that holds and renews it.
    pub holder_pid: Option<u32>,
    /// The process whose life it has.
    pub owner_pid: Option<u32>,
    /// After cm-lock release: the nonce of what was given back.
    pub released: Option<String>,
}

/// What is deployed, and what it was compared with.
#[derive(JsonSchema, Serialize)]
pub struct Detect {
    /// The commit that is deployed.
    pub head: Option<String>,
    /// As which branch.
    pub branch: Option<String>,
    /// By host and service the commit that runs, null where nothing is known to; with --base only `all`.
    pub bases: Option<Value>,
    /// Whether everything is rebuilt.
    pub full: Option<bool>,
    /// The services that flags named, null for all.
    pub selected: Option<Vec<String>>,
    /// Services that changed and were not asked for.
    pub not_selected: Option<Vec<String>>,
    /// Services that changed and whose images cannot be built.
    pub broken: Option<Vec<String>>,
    /// How many files differ.
    pub changed_files: Option<u64>,
    /// Changed files that no service depends on, at most 500 of them.
    pub unmapped: Option<Vec<String>>,
    /// How many there are.
    pub unmapped_count: Option<u64>,
    /// Changed files that the servers keep their own version of.
    pub protected: Option<Vec<String>>,
    /// Services that are gone from the compose file.
    pub removed: Option<Vec<String>>,
    /// How many commits the remote branch does not have yet, if it is known.
    pub unpushed: Option<u64>,
    /// Uncommitted files, which are not deployed.
    pub dirty: Option<Dirty>,
    /// By host what its own Compose says of the project, where it was asked. Later programs go by it.
    pub effective: Option<BTreeMap<String, EffectiveHost>>,
    /// What came since the oldest of the bases, newest first, at most 50 commits of it.
    pub commits: Option<Vec<Commit>>,
}

/// A commit that is deployed.
#[derive(JsonSchema, Serialize)]
pub struct Commit {
    /// Its full id.
    pub id: String,
    /// When it was made, RFC 3339 in UTC.
    pub at: Option<String>,
    /// By whom.
    pub author: String,
    /// The first paragraph of its message.
    pub subject: String,
}

/// Uncommitted files.
#[derive(JsonSchema, Serialize)]
pub struct Dirty {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub files: Vec<String>,
    /// The services they would have changed.
    pub services: Vec<String>,
}

/// The backup.
#[derive(JsonSchema, Serialize)]
pub struct Backup {
    /// Whether there is a backup that was read back whole.
    pub verified: Option<bool>,
    /// Why there is none.
    pub reason: Option<String>,
    /// Its path.
    pub file: Option<String>,
    /// The host it is on, null for this machine.
    pub host: Option<String>,
    /// The path of what proves it.
    pub manifest: Option<String>,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: Option<String>,
    /// The length of the file, in bytes.
    pub bytes: Option<u64>,
    /// The database.
    pub database: Option<String>,
    /// How many collections and views are in it.
    pub namespaces: Option<u64>,
    /// How many documents.
    pub documents: Option<u64>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<u64>,
    /// What people should look at.
    pub warnings: Option<Vec<String>>,
}

/// What was built and switched.
#[derive(JsonSchema, Serialize)]
pub struct Build {
    /// In a dry run: the flags that the plan was made with.
    pub plan: Option<BuildPlan>,
    /// By host.
    pub hosts: Option<BTreeMap<String, BuiltHost>>,
    /// By host the image names that cm-build prune removed.
    pub pruned: Option<BTreeMap<String, Vec<String>>>,
}

/// How a plan is to be carried out.
#[derive(JsonSchema, Serialize)]
pub struct BuildPlan {
    /// Whether everything is built again and replaced.
    pub full: bool,
    /// Whether files that were changed by hand are given up.
    pub discard_local_changes: bool,
}

/// What a plan for a host rests on: if one of it is another one, the plan is refused.
#[derive(JsonSchema, Serialize)]
pub struct Basis {
    /// The commit of the checkout.
    pub head: Option<String>,
    /// The last release in the host's ledger.
    pub release: Option<String>,
    /// By planned service the ids of its containers.
    pub containers: Option<BTreeMap<String, Vec<String>>>,
}

/// What was done on a host.
#[derive(JsonSchema, Serialize)]
pub struct BuiltHost {
    /// In a dry run: what would be done, one command a line.
    pub steps: Option<Vec<String>>,
    /// In a dry run: the files that change, at most 500 of them; null where that cannot be known.
    pub files: Option<Vec<String>>,
    /// How many there are.
    pub files_count: Option<u64>,
    /// In a dry run: the names of old images that could go afterwards.
    pub images_removed: Option<Vec<String>>,
    /// In a dry run: the most room that one of the last builds took, in bytes.
    pub build_bytes: Option<u64>,
    /// In a dry run: how much is free where Docker keeps its images, in bytes.
    pub free_bytes: Option<u64>,
    /// In a dry run: what the plan rests on.
    pub basis: Option<Basis>,
    /// How far it got: `nothing`, `moving` or `moved` (the checkout), `built`, `switching` (the containers) or `done`.
    pub reached: Option<String>,
    /// The name of the Compose project there.
    pub project: Option<String>,
    /// The checkout.
    pub checkout: Option<String>,
    /// The commit it was at.
    pub from: Option<String>,
    /// The commit it is at.
    pub to: Option<String>,
    /// The protected files, as they were found and left.
    pub protected: Option<Vec<Protected>>,
    /// By service.
    pub services: Option<BTreeMap<String, BuiltService>>,
    /// The jobs and release commands of the release that belong to this host, in their order.
    pub jobs: Option<Vec<JobRun>>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<f64>,
}

/// A job or release command of a release.
#[derive(JsonSchema, Serialize)]
pub struct JobRun {
    /// The service, or `SERVICE: COMMAND`.
    pub name: String,
    /// The service it is, or in whose image it ran.
    pub service: String,
    /// The command, null for that of the service itself.
    pub command: Option<Vec<String>>,
    /// What became of it: `done`, `failed`, `interrupted` or `unknown`.
    pub outcome: String,
    /// Its exit code, null where it had none.
    pub exit_code: Option<i64>,
    /// Why it was interrupted.
    pub cause: Option<String>,
    /// Its container.
    pub container: String,
    /// Whether this run started or followed it; else it had ended before.
    pub ran: bool,
    /// How long this run waited for it, in milliseconds.
    pub duration_ms: u64,
    /// The file on the deploying machine with what it said.
    pub log: Option<String>,
}

/// A protected file.
#[derive(JsonSchema, Serialize)]
pub struct Protected {
    /// Its path, relative to the checkout.
    pub path: String,
}

/// What was done to a service.
#[derive(JsonSchema, Serialize)]
pub struct BuiltService {
    /// What was planned.
    pub action: Option<Action>,
    /// The image's name.
    pub image: Option<String>,
    /// The image's id, empty if it was not got to.
    pub image_id: Option<String>,
    /// The tag that keeps the image.
    pub tag: Option<String>,
    /// Compose's hash of the service's configuration.
    pub config_hash: Option<String>,
    /// Whether the service was removed.
    pub removed: Option<bool>,
    /// Whether it is a job: run once before anything is replaced, with no container that stays.
    pub job: Option<bool>,
    /// The image it ran before.
    pub previous_image_id: Option<String>,
    /// Its containers now.
    pub container_ids: Option<Vec<String>>,
    /// In which order its containers are replaced, and why: `rolling` or `stop-first`.
    pub update: Option<String>,
    /// How long that took, in milliseconds.
    pub update_ms: Option<u64>,
    /// How long nothing of it ran meanwhile, in milliseconds, without its own start; null where nobody knows, or there was no gap.
    pub gap_ms: Option<u64>,
    /// What its first new container came to beside the old one, as `facts.verify.canary`; null where cm.toml has no
    /// canary for it. In a dry run what it would be asked, `url` and `requests`, or why it is not: `not_asked`.
    pub canary: Option<Value>,
    /// In a dry run: how long it took the last time.
    pub last_update_ms: Option<u64>,
}

/// What the health gate saw.
#[derive(JsonSchema, Serialize)]
pub struct Health {
    /// The worst of all services.
    pub verdict: Option<State>,
    /// Every service that was watched.
    pub services: Option<Vec<Verdict>>,
    /// Services that were not watched and are not well.
    pub unwell_neighbours: Option<Vec<Neighbour>>,
    /// In a dry run: by host the services that would be watched.
    pub would_watch: Option<BTreeMap<String, Vec<String>>>,
    /// What `cm-health --preflight` of the same run found.
    pub preflight: Option<Preflight>,
}

/// A service that was not watched and is not well.
#[derive(JsonSchema, Serialize)]
pub struct Neighbour {
    /// The service.
    pub service: String,
    /// Its host.
    pub host: String,
    /// Its container.
    pub container: String,
    /// What is wrong.
    pub state: String,
    /// Whether it was so before the deployment, null if nobody looked.
    pub before: Option<bool>,
}

/// The look at the servers before a deployment.
#[derive(JsonSchema, Serialize)]
pub struct Preflight {
    /// By host: versions, room, checkout, what is not well now.
    pub hosts: Option<BTreeMap<String, Value>>,
    /// What is not as it should be.
    pub findings: Option<Vec<Finding>>,
}

/// Something that is not as it should be.
#[derive(JsonSchema, Serialize)]
pub struct Finding {
    /// The host, null for this machine.
    pub host: Option<String>,
    /// Stable, for scripts.
    pub code: String,
    /// `warn`, or `fail`: the deployment must not start.
    pub weight: String,
    /// For people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What the outside checks found.
#[derive(JsonSchema, Serialize)]
pub struct Verify {
    /// The worst of all; null if nothing was asked.
    pub verdict: Option<Outcome>,
    /// The canary's report; null if it was not asked.
    pub canary: Option<Value>,
    /// The checks, in the order of cm.toml.
    pub checks: Option<Vec<CheckResult>>,
    /// In a dry run: what would be asked.
    pub would_ask: Option<Vec<Value>>,
}

/// What was gone back to.
#[derive(JsonSchema, Serialize)]
pub struct Rollback {
    /// By host.
    pub hosts: Option<BTreeMap<String, RolledBackHost>>,
    /// What was seen from outside afterwards.
    pub verify: Option<String>,
}

/// What a host went back to.
#[derive(JsonSchema, Serialize)]
pub struct RolledBackHost {
    /// The commit.
    pub commit: Option<String>,
    /// By service what it runs again; null for one that was removed again.
    pub services: Option<BTreeMap<String, Option<ServiceState>>>,
}

/// What was recorded.
#[derive(JsonSchema, Serialize)]
pub struct Record {
    /// The hosts whose ledger has the outcome.
    pub hosts: Option<Vec<String>>,
    /// `delivered`, `waits`, `rejected`, `lost` or `not configured`; in a dry run the event itself.
    pub event: Option<Value>,
}
