//! Courses of events, played through second by second, and what must come of them.

use super::*;
use crate::Past;
use cm_project::ServiceHealth;
use serde_json::json;

/// A container as Docker describes it, in a few words: `running`, `healthy`,
/// `starting`, `unhealthy:3`, `exited:1`, `restarting:1`, `oom`, `dead`, `paused`, `created`;
/// then `@START+RESTARTS`, where START tells one start from another.
fn container(id: &str, words: &str, restarts: bool) -> Container {
    let (state, birth) = words.split_once('@').unwrap_or((words, "t0"));
    let (state, number) = state.split_once(':').unwrap_or((state, "0"));
    let (started, restart_count) = birth.split_once('+').unwrap_or((birth, "0"));
    let (status, health) = match state {
        "healthy" | "unhealthy" | "starting" => ("running", Some(state)),
        "oom" => ("exited", None),
        other => (other, None),
    };
    let number: i64 = number.parse().expect("a number");
    let mut value = json!({
        "Id": id, "Name": format!("/web-{id}"), "Image": "sha256:new",
        "RestartCount": restart_count.parse::<u64>().expect("a number"),
        "Config": {"Labels": {"com.docker.compose.service": "web"}},
        "State": {"Status": status, "StartedAt": started, "ExitCode": number, "OOMKilled": state == "oom"},
        "HostConfig": {"RestartPolicy": {"Name": if restarts { "always" } else { "no" }}},
    });
    if let Some(health) = health {
        value["State"]["Health"] = json!({"Status": health, "FailingStreak": number, "Log": [{"Output": "refused"}]});
    }
    Container::read(&value)
}

fn settings() -> Settings {
    Settings {
        timeout: Duration::from_secs(20),
        interval: Duration::from_secs(1),
        readings: 3,
        window: Duration::from_secs(5),
        fail_fast: true,
        strict: false,
    }
}

fn wanted() -> Wanted {
    Wanted { service: "web".to_owned(), replicas: 1, ..Wanted::default() }
}

/// One reading a second; each is the containers by their words, `-` for none and `?`
/// for a reading that failed. The last one goes on for ever. Gives state, code and second.
fn play(wanted: Wanted, restarts: bool, readings: &[&str]) -> (State, &'static str, u64) {
    let mut watch = Watch::new(wanted, settings());
    for second in 0..60 {
        let now = Duration::from_secs(second);
        let words = readings[readings.len().min(second as usize + 1) - 1];
        if words == "?" {
            watch.could_not_look(now, "connection lost");
        } else {
            let containers: Vec<Container> = words
                .split(' ')
                .filter(|word| *word != "-")
                .map(|word| {
                    let (id, words) = word.split_once('=').unwrap_or(("c1", word));
                    container(id, words, restarts)
                })
                .collect();
            let reading = Reading { containers: containers.iter().collect(), probes: &[], questions: 1 };
            watch.observe(now, &reading);
        }
        watch.expire(now);
        if let Some(outcome) = &watch.outcome {
            return (outcome.state, outcome.cause.code, outcome.at.as_secs());
        }
    }
    panic!("never decided: {readings:?}");
}

const GOOD: State = State::Healthy;
const BAD: State = State::Unhealthy;
const UNKNOWN: State = State::Unknown;

#[test]
fn its_timeline_has_each_change_once() {
    let mut watch = Watch::new(wanted(), settings());
    for (second, words) in ["created", "created", "running", "?", "running", "running", "running"].iter().enumerate() {
        let now = Duration::from_secs(second as u64);
        match *words {
            "?" => watch.could_not_look(now, "connection lost"),
            words => {
                let container = container("c1", words, true);
                watch.observe(now, &Reading { containers: vec![&container], probes: &[], questions: 1 });
            }
        }
    }
    let timeline: Vec<_> = watch.timeline.iter().map(|moment| (moment.at_ms, moment.phase.as_str())).collect();
    assert_eq!(timeline, [(0, "created"), (2_000, "good"), (3_000, "no-data"), (4_000, "good")]);
}

#[test]
fn services_that_stay() {
    for (what, readings, outcome) in [
        ("runs, no health check", &["running"][..], (GOOD, "healthy", 5)),
        ("healthy at once", &["healthy"], (GOOD, "healthy", 5)),
        ("too slow", &["starting"; 9], (BAD, "starting", 20)),
        ("slow, then fine", &["starting", "starting", "starting", "starting", "healthy"], (GOOD, "healthy", 9)),
        (
            "healthy just before the limit is still watched",
            &[&["starting"; 19][..], &["healthy"]].concat(),
            (GOOD, "healthy", 24),
        ),
        ("crash loop, seen while it is down", &["restarting:1@t1+4"], (BAD, "restarting", 0)),
        ("crash loop, only seen while it is up", &["running@t1+1", "running@t2+2"], (BAD, "restarted", 1)),
        ("Docker's counter alone", &["running@t1+1", "running@t1+2"], (BAD, "restarted", 1)),
        (
            "restarted by hand: the counter is 0 again",
            &["running@t1", "running@t1", "running@t2"],
            (BAD, "restarted", 2),
        ),
        (
            "healthy once, then dies every four seconds",
            &["starting", "healthy", "healthy", "healthy", "exited:1"],
            (BAD, "exited", 4),
        ),
        ("the same, death not seen", &["healthy", "healthy", "healthy", "starting@t4+1"], (BAD, "restarted", 3)),
        ("ends with 0, but should stay", &["running", "exited:0"], (BAD, "exited", 1)),
        ("out of memory", &["running", "oom:137"], (BAD, "oom-killed", 1)),
        ("dead", &["dead"], (BAD, "dead", 0)),
        ("paused", &["paused"], (BAD, "paused", 0)),
        ("never started", &["created"], (BAD, "created", 20)),
        ("started late", &["created", "running@t1"], (GOOD, "healthy", 6)),
        ("unhealthy after its start", &["starting", "starting", "unhealthy:3"], (BAD, "unhealthy", 2)),
        ("health check hangs: Docker stays at starting", &["starting"], (BAD, "starting", 20)),
        ("was unhealthy before, recovers", &["unhealthy:7", "unhealthy:7", "healthy"], (GOOD, "healthy", 7)),
        ("was unhealthy before, checked again", &["unhealthy:7", "unhealthy:8"], (BAD, "unhealthy", 1)),
        ("was unhealthy before, never checked again", &["unhealthy:7"], (BAD, "unhealthy", 20)),
        ("recovers, then fails as often as before", &["unhealthy:3", "healthy", "unhealthy:3"], (BAD, "unhealthy", 2)),
        (
            "green, but its checks fail again: not good until one passes",
            &["healthy", "healthy", "healthy:1", "healthy:2", "healthy"],
            (GOOD, "healthy", 9),
        ),
        (
            "green once and never again, the check is slow to count",
            &["healthy", "healthy:1"],
            (BAD, "check-failed", 20),
        ),
        ("old restarts do not count", &["running@t1+9"], (GOOD, "healthy", 5)),
        ("replaced meanwhile", &["a=running", "b=running"], (BAD, "replaced", 1)),
        ("gone for a moment, then another", &["a=running", "-", "b=running"], (BAD, "replaced", 2)),
        ("gone for good", &["running", "-"], (BAD, "missing", 6)),
        ("never there", &["-"], (BAD, "missing", 5)),
    ] {
        assert_eq!(play(wanted(), true, readings), outcome, "{what}");
    }
}

#[test]
fn what_could_not_be_looked_at_is_unknown_and_starts_the_window_again() {
    for (what, readings, outcome) in [
        ("never an answer", &["?"][..], (UNKNOWN, "no-data", 20)),
        ("lost for good", &["running", "running", "?"], (UNKNOWN, "no-data", 20)),
        ("lost once", &["running", "running", "running", "?", "running"], (GOOD, "healthy", 9)),
        ("restarted while nobody looked", &["running@t1", "?", "?", "running@t2"], (BAD, "restarted", 3)),
        ("an answer at the end counts", &[&["?"; 18][..], &["starting"]].concat(), (BAD, "starting", 20)),
    ] {
        assert_eq!(play(wanted(), true, readings), outcome, "{what}");
    }
}

#[test]
fn every_replica_counts() {
    let three = Wanted { replicas: 3, ..wanted() };
    for (what, readings, outcome) in [
        ("all there", &["a=running b=running c=running"][..], (GOOD, "healthy", 5)),
        ("two of three are dead", &["a=running b=exited:3 c=exited:3"], (BAD, "exited", 0)),
        ("one comes late", &["a=running b=running", "a=running b=running c=running"], (GOOD, "healthy", 6)),
        ("one never comes", &["a=running b=running"], (BAD, "missing", 5)),
        (
            "one restarts",
            &["a=running b=running c=running", "a=running b=running c=running@t2+1"],
            (BAD, "restarted", 1),
        ),
        ("one is not healthy yet", &["a=healthy b=healthy c=starting"], (BAD, "starting", 20)),
        ("one more than asked for, dead", &["a=running b=running c=running d=exited:1"], (BAD, "exited", 0)),
    ] {
        assert_eq!(play(three.clone(), true, readings), outcome, "{what}");
    }
}

#[test]
fn jobs_are_good_when_they_ended_with_0() {
    let job = Wanted { one_shot: true, ..wanted() };
    for (what, restarts, readings, outcome) in [
        ("done", false, &["running", "running", "exited:0"][..], (GOOD, "finished", 2)),
        ("done before anybody looked", false, &["exited:0"], (GOOD, "finished", 0)),
        ("failed", false, &["running", "exited:2"], (BAD, "exited", 1)),
        ("out of memory, whatever the code", false, &["oom:0"], (BAD, "oom-killed", 0)),
        ("never ends", false, &["running"], (BAD, "not-finished", 20)),
        ("Docker restarts it: no job", true, &["running"], (GOOD, "healthy", 5)),
        ("it has a health check: no job", false, &["healthy"], (GOOD, "healthy", 5)),
    ] {
        assert_eq!(play(job.clone(), restarts, readings), outcome, "{what}");
    }
    assert_eq!(play(wanted(), false, &["exited:0"]), (BAD, "exited", 0), "no job, but ended");
}

/// A job with `restart: on-failure`, known by the service that waits for its end.
fn play_retried(readings: &[&str]) -> (State, &'static str, u64) {
    let own = ServiceHealth { one_shot: Some(true), ..ServiceHealth::default() };
    let mut watch = Watch::new(Wanted { own, ..wanted() }, settings());
    for second in 0..60 {
        let now = Duration::from_secs(second);
        let mut container = container("c1", readings[readings.len().min(second as usize + 1) - 1], true);
        container.retries = true;
        watch.observe(now, &Reading { containers: vec![&container], probes: &[], questions: 1 });
        watch.expire(now);
        if let Some(outcome) = &watch.outcome {
            return (outcome.state, outcome.cause.code, outcome.at.as_secs());
        }
    }
    panic!("never decided: {readings:?}");
}

#[test]
fn a_job_may_be_tried_again_until_it_ends_with_0() {
    for (what, readings, outcome) in [
        ("done at once", &["exited:0"][..], (GOOD, "finished", 0)),
        (
            "at the second try",
            &["running", "restarting:1@t0+1", "running@t1+1", "exited:0@t1+1"],
            (GOOD, "finished", 3),
        ),
        ("never", &["restarting:1@t0+3"], (BAD, "not-finished", 20)),
        ("given up on", &["running@t1+5", "exited:1@t1+5"], (BAD, "exited", 1)),
    ] {
        assert_eq!(play_retried(readings), outcome, "{what}");
    }
}

#[test]
fn where_no_container_is_right_none_is_waited_for() {
    let supposed = Wanted { one_shot: true, ..wanted() };
    let mut job = supposed.clone();
    job.own.one_shot = Some(true);
    let none = Wanted { replicas: 0, ..wanted() };
    for (what, wanted, readings, outcome) in [
        ("a job that ended and was removed", job.clone().past(Past::Unchanged), &["-"][..], (GOOD, "finished", 0)),
        ("what is only taken for a job is missing", supposed.past(Past::Unchanged), &["-"], (BAD, "missing", 5)),
        ("a job of this deployment must be there", job.clone().past(Past::Containers), &["-"], (BAD, "missing", 5)),
        (
            "a job that failed is seen as long as it is there",
            job.past(Past::Unchanged),
            &["exited:1"],
            (BAD, "exited", 0),
        ),
        ("a service that stays", wanted().past(Past::Unchanged), &["-"], (BAD, "missing", 5)),
        ("scaled to 0", none.clone(), &["-"], (GOOD, "finished", 0)),
        ("scaled to 0, and on its way", none.clone(), &["running", "-"], (GOOD, "finished", 1)),
        ("scaled to 0, and still there", none, &["running"], (BAD, "unwanted", 20)),
    ] {
        assert_eq!(play(wanted, false, readings), outcome, "{what}");
    }
}

#[test]
fn cm_toml_has_the_last_word_on_jobs() {
    let said =
        |one_shot| Wanted { own: ServiceHealth { one_shot: Some(one_shot), ..ServiceHealth::default() }, ..wanted() };
    assert_eq!(play(said(true), true, &["running", "exited:0"]), (GOOD, "finished", 1), "restart: on-failure");
    assert_eq!(play(said(true), false, &["healthy"]), (BAD, "not-finished", 20), "a job must end");
    let stays = Wanted { one_shot: true, ..said(false) };
    assert_eq!(play(stays, false, &["running"]), (GOOD, "healthy", 5), "no policy, but it stays");
}

#[test]
fn a_service_may_have_limits_of_its_own() {
    let own = ServiceHealth {
        timeout: Some(Duration::from_secs(30)),
        window: Some(Duration::from_secs(12)),
        readings: Some(1),
        one_shot: None,
    };
    let patient = Wanted { own, ..wanted() };
    let late = [&["starting"; 25][..], &["healthy"]].concat();
    assert_eq!(play(patient.clone(), true, &late), (GOOD, "healthy", 37));
    assert_eq!(play(patient, true, &["starting"]), (BAD, "starting", 30));
}

/// `starting` until `healthy_at`, with this start period; one reading a second.
fn play_start(start_period: u64, healthy_at: u64, strict: bool) -> (State, &'static str, u64) {
    let mut watch = Watch::new(wanted(), Settings { strict, ..settings() });
    for second in 0..120 {
        let mut container = container("c1", if second < healthy_at { "starting" } else { "healthy" }, true);
        container.start_period = Duration::from_secs(start_period);
        let now = Duration::from_secs(second);
        watch.observe(now, &Reading { containers: vec![&container], probes: &[], questions: 1 });
        watch.expire(now);
        if let Some(outcome) = &watch.outcome {
            return (outcome.state, outcome.cause.code, outcome.at.as_secs());
        }
    }
    panic!("never decided");
}

#[test]
fn a_slow_start_is_no_failure_while_its_start_period_lasts() {
    for (what, period, healthy_at, strict, outcome) in [
        ("well after the timeout, within its period", 40, 35, false, (GOOD, "healthy", 40)),
        ("not even then", 40, 200, false, (BAD, "starting", 40)),
        ("a short period changes nothing", 5, 200, false, (BAD, "starting", 20)),
        ("the flag is the last word", 40, 35, true, (BAD, "starting", 20)),
    ] {
        assert_eq!(play_start(period, healthy_at, strict), outcome, "{what}");
    }
}

#[test]
fn the_image_must_be_the_one_that_was_built() {
    let built = |id: &str| wanted().image(Some(id.to_owned()));
    assert_eq!(play(built("sha256:new"), true, &["running"]), (GOOD, "healthy", 5));
    assert_eq!(play(built("sha256:other"), true, &["running"]), (BAD, "wrong-image", 0));
}

/// The probe's answers, one a second; the last one goes on for ever.
fn play_probe(answers: &[Option<Answer>]) -> (State, &'static str, u64) {
    let probe = Some(cm_project::Probe::Address("http://127.0.0.1:80/".to_owned()));
    let mut watch = Watch::new(Wanted { probe, ..wanted() }, settings());
    let container = container("c1", "running", true);
    for second in 0..60 {
        let now = Duration::from_secs(second);
        let answer = &answers[answers.len().min(second as usize + 1) - 1];
        let probes: Vec<_> = answer.iter().map(|answer| ("c1".to_owned(), answer.clone())).collect();
        watch.observe(now, &Reading { containers: vec![&container], probes: &probes, questions: 1 });
        watch.expire(now);
        if let Some(outcome) = &watch.outcome {
            return (outcome.state, outcome.cause.code, outcome.at.as_secs());
        }
    }
    panic!("never decided");
}

#[test]
fn a_probe_must_be_content_for_the_whole_window() {
    let bad = || Some(Answer::Bad("answered 503".to_owned()));
    let blind = || Some(Answer::NotAsked("no address".to_owned()));
    let good = || Some(Answer::Content);
    let slow = || Some(Answer::Pending);
    for (what, answers, outcome) in [
        ("content", vec![good()], (GOOD, "healthy", 5)),
        ("the port is never opened", vec![bad()], (BAD, "no-answer", 20)),
        ("up after a while", vec![bad(), bad(), good()], (GOOD, "healthy", 7)),
        ("once bad in between", vec![good(), good(), bad(), good()], (GOOD, "healthy", 8)),
        (
            "slow to answer, but content",
            vec![slow(), good(), slow(), good(), slow(), good(), slow(), good()],
            (GOOD, "healthy", 7),
        ),
        ("every second answer is late", vec![good(), slow(), good(), slow(), good()], (GOOD, "healthy", 5)),
        ("never answers", vec![slow()], (BAD, "asking", 20)),
        ("bad, and asked again at the limit", vec![bad(), slow()], (BAD, "no-answer", 20)),
        ("not asked, and asked again at the limit", vec![blind(), slow()], (UNKNOWN, "not-asked", 20)),
        ("cannot be asked", vec![blind()], (UNKNOWN, "not-asked", 20)),
        ("was not asked", vec![None], (UNKNOWN, "not-asked", 20)),
    ] {
        assert_eq!(play_probe(&answers), outcome, "{what}");
    }
}

#[test]
fn an_abandoned_watch_is_unknown_and_says_how_far_it_was() {
    let mut watch = Watch::new(wanted(), settings());
    let container = container("c1", "starting", true);
    watch.observe(Duration::ZERO, &Reading { containers: vec![&container], probes: &[], questions: 1 });
    watch.abandon(Duration::from_secs(1));
    let outcome = watch.outcome.expect("decided");
    assert_eq!((outcome.state, outcome.cause.code), (UNKNOWN, "not-awaited"));
    assert!(outcome.cause.message.contains("still starting"), "{}", outcome.cause.message);
}

#[test]
fn a_failure_names_the_container_its_exit_and_its_last_words() {
    let mut watch = Watch::new(wanted(), settings());
    let dead = container("c1", "exited:137", true);
    watch.observe(Duration::ZERO, &Reading { containers: vec![&dead], probes: &[], questions: 1 });
    let cause = watch.outcome.expect("decided").cause;
    assert_eq!((cause.container.as_deref(), cause.exit_code), (Some("web-c1"), Some(137)));
    assert_eq!(cause.message, "has ended, exit code 137 (SIGKILL)");
    let mut watch = Watch::new(wanted(), settings());
    for streak in ["starting", "unhealthy:3"] {
        let container = container("c1", streak, true);
        watch.observe(Duration::ZERO, &Reading { containers: vec![&container], probes: &[], questions: 1 });
    }
    assert_eq!(watch.outcome.expect("decided").cause.health_output.as_deref(), Some("refused"));
}

/// What Docker remembers at each second: since when the process has run and, for a container with a
/// health check, since when its checks have passed; seconds before the gate began. A container that
/// was restarted in the meantime has another start.
fn play_past(past: Past, readings: &[(&str, Option<i64>, Option<i64>)]) -> (State, &'static str, u64) {
    let mut watch = Watch::new(wanted().past(past), settings());
    for second in 0..60 {
        let now = Duration::from_secs(second);
        let (words, ran, passed) = readings[readings.len().min(second as usize + 1) - 1];
        let ago = |since: i64| Duration::from_secs((since + second as i64).try_into().expect("not before it began"));
        let mut container = container("c1", words, true);
        (container.ran, container.checks_passed) = (ran.map(ago), passed.map(ago));
        watch.observe(now, &Reading { containers: vec![&container], probes: &[], questions: 1 });
        watch.expire(now);
        if let Some(outcome) = &watch.outcome {
            return (outcome.state, outcome.cause.code, outcome.at.as_secs());
        }
    }
    panic!("never decided: {readings:?}");
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
