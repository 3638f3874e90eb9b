//! What the facts of a server mean for a deployment. Pure.

use super::expected::Expected;
use super::facts::Facts;
use super::finding::Finding;
use super::{checkout, needs};
use cm_core::Exit;
use cm_core::facts::Room;

/// Less than this on the disk of Docker, in KiB, and a build is likely to fail.
const LITTLE_DISK: u64 = 5 << 20;

/// Less than this, and it will fail.
const NO_DISK: u64 = 512 << 10;

/// Less than this where locks, ledgers and temporary files are, in KiB, and nothing can be written down.
const NO_CORNER: u64 = 16 << 10;

const ROOM: &str =
    "`cm-build prune` removes images that no release needs; `docker system df` shows what takes the room";

const CORNER_ROOM: &str =
    "make room there: `df -h` there shows the disks, `du -xh --max-depth=2 DIRECTORY | sort -h | tail` what takes one";

/// Less free memory than this, in KiB, is worth a warning.
const LITTLE_MEMORY: u64 = 256 << 10;

/// A clock that is this far off confuses leases and records, in seconds.
const CLOCK_OFF: f64 = 5.0;

/// The oldest engine that the tests have seen.
const OLDEST_DOCKER: (u32, u32) = (20, 10);

/// Judges the facts of a server.
pub fn judge(facts: &Facts, expected: &Expected<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(home(facts));
    findings.extend(tools(facts));
    findings.extend(engine(facts));
    findings.extend(disk(facts, "docker-disk", "Docker's disk"));
    findings.extend(disk(facts, "checkout-disk", "the checkout's disk"));
    findings.extend(corner(
        facts,
        "home-disk",
        "the disk of the deploy user's home, where the lock and the ledger are,",
    ));
    findings.extend(corner(facts, "temporary-disk", "the disk of temporary files"));
    findings.extend(temporary(facts));
    findings.extend(memory(facts));
    findings.extend(checkout::judge(facts, expected));
    findings.extend(checkout::files(facts, expected));
    findings.extend(clock(expected.ahead));
    findings
}

/// Everything that is kept on a server is kept there; without it, `~` is the root directory.
fn home(facts: &Facts) -> Option<Finding> {
    let home = facts.get("no-home")?;
    let message = format!("the deploy user's home directory {home} is not there, or closed to it");
    Some(
        Finding::fail(Exit::Config, &needs::HOME, message)
            .hint(format!("as root there: `install -d -o USER -m 750 {home}`; `getent passwd USER` says which it is")),
    )
}

/// Commands that the scripts need, and that small systems have in a smaller form.
fn tools(facts: &Facts) -> Option<Finding> {
    let lacking = facts.all("lacks").join(", ");
    let message = format!("commands are missing there, or can do less than is needed: {lacking}");
    (!lacking.is_empty()).then(|| {
        Finding::fail(Exit::Config, &needs::TOOLS, message).hint(
            "as root there: Alpine: apk add git coreutils findutils util-linux; Debian or Ubuntu: apt-get install git coreutils findutils util-linux",
        )
    })
}

/// Where nothing can be put aside, no script gets far.
fn temporary(facts: &Facts) -> Option<Finding> {
    let why = facts.get("no-temporary")?;
    let message = format!("no temporary file can be made there: {why}");
    let hint = match why.contains("Disk quota exceeded") {
        true => "the deploy user's quota there is used up (`quota -s`): make room, or set TMPDIR for the deploy user",
        false => "as root there: chmod 1777 /tmp, make room in it, or set TMPDIR for the deploy user",
    };
    Some(Finding::fail(Exit::Config, &needs::TEMPORARY, message).hint(hint))
}

/// Why Docker cannot be used, by what it said and what else was found.
fn no_docker(facts: &Facts) -> Finding {
    let said = facts.get("docker-error").unwrap_or("no answer");
    let fail = |message: String| Finding::fail(Exit::HealthUnknown, &needs::DOCKER, message);
    let group =
        "as root there: usermod -aG docker USER for the deploy user; it counts a minute after the last connection";
    if facts.get("docker-sudo").is_some() {
        let message = "Docker answers the deploy user only through sudo, and cm calls it without".to_owned();
        return fail(message).hint(group);
    }
    if said.contains("permission denied") {
        return fail(format!("Docker does not let the deploy user in: {said}"))
            .hint(format!("{group}; or make it rootless"));
    }
    if said.contains("docker: not found") || said.contains("command not found") {
        return fail(format!("there is no Docker on the PATH of a shell that is no login shell: {said}")).hint(
            "install it; or, where it is somewhere else, link it: ln -s /opt/WHERE/docker ~/.local/bin/docker there",
        );
    }
    fail(format!("Docker does not answer: {said}")).hint(
        "on the host: `docker info` as the deploy user; is the engine running? `docker context ls` says which one is asked. A DOCKER_HOST that only ~/.profile sets is not seen over ssh: set it at the head of ~/.bashrc, or `docker context use`",
    )
}

/// The packages that Compose comes in.
const COMPOSE_PLUGIN: &str =
    "install the Compose plugin, version 2 or later: docker-compose-v2, docker-compose-plugin or docker-compose";

/// Why there is no `docker compose`, by what there is instead.
fn no_compose(facts: &Facts) -> Finding {
    let fail = |message: String| Finding::fail(Exit::HealthUnknown, &needs::COMPOSE, message);
    if let Some(broken) = facts.get("compose-broken") {
        return fail(format!("Docker cannot run its Compose plugin: {broken}"))
            .hint(format!("make it executable, or replace it by one for this processor; or {COMPOSE_PLUGIN}"));
    }
    match facts.get("compose-alone").and_then(|found| found.split_once(' ')) {
        Some((version, path)) if version != "?" && !is_older(version, (2, 0)) => fail(format!(
            "Compose {version} is there as the command {path} alone, and not as `docker compose`, which cm calls"
        ))
        .hint(format!(
            "as the deploy user there: mkdir -p ~/.docker/cli-plugins && ln -s {path} ~/.docker/cli-plugins/docker-compose; or \
             {COMPOSE_PLUGIN}"
        )),
        Some((version, path)) => {
            let version = if version == "?" { "of an unknown version" } else { version };
            fail(format!("Docker Compose there is {version} ({path}), and cm calls `docker compose`, version 2 or later"))
                .hint(COMPOSE_PLUGIN)
        }
        None => fail("there is no Docker Compose: `docker compose` is not a command there".to_owned()).hint(COMPOSE_PLUGIN),
    }
}

fn engine(facts: &Facts) -> Vec<Finding> {
    if let Some(podman) = facts.get("podman") {
        let message = format!("what is called docker there is {podman}");
        let finding = Finding::fail(Exit::Config, &needs::DOCKER, message);
        return vec![finding.hint("cm needs the Docker Engine: remove podman-docker, install docker-ce or docker.io")];
    }
    let Some(version) = facts.get("docker") else { return vec![no_docker(facts)] };
    let why = |name: &str| facts.get(&format!("{name}-error")).unwrap_or("no answer").to_owned();
    let mut findings = Vec::new();
    if is_older(version, OLDEST_DOCKER) {
        let (major, minor) = OLDEST_DOCKER;
        let message = format!("Docker {version} is older than {major}.{minor}, the oldest that is tested");
        findings.push(Finding::warn(&needs::DOCKER, message).hint("bring Docker there up to date"));
    }
    match facts.get("compose") {
        None => findings.push(no_compose(facts)),
        Some(version) if version.trim_start_matches('v').starts_with("1.") => {
            let message = format!("Docker Compose is too old: {version}");
            findings.push(Finding::fail(Exit::Config, &needs::COMPOSE, message).hint(COMPOSE_PLUGIN));
        }
        Some(_) => {}
    }
    if facts.get("buildx-error").is_some() {
        let message = format!("there is no buildx: {}", why("buildx"));
        let finding = Finding::warn(&needs::BUILDX, message);
        findings.push(finding.hint("Compose builds images with it: install docker-buildx or docker-buildx-plugin"));
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
            findings.push(
                Finding::fail(Exit::Config, &needs::DISK, format!("{what} is full: {} free", size(free))).hint(ROOM),
            );
        }
        Some(Room { free, total }) if free < LITTLE_DISK || free * 20 < total => {
            let message = format!("{what} has little room left: {} of {} free", size(free), size(total));
            findings.push(Finding::warn(&needs::DISK, message).hint(ROOM));
        }
        _ => {}
    }
    if let Some(Room { free, total }) = facts.room(&format!("{name}-inodes"))
        && total > 0
        && free * 50 < total
    {
        let message = format!("{what} has few inodes left: {free} of {total}");
        findings.push(Finding::warn(&needs::INODES, message).hint(
            "without any, no file can be made, however much room there is: \
             `du --inodes -xd2 / | sort -n | tail` there shows where they are",
        ));
    }
    findings
}

/// A disk that takes small files only.
fn corner(facts: &Facts, name: &str, what: &str) -> Option<Finding> {
    let free = facts.room(&format!("{name}-kib")).map(|room| room.free).filter(|free| *free < NO_CORNER)?;
    Some(Finding::fail(Exit::Config, &needs::DISK, format!("{what} is full: {} free", size(free))).hint(CORNER_ROOM))
}

fn memory(facts: &Facts) -> Option<Finding> {
    let free: u64 = facts.get("memory-kib")?.parse().ok()?;
    let finding = || Finding::warn(&needs::MEMORY, format!("little memory is left: {}", size(free)));
    (free < LITTLE_MEMORY).then(|| {
        finding().hint("a build or a service may be killed: `docker stats --no-stream` there shows who has it")
    })
}

fn clock(ahead: Option<f64>) -> Option<Finding> {
    let ahead = ahead.filter(|ahead| ahead.abs() > CLOCK_OFF)?;
    let side = if ahead > 0.0 { "ahead of" } else { "behind" };
    let message = format!("its clock is {:.0} s {side} this machine's", ahead.abs());
    Some(Finding::warn(&needs::CLOCK, message).hint("one of the two is wrong; is a time service running?"))
}

/// KiB, for people.
pub fn size(kib: u64) -> String {
    let mib = kib as f64 / 1024.0;
    if mib < 1024.0 { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cm_core::facts::Weight;

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
            remote: "origin",
            env_file: Some(".env"),
            protected: &protected,
            brought: &protected[..1],
            origin: Ok("git@example.org:shop.git"),
            moving: &[],
            ahead: Some(ahead),
        };
        judge(&Facts::parse(&text), &expected)
            .into_iter()
            .map(|finding| (finding.about.name(), finding.weight, finding.exit.code()))
            .collect()
    }

    #[test]
    fn a_good_server_has_nothing_to_say() {
        assert_eq!(found(&[], 1.0), []);
    }

    #[test]
    fn what_there_is_of_compose_decides_what_helps() {
        for (facts, says, hint) in [
            ("compose-error=x\ncompose-alone=2.40.3 /opt/dc", "as the command /opt/dc alone", "ln -s /opt/dc"),
            ("compose-error=x\ncompose-alone=1.29.2 /opt/dc", "there is 1.29.2 (/opt/dc)", "docker-compose-v2"),
            ("compose-error=x\ncompose-alone=? /opt/dc", "of an unknown version", "docker-compose-v2"),
            ("compose-error=x\ncompose-broken=/p: exec format error", "/p: exec format error", "for this processor"),
            ("compose-error=unknown flag", "`docker compose` is not a command there", "docker-compose-v2"),
        ] {
            let finding = no_compose(&Facts::parse(facts));
            assert!(finding.message.contains(says), "{}", finding.message);
            assert!(finding.hint.as_deref().unwrap_or_default().contains(hint), "{:?}", finding.hint);
        }
        let none = no_docker(&Facts::parse("docker-error=sh: 55: docker: not found")).message;
        assert!(none.contains("no Docker on the PATH"), "{none}");
        let context = no_docker(&Facts::parse("docker-error=context \"gone\": context not found")).message;
        assert!(context.contains("Docker does not answer"), "{context}");
    }

    #[test]
    fn every_lack_is_found_and_has_its_exit() {
        for (from, to, code, weight, exit) in [
            ("docker=28.2.2", "docker-error=permission denied", "docker", Weight::Fail, 41),
            ("compose=2.40.3", "compose-error=no such command", "compose", Weight::Fail, 41),
            ("compose=2.40.3", "compose=1.29.2", "compose", Weight::Fail, 6),
            ("compose=2.40.3", "compose-error=x\ncompose-alone=1.29.2 /bin/x", "compose", Weight::Fail, 41),
            ("compose=2.40.3", "compose-error=x\ncompose-broken=/x: denied", "compose", Weight::Fail, 41),
            ("docker=28.2.2", "docker=19.03.15", "docker", Weight::Warn, 0),
            ("docker=28.2.2", "docker=5.4.2\npodman=podman version 5.4.2", "docker", Weight::Fail, 6),
            ("branch=develop", "branch=feature", "branch", Weight::Warn, 0),
            ("disk-kib=50000000", "disk-kib=100000", "disk", Weight::Fail, 6),
            ("disk-kib=50000000", "disk-kib=4000000", "disk", Weight::Warn, 0),
            ("memory-kib", "home-disk-kib=900 100000\nmemory-kib", "disk", Weight::Fail, 6),
            ("memory-kib", "temporary-disk-kib=0 100000\nmemory-kib", "disk", Weight::Fail, 6),
            ("memory-kib", "no-temporary=Permission denied\nmemory-kib", "temporary", Weight::Fail, 6),
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
        let file = "origin=readable\nno-place=/home/ada/shop is not a directory\n";
        assert_eq!(found(file, "protected=Caddyfile"), [("checkout", Weight::Fail, 6)]);
    }

    #[test]
    fn a_checkout_whose_making_was_ended_is_gone_on_with() {
        let unborn = [
            ("head=abc\n", "unborn=yes\nhead-error=fatal: ambiguous argument 'HEAD'\n"),
            ("branch=develop", "branch-error=fatal: ambiguous argument 'HEAD'"),
            ("protected=Caddyfile", "protected-missing=Caddyfile"),
        ];
        assert_eq!(found(&unborn, 0.0), [("checkout", Weight::Warn, 0)], "the commit brings a Caddyfile");
        let broken = [("head=abc\n", "head-error=fatal: bad object HEAD\n")];
        assert_eq!(found(&broken, 0.0), [("checkout", Weight::Fail, 6)]);
    }

    #[test]
    fn what_the_commit_does_not_bring_has_to_be_there() {
        let change =
            [("head=abc\n", "no-checkout=/x\norigin=readable\n"), ("env-file=600", "env-file-error=not there")];
        assert_eq!(found(&change, 0.0), [("checkout", Weight::Warn, 0), ("env-file", Weight::Fail, 6)]);
    }
}
