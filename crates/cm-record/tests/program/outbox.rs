//! What a bad API, a bad disk and two runs at once do to the events.

use crate::support::{Api, Home, Post, Recorded, document, id};
use std::time::Duration;

#[test]
fn a_refused_event_is_set_aside_with_the_reason_and_blocks_nothing() {
    let api = Api::start(|_| 503);
    let mut home = Home::new(Some(&api));
    assert_eq!(home.run(&[], Some(&document(1))).event(), "waits");
    assert_eq!(home.run(&[], Some(&document(2))).event(), "waits");
    // The oldest was tried each time, and nothing behind it.
    assert_eq!(api.ids(), [id(1), id(1)]);
    api.now(|post| if post.event["id"] == id(1) { 422 } else { 201 });
    let third = home.run(&[], Some(&document(3)));
    assert_eq!((third.code, third.event().as_str()), (0, "delivered"), "{third:?}");
    assert!(third.stderr.contains(&format!("the deploy event of run {} is set aside", id(1))), "{third:?}");
    assert_eq!(api.ids()[2..], [id(1), id(2), id(3)]);
    assert_eq!((home.events(""), home.events("rejected")), (vec![], vec![id(1)]));
    let reason = std::fs::read_to_string(home.outbox().join(format!("rejected/{}.reason", id(1)))).expect("a reason");
    assert_eq!(reason, "the ops API refuses it: it answered 422: what it thinks of it\n");
    // Something is in the way of its way back.
    let there = home.outbox().join(format!("{}.json", id(1)));
    std::fs::create_dir_all(there.join("x")).expect("a directory");
    home.set("CM_LOG", "json");
    let stuck = home.run(&["flush", "--rejected"], None);
    assert!(stuck.code == 6 && stuck.stderr.contains("\"code\":\"outbox.rejected\""), "{stuck:?}");
    assert_eq!(home.events("rejected"), [id(1)]);
    std::fs::remove_dir_all(there).expect("removed");
    // The next run does not try it again; whoever put the API right may.
    assert_eq!(home.run(&[], Some(&document(4))).event(), "delivered");
    assert_eq!(api.ids().len(), 6);
    api.now(|_| 200);
    let again = home.run(&["flush", "--rejected"], None);
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(api.ids().last(), Some(&id(1)));
    assert_eq!((home.events(""), home.events("rejected")), (vec![], vec![]));
    assert!(!format!("{third:?}{again:?}{reason}").contains("planted-token"));
}

#[test]
fn a_run_whose_own_event_is_refused_says_so_and_fails_nothing() {
    let api = Api::start(|_| 400);
    let home = Home::new(Some(&api));
    let refused = home.run(&[], Some(&document(1)));
    assert_eq!((refused.code, refused.event().as_str()), (0, "rejected"), "{refused:?}");
    assert!(refused.stdout.contains("\"status\":\"warned\""), "{refused:?}");
    // A token that is wrong today is no reason to set anything aside.
    api.now(|_| 401);
    let waits = home.run(&[], Some(&document(2)));
    assert_eq!(waits.event(), "waits");
    assert!(waits.stderr.contains("does not take the deploy event: it answered 401"), "{}", waits.stderr);
    assert_eq!((home.events(""), home.events("rejected")), (vec![id(2)], vec![id(1)]));
    let mut home = home;
    home.set("OPS_API_TOKEN", "");
    let flushed = home.run(&["flush"], None);
    assert_eq!(flushed.code, 0, "{flushed:?}");
    for words in ["the variable OPS_API_TOKEN is not set", "1 event for the ops API still waiting"] {
        assert!(flushed.stderr.contains(words), "{}", flushed.stderr);
    }
}

#[test]
fn an_event_that_is_no_event_blocks_nothing() {
    let api = Api::start(|_| 200);
    let home = Home::new(Some(&api));
    std::fs::create_dir_all(home.outbox()).expect("the outbox");
    std::fs::write(home.outbox().join("0.json"), "{\"id\": \"cut").expect("a cut file");
    let answer = home.run(&[], Some(&document(1)));
    assert_eq!(answer.event(), "delivered", "{answer:?}");
    assert_eq!((api.ids(), home.events("rejected")), (vec![id(1)], vec!["0".to_owned()]));
}

#[test]
fn two_runs_at_once_send_each_event_once() {
    let slow = |_: &Post| {
        std::thread::sleep(Duration::from_millis(300));
        200
    };
    let api = Api::start(|_| 503);
    let home = Home::new(Some(&api));
    for number in 1..=3 {
        assert_eq!(home.run(&[], Some(&document(number))).event(), "waits");
    }
    let before = api.ids().len();
    api.now(slow);
    // The same run twice, another one, and somebody who flushes.
    let runs = [Some(4), Some(4), Some(5), None];
    std::thread::scope(|scope| {
        for number in runs {
            let home = &home;
            scope.spawn(move || {
                let answer = match number {
                    Some(number) => home.run(&[], Some(&document(number))),
                    None => home.run(&["flush"], None),
                };
                assert_eq!(answer.code, 0, "{answer:?}");
            });
        }
    });
    let mut sent = api.ids().split_off(before);
    sent.sort();
    assert_eq!(sent, [1, 2, 3, 4, 5].map(id));
    assert_eq!(home.events(""), [""; 0]);
}

#[test]
fn a_run_that_is_recorded_again_is_sent_again_only_if_it_ended_otherwise() {
    let api = Api::start(|_| 200);
    let home = Home::new(Some(&api));
    let mut run = document(1);
    run["status"] = "failed".into();
    run["error"] = serde_json::json!({"stage": "cm-build", "code": "build.failed", "message": "no", "causes": [], "hint": null, "retryable": false, "exit": 30});
    assert_eq!(home.run(&[], Some(&run)).event(), "delivered");
    let again = home.run(&[], Some(&run));
    assert_eq!(again.event(), "delivered");
    assert!(again.stderr.contains("it is not sent again"), "{again:?}");
    assert_eq!(api.ids(), [id(1)]);
    run["status"] = "rolled_back".into();
    assert_eq!(home.run(&[], Some(&run)).event(), "delivered");
    assert_eq!(home.run(&[], Some(&run)).event(), "delivered");
    let keys: Vec<_> = api.posts().into_iter().map(|post| post.key).collect();
    assert_eq!(keys, [id(1), format!("{}-rolled_back", id(1))]);
}

#[test]
fn an_outbox_that_cannot_be_written_is_no_reason_not_to_send() {
    let api = Api::start(|_| 200);
    let home = Home::new(Some(&api));
    // A file where the directory should be: also root cannot write there.
    std::fs::create_dir_all(home.outbox().parent().expect("a parent")).expect("the state directory");
    std::fs::write(home.outbox(), "").expect("a file");
    let sent = home.run(&[], Some(&document(1)));
    assert_eq!((sent.code, sent.event().as_str()), (0, "delivered"), "{sent:?}");
    assert!(sent.stderr.contains("it is sent at once, or lost"), "{sent:?}");
    api.now(|_| 503);
    let lost = home.run(&[], Some(&document(2)));
    assert_eq!((lost.code, lost.event().as_str()), (0, "lost"), "{lost:?}");
    assert!(lost.stderr.contains("it is lost; it answered 503"), "{lost:?}");
    assert_eq!(api.ids(), [id(1), id(2)]);
}
