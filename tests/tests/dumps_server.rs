//! Backups of several databases on a real server, through SSH: before a deployment, by a cm-backup
//! that is there, and back again with `cm-rollback --restore-db`.

use cm_testkit::{Answer, Sandbox, bin_dir, databases};
use serde_json::Value;
use std::fs;
use std::process::{Command, Stdio};

const CONFIG: &str = "project = \"shop\"\nbranch = \"develop\"\n[compose]\nfiles = [\"compose.yml\"]\nenv_file = \".env.production\"\n\
    [hosts.platform]\naddress = \"${DEPLOY_USER}@${PLATFORM_VPS_IP}\"\ncheckout = \"~/platform\"\n\
    [protect]\nfiles = [\"Caddyfile\", \".env.production\"]\n[health]\nwindow = \"1s\"\nreadings = 2\n\
    [[verify.checks]]\nname = \"web\"\nurl = \"http://web/\"\nin_network = true\nservice = \"web\"\nstatus = 200\n\
    [rollback]\nmigrations = [\"migrations/**\"]\n\
    [[backup]]\nkind = \"postgres\"\nservice = \"db\"\nkeep = 20\n\
    [[backup]]\nkind = \"mysql\"\nservice = \"books\"\nkeep = 20\n\
    [[backup]]\nkind = \"redis\"\nservice = \"cache\"\nkeep = 20\n";

const COMPOSE: &str = "name: shop
x-database: &database
  image: shop/databases:1
  init: true
  restart: unless-stopped
  command: ['postgres']
  healthcheck: {test: ['CMD', 'pg_isready', '-h', '127.0.0.1', '-U', 'shop', '-d', 'shop'], interval: 1s, start_period: 30s}
services:
  db:
    <<: *database
    environment: {POSTGRES_USER: shop, POSTGRES_DB: shop, POSTGRES_PASSWORD: pl4nted}
    volumes: ['db:/var/lib/postgresql']
  books:
    <<: *database
    command: ['mysql']
    environment: {MARIADB_ROOT_PASSWORD: pl4nted, MARIADB_DATABASE: shop, MARIADB_USER: shop, MARIADB_PASSWORD: pl4nted-too}
    healthcheck: {test: ['CMD', 'mariadb', '-ushop', '-ppl4nted-too', 'shop', '-e', 'SELECT 1'], interval: 1s, start_period: 60s}
    volumes: ['books:/var/lib/mysql']
  cache:
    <<: *database
    command: ['redis']
    healthcheck: {test: ['CMD', 'redis-cli', 'PING'], interval: 1s, start_period: 30s}
    volumes: ['cache:/data']
  web:
    image: shop/app
    build: app
    init: true
    restart: unless-stopped
    stop_grace_period: 1s
    ports: ['127.0.0.1:8080:80']
    working_dir: /srv
    command: ['python3', '-m', 'http.server', '80']
volumes: {db: {}, books: {}, cache: {}}
";

/// Commits and pushes a version of the project.
fn commit(sandbox: &Sandbox, version: &str) {
    fs::create_dir_all(sandbox.laptop.join("app")).expect("a directory");
    fs::create_dir_all(sandbox.laptop.join("migrations")).expect("a directory");
    let write = |name: &str, text: &str| fs::write(sandbox.laptop.join(name), text).expect("write");
    write("compose.yml", COMPOSE);
    write("cm.toml", CONFIG);
    write("app/Dockerfile", "FROM curateme/python:1\nCOPY index.html /srv/index.html\n");
    write("app/index.html", version);
    write(&format!("migrations/{version}"), "changes the data for good\n");
    let line = "git add -A && git commit -qm change && git push -qf origin HEAD:develop";
    done(&sandbox.laptop("bash", &["-c", line]));
}

#[track_caller]
fn done(answer: &Answer) -> &Answer {
    assert_eq!(answer.code, 0, "{}\n{}", answer.stdout, answer.stderr);
    assert!(!format!("{}{}", answer.stdout, answer.stderr).contains("pl4nted"), "{}", answer.stderr);
    answer
}

fn inside(sandbox: &Sandbox, service: &str, words: &[&str]) -> String {
    let container = format!("shop-{service}-1");
    sandbox.server("platform", &[&["docker", "exec", &container], words].concat())
}

fn sql(sandbox: &Sandbox, service: &str, text: &str) -> String {
    let client: &[&str] = match service {
        "db" => &["psql", "-XAtqU", "shop", "-c"],
        _ => &["mariadb", "-uroot", "-ppl4nted", "-NB", "shop", "-e"],
    };
    inside(sandbox, service, &[client, &[text]].concat())
}

/// The image of the databases, in the server's own engine.
fn load_image(sandbox: &Sandbox) {
    let line =
        r#"docker tag "$1" shop/databases:1 && docker save shop/databases:1 | docker exec -i "$2" docker load -q"#;
    let mut shell = Command::new("sh");
    shell.args(["-c", line, "sh", databases::image(), &sandbox.container("platform")]);
    assert!(shell.stdout(Stdio::null()).status().is_ok_and(|status| status.success()), "the image is there");
}

#[test]
fn every_database_of_a_server_is_backed_up_before_a_deployment_and_restored_with_a_rollback() {
    let sandbox = Sandbox::up("dumps");
    load_image(&sandbox);
    commit(&sandbox, "one");
    let deploy = ["--skip-canary"];
    done(&sandbox.deploy(&deploy));
    sql(&sandbox, "db", "CREATE TABLE orders(id int); INSERT INTO orders SELECT generate_series(1, 1000)");
    sql(&sandbox, "books", "CREATE TABLE orders(id int); INSERT INTO orders SELECT seq FROM seq_1_to_1000");
    inside(&sandbox, "cache", &["redis-cli", "SET", "a", "b"]);

    commit(&sandbox, "two");
    let deployed = sandbox.deploy(&deploy);
    assert_eq!(done(&deployed).stderr.matches("1 table, 1000 rows").count(), 2, "{}", deployed.stderr);
    let listed = sandbox.laptop("cm-backup", &["list", "--json"]);
    let listed: Value = serde_json::from_str(&done(&listed).stdout).expect("JSON");
    assert_eq!(listed.as_array().map(Vec::len), Some(3), "{listed}");
    let mode = sandbox.server("platform", &["sh", "-c", "stat -c %a backups/*"]);
    assert!(mode.lines().count() == 6 && mode.lines().all(|mode| mode == "600"), "{mode}");

    // The data moves on; a rollback across the release that changed it names every backup, and puts both back.
    sql(&sandbox, "db", "DELETE FROM orders WHERE id > 7");
    sql(&sandbox, "books", "DROP TABLE orders");
    inside(&sandbox, "cache", &["redis-cli", "FLUSHALL"]);
    inside(&sandbox, "cache", &["redis-cli", "SET", "later", "x"]);
    let refused = sandbox.laptop("cm-rollback", &["--service", "web"]);
    assert_eq!(refused.code, 62, "{}", refused.stderr);
    assert_eq!(refused.stderr.matches("--drop --confirm=shop").count(), 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("--drop --confirm=cache"), "{}", refused.stderr);
    let back = sandbox.laptop("cm-rollback", &["--service", "web", "--confirm", "--restore-db"]);
    assert_eq!(back.code, 60, "{}", back.stderr);
    for service in ["db", "books"] {
        assert_eq!(sql(&sandbox, service, "SELECT count(*) FROM orders"), "1000", "{service}");
    }
    assert_eq!(inside(&sandbox, "cache", &["redis-cli", "--no-raw", "KEYS", "*"]), "1) \"a\"");
    made_on_the_server(&sandbox);
}

/// Where cm-backup is on the server, the data does not leave it.
fn made_on_the_server(sandbox: &Sandbox) {
    let program = bin_dir().join("cm-backup").display().to_string();
    let place = format!("{}:/usr/local/bin/cm-backup", sandbox.container("platform"));
    assert!(Command::new("docker").args(["cp", "-q", &program, &place]).status().is_ok_and(|status| status.success()));
    let made = sandbox.laptop("cm-backup", &["--service", "books", "--run-on", "server", "--restore-check"]);
    assert!(done(&made).stderr.contains("no data leaves that server"), "{}", made.stderr);
    let document: Value = serde_json::from_str(&made.stdout).expect("a document");
    let facts = &document["facts"]["backup"];
    assert_eq!((&facts["verified"], &facts["documents"]), (&true.into(), &1000.into()), "{facts}");
    let file = format!("platform:{}", facts["file"].as_str().expect("a path"));
    done(&sandbox.laptop("cm-backup", &["verify", &file, "--restore-check"]));
}
