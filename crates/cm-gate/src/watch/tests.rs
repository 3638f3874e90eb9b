//! Courses of events, played through second by second, and what must come of them.

mod past;

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

/// Lets `read` make a reading each second until the watch has decided: its state and code, and in which second.
fn until_decided(mut watch: Watch, mut read: impl FnMut(&mut Watch, usize, Duration)) -> (State, &'static str, u64) {
    for second in 0..60 {
        let now = Duration::from_secs(second as u64);
        read(&mut watch, second, now);
        watch.expire(now);
        if let Some(outcome) = &watch.outcome {
            return (outcome.state, outcome.cause.code, outcome.at.as_secs());
        }
    }
    panic!("never decided: {:?}", watch.timeline);
}

/// What is read in a second: the last one's goes on.
fn at<T: Copy>(readings: &[T], second: usize) -> T {
    readings[readings.len().min(second + 1) - 1]
}

/// One reading a second; each is the containers by their words, `-` for none and `?`
/// for a reading that failed. The last one goes on for ever. Gives state, code and second.
fn play(wanted: Wanted, restarts: bool, readings: &[&str]) -> (State, &'static str, u64) {
    until_decided(Watch::new(wanted, settings()), |watch, second, now| {
        let words = at(readings, second);
        if words == "?" {
            return watch.could_not_look(now, "connection lost");
        }
        let containers: Vec<Container> = words
            .split(' ')
            .filter(|word| *word != "-")
            .map(|word| {
                let (id, words) = word.split_once('=').unwrap_or(("c1", word));
                container(id, words, restarts)
            })
            .collect();
        watch.observe(now, &Reading { containers: containers.iter().collect(), probes: &[], questions: 1 });
    })
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
    until_decided(Watch::new(Wanted { own, ..wanted() }, settings()), |watch, second, now| {
        let mut container = container("c1", at(readings, second), true);
        container.retries = true;
        watch.observe(now, &Reading { containers: vec![&container], probes: &[], questions: 1 });
    })
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
