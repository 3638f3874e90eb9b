//! A host whose checkout is at the commit and whose images are built, while every container still
//! runs what it ran. From here it is switched, or is rolled back to how it was.

use crate::observed::Observed;
use cm_core::facts::Protected;
use cm_engine::Config;
use cm_ledger::ServiceState;
use cm_rollout::JobReport;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What building has come to.
#[derive(Default)]
pub struct Parts {
    /// What Compose says of the commit's files.
    pub config: Config,
    /// The files that were not touched.
    pub protected: Vec<Protected>,
    /// Whether images were built.
    pub images: bool,
    /// What was free before the build, and what it took, in bytes.
    pub free: Option<u64>,
    /// How much it took.
    pub build_bytes: Option<u64>,
    /// How long the image of each service was built.
    pub build_times: BTreeMap<String, Duration>,
    /// What each service is about to run.
    pub states: BTreeMap<String, ServiceState>,
    /// The services that are jobs.
    pub job_services: BTreeSet<String>,
    /// Whether jobs were begun: what they need may have been started, and the data may be another.
    pub jobs_begun: bool,
    /// The jobs that were run.
    pub jobs: Vec<JobReport>,
    /// How long all of it took.
    pub seconds: f64,
}

/// A host that is ready to be switched.
pub struct Built<'a> {
    /// What it was like.
    pub observed: Observed<'a>,
    /// What was built.
    pub parts: Parts,
}
