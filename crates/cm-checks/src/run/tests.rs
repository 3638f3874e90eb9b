//! Checks against a real server on this machine, and against everything that is none.

use super::*;
use crate::overall;
use cm_project::{Severity, Statuses, Template};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A server that answers by path; gives its port.
async fn serve() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    port
}

async fn answer(mut stream: TcpStream) {
    let mut request = vec![0; 4096];
    let read = stream.read(&mut request).await.unwrap_or(0);
    let request = String::from_utf8_lossy(&request[..read]).into_owned();
    let path = request.split_ascii_whitespace().nth(1).unwrap_or_default();
    let (status, headers, body) = match path {
        "/health" => ("200 OK", "", r#"{"status":"ok","redis":"connected","checks":[{"n":1}]}"#),
        "/degraded" => ("200 OK", "", r#"{"status":"ok","degraded":true}"#),
        "/version" => ("200 OK", "", r#"{"build":{"revision":"0123456789abcdef0123456789abcdef01234567"}}"#),
        "/login" => ("307 Temporary Redirect", "Location: /sign-in\r\n", ""),
        "/models" if request.to_lowercase().contains("x-cm-api-key: cm-checks") => ("200 OK", "", "[]"),
        "/models" => ("401 Unauthorized", "", ""),
        "/slow" => {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            ("200 OK", "", "")
        }
        "/hang" => return std::future::pending().await,
        "/drip" => return drip(stream).await,
        "/endless" => return endless(stream).await,
        "/a" => ("302 Found", "Location: /b\r\n", ""),
        "/b" => ("302 Found", "Location: a\r\n", ""),
        "/far" => ("301 Moved Permanently", "Location: /health\r\n", ""),
        "/echo" => ("200 OK", "X-Content-Type-Options: nosniff\r\n", request.as_str()),
        "/cut" => return,
        _ => ("404 Not Found", "", "no such page"),
    };
    let text =
        format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let _sent = stream.write_all(text.as_bytes()).await;
}

/// One byte every fifty milliseconds, for ever.
async fn drip(mut stream: TcpStream) {
    let _head = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n").await;
    while stream.write_all(b"x").await.is_ok() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// A body of 1 GB, as fast as it is taken.
async fn endless(mut stream: TcpStream) {
    let _head = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n").await;
    let block = vec![b'x'; 1 << 20];
    for _ in 0..1024 {
        if stream.write_all(&block).await.is_err() {
            return;
        }
    }
}

fn check(url: &str) -> Check {
    Check::get(url, Template::literal(url))
}

fn log() -> Log {
    Log::new("test", cm_core::Format::Text, cm_core::Level::Fail)
}

fn project(verify: Verify) -> Project {
    let config = cm_project::Config { verify, ..Default::default() };
    Project::of("/x".into(), "/x".into(), String::new(), config)
}

async fn run_all(checks: Vec<Check>) -> Vec<CheckResult> {
    let verify =
        Verify { timeout: Duration::from_secs(4), latency_warn: Duration::from_secs(1), checks, ..Verify::default() };
    run(&project(verify), &BTreeMap::new(), &log()).await.expect("client")
}

async fn closed_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.expect("bind").local_addr().expect("address").port()
}

/// A part of a name has 63 bytes at most: nobody is asked for this one, and no name server makes the test wait.
const NOWHERE: &str = "http://no-such-name-no-such-name-no-such-name-no-such-name-no-such-name-.invalid/";

#[tokio::test]
async fn answers_are_judged_by_every_expectation() {
    let port = serve().await;
    let at = |path: &str| check(&format!("http://name.localhost:{port}{path}"));
    let with_json = |path: &str, key: &str, value: serde_json::Value| {
        let mut check = at(path);
        check.json.insert(key.to_owned(), value);
        check
    };
    let mut redirect = at("/login");
    redirect.status = Some(Statuses(vec![302, 307]));
    let mut text = at("/health");
    text.contains = Some("\"status\"".to_owned());
    let mut other_text = at("/health");
    other_text.contains = Some("splendid".to_owned());
    let cases = [
        (at("/health"), CheckVerdict::Pass, "ok"),
        (redirect, CheckVerdict::Pass, "ok"),
        (text, CheckVerdict::Pass, "ok"),
        (with_json("/health", "redis", "connected".into()), CheckVerdict::Pass, "ok"),
        (with_json("/health", "checks.0.n", 1.0.into()), CheckVerdict::Pass, "ok"),
        (at("/slow"), CheckVerdict::Warn, "slow"),
        (at("/degraded"), CheckVerdict::Warn, "degraded"),
        (at("/nowhere"), CheckVerdict::Fail, "status"),
        (at("/login"), CheckVerdict::Fail, "status"),
        (other_text, CheckVerdict::Fail, "body"),
        (with_json("/health", "mongodb", "connected".into()), CheckVerdict::Fail, "json-missing"),
        (with_json("/health", "checks.7.n", 1.into()), CheckVerdict::Fail, "json-missing"),
        (with_json("/health", "redis", "gone".into()), CheckVerdict::Fail, "json-value"),
        (with_json("/models", "redis", "gone".into()), CheckVerdict::Fail, "status"),
        (with_json("/slow", "redis", "gone".into()), CheckVerdict::Fail, "not-json"),
    ];
    let (checks, wanted): (Vec<_>, Vec<_>) = cases.into_iter().map(|(check, a, b)| (check, (a, b))).unzip();
    let results = run_all(checks).await;
    for (result, wanted) in results.iter().zip(wanted) {
        assert_eq!((result.verdict, result.code.as_str()), wanted, "{result:?}");
    }
    assert_eq!(results[8].message, "307 to /sign-in, wanted 200");
}

#[tokio::test]
async fn no_answer_is_never_a_pass_and_has_its_class() {
    let (port, closed) = (serve().await, closed_port().await);
    let cases = [
        (format!("http://127.0.0.1:{port}/health"), CheckVerdict::Pass, "ok"),
        (format!("http://127.0.0.1:{closed}/"), CheckVerdict::Fail, "refused"),
        (format!("http://127.0.0.1:{port}/hang"), CheckVerdict::Fail, "timeout"),
        (format!("http://127.0.0.1:{port}/drip"), CheckVerdict::Fail, "body-timeout"),
        (format!("http://127.0.0.1:{port}/endless"), CheckVerdict::Fail, "body-too-large"),
        (format!("http://127.0.0.1:{port}/cut"), CheckVerdict::Fail, "broken"),
        (format!("https://127.0.0.1:{port}/health"), CheckVerdict::Fail, "tls"),
        (NOWHERE.to_owned(), CheckVerdict::Unknown, "dns"),
        ("ftp://x/".to_owned(), CheckVerdict::Unknown, "bad-url"),
        ("http://[::1/".to_owned(), CheckVerdict::Unknown, "bad-url"),
        ("dashboard".to_owned(), CheckVerdict::Unknown, "bad-url"),
        ("http://${CM_CHECKS_NO_SUCH_VARIABLE}/".to_owned(), CheckVerdict::Unknown, "not-made"),
    ];
    let results = run_all(cases.iter().map(|(url, ..)| check(url)).collect()).await;
    for (result, (_, verdict, code)) in results.iter().zip(&cases) {
        assert_eq!((result.verdict, result.code.as_str()), (*verdict, *code), "{result:?}");
    }
    assert_eq!((results[1].attempts, results[2].attempts), (3, 1));
    assert_eq!(overall(&results), CheckVerdict::Fail);
}

#[tokio::test]
async fn silence_everywhere_says_nothing_about_production() {
    let port = serve().await;
    let hang = check(&format!("http://127.0.0.1:{port}/hang"));
    let silent = run_all(vec![hang.clone(), check(NOWHERE)]).await;
    assert_eq!(overall(&silent), CheckVerdict::Unknown, "{silent:?}");
    let refused = check(&format!("http://127.0.0.1:{}/", closed_port().await));
    assert_eq!(overall(&run_all(vec![hang, refused]).await), CheckVerdict::Fail);
    assert_eq!(overall(&[]), CheckVerdict::Unknown);
}

#[tokio::test]
async fn a_secret_comes_from_a_variable_that_is_allowed_or_the_check_is_unknown() {
    let port = serve().await;
    let mut with_key = check(&format!("http://127.0.0.1:{port}/models"));
    with_key.header_env.insert("X-CM-API-Key".to_owned(), "CM_CHECKS_NO_SUCH_VARIABLE".to_owned());
    let result = &run_all(vec![with_key.clone()]).await[0];
    assert_eq!((result.verdict, result.code.as_str()), (CheckVerdict::Unknown, "not-made"));
    assert!(obstacle(&with_key).expect("obstacle").contains("CM_CHECKS_NO_SUCH_VARIABLE"));
    // One that is set and that nobody allowed is not sent either.
    with_key.header_env.insert("X-CM-API-Key".to_owned(), "CARGO_PKG_NAME".to_owned());
    assert!(obstacle(&with_key).expect("obstacle").contains("CARGO_PKG_NAME"));
    let without_key = check(&format!("http://127.0.0.1:{port}/models"));
    let results = run_all(vec![with_key, without_key]).await;
    assert_eq!((results[0].verdict, results[0].status), (CheckVerdict::Unknown, None));
    assert_eq!((results[1].verdict, results[1].status), (CheckVerdict::Fail, Some(401)));
}

#[tokio::test]
async fn checks_run_side_by_side() {
    let port = serve().await;
    let began = Instant::now();
    let results = run_all((0..8).map(|_| check(&format!("http://127.0.0.1:{port}/slow"))).collect()).await;
    assert_eq!(results.len(), 8);
    assert!(began.elapsed() < Duration::from_secs(8), "one after the other takes 12 s: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_comes_up_meanwhile_is_worth_a_warning() {
    let port = closed_port().await;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("bind");
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
    let result = &run_all(vec![check(&format!("http://127.0.0.1:{port}/health"))]).await[0];
    assert_eq!(
        (result.verdict, result.code.as_str(), result.attempts),
        (CheckVerdict::Warn, "retried", 2),
        "{result:?}"
    );
}

#[tokio::test]
async fn a_body_of_a_gigabyte_is_not_read_to_its_end() {
    let port = serve().await;
    let began = Instant::now();
    let mut endless = check(&format!("http://127.0.0.1:{port}/endless"));
    endless.timeout = Some(Duration::from_secs(60));
    let result = &run_all(vec![endless]).await[0];
    assert_eq!((result.verdict, result.code.as_str()), (CheckVerdict::Fail, "body-too-large"), "{result:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_the_check_says() {
    let port = serve().await;
    let to = |path: &str, redirects: u32| {
        let mut check = check(&format!("http://127.0.0.1:{port}{path}"));
        check.redirects = redirects;
        check
    };
    let cases = [
        (to("/far", 1), CheckVerdict::Pass, "ok"),
        (to("/far", 0), CheckVerdict::Fail, "status"),
        (to("/a", 5), CheckVerdict::Fail, "redirect-loop"),
        (to("/a", 1), CheckVerdict::Fail, "redirect-loop"),
    ];
    let results = run_all(cases.iter().map(|(check, ..)| check.clone()).collect()).await;
    for (result, (_, verdict, code)) in results.iter().zip(&cases) {
        assert_eq!((result.verdict, result.code.as_str()), (*verdict, *code), "{result:?}");
    }
}

#[tokio::test]
async fn what_is_sent_and_what_must_come_back_is_the_checks_choice() {
    let port = serve().await;
    let pattern = |text: &str| cm_project::Pattern(regex::Regex::new(text).expect("a pattern"));
    let mut echo = check(&format!("http://127.0.0.1:{port}/echo"));
    echo.method = cm_project::Method::Put;
    echo.headers.insert("X-Asked-By".to_owned(), "cm".to_owned());
    echo.body = Some(serde_json::json!({"a": 1}));
    echo.matches = Some(pattern(r#"(?s)^PUT /echo .*x-asked-by: cm.*\{"a":1\}$"#));
    echo.response_headers.insert("X-Content-Type-Options".to_owned(), pattern("^nosniff$"));
    let mut other = echo.clone();
    other.matches = Some(pattern("^GET"));
    let mut header = echo.clone();
    header.response_headers.insert("Strict-Transport-Security".to_owned(), pattern("."));
    let mut asked = echo.clone();
    asked.security_headers = true;
    let results = run_all(vec![echo, other, header, asked]).await;
    let found: Vec<_> = results.iter().map(|result| (result.verdict, result.code.as_str())).collect();
    assert_eq!(
        found,
        [
            (CheckVerdict::Pass, "ok"),
            (CheckVerdict::Fail, "body-pattern"),
            (CheckVerdict::Fail, "header"),
            (CheckVerdict::Warn, "security-headers")
        ],
        "{results:?}"
    );
    assert!(results[3].message.ends_with("without X-Frame-Options or frame-ancestors, Referrer-Policy"), "{results:?}");
}

#[tokio::test]
async fn an_old_container_behind_the_public_address_is_found() {
    let port = serve().await;
    let mut release = check(&format!("http://127.0.0.1:{port}/version"));
    release.revision = Some("build.revision".to_owned());
    let without_service = release.clone();
    release.service = Some(toml::Spanned::new(0..0, "web".to_owned()));
    let verify = |check: &Check| Verify { checks: vec![check.clone()], ..Verify::default() };
    let asked = async |check: &Check, commit: &str| {
        let deployed = [("web".to_owned(), commit.to_owned())].into();
        run(&project(verify(check)), &deployed, &log()).await.expect("client").remove(0)
    };
    let good = asked(&release, "0123456789abcdef0123456789abcdef01234567").await;
    assert_eq!((good.verdict, good.code.as_str()), (CheckVerdict::Pass, "ok"), "{good:?}");
    let stale = asked(&release, "fedcba9876543210fedcba9876543210fedcba98").await;
    assert_eq!((stale.verdict, stale.code.as_str()), (CheckVerdict::Fail, "revision"), "{stale:?}");
    assert_eq!(stale.message, "commit 0123456789ab answers, wanted fedcba987654: an old container, or a proxy's cache");
    let unknown = asked(&without_service, "0123456789abcdef0123456789abcdef01234567").await;
    assert_eq!((unknown.verdict, unknown.code.as_str()), (CheckVerdict::Warn, "revision-unknown"), "{unknown:?}");
}

#[tokio::test]
async fn each_failure_has_the_runbooks_class() {
    let port = serve().await;
    let mut docs = check(&format!("http://127.0.0.1:{port}/nowhere"));
    docs.severity = Severity::P3;
    let mut slow = check(&format!("http://127.0.0.1:{port}/slow"));
    slow.severity = Severity::P0;
    let results = run_all(vec![docs, slow, check(&format!("http://127.0.0.1:{port}/health"))]).await;
    let classes: Vec<_> = results.iter().map(|result| result.severity).collect();
    assert_eq!(classes, [Some(Severity::P3), Some(Severity::P2), None]);
    assert_eq!(results[0].response.as_deref(), Some("fix forward in the next deploy"));
}

#[test]
fn the_resolver_is_believed_where_it_answers_for_others() {
    let result = |url: &str, status: Option<u16>| {
        let failure = Failure::new(Exit::VerifyUnknown, "x", "no answer").cause("dns error");
        let request = Request { url: url.to_owned(), ..Request::default() };
        let silent = silent(&check(url), &request, NoAnswer::Dns, &failure, 1);
        CheckResult { status, ..silent }
    };
    for (other, verdict) in [
        ("http://shop.example/", CheckVerdict::Fail),
        ("http://127.0.0.1/", CheckVerdict::Unknown),
        ("http://a.localhost/", CheckVerdict::Unknown),
    ] {
        let mut results = [result("http://no-such.example/", None), result(other, Some(200))];
        believe_resolver(&mut results, &[true, false]);
        assert_eq!(results[0].verdict, verdict, "{other}");
    }
}
