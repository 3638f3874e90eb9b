//! What the facts of a server mean for a deployment. Pure.

use super::facts::{Facts, Room};
use cm_core::{Exit, Failure};
use serde::Serialize;

/// Less than this on the disk of Docker, in KiB, and a build is likely to fail.
const LITTLE_DISK: u64 = 5 << 20;

/// Less than this, and it will fail.
const NO_DISK: u64 = 512 << 10;

const ROOM: &str =
    "`cm-build prune` removes images that no release needs; `docker system df` shows what takes the room";

/// Less free memory than this, in KiB, is worth a warning.
const LITTLE_MEMORY: u64 = 256 << 10;

/// A clock that is this far off confuses leases and records, in seconds.
const CLOCK_OFF: f64 = 5.0;

/// The oldest engine that the tests have seen.
const OLDEST_DOCKER: (u32, u32) = (20, 10);

/// How much a finding matters.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// People should know.
    Warn,
    /// The deployment must not start.
    Fail,
}

/// Something that is not as it should be.
#[derive(Clone, Debug, Serialize)]
pub struct Finding {
    /// The host; `None` for this machine.
    pub host: Option<String>,
    /// Stable, for scripts.
    pub code: &'static str,
    /// How much it matters.
    pub weight: Weight,
    /// For people.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// How the program exits because of it.
    #[serde(skip)]
    pub exit: Exit,
}

impl Finding {
    /// Something to know.
    pub fn warn(code: &'static str, message: impl Into<String>) -> Finding {
        Finding { host: None, code, weight: Weight::Warn, message: message.into(), hint: None, exit: Exit::Done }
    }

    /// Something that stops the deployment.
    pub fn fail(exit: Exit, code: &'static str, message: impl Into<String>) -> Finding {
        Finding { weight: Weight::Fail, exit, ..Finding::warn(code, message) }
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Finding {
        self.hint = Some(hint.into());
        self
    }

    /// `HOST: MESSAGE`.
    pub fn line(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}: {}", self.message),
            None => self.message.clone(),
        }
    }
}

/// What was expected of a server.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The checkout, as `cm.toml` says it.
    pub checkout: &'a str,
    /// The branch that is deployed.
    pub branch: &'a str,
    /// The env file, relative to the checkout.
    pub env_file: Option<&'a str>,
    /// The protected files, relative to the checkout.
    pub protected: &'a [String],
    /// Those of them that the commit has: a first deployment brings them.
    pub brought: &'a [String],
    /// What a checkout that is not there is made from, or why that is not known.
    pub origin: Result<&'a str, &'a Failure>,
    /// How far the server's clock is ahead of ours, in seconds, if that is certain.
    pub ahead: Option<f64>,
}

/// Judges the facts of a server.
pub fn judge(facts: &Facts, expected: &Expected<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(engine(facts));
    findings.extend(disk(facts, "docker-disk", "Docker's disk"));
    findings.extend(disk(facts, "checkout-disk", "the checkout's disk"));
    findings.extend(memory(facts));
    findings.extend(checkout(facts, expected));
    findings.extend(files(facts, expected));
    findings.extend(clock(expected.ahead));
    findings
}

fn engine(facts: &Facts) -> Vec<Finding> {
    let why = |name: &str| facts.get(&format!("{name}-error")).unwrap_or("no answer").to_owned();
    let mut findings = Vec::new();
    if facts.get("docker").is_none() {
        let finding =
            Finding::fail(Exit::HealthUnknown, "docker", format!("Docker does not answer: {}", why("docker")));
        findings
            .push(finding.hint(
                "on the host: `docker info`; is the engine running, and is the deploy user in the group docker?",
            ));
    }
    if let Some(version) = facts.get("docker").filter(|version| is_older(version, OLDEST_DOCKER)) {
        let (major, minor) = OLDEST_DOCKER;
        findings.push(Finding::warn(
            "docker",
            format!("Docker {version} is older than {major}.{minor}, the oldest that is tested"),
        ));
    }
    match facts.get("compose") {
        None => findings.push(
            Finding::fail(Exit::HealthUnknown, "compose", format!("there is no Docker Compose: {}", why("compose")))
                .hint("install the Compose plugin, version 2 or later"),
        ),
        Some(version) if version.trim_start_matches('v').starts_with("1.") => findings.push(
            Finding::fail(Exit::Config, "compose", format!("Docker Compose is too old: {version}"))
                .hint("install the Compose plugin, version 2 or later"),
        ),
        Some(_) => {}
    }
    findings
}

/// Whether `28.2.2`, `v2.26.1-4` or `20.10.24+dfsg1` comes before `least`. What is no
/// version is not judged.
fn is_older(version: &str, least: (u32, u32)) -> bool {
    let mut numbers = version.trim_start_matches('v').split(['.', '-', '+']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < least,
        _ => false,
    }
}

fn disk(facts: &Facts, name: &str, what: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    match facts.room(&format!("{name}-kib")) {
        Some(Room { free, .. }) if free < NO_DISK => {
            findings
                .push(Finding::fail(Exit::Config, "disk", format!("{what} is full: {} free", size(free))).hint(ROOM));
        }
        Some(Room { free, total }) if free < LITTLE_DISK || free * 20 < total => {
            let message = format!("{what} has little room left: {} of {} free", size(free), size(total));
            findings.push(Finding::warn("disk", message).hint(ROOM));
        }
        _ => {}
    }
    if let Some(Room { free, total }) = facts.room(&format!("{name}-inodes"))
        && total > 0
        && free * 50 < total
    {
        let message = format!("{what} has few inodes left: {free} of {total}");
        findings.push(Finding::warn("inodes", message).hint(
            "without any, no file can be made, however much room there is: \
             `du --inodes -xd2 / | sort -n | tail` there shows where they are",
        ));
    }
    findings
}

fn memory(facts: &Facts) -> Option<Finding> {
    let free: u64 = facts.get("memory-kib")?.parse().ok()?;
    let finding = || Finding::warn("memory", format!("little memory is left: {}", size(free)));
    (free < LITTLE_MEMORY).then(|| {
        finding().hint("a build or a service may be killed: `docker stats --no-stream` there shows who has it")
    })
}

fn checkout(facts: &Facts, expected: &Expected<'_>) -> Vec<Finding> {
    let path = expected.checkout;
    if facts.get("no-checkout").is_some() {
        return vec![to_be_made(facts, expected)];
    }
    if facts.get("head").is_none() {
        let why = facts.get("head-error").unwrap_or("no answer");
        let finding = Finding::fail(Exit::Config, "checkout", format!("{path} is no usable checkout: {why}"));
        return vec![finding.hint(format!("on the server: cd {path} && git status; or mend `checkout` in cm.toml"))];
    }
    let mut findings = Vec::new();
    // `HEAD`: none is checked out.
    let branch = facts.get("branch").filter(|branch| !["HEAD", expected.branch].contains(branch));
    if let Some(branch) = branch {
        let message = format!("{path} is on branch {branch}, and {} is deployed", expected.branch);
        findings.push(
            Finding::warn("branch", message).hint(format!("a deployment moves {branch} there to another commit")),
        );
    }
    let edited: Vec<_> = facts.all("edited").iter().filter(|path| !expected.protected.contains(path)).collect();
    if edited.is_empty() {
        return findings;
    }
    let names = edited.iter().take(5).map(|path| path.as_str()).collect::<Vec<_>>().join(", ");
    let more = if edited.len() > 5 { ", …" } else { "" };
    let message =
        format!("changed by hand in {path}: {names}{more} ({})", cm_core::plural(edited.len() as u64, "file"));
    findings.push(
        Finding::warn("edited", message)
            .hint("commit them, or add them to [protect] in cm.toml; a deployment does not keep other changes"),
    );
    findings
}

/// A server that was never deployed to: whether the deployment can make the checkout.
fn to_be_made(facts: &Facts, expected: &Expected<'_>) -> Finding {
    let path = expected.checkout;
    let origin = match expected.origin {
        Ok(origin) => origin,
        Err(failure) => {
            let mut finding = Finding::fail(Exit::Config, "origin", format!("there is no {path}; {failure}"));
            finding.hint.clone_from(&failure.hint);
            return finding;
        }
    };
    if facts.get("origin").is_some() {
        return Finding::warn("checkout", format!("there is no {path} yet: the deployment makes it from {origin}"))
            .hint("if the checkout is elsewhere, mend `checkout` in cm.toml");
    }
    let why = facts.get("origin-error").unwrap_or("nobody could ask");
    let message = format!("there is no {path} yet, and it cannot be made from {origin}: {why}");
    Finding::fail(Exit::Config, "origin", message).hint(cm_checkout::clone_hint(why))
}

fn files(facts: &Facts, expected: &Expected<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_brought =
        |path: &str| facts.get("no-checkout").is_some() && expected.brought.iter().any(|brought| brought == path);
    if let (Some(file), None) = (expected.env_file.filter(|file| !is_brought(file)), facts.get("env-file")) {
        let why = facts.get("env-file-error").unwrap_or("not there");
        let finding = Finding::fail(Exit::Config, "env-file", format!("{file} in {}: {why}", expected.checkout));
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
            Finding::warn("env-file-mode", format!("{file} can be read by every user there (mode {mode})"))
                .hint("chmod 600"),
        );
    }
    let missing = facts.all("protected-missing").iter();
    for path in missing.filter(|path| Some(path.as_str()) != expected.env_file && !is_brought(path)) {
        findings.push(
            Finding::fail(
                Exit::Config,
                "protected",
                format!("the protected file {path} is not in {}", expected.checkout),
            )
            .hint("put it there, or take it out of [protect] in cm.toml"),
        );
    }
    findings
}

fn clock(ahead: Option<f64>) -> Option<Finding> {
    let ahead = ahead.filter(|ahead| ahead.abs() > CLOCK_OFF)?;
    let side = if ahead > 0.0 { "ahead of" } else { "behind" };
    let message = format!("its clock is {:.0} s {side} this machine's", ahead.abs());
    Some(Finding::warn("clock", message).hint("one of the two is wrong; is a time service running?"))
}

/// KiB, for people.
pub fn size(kib: u64) -> String {
    let mib = kib as f64 / 1024.0;
    if mib < 1024.0 { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "docker=28.2.2\ncompose=2.40.3\ndocker-disk-kib=50000000 100000000\ndocker-disk-inodes=900 1000\n\
        memory-kib=4000000\nhead=abc\nbranch=develop\nenv-file=600\nprotected=Caddyfile\n";

    fn found(change: &[(&str, &str)], ahead: f64) -> Vec<(&'static str, Weight, u8)> {
        let mut text = GOOD.to_owned();
        for (from, to) in change {
            assert!(text.contains(from), "{from}");
            text = text.replace(from, to);
        }
        let protected = ["Caddyfile".to_owned(), ".env".to_owned()];
        let expected = Expected {
            checkout: "~/shop",
            branch: "develop",
            env_file: Some(".env"),
            protected: &protected,
            brought: &protected[..1],
            origin: Ok("git@example.org:shop.git"),
            ahead: Some(ahead),
        };
        judge(&Facts::parse(&text), &expected)
            .into_iter()
            .map(|finding| (finding.code, finding.weight, finding.exit.code()))
            .collect()
    }

    #[test]
    fn a_good_server_has_nothing_to_say() {
        assert_eq!(found(&[], 1.0), []);
    }

    #[test]
    fn every_lack_is_found_and_has_its_exit() {
        for (from, to, code, weight, exit) in [
            ("docker=28.2.2", "docker-error=permission denied", "docker", Weight::Fail, 41),
            ("compose=2.40.3", "compose-error=no such command", "compose", Weight::Fail, 41),
            ("compose=2.40.3", "compose=1.29.2", "compose", Weight::Fail, 6),
            ("docker=28.2.2", "docker=19.03.15", "docker", Weight::Warn, 0),
            ("branch=develop", "branch=feature", "branch", Weight::Warn, 0),
            ("disk-kib=50000000", "disk-kib=100000", "disk", Weight::Fail, 6),
            ("disk-kib=50000000", "disk-kib=4000000", "disk", Weight::Warn, 0),
            ("inodes=900", "inodes=9", "inodes", Weight::Warn, 0),
            ("memory-kib=4000000", "memory-kib=1000", "memory", Weight::Warn, 0),
            ("head=abc", "head-error=not a git repository", "checkout", Weight::Fail, 6),
            ("head=abc", "head=abc\nedited=Caddyfile\nedited=a.py", "edited", Weight::Warn, 0),
            ("env-file=600", "env-file-error=not there", "env-file", Weight::Fail, 6),
            ("env-file=600", "env-file=644", "env-file-mode", Weight::Warn, 0),
            (
                "protected=Caddyfile",
                "protected-missing=Caddyfile\nprotected-missing=.env",
                "protected",
                Weight::Fail,
                6,
            ),
        ] {
            assert_eq!(found(&[(from, to)], 0.0), [(code, weight, exit)], "{to}");
        }
        assert_eq!(found(&[("head=abc", "head=abc\nedited=Caddyfile")], 0.0), [], "a protected file may be edited");
        assert_eq!(found(&[("branch=develop", "branch=HEAD")], 0.0), [], "no branch is checked out");
        assert_eq!(found(&[("docker=28.2.2", "docker=dev")], 0.0), [], "no version, no judgement");
        assert_eq!(found(&[], -90.0), [("clock", Weight::Warn, 0)]);
    }

    #[test]
    fn a_server_without_a_checkout_gets_one_if_it_can_be_made() {
        let warned = ("checkout", Weight::Warn, 0);
        let none = |more: &str| format!("no-checkout=/home/ada/shop\n{more}");
        let found =
            |more: &str, files: &str| found(&[("head=abc\n", &none(more)), ("protected=Caddyfile", files)], 0.0);
        assert_eq!(
            found("origin=readable\n", "protected-missing=Caddyfile"),
            [warned],
            "the commit brings a Caddyfile"
        );
        assert_eq!(found("origin-error=Permission denied\n", "protected=Caddyfile"), [("origin", Weight::Fail, 6)]);
    }

    #[test]
    fn what_the_commit_does_not_bring_has_to_be_there() {
        let change =
            [("head=abc\n", "no-checkout=/x\norigin=readable\n"), ("env-file=600", "env-file-error=not there")];
        assert_eq!(found(&change, 0.0), [("checkout", Weight::Warn, 0), ("env-file", Weight::Fail, 6)]);
    }
}
