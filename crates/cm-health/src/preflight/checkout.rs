//! The checkout of a server: whether it can be made, or moved to what comes, and whether the
//! files are there that no commit brings.

use super::coming::Coming;
use super::expected::Expected;
use super::facts::Facts;
use super::finding::Finding;
use super::needs::{self, Subject};
use cm_checkout::{Checkout, Found, remote_hint};
use cm_core::{Exit, Failure, Result};
use cm_host::Host;
use cm_project::Project;

/// The codes of a checkout that cannot be moved, and what they are about.
const ABOUT: [(&str, &Subject); 7] = [
    ("checkout.fetch", &needs::FETCH),
    ("checkout.submodule", &needs::SUBMODULE),
    ("checkout.content", &needs::CONTENT),
    ("checkout.blocked", &needs::BLOCKED),
    ("checkout.displaced", &needs::DISPLACED),
    ("checkout.no-commit", &needs::FETCH),
    ("checkout.git", &needs::CHECKOUT),
];

/// What moving the checkout to the commit that comes would meet, by the same look that the
/// deployment takes. Where there is no checkout, what its commit has elsewhere and cannot be brought.
pub async fn moving(project: &Project, host: &Host, path: &str, coming: &Coming) -> Vec<Finding> {
    let Some(commit) = &coming.commit else { return Vec::new() };
    let (branch, protected) = (project.branch(), project.protected());
    let checkout = Checkout::new(host, path, project.remote(), &protected);
    let met = match checkout.look(Some(&branch), commit).await {
        Ok(Found::Nothing(_)) => first(project, &checkout, commit).await,
        Ok(Found::Checkout(state)) => {
            return checkout
                .nothing_lost(&state)
                .err()
                .map(|failure| lost(host.name(), &failure))
                .into_iter()
                .collect();
        }
        Err(failure) => Err(failure),
    };
    met.err().and_then(|failure| about(host.name(), &failure)).into_iter().collect()
}

/// Submodules and content of filters, of which the first deployment would find out once it has made the checkout.
async fn first(project: &Project, checkout: &Checkout<'_>, commit: &str) -> Result<()> {
    match (cm_git::origin(project), cm_git::elsewhere(&project.repository, commit)) {
        (Ok(origin), Some(elsewhere)) => checkout.can_bring(&origin, elsewhere).await,
        _ => Ok(()),
    }
}

/// What the deployment refuses unless it is told to give it up, which nobody knows here.
fn lost(host: &str, failure: &Failure) -> Finding {
    let words = failure.to_string().replacen(&format!("on {host}: "), "", 1);
    let finding = Finding::warn(&needs::EDITED, format!("{words}; the deployment refuses that"));
    finding.hint(failure.hint.clone().unwrap_or_default())
}

/// `None` for what the facts say themselves.
fn about(host: &str, failure: &Failure) -> Option<Finding> {
    let (code, about) = ABOUT.iter().find(|(code, _)| *code == failure.code)?;
    let mut failure = failure.clone();
    failure.message = failure.message.replacen(&format!("on {host}: "), "", 1);
    let words = failure.to_string();
    let finding = match *code {
        // It is pushed later, or the deployment says so.
        "checkout.no-commit" => Finding::warn(about, format!("{words}; it has to be pushed first")),
        _ => return Some(Finding::of(about, Exit::Config, &failure)),
    };
    Some(finding.hint(failure.hint.unwrap_or_default()))
}

/// A checkout that has the commit already, and could not fetch the next one.
fn fetching(facts: &Facts, expected: &Expected<'_>) -> Option<Finding> {
    let why = facts.get("remote-error")?;
    let known = |finding: &Finding| [&needs::FETCH, &needs::BLOCKED].contains(&finding.about);
    let message = format!("{} cannot fetch from its remote: {why}", expected.checkout);
    let hint = remote_hint(expected.checkout, expected.remote, why);
    (!expected.moving.iter().any(known)).then(|| Finding::warn(&needs::FETCH, message).hint(hint))
}

/// Judges the checkout by the facts of its server.
pub fn judge(facts: &Facts, expected: &Expected<'_>) -> Vec<Finding> {
    let path = expected.checkout;
    if facts.get("no-checkout").is_some() {
        return std::iter::once(to_be_made(facts, expected)).chain(expected.moving.iter().cloned()).collect();
    }
    if facts.get("head").is_none() && facts.get("unborn").is_none() {
        if !expected.moving.is_empty() {
            return expected.moving.to_vec();
        }
        let why = facts.get("head-error").unwrap_or("no answer");
        let finding = Finding::fail(Exit::Config, &needs::CHECKOUT, format!("{path} is not a usable checkout: {why}"));
        let hint = match why.contains("dubious ownership") {
            true => format!("it is not the deploy user's: as root there, chown -R USER {path}"),
            false => format!("on the server: cd {path} && git status; or fix `checkout` in cm.toml"),
        };
        return vec![finding.hint(hint)];
    }
    let mut findings = expected.moving.to_vec();
    findings.extend(fetching(facts, expected));
    if facts.get("unborn").is_some() {
        let message = format!("{path} has its repository and no files yet: what made it was ended before it was done");
        findings.push(Finding::warn(&needs::CHECKOUT, message).hint("this deployment goes on there"));
    }
    // `HEAD`: none is checked out.
    let branch = facts.get("branch").filter(|branch| !["HEAD", expected.branch].contains(branch));
    if let Some(branch) = branch {
        let message = format!("{path} is on branch {branch}, and {} is deployed", expected.branch);
        findings.push(
            Finding::warn(&needs::BRANCH, message).hint(format!("a deployment moves {branch} there to another commit")),
        );
    }
    let edited: Vec<_> = facts.all("edited").iter().filter(|path| !expected.protected.contains(path)).collect();
    if edited.is_empty() || expected.moving.iter().any(|finding| finding.about == &needs::EDITED) {
        return findings;
    }
    let names = edited.iter().take(5).map(|path| path.as_str()).collect::<Vec<_>>().join(", ");
    let more = if edited.len() > 5 { ", …" } else { "" };
    let message =
        format!("changed by hand in {path}: {names}{more} ({})", cm_core::plural(edited.len() as u64, "file"));
    findings.push(
        Finding::warn(&needs::EDITED, message)
            .hint("commit them, or add them to [protect] in cm.toml; a deployment does not keep other changes"),
    );
    findings
}

/// A server that was never deployed to: whether the deployment can make the checkout.
fn to_be_made(facts: &Facts, expected: &Expected<'_>) -> Finding {
    let path = expected.checkout;
    if let Some(why) = facts.get("no-place") {
        let finding =
            Finding::fail(Exit::Config, &needs::CHECKOUT, format!("there can be no checkout at {path}: {why}"));
        return finding.hint(cm_checkout::place_hint(path, why));
    }
    let origin = match expected.origin {
        Ok(origin) => origin,
        Err(failure) => {
            let mut finding = Finding::fail(Exit::Config, &needs::ORIGIN, format!("there is no {path}; {failure}"));
            finding.hint.clone_from(&failure.hint);
            return finding;
        }
    };
    if facts.get("origin").is_some() {
        return Finding::warn(
            &needs::CHECKOUT,
            format!("there is no {path} yet: the deployment makes it from {origin}"),
        )
        .hint("if the checkout is elsewhere, fix `checkout` in cm.toml");
    }
    let why = facts.get("origin-error").unwrap_or("nobody could ask");
    let message = format!("there is no {path} yet, and it cannot be made from {origin}: {why}");
    Finding::fail(Exit::Config, &needs::ORIGIN, message).hint(cm_checkout::fetch_hint(why))
}

/// Judges the files that are the server's own.
pub fn files(facts: &Facts, expected: &Expected<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_new = facts.get("no-checkout").or(facts.get("unborn")).is_some();
    let is_brought = |path: &str| is_new && expected.brought.iter().any(|brought| brought == path);
    if let (Some(file), None) = (expected.env_file.filter(|file| !is_brought(file)), facts.get("env-file")) {
        let why = facts.get("env-file-error").unwrap_or("not there");
        let finding = Finding::fail(Exit::Config, &needs::ENV_FILE, format!("{file} in {}: {why}", expected.checkout));
        findings.push(finding.hint(format!(
            "make it from the example in the repository: it is the server's own and never deployed; \
             before there is a checkout: `mkdir -p {0}` there, and then the file {0}/{file}",
            expected.checkout
        )));
    }
    // Readable by everybody on the server.
    if let Some(mode) = facts.get("env-file").filter(|mode| !mode.ends_with('0')) {
        let file = expected.env_file.unwrap_or_default();
        findings.push(
            Finding::warn(&needs::ENV_FILE_MODE, format!("{file} can be read by every user there (mode {mode})"))
                .hint("chmod 600"),
        );
    }
    let missing = facts.all("protected-missing").iter();
    for path in missing.filter(|path| Some(path.as_str()) != expected.env_file && !is_brought(path)) {
        findings.push(
            Finding::fail(
                Exit::Config,
                &needs::PROTECTED,
                format!("the protected file {path} is not in {}", expected.checkout),
            )
            .hint("put it there, or take it out of [protect] in cm.toml"),
        );
    }
    findings
}
