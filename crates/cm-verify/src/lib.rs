//! Verifies a deployment from outside: the canary, then the checks. How an answer is
//! judged is in `cm-gate`; here is what is asked, what is said about it, and how the
//! program ends.

mod args;
mod results;

pub use args::Args;

use cm_core::{CommonArgs, Document, Done, Exit, Io, Log, Result, Run};
use cm_gate::canary::Verdict;
use cm_gate::{canary, checks};
use cm_notify::{Message, Told};
use cm_project::{Project, Severity};
use results::Results;
use serde_json::json;

/// The program.
pub struct Tool;

impl cm_core::Tool for Tool {
    const NAME: &'static str = "cm-verify";
    type Args = Args;

    fn common(args: &Args) -> &CommonArgs {
        &args.common
    }

    async fn command(args: &Args, io: &Io) -> Option<Result<Exit>> {
        if !args.json {
            return None;
        }
        Some(print_results(args, io).await)
    }

    async fn run(args: Args, run: &mut Run) -> Result<Done> {
        let project = Project::load(&args.common)?;
        if run.started_here {
            run.doc.set_target(&project.name(), Some(&project.branch()), None);
        }
        let plan = Plan::of(&project, &args, run.started_here);
        if run.dry_run() {
            return Ok(plan.describe(run));
        }
        if !plan.canary && !plan.checks {
            run.doc.set_facts(json!({"verdict": null, "canary": null, "checks": []}));
            return Ok(Done::skipped(plan.nothing));
        }
        let results = plan.carry_out(&run.log).await?;
        run.doc.set_facts(results.to_json());
        alert(&project, &results, &run.doc, args.notify, !run.started_here, &run.log).await;
        results.conclude(plan.checks, &run.log)
    }
}

/// Tells Slack what fails: in a deployment as the communication plan wants it, alone
/// where it is asked for.
async fn alert(project: &Project, results: &Results, doc: &Document, asked: bool, deploying: bool, log: &Log) {
    let Some(failure) = results.failure().filter(|_| asked || deploying) else { return };
    let severity = Some(Severity::default()).filter(|_| failure.exit == Exit::VerifyFailed);
    let message = Message::VerificationFailed { reason: &failure.message, severity };
    match cm_notify::tell(project, doc, message, log).await {
        Told::Now => log.info("told Slack"),
        Told::NotWanted if asked => log.warn(format!(
            "nobody was told: the variable {} is not set, which holds the Slack webhook",
            project.notify().slack_webhook_env
        )),
        Told::NotWanted | Told::Before | Told::Not => {}
    }
}

/// The results alone, for CI.
async fn print_results(args: &Args, io: &Io) -> Result<Exit> {
    use cm_core::Tool as _;
    let project = Project::load(&args.common)?;
    let results = Plan::of(&project, args, true).carry_out(&io.log).await?;
    io.print_json(&results.to_json())?;
    let doc = Document::start(Tool::NAME, &cm_core::actor(), false);
    alert(&project, &results, &doc, args.notify, false, &io.log).await;
    results.conclude(true, &io.log).map(|_| Exit::Done)
}

/// What is asked.
struct Plan<'a> {
    project: &'a Project,
    canary: bool,
    checks: bool,
    /// Whether the checks are made even if the canary failed.
    all: bool,
    /// Why nothing is asked, if nothing is.
    nothing: &'static str,
}

impl<'a> Plan<'a> {
    fn of(project: &'a Project, args: &Args, all: bool) -> Self {
        let canary = !args.skip_canary && project.canary().url.is_some();
        let checks = !args.skip_verify && !project.verify().checks.is_empty();
        let skipped = args.skip_canary || args.skip_verify;
        let nothing = if skipped { "skipped by flag" } else { "cm.toml has no canary and no checks" };
        Plan { project, canary, checks, all, nothing }
    }

    /// Says what would be asked; asks nothing.
    fn describe(&self, run: &mut Run) -> Done {
        let url = |template: &cm_project::Template| template.expand().unwrap_or(template.as_written().to_owned());
        let canary = self.project.canary();
        let mut asked = Vec::new();
        if let (true, Some(template)) = (self.canary, &canary.url) {
            asked.push(json!({"canary": url(template), "requests": canary.requests}));
            run.log.info(format!("would send {} canary requests to {}", canary.requests, url(template)));
        }
        for check in self.project.verify().checks.iter().filter(|_| self.checks) {
            asked.push(json!({"check": check.name, "url": url(&check.url)}));
            run.log.info(format!("would check {}: {}", check.name, url(&check.url)));
        }
        let summary = format!("would ask {} times", asked.len());
        run.doc.set_facts(json!({"would_ask": asked}));
        Done::ok(summary)
    }

    async fn carry_out(&self, log: &Log) -> Result<Results> {
        let verify = self.project.verify();
        let mut results = Results::default();
        if self.canary {
            results.canary = canary::run(self.project.canary(), verify.timeout).await?;
            results.say_canary(log);
        }
        let failed = results.canary.as_ref().is_some_and(|canary| canary.verdict == Verdict::Fail);
        if self.checks && (self.all || !failed) {
            results.checks = checks::run(verify).await?;
            results.say_checks(log);
        }
        Ok(results)
    }
}
