//! Is what cm-detect says true? A made-up history over compose files of every shape,
//! for which the test itself knows what each image is built from, and real builds.
//!
//! `CM_SEED=N` makes another history, `CM_STEPS=N` a longer one.

#![expect(clippy::print_stdout, reason = "a long test tells where it is, and its seed")]

#[path = "detect_oracle/shapes.rs"]
mod shapes;
#[path = "detect_oracle/world.rs"]
mod world;

use clap::Parser;
use cm_core::{Action, Format, Level, Log, Service};
use cm_testkit::{Sandbox, history};
use history::Random;
use shapes::{FILES, Hashes, KNOBS, Written};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use world::World;

/// A number from the environment.
fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// The states of a history of `steps` commits.
fn history(world: &mut World, random: &mut Random, steps: usize, without: &[&'static str]) -> Vec<Written> {
    let mut states = vec![shapes::write(world, without)];
    while states.len() < steps {
        world.step(random);
        let next = shapes::write(world, without);
        if next.files != states[states.len() - 1].files {
            states.push(next);
        }
    }
    states
}

fn detected(repository: &Path, base: &str, head: &str) -> Vec<Service> {
    let directory = repository.display().to_string();
    let flags = ["cm-detect", "--repo", &directory, "--base", base, "--head", head];
    let files = ["--compose-file", "compose.yml", "--compose-file", "compose.override.yml"];
    let args = cm_detect::Args::parse_from(flags.iter().chain(&files));
    let log = Log::new("cm-detect", Format::Text, Level::Fail);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let services = runtime.block_on(cm_detect::services(&args, &log));
    services.unwrap_or_else(|failure| panic!("{base}..{head}: {failure}: {:?}", failure.causes))
}

/// The services that have to be built to come from one state to another.
fn wanted(before: &Hashes, after: &Hashes) -> BTreeSet<String> {
    let differs = after.iter().filter(|(name, hash)| before.get(*name) != Some(hash));
    differs.map(|(name, _)| (*name).to_owned()).collect()
}

/// Whether a service that need not be built has a reason to be, all the same: what
/// Whether a service that need not be built has a reason to be, all the same: which of
/// its directories is copied is known to the server alone.
fn explained(service: &Service) -> bool {
    let team = |path: &str| path.starts_with("apps/unknown/team/");
    service.name == "unknown"
        && service.reasons.iter().all(|reason| reason.rule == "dockerfile-copy" && team(&reason.path))
}

#[derive(Default)]
struct Tally {
    pairs: AtomicUsize,
    builds: AtomicUsize,
    extra: AtomicUsize,
}

impl Tally {
    /// Compares one pair; says what is wrong, if anything is.
    fn judge(&self, pair: &str, found: &[Service], wanted: &BTreeSet<String>) -> Result<(), String> {
        let built: Vec<&Service> = found.iter().filter(|service| service.action == Action::Build).collect();
        let names: BTreeSet<String> = built.iter().map(|service| service.name.clone()).collect();
        let missed: Vec<&String> = wanted.difference(&names).collect();
        let extra: Vec<&&Service> = built.iter().filter(|service| !wanted.contains(&service.name)).collect();
        let unexplained: Vec<_> = extra.iter().filter(|service| !explained(service)).collect();
        self.pairs.fetch_add(1, Ordering::Relaxed);
        self.builds.fetch_add(wanted.len(), Ordering::Relaxed);
        self.extra.fetch_add(extra.len(), Ordering::Relaxed);
        if missed.is_empty() && unexplained.is_empty() {
            return Ok(());
        }
        let why: Vec<String> = unexplained.iter().map(|s| format!("{}: {:?}", s.name, s.reasons)).collect();
        Err(format!("{pair}: missed {missed:?}, extra without an explanation {why:#?}"))
    }
}

/// Consecutive states, and as many pairs again that are anywhere, a tenth of them.
fn pairs(count: usize, random: &mut Random) -> Vec<(usize, usize)> {
    let next = (1..count).map(|after| (after - 1, after));
    let any: Vec<_> = (0..count / 10).map(|_| (random.below(count), random.below(count))).collect();
    next.chain(any).collect()
}

#[test]
fn what_is_to_be_built_is_what_the_images_are_built_from() {
    let (seed, steps) = (number("CM_SEED", 20_260_504), number("CM_STEPS", 2_001));
    println!("CM_SEED={seed} CM_STEPS={steps}");
    let mut random = Random::new(seed as u64);
    let states = history(&mut World::new(FILES, KNOBS), &mut random, steps, &[]);
    let directory = tempfile::TempDir::new().expect("a directory");
    let files: Vec<_> = states.iter().map(|state| state.files.clone()).collect();
    let commits = history::write(directory.path(), &files);
    let pairs = pairs(states.len(), &mut random);
    let tally = Tally::default();
    let judge = |(before, after): &(usize, usize)| {
        let found = detected(directory.path(), &commits[*before], &commits[*after]);
        tally.judge(
            &format!("states {before} and {after}"),
            &found,
            &wanted(&states[*before].hashes, &states[*after].hashes),
        )
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let parts = pairs.chunks(pairs.len().div_ceil(threads));
        let running: Vec<_> = parts
            .map(|part| scope.spawn(|| part.iter().filter_map(|pair| judge(pair).err()).collect::<Vec<_>>()))
            .collect();
        running.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
    });
    let (pairs, builds, extra) = (tally.pairs.into_inner(), tally.builds.into_inner(), tally.extra.into_inner());
    println!("{pairs} pairs, {builds} builds, {extra} more than needed");
    assert!(
        wrong.is_empty(),
        "{} of {pairs} pairs are wrong (CM_SEED={seed}):\n{}",
        wrong.len(),
        wrong[..wrong.len().min(5)].join("\n")
    );
    assert!(builds > steps, "the history changes too little to show anything");
    assert!(extra * 100 < builds, "{extra} of {builds} builds were not needed: more than 1 %");
}

#[test]
fn the_program_says_the_same() {
    let mut random = Random::new(number("CM_SEED", 20_260_504) as u64);
    let states = history(&mut World::new(FILES, KNOBS), &mut random, 8, &[]);
    let home = cm_testkit::Home::new();
    let directory = tempfile::TempDir::new().expect("a directory");
    let commits = history::write(directory.path(), &states.iter().map(|state| state.files.clone()).collect::<Vec<_>>());
    let repository = directory.path().display().to_string();
    for index in 1..states.len() {
        let (base, head) = (commits[index - 1].as_str(), commits[index].as_str());
        let flags = ["--repo", &repository, "--base", base, "--head", head];
        let files = ["--compose-file", "compose.yml", "--compose-file", "compose.override.yml"];
        let flags: Vec<&str> = flags.into_iter().chain(files).collect();
        let document = home.run("cm-detect", &flags, ".", None).document();
        let services = document["services"].as_array().expect("services").iter();
        let built = services.filter(|service| service["action"] == "build");
        let built: BTreeSet<String> =
            built.map(|service| service["name"].as_str().expect("a name").to_owned()).collect();
        assert_eq!(built, wanted(&states[index - 1].hashes, &states[index].hashes), "{base}..{head}");
    }
}

/// What Docker of a sandbox cannot build without the network, or not yet: frontends that are pulled, `service:`
/// contexts, a submodule's files.
const NOT_BUILT: &[&str] = &["exclude", "parents", "contextual", "module"];

/// On a server, for each commit: every image, those first that others are based on; a line `COMMIT SERVICE IMAGE-ID` each.
const BUILD: &str = r#"
set -euo pipefail
cd ~
rm -rf oracle
git clone -q --branch oracle "$(git -C platform remote get-url origin)" oracle
cd oracle
export SERVER_ONLY=ada COMPOSE_FILE=compose.yml:compose.override.yml COMPOSE_PROFILES=tools,images
image() {
  case $1 in
    child) echo docker.io/acme/child ;;
    base) echo acme/base ;;
    onbuild) echo acme/onbuild:3 ;;
    *) echo "shop-$1" ;;
  esac
}
for commit in $(git rev-list --reverse HEAD); do
  git checkout -q "$commit"
  mapfile -t others < <(docker compose config --services | grep -vxE 'base|onbuild|child|pulled')
  docker compose build -q base onbuild >&2
  docker compose build -q child >&2
  docker compose build -q "${others[@]}" >&2
  for service in base onbuild child "${others[@]}"; do
    echo "$commit $service $(docker image inspect -f '{{.Id}}' "$(image "$service")")"
  done
done
"#;

/// The images of a server after each commit, by commit and service.
fn built(sandbox: &Sandbox) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for line in sandbox.server("platform", &["bash", "-c", BUILD]).lines() {
        let [commit, service, image] = line.split(' ').collect::<Vec<_>>().try_into().expect("three words");
        all.entry(commit.to_owned()).or_default().insert(service.to_owned(), image.to_owned());
    }
    all
}

/// `CM_DOCKER_COMMITS=N` builds more of the history.
#[test]
fn what_is_left_out_builds_to_the_same_image() {
    let (seed, steps) = (number("CM_SEED", 20_260_504), number("CM_DOCKER_COMMITS", 4) + 1);
    println!("CM_SEED={seed} CM_DOCKER_COMMITS={}", steps - 1);
    let mut world = World::new(FILES, KNOBS);
    // Base images that are not there cannot be pulled here, nor can addresses be read.
    ["base.name", "base.present", "add.url", "words.text", "module"].iter().for_each(|knob| world.fix(knob, 0));
    let states = history(&mut world, &mut Random::new(seed as u64), steps, NOT_BUILT);
    let directory = tempfile::TempDir::new().expect("a directory");
    let commits = history::write(directory.path(), &states.iter().map(|state| state.files.clone()).collect::<Vec<_>>());
    // Asked before the sandbox is there, which would stay if this failed.
    let _programs = cm_testkit::bin_dir();
    let sandbox = Sandbox::up("oracle");
    for arguments in [
        &["fetch", "-q", &directory.path().display().to_string(), "+main:oracle"][..],
        &["push", "-q", "origin", "+oracle:oracle"],
    ] {
        let answer = sandbox.laptop("git", arguments);
        assert_eq!(answer.code, 0, "git {arguments:?}: {answer:?}");
    }
    let images = built(&sandbox);
    let (mut same, mut other) = (0, 0);
    for pair in commits.windows(2) {
        let (before, after) = (&images[&pair[0]], &images[&pair[1]]);
        for service in detected(directory.path(), &pair[0], &pair[1]) {
            let (Some(was), Some(is)) = (before.get(&service.name), after.get(&service.name)) else { continue };
            let left_out = service.action != Action::Build;
            let idle = service.reasons.iter().any(|reason| reason.rule == "profile-not-active");
            assert!(
                was == is || !left_out || idle,
                "{}..{}: {} is left out and builds to another image",
                pair[0],
                pair[1],
                service.name
            );
            if left_out { same += 1 } else { other += usize::from(was != is) }
        }
    }
    println!("{same} times left out and the same image, {other} times built and another one");
    assert!(same > 0 && other > 0, "nothing was shown");
}
