//! Projects in the shape that other people's have (`strangers/`: Django, Rails, a monorepo of Node), on one server: what
//! somebody new to cm does with each, from `--init` to a change that is broken. The compose files, Dockerfiles and
//! directories are as the frameworks' templates have them; small programs stand for the frameworks.

use cm_testkit::{Answer, Sandbox, databases, repository};
use std::path::Path;
use std::process::{Command, Stdio};

/// One of the projects, on the laptop.
struct Stranger<'a> {
    sandbox: &'a Sandbox,
    name: &'static str,
}

impl<'a> Stranger<'a> {
    /// The project as it is before cm, pushed to a repository on the server.
    fn open(sandbox: &'a Sandbox, name: &'static str) -> Stranger<'a> {
        copy(&repository().join("tests/tests/strangers").join(name), &sandbox.home.path().join(name));
        let stranger = Stranger { sandbox, name };
        stranger.on(&format!("git init -q --bare -b main {name}.git"));
        let server = stranger.server();
        stranger.types(&format!("git init -q -b main; git remote add origin {server}:{name}.git"));
        stranger
    }

    fn server(&self) -> String {
        let of = |name: &str| self.sandbox.home.variable(name).expect("set by the sandbox").to_owned();
        format!("{}@{}", of("DEPLOY_USER"), of("PLATFORM_VPS_IP"))
    }

    fn on(&self, line: &str) -> String {
        self.sandbox.server("platform", &["sh", "-c", line])
    }

    fn run(&self, line: &str) -> Answer {
        self.sandbox.home.run("bash", &["-c", &format!("set -o pipefail; {line}")], self.name, None)
    }

    fn types(&self, line: &str) -> Answer {
        let answer = self.run(line);
        assert_eq!(answer.code, 0, "{}: {line}: {}\n{}", self.name, answer.stdout, answer.stderr);
        answer
    }

    /// Replaces what is there once in a file.
    fn change(&self, path: &str, from: &str, to: &str) {
        let file = self.sandbox.home.path().join(self.name).join(path);
        let text = std::fs::read_to_string(&file).expect(path);
        assert_eq!(text.matches(from).count(), 1, "{from:?} is once in {path}");
        std::fs::write(file, text.replacen(from, to, 1)).expect(path);
    }

    fn commit(&self, what: &str) {
        self.types(&format!("git add -A && git commit -qm '{what}'"));
    }

    /// `cm-detect --init`, and what a person adds to it: here, where the server clones from.
    fn init(&self) -> (String, String) {
        self.commit("what is there");
        self.types("git push -q origin main");
        let said = self.types(&format!("cm-detect --init --host {}", self.server())).stderr;
        let written =
            std::fs::read_to_string(self.sandbox.home.path().join(self.name).join("cm.toml")).expect("cm.toml");
        let name = self.name;
        self.change("cm.toml", "# repository = \"git@…\"", &format!("repository = \"/home/curateme/{name}.git\""));
        self.change("cm.toml", "window = \"10s\"", "window = \"1s\"");
        (said, written)
    }

    fn deploy(&self) -> Answer {
        let script = repository().join("scripts/deploy-to-vps.sh");
        self.run(&script.display().to_string())
    }

    /// Deploys, and gives what was said.
    fn deployed(&self) -> String {
        let answer = self.deploy();
        assert_eq!(answer.code, 0, "{}: {}", self.name, answer.stderr);
        answer.stderr
    }

    /// Deploys what is broken: what ran before runs again.
    fn rolled_back(&self) {
        let answer = self.deploy();
        assert!(
            answer.code != 0 && answer.stderr.contains("failed and was rolled back"),
            "{}: {}",
            self.name,
            answer.stderr
        );
    }

    fn page(&self, service: &str, url: &str) -> String {
        let get = format!("import urllib.request as r; print(r.urlopen('{url}').read().decode())");
        let container = format!("{}-{service}-1", self.name);
        self.sandbox.server("platform", &["docker", "exec", &container, "python3", "-c", &get])
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, &to).expect("a copy");
        }
    }
}

/// The images that the projects build on, in the server's engine.
fn base_images(sandbox: &Sandbox) {
    let script = repository().join("tests/tests/strangers/base-images.sh");
    let line = r#"docker save "$1" | docker exec -i "$2" docker load -q && docker exec -i "$2" sh -s "$1" <"$3""#;
    let mut shell = Command::new("sh");
    shell.args(["-c", line, "sh", databases::image(), &sandbox.container("platform")]).arg(script);
    assert!(shell.stdout(Stdio::null()).status().is_ok_and(|status| status.success()), "the images are there");
}

/// One image for web, worker and migration; values that only the server has; a real database.
fn django(sandbox: &Sandbox) {
    let blog = Stranger::open(sandbox, "django");
    let (said, toml) = blog.init();
    assert!(said.contains("1 protected file") && !said.contains("[WARN]"), "{said}");
    for wanted in [
        "\nenv_file = \".env\"\n",
        "url = \"http://web:8000/health/\"\nin_network = true\n",
        "[rollback]\nmigrations = [\"**/migrations/**\"]\n",
        "kind = \"postgres\"\nservice = \"postgres\"\n",
        "wait for the end of each: migrate.",
    ] {
        assert!(toml.contains(wanted), "{wanted}: {toml}");
    }
    blog.commit("cm");
    blog.types("git push -q origin main");
    let lacks = blog.run("cm-health --preflight </dev/null");
    assert!(lacks.code == 6 && lacks.stderr.contains("mkdir -p ~/django"), "{}", lacks.stderr);
    let env = "POSTGRES_DB=blog\\nPOSTGRES_USER=blog\\nPOSTGRES_PASSWORD=pl4nted\\nSECRET_KEY=abc\\nALLOWED_HOSTS=x\\nDEBUG=0\\n";
    blog.on(&format!("mkdir django && cd django && umask 077 && printf '{env}' >.env"));
    let first = blog.deployed();
    assert!(first.contains("migrate | Applying 0001_initial.py"), "{first}");
    assert_eq!(blog.page("web", "http://127.0.0.1:8000/"), "one abc");

    blog.change("blog/views.py", "one", "two");
    blog.types("echo 'operations = [\"ALTER TABLE post\"]' >blog/migrations/0002_more.py");
    blog.commit("more");
    let second = blog.deployed();
    assert!(second.contains("3 of 4 services change: web, worker, migrate"), "{second}");
    assert!(second.contains("migrate | Applying 0002_more.py"), "{second}");
    // What has no new migration is rolled back by itself, although the job ran.
    blog.change("blog/views.py", "return 200, \"ok\"", "return 500, \"no\"");
    blog.commit("broken");
    blog.rolled_back();
    assert_eq!(blog.page("web", "http://127.0.0.1:8000/"), "two abc");
    blog.types("git revert --no-edit HEAD");
    blog.on("sed -i s/SECRET_KEY=abc/SECRET_KEY=xyz/ django/.env");
    let nothing = blog.deployed();
    assert!(nothing.contains("environment.SECRET_KEY") && !nothing.contains("xyz"), "{nothing}");
    assert!(!format!("{first}{second}{nothing}").contains("pl4nted"));
}

/// A build argument that has to be given, a job that others wait for, and a development file that is not deployed.
fn rails(sandbox: &Sandbox) {
    let shop = Stranger::open(sandbox, "rails");
    let (said, toml) = shop.init();
    assert!(!said.contains("[WARN]"), "{said}");
    for wanted in [
        "files = [\"compose.yaml\", \"compose.production.yaml\"]\n",
        "# Each server's own, never deployed: the compose file has variables without a default",
        "compose.override.yaml.",
        "url = \"http://web:80/up\"\nin_network = true\n",
        "migrations = [\"db/migrate/**\"]\n",
    ] {
        assert!(toml.contains(wanted), "{wanted}: {toml}");
    }
    shop.commit("cm");
    shop.on("mkdir rails && cd rails && umask 077 && printf 'RAILS_MASTER_KEY=pl4nted\\n' >.env");
    // Nothing is changed where a value is missing that Compose insists on.
    let lacks = shop.deploy();
    assert!(lacks.code != 0 && lacks.stderr.contains("GIT_SHA (compose.yaml:7; web)"), "{}", lacks.stderr);
    assert_eq!(shop.on("ls -A rails"), ".env");
    shop.on("echo GIT_SHA=unknown >>rails/.env");
    let first = shop.deployed();
    assert!(first.contains("-- create_table(:posts)"), "{first}");
    assert_eq!(shop.page("web", "http://127.0.0.1/"), "one");
    shop.change("app/models/greeting.rb", "\"one\"", "nothing");
    shop.commit("broken");
    shop.rolled_back();
    assert_eq!(shop.page("web", "http://127.0.0.1/"), "one");
}

/// Workspaces that share a directory and a submodule, behind a proxy; nothing has a health check.
fn node(sandbox: &Sandbox) {
    let store = Stranger::open(sandbox, "node");
    let server = store.server();
    store.on("git init -q --bare -b main theme.git");
    let theme = "mkdir ../theme && cd ../theme && git init -q -b main && git remote add origin";
    store.types(&format!("{theme} {server}:theme.git && echo red >theme.css && git add -A && git commit -qm red && git push -q origin main"));
    store.types(&format!("git submodule --quiet add {server}:theme.git packages/theme"));
    let (said, toml) = store.init();
    assert!(
        said.contains("nothing verifies a release yet") && toml.contains("\n# [[verify.checks]]\n"),
        "{said}{toml}"
    );
    let check = "\n[[verify.checks]]\nname = \"store\"\nurl = \"http://proxy/api/\"\nin_network = true\ncontains = \"api of store\"\n";
    store.types(&format!("printf '%s' '{check}' >>cm.toml"));
    store.commit("cm");
    // The laptop's name of the server is not one that the server knows.
    let refused = store.deploy();
    assert!(refused.code != 0 && refused.stderr.contains("set its `url` in .gitmodules"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("`repository` in cm.toml"), "{}", refused.stderr);
    store.types("git config -f .gitmodules submodule.packages/theme.url ../theme.git");
    store.commit("a relative URL");
    store.deployed();
    assert_eq!(store.page("web", "http://proxy/"), "web of store one, api of store one");

    store.change("packages/shared/src/index.js", "store one", "store two");
    store.commit("shared");
    let shared = store.deployed();
    assert!(shared.contains("2 of 3 services change: api, web"), "{shared}");
    assert_eq!(store.page("web", "http://proxy/"), "web of store two, api of store two");
    store.types("cd packages/theme && echo blue >theme.css && git commit -qam blue && git push -q origin HEAD:main");
    store.change(".env", "LOG_LEVEL=info", "LOG_LEVEL=debug");
    store.commit("theme and log");
    let bumped = store.deployed();
    assert!(bumped.contains("web on server: build — packages/theme"), "{bumped}");
    assert!(bumped.contains("api on server: recreate"), "{bumped}");
    assert_eq!(store.on("docker exec node-web-1 cat packages/theme/theme.css"), "blue");
}

#[test]
fn projects_of_other_people_are_deployed_changed_and_rolled_back() {
    let sandbox = Sandbox::up("strangers");
    base_images(&sandbox);
    django(&sandbox);
    rails(&sandbox);
    node(&sandbox);
}
