//! Questions to a real ledger that the program itself wrote.

use crate::support::{Home, Recorded, document, id};
use serde_json::{Value, json};

/// Records run `number`, which built `commit` of web on this machine.
fn deploy(home: &Home, number: u8, commit: &str, status: &str) {
    let mut run = document(number);
    run["commit"] = commit.into();
    run["status"] = status.into();
    if status == "failed" {
        run["error"] = json!({"stage": "cm-health", "code": "health.unhealthy", "message": "web is not healthy", "causes": [], "hint": null, "retryable": false, "exit": 40});
    }
    let state = json!({"image": "web", "image_id": format!("sha256:{commit}"), "tag": "", "config_hash": ""});
    run["facts"]["build"] = json!({"hosts": {"h": {"to": commit, "services": {"web": state}}}});
    run["facts"]["health"] = json!({"verdict": "healthy"});
    run["facts"]["verify"] = json!({"verdict": "pass"});
    let answer = home.run(&[], Some(&run));
    assert_eq!(answer.code, 0, "{answer:?}");
    assert_eq!(answer.facts()["hosts"], json!(["h"]), "{answer:?}");
}

fn asked(home: &Home, arguments: &[&str]) -> Value {
    let answer = home.run(arguments, None);
    assert_eq!(answer.code, 0, "{answer:?}");
    serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

#[test]
fn the_ledger_answers_why_what_differs_and_how_often() {
    let home = Home::new(None);
    deploy(&home, 1, "aaaa", "ok");
    deploy(&home, 2, "bbbb", "failed");
    deploy(&home, 3, "cccc", "ok");

    let why = asked(&home, &["why", "web", "--json"]);
    assert_eq!((&why["h"]["release"], &why["h"]["state"]["commit"]), (&json!(id(3)), &json!("cccc")));
    assert_eq!((&why["h"]["verdict"], &why["h"]["actor"]), (&json!("verified"), &json!("ada")));
    assert_eq!(why["h"]["reasons"], json!(["web/main.py (context)"]));
    let text = home.run(&["why", "web"], None).stdout;
    assert!(text.contains("commit   cccc") && text.contains("why      web/main.py (context)"), "{text}");

    let differ = asked(&home, &["diff", &id(1), &id(2), "--json"]);
    assert_eq!((&differ["a"]["commit"], &differ["b"]["verdict"]), (&json!("aaaa"), &json!("failed")));
    assert_eq!(differ["services"][0]["b"]["image_id"], "sha256:bbbb");
    let table = home.run(&["diff", &id(1), &id(3)], None).stdout;
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.ends_with("h     web      aaaa    cccc  aaaa   cccc\n"), "{table}");

    // No terminal: JSON, as scripts had it before there was a table.
    assert_eq!(asked(&home, &["show", &id(2)])["h"]["cause"], "web is not healthy");

    let dora = asked(&home, &["dora", "--json"]);
    assert_eq!((&dora["deployments"], &dora["failed"], &dora["restored"]), (&json!(3), &json!(1), &json!(1)));
    let text = home.run(&["dora", "--since", "1h"], None).stdout;
    assert!(text.contains("33 % (1 of 3)"), "{text}");
}

#[test]
fn a_question_that_has_no_answer_says_what_there_is() {
    let home = Home::new(None);
    deploy(&home, 1, "aaaa", "ok");
    let cases: [(&[&str], &str); 4] = [
        (&["why", "wbe"], "there are web"),
        (&["diff", &id(1), "ffff"], "no host has a release \"ffff\""),
        (&["show", "ffff"], "cm-record history lists them"),
        (&["dora", "--since", "30"], "is not a length of time"),
    ];
    for (arguments, wanted) in cases {
        let answer = home.run(arguments, None);
        assert_eq!((answer.code, answer.stdout.as_str()), (2, ""), "{answer:?}");
        assert!(answer.stderr.contains(wanted), "{answer:?}");
    }
}
