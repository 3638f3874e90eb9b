//! A saved plan: the document of a dry run, applied later. It is what was shown or it is
//! nothing: where a server or the branch has moved since, it is refused.

use crate::Selection;
use cm_core::facts::{Basis, BuildFacts, BuildPlan};
use cm_core::{Document, Exit, Failure, Result, Run};
use cm_project::Project;
use std::collections::BTreeMap;
use std::path::Path;

/// What a plan says besides its services.
#[derive(Debug)]
pub struct Saved {
    /// How it was asked for.
    pub selection: Selection,
    /// What it rests on, by host.
    basis: BTreeMap<String, Basis>,
}

/// How the plan is to be carried out, for the document.
pub fn facts(selection: &Selection) -> BuildPlan {
    BuildPlan { full: selection.full, discard_local_changes: selection.discard_local_changes }
}

/// Reads a plan, and makes `run` the run that carries it out.
///
/// # Errors
/// [`Exit::Usage`] if a document came in, too; [`Exit::BadInput`] if it is no plan of a dry run, or one of
/// another project.
pub fn read(path: &Path, project: &Project, run: &mut Run) -> Result<Saved> {
    if !run.started_here {
        return Err(Failure::new(Exit::Usage, "usage.two-plans", "a document came in, and --plan names another plan")
            .hint("give one of them: cm-build --plan FILE </dev/null"));
    }
    let hint = "make one: cm-detect </dev/null | cm-build --dry-run >FILE";
    let bytes = std::fs::read(path).map_err(|error| {
        let message = format!("cannot read {}", path.display());
        Failure::new(Exit::BadInput, "plan.read", message).cause(error).hint(hint)
    })?;
    let no_plan = |why: &str| {
        Failure::new(Exit::BadInput, "plan.shape", format!("{} is not a valid plan: {why}", path.display())).hint(hint)
    };
    let plan = Document::parse("cm-build", &bytes)
        .map_err(|failure| no_plan(&failure.to_string().replacen("stdin", "it", 1)))?;
    if !plan.dry_run() || plan.status() != cm_core::Status::Ok {
        return Err(no_plan("it is of a run that was carried out, or that failed"));
    }
    project.check_project(&plan)?;
    let build: BuildFacts = plan.whole_part().map_err(|failure| no_plan(&failure.to_string()))?;
    let hosts = build.hosts.unwrap_or_default().into_iter();
    let basis: BTreeMap<String, Basis> = hosts.filter_map(|(host, facts)| Some((host, facts.basis?))).collect();
    let planned = plan.planned();
    if planned.iter().any(|service| !basis.contains_key(&service.host)) {
        return Err(no_plan("it does not say what it rests on; the servers were not reached when it was made"));
    }
    let (Some(name), Some(commit)) = (plan.project(), plan.commit()) else {
        return Err(no_plan("it names no commit"));
    };
    run.doc.set_target(name, plan.branch(), Some(commit));
    run.doc.set_services(&plan.services())?;
    let BuildPlan { full, discard_local_changes } = build.plan.unwrap_or_default();
    let selection = Selection { service: Vec::new(), all: false, full, discard_local_changes };
    Ok(Saved { selection, basis })
}

impl Saved {
    /// What has moved on `host` since the plan was made, if `now` is what there is.
    pub fn moved(&self, host: &str, now: &Basis) -> Vec<String> {
        let then = self.basis.get(host).cloned().unwrap_or_default();
        let short = |head: &Option<String>| head.as_deref().unwrap_or("nothing").chars().take(12).collect::<String>();
        let mut moved = Vec::new();
        if then.head != now.head {
            moved.push(format!("on {host}: the checkout was at {} and is at {}", short(&then.head), short(&now.head)));
        }
        if then.release != now.release {
            let release = now.release.as_deref().unwrap_or("another one");
            moved.push(format!("on {host}: release {release} was made since"));
        }
        let before = then.containers.unwrap_or_default();
        let other = |(name, ids): (&String, &Vec<String>)| (before.get(name) != Some(ids)).then(|| name.clone());
        let services: Vec<_> = now.containers.iter().flatten().filter_map(other).collect();
        if !services.is_empty() {
            moved.push(format!("on {host}: other containers run for {}", services.join(", ")));
        }
        moved
    }
}

/// The refusal of a plan, with what has moved.
pub fn refused(moved: &[String]) -> Failure {
    Failure::new(Exit::Build, "plan.moved", "the plan is not carried out: things have moved since it was made")
        .cause(moved.join("\n"))
        .hint(
            "nothing was changed; make the plan again and look at it: cm-detect </dev/null | cm-build --dry-run >FILE",
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::{Format, Level, Log};
    use cm_project::Config;
    use serde_json::{Value, json};
    use std::path::PathBuf;

    fn basis(value: Value) -> Basis {
        serde_json::from_value(value).expect("a basis")
    }

    fn saved(basis: Basis) -> Saved {
        let selection = Selection { service: Vec::new(), all: false, full: false, discard_local_changes: false };
        Saved { selection, basis: BTreeMap::from([("one".to_owned(), basis)]) }
    }

    #[test]
    fn what_moved_is_named_and_what_did_not_is_not() {
        let then = basis(json!({"head": "aaa", "release": null, "containers": {"web": ["1"], "api": []}}));
        assert!(saved(then.clone()).moved("one", &then).is_empty());
        let now = basis(json!({"head": "bbb", "release": "r2", "containers": {"web": ["1"], "api": ["9"]}}));
        let moved = saved(then).moved("one", &now);
        assert_eq!(
            moved,
            [
                "on one: the checkout was at aaa and is at bbb",
                "on one: release r2 was made since",
                "on one: other containers run for api"
            ]
        );
    }

    const COMMIT: &str = "0123456789012345678901234567890123456789";

    #[test]
    fn only_a_whole_dry_run_is_a_plan() {
        let dir = tempfile::tempdir().expect("dir");
        let log = Log::new("cm-build", Format::Text, Level::Fail);
        let run = || Run::new(Document::start("cm-build", "ada", false), log.clone(), true);
        let plan = |dry, hosts: Value| {
            let mut doc = Document::start("cm-build", "ada", dry).as_value();
            doc["project"] = "shop".into();
            doc["commit"] = COMMIT.into();
            doc["services"] = json!([{"name": "web", "host": "one", "action": "build"}]);
            doc["facts"] = json!({"build": {"plan": {"full": true}, "hosts": hosts}});
            doc
        };
        let named = |name: &str| {
            let config = Config::parse("cm.toml", &format!("project = \"{name}\"\n[hosts.one]\naddress = \"a@b\"\n"));
            Project::of(PathBuf::from("/x"), PathBuf::from("/x"), String::new(), config.expect("valid"))
        };
        let shop = named("shop");
        let whole = json!({"one": {"basis": {"head": "aaa"}}});
        let path = dir.path().join("plan");
        for (text, code) in [
            ("{".to_owned(), "plan.shape"),
            (plan(false, whole.clone()).to_string(), "plan.shape"),
            (plan(true, json!({"one": {}})).to_string(), "plan.shape"),
        ] {
            std::fs::write(&path, text).expect("write");
            assert_eq!(read(&path, &shop, &mut run()).expect_err(code).code, code);
        }
        std::fs::write(&path, plan(true, whole).to_string()).expect("write");
        let mut now = run();
        assert!(read(&path, &shop, &mut now).expect("a plan").selection.full);
        assert_eq!((now.doc.commit(), now.doc.dry_run(), now.doc.planned().len()), (Some(COMMIT), false, 1));
        let other = read(&path, &named("other"), &mut run()).expect_err("a plan for other hosts");
        assert_eq!((other.exit, other.code.as_str()), (Exit::BadInput, "input.name"));
        now.started_here = false;
        assert_eq!(read(&path, &shop, &mut now).expect_err("two").exit, Exit::Usage);
    }
}
