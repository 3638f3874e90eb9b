//! All hosts of a deployment, phase by phase. Where the release has jobs, no host goes on to its containers before
//! all are built and every job is done: data changes first, and its failure leaves everything running. Without
//! jobs, each host goes on as soon as it is built.

use crate::building::not_stopped;
use crate::built::Built;
use crate::jobs;
use crate::observed::Observed;
use crate::stopped::Stopped;
use crate::switched::Switched;
use cm_core::facts::Reached;
use cm_core::{Failure, Log};
use cm_lease::Guard;
use cm_rollout::jobs_of;
use futures_util::future::join_all;

/// How a host ended.
pub type End<'a> = Result<Switched<'a>, Box<Stopped<'a>>>;

/// Changes all hosts. One that fails does not stop another one partway.
pub async fn carry_out<'a>(observed: Vec<Observed<'a>>, guard: &Guard, log: &Log) -> Vec<End<'a>> {
    if may_have_jobs(&observed) {
        return together(observed, true, guard, log).await;
    }
    // A job that only a server's Compose knows is run on that server.
    let alone = observed.into_iter().map(|host| together(vec![host], false, guard, log));
    join_all(alone).await.into_iter().flatten().collect()
}

async fn together<'a>(observed: Vec<Observed<'a>>, jobs: bool, guard: &Guard, log: &Log) -> Vec<End<'a>> {
    let built = join_all(observed.into_iter().map(|host| host.build(guard, log))).await;
    let failed = built.iter().find_map(|end| end.as_ref().err().map(|stopped| stopped.failure.clone()));
    let ready = match failed {
        Some(failure) if jobs => hold(built, &failure, guard, log).await,
        Some(_) => built,
        None => run_jobs(built.into_iter().flatten().collect(), guard, log).await,
    };
    let switched = ready.into_iter().map(|end| async {
        match end {
            Ok(built) => built.switch(guard, log).await,
            Err(stopped) => Err(stopped),
        }
    });
    join_all(switched).await
}

/// Whether this machine knows of a job.
fn may_have_jobs(observed: &[Observed<'_>]) -> bool {
    observed.iter().any(|host| {
        let site = &host.site;
        !site.project.config.release.is_empty() || site.plan.names().iter().any(|name| site.project.is_job(name))
    })
}

type Ready<'a> = Result<Built<'a>, Box<Stopped<'a>>>;

/// Runs the jobs of all hosts, one after the other. If one fails, every host is left as it was.
async fn run_jobs<'a>(mut built: Vec<Built<'a>>, guard: &Guard, log: &Log) -> Vec<Ready<'a>> {
    let Some(project) = built.first().map(|host| host.observed.site.project) else { return Vec::new() };
    let hosts: Vec<_> = built.iter().map(|host| (&host.observed.site.plan, &host.parts.config)).collect();
    let owners = jobs::owners(project, &hosts);
    for index in 0..built.len() {
        let host = &mut built[index];
        let changed = host.observed.changed.as_deref();
        let planned = jobs::planned(&host.observed.site.plan);
        let release = cm_rollout::Release { planned: &planned, changed, own: &owners[index] };
        let jobs = jobs_of(host.observed.site.project, &host.parts.config, release);
        let ended = match jobs.is_empty() {
            true => Ok(()),
            false => jobs::run(host, &jobs, guard, log).await.and_then(|()| not_stopped()),
        };
        if let Err(failure) = ended {
            let all = built.into_iter().enumerate().map(|(at, host)| {
                let own = if at == index { failure.clone() } else { jobs::held(&failure) };
                host.leave(own, guard, log)
            });
            return join_all(all).await.into_iter().map(Err).collect();
        }
    }
    built.into_iter().map(Ok).collect()
}

/// Another host could not be built: nothing is switched, and no job is run.
async fn hold<'a>(built: Vec<Ready<'a>>, failure: &Failure, guard: &Guard, log: &Log) -> Vec<Ready<'a>> {
    let held = built.into_iter().map(|end| async {
        match end {
            Ok(host) => Err(host.leave(jobs::held(failure), guard, log).await),
            Err(stopped) if stopped.reached < Reached::Switching => {
                let Stopped { built, failure, .. } = *stopped;
                Err(built.leave(failure, guard, log).await)
            }
            Err(stopped) => Err(stopped),
        }
    });
    join_all(held).await
}
