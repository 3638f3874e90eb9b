//! `cm-verify` as people run it, against real servers on this machine: what is bad has
//! a class of its own and is never a pass; Slack is told once; a baseline before and a
//! canary after are compared; CI gets its report.

use cm_testkit::{Answer, Home, sample_document};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What was sent to the stand-in servers: path, then body.
type Seen = Arc<Mutex<Vec<(String, String)>>>;

/// A server that answers by path; its address, and what it saw.
fn serve() -> (String, Seen) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = format!("http://127.0.0.1:{}", listener.local_addr().expect("address").port());
    let seen = Seen::default();
    let kept = Arc::clone(&seen);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let kept = Arc::clone(&kept);
            std::thread::spawn(move || answer(stream, &kept));
        }
    });
    (address, seen)
}

fn answer(mut stream: TcpStream, seen: &Seen) {
    let mut reader = BufReader::new(stream.try_clone().expect("clone"));
    let (mut first, mut length) = (String::new(), 0);
    if reader.read_line(&mut first).is_err() {
        return;
    }
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
    }
    let mut body = vec![0; length];
    let _read = reader.read_exact(&mut body);
    let path = first.split_ascii_whitespace().nth(1).unwrap_or_default().to_owned();
    let number = {
        let mut seen = seen.lock().expect("lock");
        seen.push((path.clone(), String::from_utf8_lossy(&body).into_owned()));
        seen.len()
    };
    let (status, header, text) = match path.as_str() {
        "/health" | "/slack-webhook-secret" => ("200 OK", "", r#"{"status":"ok","token":"not for people"}"#),
        // Seldom enough that 16 requests side by side do not meet three in a row.
        "/flaky" if number % 8 == 0 => ("500 Oh", "", "{}"),
        "/flaky" => ("200 OK", "", "{}"),
        "/here" => ("302 Found", "Location: /there\r\n", ""),
        "/there" => ("302 Found", "Location: /here\r\n", ""),
        "/endless" => return forever(&mut stream, &[b'x'; 65536], Duration::ZERO),
        "/drip" => return forever(&mut stream, b"x", Duration::from_secs(1)),
        _ => ("503 Down", "", "down"),
    };
    let answer =
        format!("HTTP/1.1 {status}\r\n{header}Content-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
    let _sent = stream.write_all(answer.as_bytes());
}

/// A body of 1 GB, as `block`s.
fn forever(stream: &mut TcpStream, block: &[u8], pause: Duration) {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n";
    let _head = stream.write_all(head);
    while stream.write_all(block).is_ok() {
        std::thread::sleep(pause);
    }
}

/// A TLS server with a certificate that was just made; ends with the test.
struct Tls(Child);

impl Drop for Tls {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _ended = self.0.wait();
    }
}

/// `openssl s_server` with a self-signed certificate for `name`, valid for `days`. Gives its port.
/// Only what is no CA's certificate (`ca` false) can be trusted as a server's.
fn tls(home: &Home, name: &str, days: &str, ca: bool) -> (Tls, u16) {
    let constraints = format!("basicConstraints=critical,CA:{}", if ca { "TRUE" } else { "FALSE" });
    let (key, cert) = (home.path().join(format!("{name}.key")), home.path().join(format!("{name}.pem")));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", days])
        .args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName=DNS:{name}")])
        .args(["-addext", &constraints])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .output()
        .expect("openssl: `scripts/setup.sh --tests` installs it");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut child = Command::new("openssl")
        .args(["s_server", "-accept", "127.0.0.1:0", "-www", "-key"])
        .arg(&key)
        .arg("-cert")
        .arg(&cert)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl s_server");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout")).lines();
    let port = lines.find_map(|line| line.ok()?.strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.parse().ok());
    std::thread::spawn(move || lines.for_each(drop));
    (Tls(child), port.expect("openssl says its port"))
}

/// A home with a `cm.toml`.
fn project(config: &str) -> Home {
    let home = Home::new();
    std::fs::write(home.path().join("compose.yaml"), "services:\n  web:\n    image: web\n").expect("write");
    std::fs::write(home.path().join("cm.toml"), format!("project = \"shop\"\n{config}")).expect("write");
    home
}

fn check(name: &str, url: &str, more: &str) -> String {
    format!("[[verify.checks]]\nname = \"{name}\"\nurl = \"{url}\"\n{more}\n")
}

fn verify(home: &Home, arguments: &[&str]) -> Answer {
    home.run("cm-verify", arguments, "", None)
}

/// The codes of the checks, in order.
fn codes(answer: &Answer) -> Vec<(String, String)> {
    let results: Value = serde_json::from_str(&answer.stdout).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    let text = |check: &Value, key: &str| check[key].as_str().expect("text").to_owned();
    results["checks"].as_array().expect("checks").iter().map(|c| (text(c, "code"), text(c, "verdict"))).collect()
}

#[test]
fn what_is_bad_has_a_class_of_its_own_and_is_never_a_pass() {
    let (server, _seen) = serve();
    let certificates = Home::new();
    let (_running, port) = tls(&certificates, "shop.localhost", "90", true);
    let cases = [
        ("${NOTHING:-dashboard}".to_owned(), "status = 200", ("bad-url", "unknown")),
        (format!("{server}/health"), "json = { \"a.b\" = 1 }", ("json-missing", "fail")),
        (format!("https://shop.localhost:{port}/"), "status = 200", ("certificate-untrusted", "fail")),
        (format!("{server}/endless"), "status = 200", ("body-too-large", "fail")),
        (format!("{server}/here"), "status = 200\nredirects = 9", ("redirect-loop", "fail")),
        (format!("{server}/drip"), "status = 200", ("body-timeout", "fail")),
        // A part of a name has 63 bytes at most: no name server is asked.
        (format!("http://{}.invalid/", "x".repeat(64)), "status = 200", ("dns", "unknown")),
    ];
    let checks: String = cases.iter().enumerate().map(|(n, (url, more, _))| check(&n.to_string(), url, more)).collect();
    let home = project(&format!("[verify]\ntimeout = \"3s\"\nretries = 0\n{checks}"));
    let began = Instant::now();
    let answer = verify(&home, &["--json"]);
    assert!(began.elapsed() < Duration::from_secs(30), "nobody waits for what has no end: {:?}", began.elapsed());
    assert_eq!(answer.code, 50, "{answer:?}");
    let wanted: Vec<_> =
        cases.iter().map(|(.., (code, verdict))| ((*code).to_owned(), (*verdict).to_owned())).collect();
    assert_eq!(codes(&answer), wanted, "{answer:?}");
    for (number, (url, more, (_, verdict))) in cases.iter().enumerate() {
        let home = project(&format!("[verify]\ntimeout = \"2s\"\nretries = 0\n{}", check("it", url, more)));
        let alone = verify(&home, &[]);
        // A timeout with nothing else that answers says nothing about production.
        let code = if *verdict == "unknown" { 51 } else { 50 };
        assert_eq!(alone.code, code, "case {number}: {alone:?}");
    }
    let nothing = verify(&project(&check("it", &server, "")), &[]);
    assert_eq!(nothing.code, 6, "{nothing:?}");
    assert!(nothing.stderr.contains("the check \"it\" expects nothing"), "{}", nothing.stderr);
}

#[test]
fn certificates_are_trusted_named_and_looked_at_before_they_expire() {
    let certificates = Home::new();
    let (_running, port) = tls(&certificates, "shop.localhost", "5", false);
    let good = check("good", &format!("https://shop.localhost:{port}/"), "status = 200");
    let name = check("name", &format!("https://other.localhost:{port}/"), "status = 200");
    let mut home = project(&format!("{good}{name}"));
    home.set("SSL_CERT_FILE", &certificates.path().join("shop.localhost.pem").display().to_string());
    let answer = verify(&home, &["--json"]);
    let wanted = [("certificate-expires", "warn"), ("certificate-name", "fail")];
    assert_eq!(codes(&answer), wanted.map(|(a, b)| (a.to_owned(), b.to_owned())), "{answer:?}");
    assert!(answer.stderr.contains("the certificate expires in 4 days"), "{}", answer.stderr);
}

#[test]
fn slack_is_told_once_of_each_and_a_slack_that_is_down_fails_nothing() {
    let (server, _seen) = serve();
    let (slack, told) = serve();
    let webhook = format!("{slack}/slack-webhook-secret");
    let config = format!(
        "[notify]\nlink = \"https://git.example/{{commit}}\"\n{}",
        check("Gateway", &server, "status = 200\nseverity = \"P0\"")
    );
    let mut home = project(&config);
    home.set("SLACK_DEPLOY_WEBHOOK", &webhook);
    let mut document = sample_document();
    let failed = home.run("cm-verify", &[""; 0], "", Some(document.to_string().as_bytes()));
    assert_eq!(failed.code, 50, "{failed:?}");
    // The same run again: it was told already.
    assert_eq!(home.run("cm-verify", &["--notify"], "", Some(document.to_string().as_bytes())).code, 50);
    let recorded = home.run("cm-record", &[""; 0], "", Some(failed.stdout.as_bytes()));
    assert!(!recorded.stderr.contains("panicked"), "{recorded:?}");
    document["run"]["id"] = "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a11".into();
    let completed = home.run("cm-record", &[""; 0], "", Some(document.to_string().as_bytes()));
    assert_eq!(completed.code, 0, "{completed:?}");
    let texts: Vec<String> = told.lock().expect("lock").iter().map(|(_, body)| body.clone()).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    let wanted = [
        "Verification FAILED (P0, immediate rollback, page on-call): web of shop — commit `0123456`",
        "Deploy FAILED: web of shop — commit `0123456`",
        "Deploy completed: web of shop — commit `0123456`",
    ];
    for (text, wanted) in texts.iter().zip(wanted) {
        let text: Value = serde_json::from_str(text).expect("JSON");
        let text = text["text"].as_str().expect("text");
        assert!(text.contains(wanted), "{text}");
        assert!(text.contains("To roll back: `cm-rollback &lt;/dev/null`"), "{text}");
        assert!(text.ends_with("\nhttps://git.example/0123456789012345678901234567890123456789"), "{text}");
    }
    for answer in [&failed, &recorded, &completed] {
        assert!(!format!("{answer:?}").contains("slack-webhook-secret"), "{answer:?}");
    }
    home.set("SLACK_DEPLOY_WEBHOOK", "http://127.0.0.1:9/slack-webhook-secret");
    document["run"]["id"] = "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a12".into();
    let down = home.run("cm-record", &[""; 0], "", Some(document.to_string().as_bytes()));
    assert_eq!(down.code, 0, "{down:?}");
    assert!(
        down.stderr.contains("[WARN] could not notify Slack") && !down.stderr.contains("secret"),
        "{}",
        down.stderr
    );
    home.set("SLACK_DEPLOY_WEBHOOK", &format!("{slack}/no-such-hook"));
    document["run"]["id"] = "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a13".into();
    let refused = home.run("cm-record", &[""; 0], "", Some(document.to_string().as_bytes()));
    assert_eq!(refused.code, 0, "{refused:?}");
    assert!(refused.stderr.contains("could not notify Slack: it answered 503"), "{}", refused.stderr);
    // The kernel takes the connection, and nobody ever reads from it.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    home.set("SLACK_DEPLOY_WEBHOOK", &format!("http://127.0.0.1:{port}/slack-webhook-secret"));
    document["run"]["id"] = "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a14".into();
    let hangs = home.run("cm-record", &[""; 0], "", Some(document.to_string().as_bytes()));
    assert_eq!(hangs.code, 0, "{hangs:?}");
    assert!(
        hangs.stderr.contains("[WARN] could not notify Slack") && !hangs.stderr.contains("secret"),
        "{}",
        hangs.stderr
    );
}

#[test]
fn a_canary_is_compared_with_what_ran_before() {
    let (server, _seen) = serve();
    let config = "[hosts.h]\naddress = \"local\"\n[canary]\nurl = \"${APP_URL}\"\nrequests = 120\nlatency = \"pass\"\n";
    let home = project(config);
    let run = |arguments: &[&str], path: &str, input: &[u8]| {
        let mut home_command = home.command("cm-verify", arguments, "");
        home_command.env("APP_URL", format!("{server}{path}"));
        feed(home_command, input)
    };
    let document = sample_document().to_string();
    let before = run(&["--baseline"], "/health", document.as_bytes());
    assert_eq!(before.code, 0, "{before:?}");
    assert!(before.stderr.contains("before the build: 0 of 360 requests failed"), "{}", before.stderr);
    assert_eq!(before.document()["facts"]["verify"]["baseline"]["requests"]["requests"], 360);
    let same = run(&["--canary"], "/health", before.stdout.as_bytes());
    assert_eq!(same.code, 0, "{same:?}");
    let report = &same.document()["facts"]["verify"]["canary"];
    assert_eq!((&report["requests"], &report["failures"]), (&json!(120), &json!(0)), "{same:?}");
    assert_eq!(
        (&report["baseline"]["requests"], &report["baseline"]["failures"]),
        (&json!(360), &json!(0)),
        "{same:?}"
    );
    assert!(same.stderr.contains("] Canary  ") && same.stderr.contains("0 of 120 requests failed"), "{}", same.stderr);
    let worse = run(&["--canary"], "/flaky", before.stdout.as_bytes());
    assert_eq!(worse.code, 50, "{worse:?}");
    assert_eq!(worse.document()["facts"]["verify"]["canary"]["code"], "errors", "{worse:?}");
    let broken = run(&["--canary"], "/nowhere", before.stdout.as_bytes());
    assert_eq!(broken.document()["facts"]["verify"]["canary"]["code"], "row", "{broken:?}");
    // Before the build everything may be broken: the deployment may be what fixes it.
    let first = run(&["--baseline"], "/nowhere", document.as_bytes());
    assert_eq!((first.code, first.document()["status"].as_str()), (0, Some("ok")), "{first:?}");
    let without = run(&["--canary"], "/health", document.as_bytes());
    assert!(without.stderr.contains("nothing to compare with"), "{}", without.stderr);
}

/// cm-verify --baseline in a pipe whose earlier programs still work; the sample's run.
struct Waiting {
    child: Child,
    journal: std::path::PathBuf,
    server: (String, Seen),
    home: Home,
}

impl Waiting {
    fn start() -> Waiting {
        let server = serve();
        let config =
            format!("[hosts.h]\naddress = \"local\"\n[canary]\nurl = \"{}/health\"\nrequests = 40\n", server.0);
        let mut home = project(&config);
        let id = sample_document()["run"]["id"].as_str().expect("an ID").to_owned();
        home.set("CM_RUN_ID", &id);
        let journal = home.path().join("state/cm/runs").join(id);
        std::fs::create_dir_all(&journal).expect("a journal");
        let mut command = home.command("cm-verify", &["--baseline"], "");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Waiting { child: command.spawn().expect("cm-verify"), journal, server, home }
    }

    fn asked(&self) -> usize {
        self.server.1.lock().expect("lock").len()
    }

    fn wait_until_asked(&self, count: usize) {
        cm_testkit::until("requests", Duration::from_secs(20), || self.asked() >= count);
    }

    /// Gives it the document that cm-detect wrote, first into the journal and then into the pipe.
    fn planned(mut self, document: &Value) -> (Answer, usize) {
        let mut document = document.clone();
        document["stages"] = json!([{"tool": "cm-detect", "step": "detect", "version": "1", "status": "ok", "exit": 0, "changed": false, "started_at": "2026-05-04T09:30:00Z", "duration_ms": 1, "summary": "s"}]);
        std::fs::write(self.journal.join("001-cm-detect.json"), document.to_string()).expect("a document");
        std::thread::sleep(Duration::from_millis(300));
        let mut stdin = self.child.stdin.take().expect("stdin");
        stdin.write_all(document.to_string().as_bytes()).expect("a document");
        drop(stdin);
        let output = self.child.wait_with_output().expect("its end");
        let asked = self.server.1.lock().expect("lock").len();
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let answer = Answer {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        (answer, asked)
    }
}

#[test]
fn the_baseline_begins_when_changes_are_expected_and_counts_once_they_are_planned() {
    let waiting = Waiting::start();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(waiting.asked(), 0, "nothing says yet that anything will be deployed");
    std::fs::write(waiting.journal.join("changes-expected"), "").expect("a note");
    waiting.wait_until_asked(120);
    let (answer, asked) = waiting.planned(&sample_document());
    assert_eq!((answer.code, asked), (0, 120), "each request was made once: {answer:?}");
    assert_eq!(answer.document()["facts"]["verify"]["baseline"]["requests"]["requests"], 120, "{answer:?}");
    assert!(answer.stderr.contains("before the build: 0 of 120 requests failed"), "{}", answer.stderr);

    // What was expected did not come: nothing is said, and nothing is in the document.
    let waiting = Waiting::start();
    std::fs::write(waiting.journal.join("changes-expected"), "").expect("a note");
    waiting.wait_until_asked(1);
    let mut nothing = sample_document();
    nothing["services"][0]["action"] = "none".into();
    let (answer, _) = waiting.planned(&nothing);
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(!answer.stderr.contains("before the build"), "{}", answer.stderr);
    assert_eq!(answer.document()["facts"]["verify"]["baseline"], Value::Null, "{answer:?}");

    // What was asked is not what the plan's cm.toml asks: it is asked again, and the first answers count for nothing.
    let waiting = Waiting::start();
    std::fs::write(waiting.journal.join("changes-expected"), "").expect("a note");
    waiting.wait_until_asked(1);
    let (config, seen) = (waiting.home.path().join("cm.toml"), Arc::clone(&waiting.server.1));
    let text = std::fs::read_to_string(&config).expect("cm.toml");
    std::fs::write(&config, text.replace("/health", "/flaky")).expect("cm.toml");
    let (answer, _) = waiting.planned(&sample_document());
    assert_eq!(answer.code, 0, "{answer:?}");
    let requests = &answer.document()["facts"]["verify"]["baseline"]["requests"];
    assert_eq!(seen.lock().expect("lock").iter().filter(|(path, _)| path == "/flaky").count(), 120, "{requests}");
    assert!(requests["requests"] == 120 && requests["failures"].as_u64() > Some(0), "{requests}");

    // A program that knows of no expectation still asks once there is a plan.
    let (answer, asked) = Waiting::start().planned(&sample_document());
    assert_eq!((answer.code, asked), (0, 120), "{answer:?}");
}

/// The run of the sample has deployed web with a canary that passed, and was recorded; a second one follows it.
struct Second {
    home: Home,
    server: (String, Seen),
    plan: Value,
}

impl Second {
    fn after_a_good_one() -> Second {
        let server = serve();
        let config = format!(
            "[hosts.h]\naddress = \"local\"\n[canary]\nurl = \"{}/health\"\nrequests = 120\nlatency = \"pass\"\n",
            server.0
        );
        let home = project(&config);
        let mut first = sample_document();
        first["facts"]["detect"]["releases"] =
            json!({"h": "01980000-0000-7000-8000-000000000000", "other": "01970000-0000-7000-8000-000000000000"});
        let verified = feed(home.command("cm-verify", &["--canary"], ""), first.to_string().as_bytes());
        assert_eq!(verified.code, 0, "{verified:?}");
        let id = first["run"]["id"].as_str().expect("an ID").to_owned();
        let mut recorded = verified.document();
        let stage = json!({"tool": "cm-record", "step": "record", "version": "1", "status": "ok", "exit": 0, "changed": true, "started_at": "2026-05-04T09:30:00Z", "duration_ms": 1, "summary": "s"});
        recorded["stages"].as_array_mut().expect("stages").push(stage);
        std::fs::write(home.path().join(format!("state/cm/runs/{id}/099-cm-record.json")), recorded.to_string())
            .expect("a document");
        let mut plan = sample_document();
        plan["run"]["id"] = "01980e5d-7b1a-7c3e-8a52-2f6f8f1f2a10".into();
        plan["facts"]["detect"]["releases"] = json!({"h": id, "other": "01970000-0000-7000-8000-000000000000"});
        server.1.lock().expect("lock").clear();
        Second { home, server, plan }
    }

    /// How often the baseline asked, and its answer.
    fn baseline(&self) -> (usize, Answer) {
        let command = self.home.command("cm-verify", &["--baseline"], "");
        let answer = feed(command, self.plan.to_string().as_bytes());
        assert_eq!(answer.code, 0, "{answer:?}");
        (std::mem::take(&mut *self.server.1.lock().expect("lock")).len(), answer)
    }

    fn change(&self, file: &str, from: &str, to: &str) {
        let path = self.home.path().join(file);
        let text = std::fs::read_to_string(&path).expect(file);
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).expect(file);
    }
}

#[test]
fn the_canary_of_the_last_release_is_the_baseline_of_the_next_one() {
    let second = Second::after_a_good_one();
    let (asked, before) = second.baseline();
    assert_eq!(asked, 0, "{before:?}");
    let run = "01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10";
    assert!(before.stderr.contains("before the build: 0 of 120 requests failed, asked "), "{}", before.stderr);
    assert!(before.stderr.contains(&format!(" ago by the canary of run {run}")), "{}", before.stderr);
    let document = before.document();
    assert_eq!(document["facts"]["verify"]["baseline"]["from"], run);
    let after = feed(second.home.command("cm-verify", &["--canary"], ""), before.stdout.as_bytes());
    assert_eq!(after.document()["facts"]["verify"]["canary"]["baseline"]["requests"], 120, "{after:?}");
}

type Change = &'static dyn Fn(&mut Second);

#[test]
fn what_was_released_since_or_asks_otherwise_is_asked_again() {
    const JOURNAL: &str = "state/cm/runs/01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a10/099-cm-record.json";
    const RELEASE: &str = "01990000-0000-7000-8000-000000000000";
    let cases: [(&str, Change); 9] = [
        ("somebody released", &|it| it.plan["facts"]["detect"]["releases"]["h"] = RELEASE.into()),
        ("on the other host", &|it| it.plan["facts"]["detect"]["releases"]["other"] = RELEASE.into()),
        ("there is a third host", &|it| it.plan["facts"]["detect"]["releases"]["third"] = RELEASE.into()),
        ("nobody knows what runs", &|it| it.plan["facts"]["detect"]["releases"] = json!({})),
        ("another limit", &|it| it.change("cm.toml", "[canary]", "[verify]\ntimeout = \"9s\"\n[canary]")),
        ("more answers are wanted", &|it| {
            it.change("cm.toml", "requests = 120", "requests = 120\nbaseline_requests = 360")
        }),
        ("never", &|it| it.change("cm.toml", "requests = 120", "requests = 120\nbaseline_max_age = \"0s\"")),
        ("the first one failed", &|it| {
            it.change(JOURNAL, "\"status\":\"ok\",\"services\"", "\"status\":\"failed\",\"services\"")
        }),
        ("it was rolled back", &|it| it.change(JOURNAL, "\"step\":\"record\"", "\"step\":\"rollback\"")),
    ];
    for (what, change) in cases {
        let mut second = Second::after_a_good_one();
        change(&mut second);
        let (asked, before) = second.baseline();
        assert_eq!(asked, 360, "{what}: {before:?}");
        assert!(before.document()["facts"]["verify"]["baseline"].get("from").is_none(), "{what}");
    }
}

fn feed(mut command: Command, input: &[u8]) -> Answer {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("cm-verify");
    child.stdin.take().expect("stdin").write_all(input).expect("a document");
    let output = child.wait_with_output().expect("its end");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Answer { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

#[test]
fn too_few_requests_are_inconclusive_and_cm_toml_says_what_that_means() {
    let (server, _seen) = serve();
    for (inconclusive, code) in [("", 0), ("inconclusive = \"warn\"", 0), ("inconclusive = \"fail\"", 50)] {
        let config = format!(
            "[canary]\nurl = \"{server}/health\"\nrequests = 20\n{inconclusive}\n{}",
            check("Gateway", &format!("{server}/health"), "status = 200")
        );
        let answer = verify(&project(&config), &[]);
        assert_eq!(answer.code, code, "{inconclusive}: {answer:?}");
        assert_eq!(answer.document()["facts"]["verify"]["canary"]["verdict"], "inconclusive");
        assert!(
            answer.stderr.contains("20 are fewer than 100, an error rate below 14 % would not show"),
            "{}",
            answer.stderr
        );
    }
}

#[test]
fn ci_gets_a_report_and_people_bodies_without_secrets() {
    let (server, _seen) = serve();
    let config = format!(
        "{}{}[verify.profiles.production]\nSHOP = \"{server}\"\n",
        check("Gateway", "${SHOP}/health", "status = 200"),
        check("Docs", "${SHOP}/nowhere", "status = 200\nseverity = \"P3\"")
    );
    let mut home = project(&config);
    home.set("SHOP", "http://127.0.0.1:9");
    let arguments = ["--production", "--verbose", "--junit", "verify.xml"];
    let answer = verify(&home, &arguments);
    assert_eq!(answer.code, 50, "alone, what fails is a failure: {answer:?}");
    let xml = std::fs::read_to_string(home.path().join("verify.xml")).expect("the report");
    let suite = xml.lines().find(|line| line.contains("<testsuite ")).expect("a suite");
    for attribute in [r#"name="shop""#, r#"tests="2""#, r#"failures="1""#, r#"errors="0""#] {
        assert!(suite.contains(attribute), "{attribute} in {xml}");
    }
    assert!(xml.contains(r#"<failure message="503, wanted 200" type="P3 status"/>"#), "{xml}");
    assert!(
        answer.stderr.contains("[FAIL] Docs     503, wanted 200 — P3: fix forward in the next deploy"),
        "{}",
        answer.stderr
    );
    assert!(
        answer.stderr.contains(r#""token":"***""#) && !answer.stderr.contains("not for people"),
        "{}",
        answer.stderr
    );
    // A deployment is not rolled back for it.
    let mut document = sample_document();
    document["services"] = json!([]);
    let deploying = home.run("cm-verify", &["--production"], "", Some(document.to_string().as_bytes()));
    assert_eq!((deploying.code, deploying.document()["status"].as_str()), (0, Some("ok")), "{deploying:?}");
    assert_eq!(deploying.document()["facts"]["verify"]["severity"], "P3");
    assert_eq!(verify(&home, &["--profile", "produktion"]).code, 6);
}
