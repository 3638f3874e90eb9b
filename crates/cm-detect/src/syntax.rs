//! The syntax check of the Python files that a deployment brings: which files it is about,
//! and whose mistakes stop it.

use crate::args::Args;
use crate::bases::Base;
use crate::detection::Detection;
use crate::leftover::is_python;
use crate::notes::Notes;
use crate::plan::Plan;
use crate::python::{self, Checked, Source};
use cm_core::{Action, Result, plural};
use cm_git::display;

impl Detection {
    /// Checks the changed Python files.
    pub async fn check_python(&self, args: &Args, plan: &Plan, notes: &Notes) -> Result<()> {
        if args.skip_syntax_check {
            notes.warn("the Python syntax check is skipped");
            return Ok(());
        }
        let (sources, used) = self.python_sources(plan)?;
        let (large, small): (Vec<_>, Vec<_>) =
            sources.into_iter().zip(used).partition(|(source, _)| source.text.len() > python::MAX_FILE);
        for (source, _) in &large {
            notes.warn(format!(
                "the syntax of {} was NOT checked: it is larger than {} MiB",
                source.path,
                python::MAX_FILE >> 20
            ));
        }
        let (sources, used): (Vec<_>, Vec<_>) = small.into_iter().unzip();
        if sources.is_empty() {
            return Ok(());
        }
        match python::check(&sources).await {
            Checked::Not(why) => {
                let files = plural(sources.len() as u64, "changed Python file");
                notes.warn(format!("the syntax of {files} was NOT checked: {why}"));
                Ok(())
            }
            Checked::All { mistakes, version } => {
                let (blocking, other): (Vec<_>, Vec<_>) = mistakes.iter().partition(|mistake| used[mistake.index]);
                for mistake in &other {
                    notes.warn(format!("no service that changes uses it, but {}", mistake.message));
                }
                python::judge(&blocking, &version)?;
                let files = plural((sources.len() - other.len()) as u64, "changed Python file");
                notes.log.info(format!("syntax of {files} OK (Python {version})"));
                Ok(())
            }
        }
    }

    /// The Python files that differ from what runs, and whether a service that changes uses each.
    fn python_sources(&self, plan: &Plan) -> Result<(Vec<Source>, Vec<bool>)> {
        let tree = self.repository.tree(self.head)?;
        let mut paths = plan.python.clone();
        // What never ran differs in every file.
        let fresh = |name: &String| !matches!(self.base_of(name), Some(Base::Commit { .. }));
        let acted = |name: &String| plan.services.iter().any(|s| s.name == *name && s.action != Action::None);
        let new: Vec<bool> = self.inputs.services.iter().map(|s| acted(&s.name) && fresh(&s.name)).collect();
        if new.contains(&true) {
            let takes = |path: &[u8]| {
                self.inputs.classify(path, false).iter().zip(&new).any(|(effect, new)| *new && effect.is_some())
            };
            paths.extend(tree.files(&|path| is_python(path) && takes(path))?);
        }
        let uses = |path: &[u8]| {
            let effects = self.inputs.classify(path, false);
            self.inputs.services.iter().zip(effects).any(|(service, effect)| effect.is_some() && acted(&service.name))
        };
        let found = paths.into_iter().filter_map(|path| tree.blob(&path).map(|text| (path, text)));
        Ok(found.map(|(path, text)| (Source { path: display(&path), text }, uses(&path))).unzip())
    }
}
