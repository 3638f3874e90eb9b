//! The page of a deployment, made by the program and looked at in a real browser.

use crate::browser::Browser;
use crate::support::{Api, Home, document, id};
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

/// A deployment on two hosts that was rolled back, with markup where people write text.
const HOSTILE: &str = include_str!("../data/rolled-back.json");

/// What a browser complains of, and what it asked the network for.
fn complaints(browser: &Browser) -> Vec<&Value> {
    let is_bad = |event: &&Value| match event["method"].as_str().unwrap_or_default() {
        "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded" | "Page.javascriptDialogOpening" => {
            true
        }
        "Network.requestWillBeSent" => {
            !event["params"]["request"]["url"].as_str().is_some_and(|url| url.starts_with("file:"))
        }
        _ => false,
    };
    browser.events.iter().filter(is_bad).collect()
}

#[test]
fn a_browser_shows_it_without_network_script_or_sideways_scrolling() {
    let home = Home::new(None);
    let hostile: Value = serde_json::from_str(HOSTILE).expect("JSON");
    let made = home.run(&["report", "-", "--html", "report.html"], Some(&hostile));
    assert_eq!((made.code, made.stdout.as_str()), (0, ""), "{made:?}");
    let page = home.path().join("report.html");
    let mut browser = Browser::start(home.path());
    // That a violation is seen at all: the same page with a script and a picture put in by hand.
    let text = std::fs::read_to_string(&page).expect("the page");
    let tampered = home.path().join("tampered.html");
    let added = "<script>document.title='pwned'</script><img src=http://127.0.0.1:9/x.png></main>";
    std::fs::write(&tampered, text.replace("</main>", added)).expect("a page");
    browser.open(&tampered);
    let seen: Vec<_> = complaints(&browser).iter().map(|event| event["method"].as_str().unwrap_or_default()).collect();
    assert_eq!(seen, ["Log.entryAdded", "Log.entryAdded", "Network.requestWillBeSent"]);
    assert_eq!(browser.value("document.title"), "Rolled back: curateme 2771cae7986f");

    browser.events.clear();
    browser.open(&page);
    let requests = browser.events.iter().filter(|event| event["method"] == "Network.requestWillBeSent").count();
    assert_eq!((requests, complaints(&browser)), (1, vec![]));
    assert_eq!(browser.value("document.title"), "Rolled back: curateme 2771cae7986f");
    assert_eq!(browser.value("document.scripts.length + document.images.length + document.links.length"), 0);
    let shown = browser.value("document.querySelector('main').innerText");
    let shown = shown.as_str().expect("text");
    for wanted in [
        "gateway: answer faster <script>document.title=\"pwned\";fetch(\"http://127.0.0.1:9/\")</script>",
        "Ada <b>L</b>",
        "1 of 2 services is unhealthy: runner-agent on runners",
        "\u{fffd}[31mKeyError: 'QUEUE_URL'",
        "b71bcfc7aea0 → e9365dcaa3c9",
        "runner: \"quotes\" & ampersands \u{fffd}gnp.exe",
        "waits here and goes with the next run",
        "javascript:alert(1)",
    ] {
        assert!(shown.contains(wanted), "{wanted:?} in:\n{shown}");
    }
    // Two curves of 21 points, and every bar has a width.
    let curves = browser.value("[...document.querySelectorAll('polyline')].map(line => line.points.length).join()");
    assert_eq!(curves, "21,21");
    let flat =
        "[...document.querySelectorAll('svg rect')].filter(rect => rect.getBoundingClientRect().width < 1).length";
    assert_eq!(browser.value(flat), 0);

    let mut inks = Vec::new();
    for (width, scheme, media) in
        [(375, "light", ""), (375, "dark", ""), (1280, "light", ""), (1280, "dark", ""), (700, "dark", "print")]
    {
        browser.look(width, scheme, media);
        let wide = browser.value("document.documentElement.scrollWidth");
        assert!(wide.as_u64() <= Some(width.into()), "{width} {scheme} {media}: {wide} wide");
        inks.push(
            browser.value("getComputedStyle(document.body).color + getComputedStyle(document.body).backgroundColor"),
        );
        if let Some(directory) = std::env::var_os("CM_REPORT_PICTURES") {
            let file = std::path::Path::new(&directory).join(format!("report-{width}-{scheme}{media}.png.base64"));
            std::fs::File::create(file)
                .and_then(|mut file| file.write_all(browser.screenshot().as_bytes()))
                .expect("a picture");
        }
    }
    assert_eq!(inks[0], inks[2]);
    assert_eq!(inks[1], inks[3]);
    assert_ne!(inks[0], inks[1], "dark is not light");
    assert_eq!(inks[4], "rgb(0, 0, 0)rgb(255, 255, 255)", "paper is white");
    assert_eq!(complaints(&browser), Vec::<&Value>::new());
}

#[test]
fn it_is_made_of_the_journal_and_elsewhere_of_the_ledgers() {
    let slack = Api::start(|_| 200);
    let mut home = Home::new(None);
    home.set("SLACK_DEPLOY_WEBHOOK", &slack.url);
    let mut run = document(1);
    let state = json!({"image": "web", "image_id": "sha256:aaaaaaaaaaaaaaaa", "previous_image_id": "sha256:bbbbbbbbbbbbbbbb", "tag": "", "config_hash": ""});
    run["facts"]["build"] = json!({"hosts": {"h": {"to": "c", "services": {"web": state}}}});
    assert_eq!(home.run(&[], Some(&run)).code, 0);
    // The newest, or by the beginning of its id; also away from the project.
    for arguments in [vec!["report", "--html", "-"], vec!["-C", "/", "report", &id(1)[..12], "--html", "-"]] {
        let page = home.run(&arguments, None);
        assert_eq!(page.code, 0, "{page:?}");
        assert!(page.stdout.contains("bbbbbbbbbbbb") && page.stdout.contains("web/main.py (context)"), "{page:?}");
        assert!(!page.stdout.contains("no journal"), "{page:?}");
        assert!(
            page.stdout.contains("<strong>Slack</strong>") && page.stdout.contains("Deploy completed: "),
            "{page:?}"
        );
    }
    std::fs::remove_dir_all(home.path().join("state/cm/runs")).expect("the journal");
    let page = home.run(&["report", &id(1), "--html", "-"], None);
    assert_eq!(page.code, 0, "{page:?}");
    for wanted in ["This machine has no journal", "aaaaaaaaaaaa", "web/main.py (context)", "recorded on h"] {
        assert!(page.stdout.contains(wanted), "{wanted}: {page:?}");
    }
}

#[test]
fn what_cannot_be_made_says_why_and_leaves_no_file() {
    let home = Home::new(None);
    let cases: [(&[&str], i32, &str); 4] = [
        (&["report", "--html", "x.html"], 2, "no deployment was recorded on this machine"),
        (&["report", "ffff", "--html", "x.html"], 2, "no host has a release \"ffff\""),
        (&["report", "-", "--html", "x.html"], 4, "input.empty"),
        (&["report"], 2, "--html <FILE>"),
    ];
    for (arguments, code, wanted) in cases {
        let answer = home.run(&[arguments, &["--log", "json"]].concat(), None);
        assert_eq!((answer.code, answer.stdout.as_str()), (code, ""), "{arguments:?}: {answer:?}");
        assert!(answer.stderr.replace("\\\"", "\"").contains(wanted), "{arguments:?}: {answer:?}");
        assert!(!home.path().join("x.html").exists());
    }
    let answer = home.run(&["report", "-", "--html", "cm.toml/x.html"], Some(&document(1)));
    assert_eq!(answer.code, 6, "{answer:?}");
    assert!(answer.stderr.contains("cannot write cm.toml/x.html"), "{answer:?}");
}

#[test]
fn a_page_that_follows_a_run_is_loaded_again_until_the_run_has_ended() {
    let home = Home::new(None);
    let run = home.path().join("state/cm/runs").join(id(1));
    std::fs::create_dir_all(&run).expect("a journal");
    let mut doc = document(1);
    std::fs::write(run.join("000-cm-detect.json"), doc.to_string()).expect("a document");
    let page = || std::fs::read_to_string(home.path().join("x.html")).unwrap_or_default();
    let mut child = home.start(&["report", "--follow", "--html", "x.html"]);
    let limit = Duration::from_secs(30);
    cm_testkit::until("a page", limit, || page().contains("The deployment is not over"));
    assert!(page().contains("http-equiv=\"refresh\""), "a browser loads it again");
    let recorded = json!({
        "tool": "cm-record", "step": "record", "version": "0", "status": "ok", "exit": 0, "changed": true,
        "started_at": "2026-05-04T09:31:00Z", "duration_ms": 1, "summary": "recorded",
    });
    doc["stages"] = json!([recorded]);
    std::fs::write(run.join("001-cm-record.json"), doc.to_string()).expect("a document");
    assert_eq!(cm_testkit::end(&mut child, limit), 0);
    assert!(!page().contains("refresh") && !page().contains("not over"), "it stays as it is");
    // What has ended is not followed: the next one is waited for, and a plan is left for a deployment that begins after it.
    let journal = |n: u8, doc: &serde_json::Value| {
        let run = home.path().join("state/cm/runs").join(id(n));
        std::fs::create_dir_all(&run).expect("a journal");
        std::fs::write(run.join(format!("{n:03}-cm-record.json")), doc.to_string()).expect("a document");
    };
    std::fs::remove_file(home.path().join("x.html")).expect("the page");
    let mut child = home.start(&["report", "--follow", "--html", "x.html"]);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(page().is_empty(), "{}", page());
    journal(2, &document(2));
    cm_testkit::until("the page of the plan", limit, || page().contains(&id(2)));
    let mut last = document(3);
    journal(3, &last);
    cm_testkit::until("the page of the deployment", limit, || page().contains(&id(3)));
    last["stages"] = doc["stages"].clone();
    journal(3, &last);
    assert_eq!(cm_testkit::end(&mut child, limit), 0);
    assert!(page().contains(&id(3)) && !page().contains("not over"), "{}", page());
    for arguments in [["report", "-", "--follow", "--html", "x.html"], ["report", "1", "--follow", "--html", "-"]] {
        let refused = home.run(&arguments, None);
        assert!(refused.code == 2 && refused.stderr.contains("takes a run and writes a file"), "{refused:?}");
    }
}
