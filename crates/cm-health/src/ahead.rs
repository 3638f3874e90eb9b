//! What is asked before the programs in front of this one in the pipe are done: the servers while the commit is
//! pushed, and their services where nothing will be changed.

use crate::args::Args;
use crate::preflight::{self, Servers};
use crate::selection::Selection;
use crate::watched::Watched;
use cm_core::{Early, Found, Run, Step};
use cm_project::Project;

/// Asks, from the plan on; what the plan does not matter to, before it.
pub async fn ask(args: Args, early: Early) -> Option<Found> {
    let servers = match args.preflight {
        true => Project::load(&args.common, cm_git::tracked).ok().map(|project| Servers::ask(&project, &early.log)),
        false => None,
    };
    let doc = early.document(Step::Detect).await?;
    if !args.preflight && !doc.planned().is_empty() {
        return None;
    }
    let project = cm_git::of_run(&args.common, &doc).ok()?;
    let run = Run::new(doc, early.log.clone(), false);
    if args.preflight {
        return Some(Box::new(preflight::Ahead::ask(&project, &run, &servers.unwrap_or_default(), &early).await?));
    }
    let selection = Selection::choose(&project, &args, &run).ok()?;
    Some(Box::new(Watched::watch(&project, &args, &selection, &run).await.ok()?))
}
