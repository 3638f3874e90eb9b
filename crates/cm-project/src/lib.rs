//! What is deployed: `cm.toml`, the compose file, services, groups, hosts and what
//! each image is built from. Files in, values out: nothing here talks to a network,
//! to Git or to Docker, and what files there are is asked through [`tree::Tree`].

mod backup_copy;
mod backup_programs;
mod backup_section;
mod chosen_hosts;
mod clone_filter;
pub mod complete;
pub mod compose;
pub mod config;
pub mod dockerfile;
pub mod dotenv;
mod duration;
mod engine;
mod engine_keys;
pub mod env_file;
mod env_value;
mod environment;
mod found;
mod glob;
mod host;
pub mod inputs;
mod jobs;
mod managers;
pub mod nearest;
pub mod needs;
mod of_run;
pub mod pattern;
mod project;
mod references;
mod release;
mod sections;
mod service_section;
pub mod source;
mod statuses;
pub mod template;
mod timestamp;
mod tracked;
pub mod tree;
mod value;
pub mod variables;
mod verification;
pub mod yaml;

pub use backup_programs::{Program, ProgramPlace};
pub use cm_core::Severity;
pub use cm_core::facts::{EffectiveHost, EffectiveService, External};
pub use config::{
    Backup, BackupCopy, BackupKind, Backups, Config, Health, Notify, OnChange, OnCopyFailure, OnDrift, OnFailure, Ops,
    Pipeline, Probe, Prune, ServiceHealth, ServiceSection, Template, Update,
};
pub use engine::{Engine, Swarm};
pub use env_value::env_value;
pub use environment::secret_to_send;
pub use found::{committed_files, default_files, read_config};
pub use host::HostSpec;
pub use inputs::Inputs;
pub use jobs::{JOB_TIMEOUT, Job};
pub use project::{Lock, Project};
pub use release::{Drain, DrainedWhen, ReleaseCommand};
pub use tracked::{Tracked, all_tracked};
pub use verification::{Canary, Check, Consequence, Method, Pattern, Statuses, Verify};
