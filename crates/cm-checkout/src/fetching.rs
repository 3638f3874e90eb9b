//! How far a fetch on a host is, for whoever waits for a large one: git's own words, looked for every few
//! seconds in a file alongside the repository, as numbers and the time that is left.

use cm_core::{Log, Task};
use cm_host::Host;
use std::time::{Duration, Instant};

/// A fetch that is done before that says nothing.
const EVERY: Duration = Duration::from_secs(3);

/// `$1` checkout. The last word of git about a fetch there; of the first one, which is made aside, as well.
const HOW_FAR: &str = r#"# Looks how far a fetch is.
cd -- "$1" 2>/dev/null || exit 0
for one in .git.cm-new/.git/cm-fetch "$(git rev-parse --git-common-dir 2>/dev/null)/cm-fetch"; do
    [ -f "$one" ] || continue
    tail -c 400 -- "$one" | tr '\r' '\n' | grep -E '^(Receiving objects|Resolving deltas): ' | tail -n 1
    exit 0
done"#;

/// What git says of a fetch.
#[derive(Clone, Debug, PartialEq)]
struct Reached {
    /// `receiving objects`, `resolving deltas`.
    what: String,
    percent: f64,
    done: u64,
    total: u64,
    /// `12.00 MiB | 3.00 MiB/s`, where it says so.
    volume: Option<String>,
}

impl Reached {
    /// Reads `Receiving objects:  45% (1234/2742), 12.00 MiB | 3.00 MiB/s`.
    fn read(line: &str) -> Option<Reached> {
        let (what, rest) = line.trim().split_once(": ")?;
        let (percent, rest) = rest.trim_start().split_once("% (")?;
        let (count, rest) = rest.split_once(')')?;
        let (done, total) = count.split_once('/')?;
        let volume = rest.strip_prefix(", ").map(|rest| rest.trim_end_matches(", done.").to_owned());
        Some(Reached {
            what: what.to_lowercase(),
            percent: percent.parse().ok()?,
            done: done.parse().ok()?,
            total: total.parse().ok()?,
            volume: volume.filter(|volume| volume.contains('B')),
        })
    }

    /// In words, with the time that is left if it goes on as since `earlier`.
    fn words(&self, earlier: Option<&(Reached, Instant)>) -> String {
        let volume = self.volume.as_ref().map(|volume| format!(", {}", volume.replace(" | ", " at ")));
        let left = earlier.filter(|(before, _)| before.what == self.what && before.percent < self.percent);
        let left = left
            .map(|(before, at)| at.elapsed().as_secs_f64() * (100.0 - self.percent) / (self.percent - before.percent));
        let left = left.map(|seconds| format!(", about {seconds:.0} s left"));
        format!(
            "{}: {:.0} % ({} of {}){}{}",
            self.what,
            self.percent,
            self.done,
            self.total,
            volume.unwrap_or_default(),
            left.unwrap_or_default()
        )
    }
}

/// Does `work`, which fetches into the checkout at `path`, and tells how far it is.
pub async fn told<T>(host: &Host, path: &str, log: Option<&Log>, work: impl Future<Output = T>) -> T {
    let Some(log) = log else { return work.await };
    tokio::pin!(work);
    let mut first: Option<(Reached, Instant)> = None;
    let mut shown: Option<Task> = None;
    loop {
        let look = async {
            tokio::time::sleep(EVERY).await;
            let answer = host.script(HOW_FAR, [path]).output().await;
            answer.ok().and_then(|answer| Reached::read(&answer.text()))
        };
        tokio::select! {
            done = &mut work => return done,
            reached = look => if let Some(reached) = reached {
                let words = reached.words(first.as_ref());
                if log.tells_tasks() {
                    let task = shown.get_or_insert_with(|| log.task(&format!("on {}", host.name())).at(host.name(), None));
                    task.reached(reached.done, Some(reached.total), "objects");
                    task.note(&words);
                } else {
                    log.info(format!("on {}: {words}", host.name()));
                }
                if first.as_ref().is_none_or(|(before, _)| before.what != reached.what) {
                    first = Some((reached, Instant::now()));
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_git_says_becomes_numbers_and_the_time_that_is_left() {
        let reached = Reached::read("Receiving objects:  45% (1234/2742), 12.00 MiB | 3.00 MiB/s").expect("read");
        assert_eq!(reached.words(None), "receiving objects: 45 % (1234 of 2742), 12.00 MiB at 3.00 MiB/s");
        let before = Instant::now().checked_sub(Duration::from_secs(10)).expect("a time");
        let earlier = (Reached { percent: 20.0, ..reached.clone() }, before);
        assert!(reached.words(Some(&earlier)).ends_with(", about 22 s left"), "{}", reached.words(Some(&earlier)));
        let other = (Reached { what: "resolving deltas".to_owned(), ..earlier.0.clone() }, before);
        assert_eq!(reached.words(Some(&other)), reached.words(None));
        let deltas = Reached::read("Resolving deltas: 100% (7/7), done.").expect("read");
        assert_eq!(deltas.words(None), "resolving deltas: 100 % (7 of 7)");
        for line in ["", "fatal: early EOF", "Receiving objects: 45%", "remote: Counting objects: x% (1/2)"] {
            assert_eq!(Reached::read(line), None, "{line}");
        }
    }
}
