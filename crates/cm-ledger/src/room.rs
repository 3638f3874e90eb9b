//! How large a record may get. What a release may come to is reckoned up before anything is built, so that nothing is
//! switched that could not be recorded afterwards: neither how it ended, nor that it was rolled back.

use crate::{Record, ServiceState};
use cm_core::{Exit, Failure, Result};

/// A record has at most so many bytes. A Swarm takes 500 kB of a config; a file on a host has the same rule, so that a
/// project may move.
pub(crate) const MOST: usize = 480_000;

/// What is kept for words: causes, jobs, migrations, and what people are called.
const WORDS: usize = 64 << 10;

/// Of words that must be made to fit, as many stay, and of each so many characters.
const FEW: usize = 20;
const SHORT: usize = 300;

const COMMIT: usize = 64;
const DIGEST: usize = 7 + 64;

impl Record {
    /// Refuses a release whose services could not be recorded: with all that is measured of each, and that it was rolled
    /// back.
    ///
    /// # Errors
    /// [`Exit::Config`] `ledger.no-room`.
    pub fn check_room(&self, host: &str) -> Result<()> {
        let most = self.utmost();
        if most <= MOST {
            return Ok(());
        }
        let message = format!(
            "on {host}: {} services at once are more than a record of the ledger holds: up to {} kB, and it may have {} kB",
            self.services.len(),
            most.div_ceil(1000),
            MOST / 1000
        );
        Err(Failure::new(Exit::Config, "ledger.no-room", message)
            .hint("deploy fewer services at once: --group, --service or --host"))
    }

    /// The most bytes that a record of these services comes to.
    fn utmost(&self) -> usize {
        let mut whole = Record { reasons: Default::default(), cause: None, irreversible: Vec::new(), ..self.clone() };
        whole.took_back.clear();
        whole.services.values_mut().for_each(fill);
        whole.attempted = whole.services.clone();
        let cause = format!("rolled back by run {}", "0".repeat(36));
        whole.taken_back = whole.services.keys().map(|name| (name.clone(), cause.clone())).collect();
        length(&whole) + WORDS
    }

    /// The record as a line of the ledger. What only explains is made shorter where it is too long.
    ///
    /// # Errors
    /// [`Exit::Build`] `ledger.no-room` where what it must say is too long.
    pub(crate) fn line(&self) -> Result<String> {
        let text = |record: &Record| {
            serde_json::to_string(record)
                .map_err(|error| Failure::bug("a ledger record cannot be written").cause(error))
        };
        let whole = text(self)?;
        if whole.len() <= MOST {
            return Ok(whole);
        }
        let line = text(&self.in_short())?;
        if line.len() <= MOST {
            return Ok(line);
        }
        let message = format!("a record of {} bytes is more than a ledger takes ({MOST})", line.len());
        Err(Failure::new(Exit::Build, "ledger.no-room", message))
    }

    fn in_short(&self) -> Record {
        let mut short = self.clone();
        short.reasons.clear();
        let more = short.irreversible.len().saturating_sub(FEW);
        short.irreversible.truncate(FEW);
        short.irreversible.iter_mut().for_each(cut);
        if more > 0 {
            short.irreversible.push(format!("{more} more"));
        }
        short.took_back.truncate(FEW);
        short.cause.as_mut().into_iter().for_each(cut);
        short.taken_back.values_mut().for_each(cut);
        short.jobs.values_mut().filter_map(|job| job.cause.as_mut()).for_each(cut);
        short
    }
}

fn cut(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(SHORT) {
        text.truncate(at);
        text.push('…');
    }
}

/// As long as each value of it may get.
fn fill(state: &mut ServiceState) {
    let at_least = |text: &mut String, length: usize| {
        let missing = length.saturating_sub(text.len());
        text.push_str(&"0".repeat(missing));
    };
    at_least(&mut state.commit, COMMIT);
    at_least(&mut state.image_id, DIGEST);
    at_least(&mut state.config_hash, COMMIT);
    // The image's name, and `:cm-` with twelve digits.
    let tag = state.image.len() + 16;
    at_least(&mut state.tag, tag);
    (state.update_ms, state.build_ms) = (Some(u64::MAX), Some(u64::MAX));
    state.canary = Some("inconclusive".to_owned());
}

fn length(record: &Record) -> usize {
    serde_json::to_string(record).map_or(usize::MAX / 2, |text| text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{JobState, Verdict};

    /// A release of so many services, as it is known before anything is built.
    fn planned(services: usize) -> Record {
        let mut record = Record::new("01980e5c-0001-7c3e-8a52-000000000000", "ada", "main", &"c".repeat(40));
        record.services = (0..services)
            .map(|n| {
                let image = format!("registry.example.org/shop/service-{n:04}");
                (format!("service-{n:04}"), ServiceState { image, ..ServiceState::default() })
            })
            .collect();
        record
    }

    /// The same when all is known of it.
    fn ended(planned: &Record) -> Record {
        let mut record = Record { verdict: Verdict::Verified, directory: "/srv/shop".to_owned(), ..planned.clone() };
        for state in record.services.values_mut() {
            let hash = "a".repeat(64);
            *state = ServiceState {
                commit: record.commit.clone(),
                image_id: format!("sha256:{hash}"),
                tag: format!("{}:cm-{}", state.image, "c".repeat(12)),
                config_hash: hash,
                update_ms: Some(123_456),
                build_ms: Some(654_321),
                canary: Some("pass".to_owned()),
                ..state.clone()
            };
        }
        record
    }

    fn rolled_back(ended: &Record) -> Record {
        let mut record = Record { attempted: ended.services.clone(), ..ended.clone() };
        record.take_back(ended.services.keys(), "rolled back by run 01980e5c-0001-7c3e-8a52-000000000001");
        record
    }

    #[test]
    fn what_has_room_can_be_recorded_to_its_end_and_what_has_none_is_refused_before() {
        let largest = (1..2_000).take_while(|count| planned(*count).check_room("h").is_ok()).last().expect("some");
        assert_eq!(largest, 404, "as cm-guide(7) says");
        let failure = planned(largest + 1).check_room("h").expect_err("too many");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Config, "ledger.no-room"));
        assert!(failure.message.contains(&format!("{} services", largest + 1)), "{failure}");
        assert!(failure.hint.is_some_and(|hint| hint.contains("--group")));

        let mut last = rolled_back(&ended(&planned(largest)));
        last.cause = Some("x".repeat(1 << 20));
        last.irreversible = (0..9_000).map(|n| format!("migrations/{n}/{}", "y".repeat(900))).collect();
        last.took_back = vec!["01980e5c-0001-7c3e-8a52-000000000000".to_owned(); 500];
        last.reasons = last.services.keys().map(|name| (name.clone(), vec!["z".repeat(4_000); 5])).collect();
        for n in 0..40 {
            let cause = Some("w".repeat(5_000));
            last.jobs.insert(format!("job-{n}"), JobState { cause, ..JobState::default() });
        }
        let line = last.line().expect("it is made to fit");
        assert!(line.len() <= MOST && !line.contains('\n'), "{}", line.len());
        let ledger = crate::Ledger::parse(line.as_bytes());
        let read = ledger.records().first().expect("what was written is read");
        assert_eq!((&read.services, &read.attempted), (&last.services, &last.attempted), "no service is lost");
        assert_eq!(read.taken_back.len(), largest);
        assert_eq!((read.irreversible.len(), read.irreversible[20].as_str()), (21, "8980 more"));
        assert!(read.is_asked_for() && read.cause.as_ref().is_some_and(|cause| cause.ends_with('…')));
    }

    #[test]
    fn a_record_that_fits_says_all_and_one_that_never_fits_is_not_cut() {
        let mut small = ended(&planned(3));
        small.reasons.insert("service-0001".to_owned(), vec!["web/a (context)".to_owned()]);
        small.cause = Some("c".repeat(5_000));
        assert_eq!(crate::Ledger::parse(small.line().expect("fits").as_bytes()).records(), [small]);
        let failure = rolled_back(&ended(&planned(2_000))).line().expect_err("too large");
        assert_eq!((failure.exit, failure.code.as_str()), (Exit::Build, "ledger.no-room"));
    }
}
