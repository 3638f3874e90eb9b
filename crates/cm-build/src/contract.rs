//! What the compose file of the commit needs of each host's env file. Compose would find
//! out after the checkout was moved, or put the empty string into a container and only
//! warn. Here it is known before anything is changed. Only the names of keys are asked
//! for; values stay where they are.

use crate::HostPlan;

use cm_core::{Exit, Failure, Log, Result};
use cm_git::{CommitTree, Repository};
use cm_host::Host;
use cm_project::compose::{Compose, Service};
use cm_project::needs::{Lacking, Needs, names_in};
use cm_project::{Project, env_file, tree};
use std::collections::BTreeSet;
use std::time::Duration;

const KEYS: &str = concat!(cm_project::env_keys_sh!(), cm_checkout::place_sh!(), include_str!("keys.sh"));

const LIMIT: Duration = Duration::from_secs(30);

/// Checks the env files of `hosts` against what `commit` needs.
///
/// # Errors
/// [`Exit::Build`] with `build.env-keys`, or `build.env-file` where there is none: what the
/// first host lacks, and after it the others; [`Exit::Unreachable`].
pub async fn check(project: &Project, hosts: &[Host], plans: &[HostPlan], commit: &str, log: &Log) -> Result<()> {
    let repository = Repository::open(&project.repository);
    let coming = match repository.as_ref().map_err(Clone::clone).and_then(|git| Release::read(project, git, commit)) {
        Ok(release) => release,
        Err(why) => {
            log.warn(format!("could not check which keys the env files need: {why}"));
            return Ok(());
        }
    };
    let mut failures: Vec<Failure> = Vec::new();
    for (host, plan) in hosts.iter().zip(plans) {
        failures.extend(check_host(project, host, plan, &coming, log).await?);
    }
    match failures.split_first() {
        Some((first, others)) => {
            Err(others.iter().fold(first.clone(), |all, other| all.cause(format!("also: {other}"))))
        }
        None => Ok(()),
    }
}

/// One commit: its files and what its compose file says.
struct Release<'a> {
    repository: &'a Repository,
    files: CommitTree<'a>,
    compose: Compose,
}

impl<'a> Release<'a> {
    fn read(project: &Project, repository: &'a Repository, commit: &str) -> Result<Self> {
        let files = repository.tree(repository.commit(commit)?)?;
        let compose = project.read_compose(&files)?;
        Ok(Release { repository, files, compose })
    }

    /// The keys of a file of the commit; `None` if it has no such file.
    fn keys(&self, file: &str) -> Option<BTreeSet<String>> {
        let bytes = tree::read(&self.files, file).ok().flatten()?;
        Some(env_file::keys(&String::from_utf8_lossy(&bytes)).into_iter().collect())
    }
}

/// What a host said of its env files.
#[derive(Debug, Default)]
struct Answer {
    head: String,
    keys: BTreeSet<String>,
    absent: Vec<String>,
    unreadable: Vec<String>,
    /// There can be no checkout, and so no env file in it.
    no_place: bool,
}

impl Answer {
    fn read(text: &str) -> Answer {
        let mut answer = Answer::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once('=')) {
            match name {
                "head" => answer.head = value.to_owned(),
                "absent" => answer.absent.push(value.to_owned()),
                "no-place" => answer.no_place = true,
                "unreadable" => answer.unreadable.push(value.to_owned()),
                env_file::KEY_FACT => {
                    answer.keys.insert(value.to_owned());
                }
                _ => {}
            }
        }
        answer
    }
}

async fn check_host(
    project: &Project,
    host: &Host,
    plan: &HostPlan,
    coming: &Release<'_>,
    log: &Log,
) -> Result<Option<Failure>> {
    let own = env_file_of(project);
    let protected = project.protected();
    let (mut keys, mut asked) = (BTreeSet::new(), Vec::new());
    for file in [&own].into_iter().chain(&coming.compose.include_env_files) {
        // A file of the repository comes with the commit, unless it is the host's own.
        match coming.keys(file).filter(|_| !protected.contains(file)) {
            Some(brought) => keys.extend(brought),
            None => asked.push(file.clone()),
        }
    }
    let arguments = [host.path(&plan.checkout)].into_iter().chain(asked);
    let output = host.script(KEYS, arguments).limit(LIMIT).output().await?;
    let mut answer = Answer::read(&output.text());
    if answer.no_place {
        // Who looks at the checkout says why.
        return Ok(None);
    }
    if !output.success() || answer.unreadable.contains(&own) {
        log.warn(format!("on {}: could not check the keys of {own}: it cannot be read", host.name()));
        return Ok(None);
    }
    if answer.head.is_empty() {
        // The first deployment brings the repository's version of what the host has none of.
        answer.absent.retain(|file| match coming.keys(file) {
            Some(brought) => {
                keys.extend(brought);
                false
            }
            None => true,
        });
    }
    keys.extend(answer.keys.iter().cloned());
    let bases = bases(project, coming.repository, plan, &answer.head);
    tell_changed_keys(host, &own, coming, bases.as_deref().unwrap_or_default(), log);
    let before: Option<BTreeSet<String>> =
        bases.as_ref().map(|bases| bases.iter().flat_map(|base| names_in(&base.compose)).collect());
    let runs = |service: &Service| runs_on(project, plan, service);
    let needs = Needs { compose: &coming.compose, runs: &runs, before: before.as_ref(), keys: &keys };
    let (grave, other): (Vec<_>, Vec<_>) = needs.lacking().into_iter().partition(|lacking| lacking.grave);
    for lacking in other {
        log.warn(format!("on {}: {own} lacks {lacking}; Compose puts the empty string there", host.name()));
    }
    let absent = answer.absent.contains(&own);
    if absent && project.config.compose.env_file.is_some() {
        return Ok(Some(no_env_file(host.name(), &plan.checkout, &own, &grave)));
    }
    Ok((!grave.is_empty()).then(|| failure(host.name(), &plan.checkout, &own, absent, &grave)))
}

/// The env file that Compose reads on a host, relative to the checkout.
fn env_file_of(project: &Project) -> String {
    let outside = || {
        let file = project.env_file().unwrap_or_else(|| ".env".to_owned());
        if file.starts_with('/') { file } else { tree::join(&project.prefix, &file) }
    };
    project.variable_files().into_iter().next().unwrap_or_else(outside)
}

/// What the services ran so far; what is checked out where that is not known; `None`
/// if one of them is not here.
fn bases<'a>(project: &Project, repository: &'a Repository, plan: &HostPlan, head: &str) -> Option<Vec<Release<'a>>> {
    let mut commits: BTreeSet<&str> = plan.services.iter().filter_map(|service| service.base.as_deref()).collect();
    if commits.is_empty() {
        commits.insert(head);
    }
    commits.into_iter().map(|commit| Release::read(project, repository, commit).ok()).collect()
}

fn runs_on(project: &Project, plan: &HostPlan, service: &Service) -> bool {
    let here = project.host_of(&service.name).is_some_and(|host| host.name == plan.host);
    let active =
        service.starts_with(project.profiles()) || plan.services.iter().any(|planned| planned.name == service.name);
    here && active
}

/// Keys that the repository's env file and its example gained or lost: a host's own
/// file does not follow by itself.
fn tell_changed_keys(host: &Host, own: &str, coming: &Release<'_>, bases: &[Release<'_>], log: &Log) {
    for file in [own.to_owned(), format!("{own}.example")] {
        let now = coming.keys(&file).unwrap_or_default();
        let then: Vec<_> = bases.iter().filter_map(|base| base.keys(&file)).collect();
        if then.is_empty() {
            continue;
        }
        let then: BTreeSet<_> = then.into_iter().flatten().collect();
        for (what, keys) in [("added", now.difference(&then)), ("removed", then.difference(&now))] {
            let keys: Vec<_> = keys.map(String::as_str).collect();
            if !keys.is_empty() {
                log.warn(format!("on {}: the repository's {file} {what} {}", host.name(), keys.join(", ")));
            }
        }
    }
}

/// The env file that cm.toml names is not there: Compose would not start without it.
fn no_env_file(host: &str, checkout: &str, file: &str, lacking: &[Lacking]) -> Failure {
    let lines: Vec<_> = lacking.iter().map(ToString::to_string).collect();
    let failure = Failure::new(Exit::Build, "build.env-file", format!("on {host}: there is no {file} in {checkout}"));
    let failure = if lines.is_empty() {
        failure
    } else {
        failure.cause(format!("the compose file needs of it: {}", lines.join("\n")))
    };
    failure.hint(format!(
        "nothing was changed; the file is that host's own: put it at {checkout}/{file} there, \
         before the checkout itself if need be"
    ))
}

fn failure(host: &str, checkout: &str, file: &str, absent: bool, lacking: &[Lacking]) -> Failure {
    let keys: Vec<_> = lacking.iter().map(|lacking| lacking.key.as_str()).collect();
    let lines: Vec<_> = lacking.iter().map(ToString::to_string).collect();
    let why =
        if absent { "is not there, and the compose file needs of it" } else { "lacks what the compose file needs" };
    Failure::new(Exit::Build, "build.env-keys", format!("on {host}: {file} {why}: {}", keys.join(", ")))
        .cause(lines.join("\n"))
        .hint(format!(
            "nothing was changed; set them in {checkout}/{file} on {host}, or give them a default: ${{KEY:-}}"
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_names_only() {
        let answer = Answer::read("head=abc\nenv-key=A\nenv-key=B\nabsent=.env\nunreadable=x\nSECRET=1\n");
        assert_eq!((answer.head.as_str(), answer.keys.len()), ("abc", 2));
        assert_eq!((answer.absent, answer.unreadable), (vec![".env".to_owned()], vec!["x".to_owned()]));
    }

    #[test]
    fn a_failure_names_host_file_keys_and_places() {
        let lacking = Lacking {
            key: "NEW_KEY".to_owned(),
            grave: true,
            services: BTreeSet::from(["api".to_owned()]),
            places: BTreeSet::from(["compose.yml:7".to_owned()]),
        };
        let failure = failure("one", "~/shop", ".env", false, &[lacking]);
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Build, "build.env-keys"));
        assert_eq!(
            failure.to_string(),
            "on one: .env lacks what the compose file needs: NEW_KEY: NEW_KEY (compose.yml:7; api)"
        );
        assert!(failure.hint.expect("a hint").contains("~/shop/.env on one"));
    }
}
