use super::*;
use serde_json::{Value, json};

fn state(commit: &str) -> ServiceState {
    ServiceState {
        commit: commit.to_owned(),
        image: "web".to_owned(),
        image_id: format!("sha256:{commit}"),
        ..ServiceState::default()
    }
}

fn record(id: &str, verdict: Verdict, services: &[(&str, &str)]) -> Record {
    let mut record = Record::new(id, "ada", "main", services[0].1);
    record.verdict = verdict;
    record.services = services.iter().map(|(name, commit)| ((*name).to_owned(), state(commit))).collect();
    record
}

fn ledger(records: &[Record]) -> Ledger {
    let lines = records.iter().map(|record| serde_json::to_string(record).expect("json"));
    Ledger::parse(lines.collect::<Vec<_>>().join("\n").as_bytes())
}

fn web(releases: &[(&str, Verdict, &str)]) -> Ledger {
    let records: Vec<_> =
        releases.iter().map(|(id, verdict, commit)| record(id, *verdict, &[("web", commit)])).collect();
    ledger(&records)
}

fn entry(value: Value) -> UndoRelease {
    serde_json::from_value(value).expect("an entry")
}

fn undo(image_id: Value) -> UndoRelease {
    entry(
        json!({"kind": "release", "host": "h", "checkout": "~/x", "from": "0123abcd", "services": {"web": {"action": "build", "image": "web", "image_id": image_id}}}),
    )
}

fn run(id: &str) -> FailedRun<'_> {
    FailedRun { id, started_at: "2099-01-01T00:00:00Z", judged: true }
}

fn after(undo: &UndoRelease, ledger: &Ledger, id: &str) -> Result<Option<Choice>> {
    after_failure("h", undo, ledger, &run(id))
}

fn web_of(choice: &Choice) -> &str {
    &choice.services["web"].as_ref().expect("a state").commit
}

#[test]
fn the_target_is_the_last_good_release_and_not_the_one_before() {
    let ledger =
        web(&[("1", Verdict::Verified, "aaaa"), ("2", Verdict::Failed, "bbbb"), ("3", Verdict::Pending, "cccc")]);
    let choice = after(&undo("sha256:bbbb".into()), &ledger, "3").expect("a way").expect("target");
    assert_eq!((web_of(&choice), choice.commit.as_str(), choice.oldest), ("aaaa", "aaaa", Some(0)));
}

#[test]
fn what_ran_before_cm_came_is_a_target_too() {
    let ledger = web(&[("1", Verdict::Pending, "aaaa")]);
    let choice = after(&undo("sha256:hand".into()), &ledger, "1").expect("a way").expect("target");
    assert_eq!(choice.services["web"].as_ref().expect("state").image_id, "sha256:hand");
    assert_eq!((choice.commit.as_str(), choice.oldest), ("0123abcd", None));
}

#[test]
fn after_a_failed_first_deployment_there_is_nothing_to_go_back_to() {
    let ledger = web(&[("1", Verdict::Pending, "aaaa")]);
    assert_eq!(after(&undo(Value::Null), &ledger, "1").expect_err("nothing").exit, Exit::NothingToRollBackTo);
}

#[test]
fn a_release_that_only_brought_a_new_service_is_taken_back_by_removing_it() {
    let ledger = web(&[("1", Verdict::Verified, "aaaa"), ("2", Verdict::Pending, "bbbb")]);
    let undo = entry(
        json!({"host": "h", "checkout": "~/x", "from": "aaaa", "services": {"new": {"action": "build", "image": null, "image_id": null}}}),
    );
    let choice = after(&undo, &ledger, "2").expect("a way").expect("target");
    assert_eq!((choice.commit.as_str(), &choice.services["new"]), ("aaaa", &None));
}

#[test]
fn releases_that_were_never_verified_are_no_target() {
    let ledger = web(&[("1", Verdict::Failed, "aaaa"), ("2", Verdict::Pending, "bbbb")]);
    let failure = after(&undo("sha256:aaaa".into()), &ledger, "2").expect_err("nothing");
    assert_eq!(failure.exit, Exit::NothingToRollBackTo);
}

#[test]
fn what_failed_and_is_the_same_as_before_is_no_way_back_unless_it_was_cut_off() {
    let ledger = web(&[("1", Verdict::Verified, "aaaa"), ("2", Verdict::Pending, "aaaa")]);
    let failure = after(&undo("sha256:aaaa".into()), &ledger, "2").expect_err("identical");
    assert!(failure.message.contains("changes nothing"), "{failure}");
    let cut = FailedRun { judged: false, ..run("2") };
    let choice = after_failure("h", &undo("sha256:aaaa".into()), &ledger, &cut).expect("a way").expect("repair");
    assert_eq!(web_of(&choice), "aaaa");
}

#[test]
fn a_run_whose_place_was_taken_is_left_alone() {
    let ledger =
        web(&[("1", Verdict::Verified, "aaaa"), ("2", Verdict::Pending, "bbbb"), ("3", Verdict::Verified, "cccc")]);
    assert!(after(&undo("sha256:aaaa".into()), &ledger, "2").expect("no failure").is_none());
    let never_recorded = FailedRun { id: "2a", started_at: "2001-01-01T00:00:00Z", judged: false };
    assert!(after_failure("h", &undo(Value::Null), &ledger, &never_recorded).expect("no failure").is_none());
}

fn wanted<'a>(to: Option<&'a Named>, services: &[&str], confirm: bool) -> Wanted<'a> {
    let services: BTreeSet<String> = services.iter().map(|name| (*name).to_owned()).collect();
    Wanted { to, services: Some(services).filter(|services| !services.is_empty()), confirm }
}

#[test]
fn one_service_goes_back_and_the_newest_release_of_another_does_not_matter() {
    let ledger = ledger(&[
        record("1", Verdict::Verified, &[("web", "aaaa"), ("api", "aaaa")]),
        record("2", Verdict::Verified, &[("web", "bbbb")]),
        record("3", Verdict::Verified, &[("api", "cccc")]),
    ]);
    let choice = by_request("h", &ledger, &wanted(None, &["web"], false)).expect("a way").expect("target");
    assert_eq!((web_of(&choice), choice.services.len(), choice.release.as_deref()), ("aaaa", 1, Some("1")));
    let newest = by_request("h", &ledger, &wanted(None, &[], false)).expect("a way").expect("target");
    assert_eq!(newest.services.keys().collect::<Vec<_>>(), ["api"]);
}

#[test]
fn a_rollback_is_not_rolled_back_unless_confirmed_and_then_goes_further() {
    let mut two = record("2", Verdict::Verified, &[("web", "bbbb")]);
    two.take_back(["web".to_owned()].iter(), "rolled back by run 3");
    let ledger = ledger(&[
        record("0", Verdict::Verified, &[("web", "0000")]),
        record("1", Verdict::Verified, &[("web", "aaaa")]),
        two,
        record("3", Verdict::RolledBack, &[("web", "aaaa")]),
    ]);
    let failure = by_request("h", &ledger, &wanted(None, &[], false)).expect_err("refused");
    assert!(failure.message.contains("rolled back already"), "{failure}");
    let choice = by_request("h", &ledger, &wanted(None, &[], true)).expect("a way").expect("target");
    assert_eq!(web_of(&choice), "0000", "neither the same again nor the one that was rolled back");
}

#[test]
fn what_was_named_is_a_target_whatever_became_of_it_and_other_bad_releases_are_not() {
    let mut failed = record("3", Verdict::RolledBack, &[("web", "aaaa")]);
    failed.attempted.insert("web".to_owned(), state("cccc"));
    let ledger = ledger(&[
        record("1", Verdict::Verified, &[("web", "aaaa"), ("api", "aaaa")]),
        record("2", Verdict::Failed, &[("api", "bbbb")]),
        failed,
        record("4", Verdict::Verified, &[("api", "dddd"), ("web", "dddd")]),
    ]);
    let all = [ledger];
    let by_commit = named("cccc", &all).expect("found");
    let choice = by_request("h", &all[0], &wanted(Some(&by_commit), &[], false)).expect("a way").expect("target");
    assert_eq!((web_of(&choice), choice.commit.as_str()), ("cccc", "cccc"));
    assert_eq!(choice.services["api"].as_ref().expect("state").commit, "aaaa", "not the failed bbbb");
    let by_failed = named("bbbb", &all).expect("found");
    let choice = by_request("h", &all[0], &wanted(Some(&by_failed), &["api"], false)).expect("a way").expect("target");
    assert_eq!(choice.services["api"].as_ref().expect("state").commit, "bbbb");
    assert!(choice.notes.iter().any(|note| note.contains("is failed")), "{:?}", choice.notes);
}

#[test]
fn a_name_must_fit_one_release() {
    let all = [web(&[("01980e5c-7b1a", Verdict::Verified, "abcd11"), ("01980e5c-9999", Verdict::Verified, "abcd22")])];
    assert_eq!(named("01980e5c", &all).expect_err("two").code, "usage.ambiguous-release");
    assert_eq!(named("abcd", &all).expect_err("two").code, "usage.ambiguous-release");
    assert_eq!(named("ffff", &all).expect_err("none").code, "usage.unknown-release");
    assert_eq!(named("abc", &all).expect_err("too short").code, "usage.unknown-release");
    assert_eq!(named("01980e5c-9", &all).expect("one").id, "01980e5c-9999");
    assert_eq!(named("abcd2", &all).expect("one").id, "01980e5c-9999");
}

#[test]
fn a_service_that_was_removed_comes_back() {
    let mut removal = record("2", Verdict::Verified, &[("web", "bbbb")]);
    removal.services.get_mut("web").expect("web").removed = true;
    let ledger = ledger(&[record("1", Verdict::Verified, &[("web", "aaaa")]), removal]);
    let choice = by_request("h", &ledger, &wanted(None, &[], false)).expect("a way").expect("target");
    assert_eq!(web_of(&choice), "aaaa");
}

/// What a lying host may write: times of tomorrow, ids that sort last, releases that never were.
#[test]
fn a_host_that_lies_decides_for_no_other_host() {
    let run = |n: u64| format!("01980e5c-0000-7000-8000-{n:012x}");
    let (one, two) = (run(1), run(2));
    let honest = web(&[(&one, Verdict::Verified, "aaaa1111"), (&two, Verdict::Verified, "bbbb2222")]);
    let ancient = |id: &str| Record {
        at: "2001-01-01T00:00:00Z".to_owned(),
        ..record(id, Verdict::Verified, &[("agent", "aaaa1111")])
    };
    let long = format!("{two}f");
    for lie in
        ["zzzz", "ffffffff-ffff-4fff-8fff-ffffffffffff", "bbbb2222f", long.as_str(), "../../x", "--x", "\u{1b}[2J"]
    {
        let all = [ledger(&[ancient(lie)]), honest.clone()];
        assert_eq!(latest(&all).expect("one").id, two, "{lie}: the newest release");
        for to in [two.as_str(), "bbbb2222"] {
            let to = named(to, &all).unwrap_or_else(|failure| panic!("{lie}: {failure}"));
            assert_eq!(to.id, two, "{lie}");
        }
    }
    // It says that it has the commit, from a time at which the honest one ran another one.
    let later = record("01980e5d-0000-7000-8000-000000000009", Verdict::Verified, &[("agent", "aaaa1111")]);
    let all = [ledger(&[later]), honest.clone()];
    let to = named("aaaa1111", &all).expect("one");
    let choice = by_request("h", &honest, &wanted(Some(&to), &[], false)).expect("a way").expect("target");
    assert_eq!((web_of(&choice), choice.release.as_deref()), ("aaaa1111", Some(one.as_str())));
}

#[test]
fn a_run_with_an_id_of_a_script_is_ordered_by_its_time() {
    let at = |id: &str, at: &str, commit: &str| Record {
        at: at.to_owned(),
        ..record(id, Verdict::Verified, &[("web", commit)])
    };
    let (first, second) = ("f0000000-0000-4000-8000-000000000001", "10000000-0000-4000-8000-000000000002");
    let one = ledger(&[at(first, "2026-01-01T00:00:00Z", "aaaa"), at(second, "2026-01-02T00:00:00Z", "bbbb")]);
    let other = ledger(&[at(first, "2026-01-01T00:00:01Z", "aaaa")]);
    let all = [one, other];
    assert_eq!(latest(&all).expect("one").id, second);
    let to = named(second, &all).expect("known");
    let choice = by_request("h", &all[1], &wanted(Some(&to), &[], false)).expect("a way");
    assert!(choice.is_none(), "it ran then what it runs now: {choice:?}");
}
