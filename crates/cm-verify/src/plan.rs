//! What is asked of production, and what a flag or the run leaves out of it.

use crate::args::Args;
use crate::asking::{self, Before};
use crate::results::Results;
use cm_checks as checks;
use cm_core::facts::{CanaryVerdict, VerifyFacts, WouldAsk};
use cm_core::{Document, Done, Log, Result, Run, Skip, plural, redact};
use cm_project::Project;
use tokio::sync::Notify;

/// What the whole run leaves out, this program leaves out.
pub fn with_skips(mut args: Args, doc: &Document) -> Args {
    args.skip_canary |= doc.skips(Skip::Canary);
    args.skip_verify |= doc.skips(Skip::Verify);
    args
}

/// The project, with the values of the profile that is asked for.
///
/// # Errors
/// Those of the configuration.
pub fn load(args: &Args, doc: Option<&Document>) -> Result<Project> {
    let mut project = match doc {
        Some(doc) => cm_git::of_run(&args.common, doc)?,
        None => Project::load(&args.common, cm_git::tracked)?,
    };
    let production = args.production.then_some("production");
    if let Some(profile) = args.profile.as_deref().or(production) {
        project.config.use_profile(profile)?;
    }
    Ok(project)
}

/// What is asked.
pub struct Plan<'a> {
    project: &'a Project,
    pub canary: bool,
    pub checks: bool,
    /// Whether this is done alone, and not as part of a deployment: then the checks are
    /// made even if the canary failed.
    alone: bool,
    /// Whether a flag leaves something out.
    pub skipped: bool,
}

impl<'a> Plan<'a> {
    /// What the flags ask for.
    pub fn of(project: &'a Project, args: &Args, alone: bool) -> Self {
        let canary = !args.skip_canary && project.canary().url.is_some();
        let checks = !args.skip_verify && !args.canary && !project.verify().checks.is_empty();
        let skipped = args.skip_canary || args.skip_verify;
        Plan { project, canary, checks, alone, skipped }
    }

    /// Why nothing is asked, if nothing is.
    pub fn nothing(&self) -> &'static str {
        if self.skipped { "skipped by flag" } else { "cm.toml has no canary and no checks" }
    }

    /// Says what would be asked; asks nothing.
    pub fn describe(&self, args: &Args, run: &mut Run) -> Done {
        let url = |template: &cm_project::Template| {
            redact(&template.expand().unwrap_or(template.as_written().to_owned())).into_owned()
        };
        let canary = self.project.canary();
        let requests = if args.baseline { canary.baseline_requests() } else { canary.requests };
        let mut asked = Vec::new();
        if let (true, Some(template)) = (self.canary, &canary.url) {
            asked.push(WouldAsk {
                canary: Some(url(template)),
                requests: Some(requests),
                access_log: Some(canary.access_log.clone()),
                ..WouldAsk::default()
            });
            let log =
                canary.access_log.as_ref().map_or(String::new(), |log| format!(", and read the access log of {log}"));
            run.log.info(format!("would send {requests} canary requests to {}{log}", url(template)));
        }
        for check in self.project.verify().checks.iter().filter(|_| self.checks && !args.baseline) {
            asked.push(WouldAsk { check: Some(check.name.clone()), url: Some(url(&check.url)), ..WouldAsk::default() });
            run.log.info(format!("would check {}: {}", check.name, url(&check.url)));
        }
        let summary = format!("would send {}", plural(asked.len() as u64, "request"));
        run.doc.set_part(&VerifyFacts { would_ask: Some(asked), ..VerifyFacts::default() });
        Done::ok(summary)
    }

    /// Asks all of it, the canary and the checks side by side.
    ///
    /// # Errors
    /// Where the document does not say what was changed, or nothing can be asked at all.
    pub async fn carry_out(&self, doc: &Document, log: &Log) -> Result<Results> {
        let mut results = Results {
            deploying: !self.alone,
            inconclusive: Some(self.project.canary().inconclusive),
            ..Results::default()
        };
        let deployed = asking::deployed(doc)?;
        // Side by side: the verdict is that of the later one.
        let given_up = Notify::new();
        let canary = async {
            let canary =
                if self.canary { asking::after(self.project, doc, &Before::read(doc)?, log).await? } else { None };
            if !self.alone && canary.as_ref().is_some_and(|(report, _)| report.verdict == CanaryVerdict::Fail) {
                given_up.notify_one();
            }
            Ok(canary)
        };
        let checks = async {
            if !self.checks {
                return Ok(Vec::new());
            }
            tokio::select! {
                () = given_up.notified() => Ok(Vec::new()),
                results = checks::run(self.project, &deployed, log) => results,
            }
        };
        let (canary, checks) = tokio::join!(canary, checks);
        (results.canary, results.answers) = canary?.unzip();
        results.checks = checks?;
        Ok(results)
    }
}
