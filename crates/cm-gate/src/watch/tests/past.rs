//! Windows that lie in the past, as a whole or in part: what Docker remembers counts, and what was asked has no memory.

use super::*;

/// What Docker remembers at each second: since when the process has run and, for a container with a
/// health check, since when its checks have passed; seconds before the gate began. A container that
/// was restarted in the meantime has another start.
fn play_past(past: Past, readings: &[(&str, Option<i64>, Option<i64>)]) -> (State, &'static str, u64) {
    until_decided(Watch::new(wanted().past(past), settings()), |watch, second, now| {
        let (words, ran, passed) = at(readings, second);
        let ago = |since: i64| Duration::from_secs((since + second as i64).try_into().expect("not before it began"));
        let mut container = container("c1", words, true);
        (container.ran, container.checks_passed) = (ran.map(ago), passed.map(ago));
        watch.observe(now, &Reading { containers: vec![&container], probes: &[], questions: 1 });
    })
}

#[test]
fn a_window_that_lies_in_the_past_needs_one_reading() {
    for (what, past, readings, outcome) in [
        ("has run for an hour", Past::Containers, &[("running", Some(3_600), None)][..], (GOOD, "healthy", 0)),
        (
            "its checks have passed for long enough",
            Past::Containers,
            &[("healthy", Some(3_600), Some(9))],
            (GOOD, "healthy", 0),
        ),
        ("the window begins with its start", Past::Containers, &[("running", Some(3), None)], (GOOD, "healthy", 2)),
        (
            "and with the first check that passed",
            Past::Containers,
            &[("healthy", Some(3_600), Some(2))],
            (GOOD, "healthy", 3),
        ),
        ("just started", Past::Containers, &[("running", Some(0), None)], (GOOD, "healthy", 5)),
        ("nothing is remembered", Past::Containers, &[("running", None, None)], (GOOD, "healthy", 5)),
        (
            "the process is old, its checks say nothing",
            Past::Containers,
            &[("healthy", Some(3_600), None)],
            (GOOD, "healthy", 5),
        ),
        (
            "it was reloaded: its past is another's",
            Past::Nothing,
            &[("running", Some(3_600), None)],
            (GOOD, "healthy", 5),
        ),
    ] {
        assert_eq!(play_past(past, readings), outcome, "{what}");
    }
}

#[test]
fn the_past_excuses_nothing_of_the_present() {
    let hour = Some(3_600);
    for (what, readings, outcome) in [
        ("unhealthy now", &[("unhealthy:3", hour, None), ("unhealthy:4", hour, None)][..], (BAD, "unhealthy", 1)),
        ("its last check failed", &[("healthy:1", hour, None)], (BAD, "check-failed", 20)),
        ("starting", &[("starting", hour, None)], (BAD, "starting", 20)),
        ("paused", &[("paused", hour, None)], (BAD, "paused", 0)),
        ("ended", &[("exited:1", hour, None)], (BAD, "exited", 0)),
        ("crash loop, seen while it is down", &[("restarting:1@t1+4", hour, None)], (BAD, "restarting", 0)),
        (
            "restarted before its window was over",
            &[("running@t1+1", Some(3), None), ("running@t2+2", Some(-1), None)],
            (BAD, "restarted", 1),
        ),
        (
            "a check fails in between: the window begins again",
            &[("healthy", hour, Some(2)), ("healthy:1", hour, None), ("healthy", hour, Some(-2))],
            (GOOD, "healthy", 7),
        ),
    ] {
        assert_eq!(play_past(Past::Containers, readings), outcome, "{what}");
    }
}

#[test]
fn the_youngest_replica_decides_how_long_it_has_been_good() {
    let three = Wanted { replicas: 3, ..wanted() }.past(Past::Containers);
    let mut watch = Watch::new(three, settings());
    for second in 0..=4_u64 {
        assert!(watch.is_open(), "{second}");
        let replica = |id: &str, ran: u64| {
            let mut container = container(id, "running", true);
            container.ran = Some(Duration::from_secs(ran + second));
            container
        };
        let all = [replica("a", 3_600), replica("b", 1), replica("c", 60)];
        watch.observe(
            Duration::from_secs(second),
            &Reading { containers: all.iter().collect(), probes: &[], questions: 1 },
        );
    }
    assert_eq!(watch.outcome.expect("decided").state, GOOD);
}

/// A process that had run for so many seconds, and these answers of its probe, one a second.
fn play_probe_past(past: Past, ran: u64, answers: &[Answer]) -> (State, u64) {
    let probe = Some(cm_project::Probe::Address("http://127.0.0.1:80/".to_owned()));
    let mut watch = Watch::new(Wanted { probe, ..wanted() }.past(past), settings());
    let mut container = container("c1", "running", true);
    for second in 0..60 {
        container.ran = Some(Duration::from_secs(ran + second));
        let now = Duration::from_secs(second);
        let probes = [("c1".to_owned(), answers[answers.len().min(second as usize + 1) - 1].clone())];
        let questions = watch.questions([&container].into_iter());
        watch.observe(now, &Reading { containers: vec![&container], probes: &probes, questions });
        watch.expire(now);
        if let Some(outcome) = &watch.outcome {
            return (outcome.state, outcome.at.as_secs());
        }
    }
    panic!("never decided");
}

#[test]
fn what_is_asked_has_no_memory_and_counts_from_the_start_of_what_was_never_bad() {
    let (good, bad) = (|| Answer::Content, || Answer::Bad("answered 503".to_owned()));
    for (what, past, ran, answers, wanted) in [
        ("a reload", Past::Nothing, 3_600, &[good()][..], (GOOD, 5)),
        ("changed, and its container is the old one", Past::Containers, 3_600, &[good()], (GOOD, 5)),
        ("new, and good from its start", Past::Containers, 2, &[good()], (GOOD, 3)),
        ("new, and asked while it is", Past::Containers, 2, &[Answer::Pending, good()], (GOOD, 3)),
        ("new, and all readings are wanted", Past::Containers, 4, &[good()], (GOOD, 2)),
        ("new, and bad at first", Past::Containers, 1, &[bad(), good()], (GOOD, 6)),
        ("new, and bad in between", Past::Containers, 1, &[good(), bad(), good()], (GOOD, 7)),
        ("unchanged: all answers at once", Past::Unchanged, 3_600, &[good()], (GOOD, 0)),
        ("unchanged, and started a moment ago", Past::Unchanged, 1, &[good()], (GOOD, 4)),
        ("unchanged, and bad", Past::Unchanged, 3_600, &[bad()], (BAD, 20)),
    ] {
        assert_eq!(play_probe_past(past, ran, answers), wanted, "{what}");
    }
}

#[test]
fn a_window_is_hoped_for_while_all_is_good() {
    let mut watch = Watch::new(wanted(), settings());
    let second = Duration::from_secs;
    for (now, words, hope) in
        [(0, "starting", None), (1, "healthy", Some((1, 6))), (2, "healthy", Some((1, 6))), (3, "unhealthy:1", None)]
    {
        let container = container("c1", words, true);
        watch.observe(second(now), &Reading { containers: vec![&container], probes: &[], questions: 1 });
        assert_eq!(watch.hope().map(|hope| (hope.since.as_secs(), hope.until.as_secs())), hope, "{now}");
    }
}

#[test]
fn no_window_still_wants_its_readings() {
    let mut watch = Watch::new(wanted().past(Past::Containers), Settings { window: Duration::ZERO, ..settings() });
    let mut container = container("c1", "running", true);
    container.ran = Some(Duration::from_secs(3_600));
    for (second, open) in [(0, true), (1, true), (2, false)] {
        watch
            .observe(Duration::from_secs(second), &Reading { containers: vec![&container], probes: &[], questions: 1 });
        assert_eq!(watch.is_open(), open, "{second}");
    }
}
