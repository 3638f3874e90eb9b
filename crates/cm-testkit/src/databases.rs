//! Databases for a test of backups: containers of this machine's own engine, labelled as Compose
//! labels those of a project, and that project. No server is between; that is the sandbox's part.

use crate::checkout::repository;
use crate::home::{Answer, Home};
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// How long a database may take to start.
const START_LIMIT: Duration = Duration::from_secs(90);

/// The project and its containers, which go with it.
#[derive(Debug)]
pub struct Databases {
    /// The home with the project in the directory `work`.
    pub home: Home,
    project: String,
}

/// The name of the image that has every database.
///
/// # Panics
/// If it cannot be made.
pub fn image() -> &'static str {
    static IMAGE: OnceLock<String> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let script = repository().join("scripts/sandbox");
        let output = Command::new(script).arg("databases").stdin(Stdio::null()).output().expect("scripts/sandbox");
        assert!(
            output.status.success(),
            "`scripts/sandbox databases` failed; `scripts/setup.sh --tests` installs what it needs: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    })
}

impl Databases {
    /// A project called after the test, whose `cm.toml` goes on with `toml`, and whose compose file
    /// has `services`.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn new(test: &str, toml: &str, services: &str) -> Self {
        let (home, project) = (Home::new(), format!("t-{test}-{}", std::process::id()));
        let databases = Databases { home, project };
        std::fs::create_dir(databases.home.path().join("work")).expect("a directory");
        databases.configure(toml, services);
        databases
    }

    /// Writes `cm.toml` and the compose file again.
    ///
    /// # Panics
    /// If they cannot be written.
    pub fn configure(&self, toml: &str, services: &str) {
        let work = self.home.path().join("work");
        let head = "[hosts.here]\naddress = \"local\"\ncheckout = \"~/work\"\n[compose]\nenv_file = \".env\"\n";
        std::fs::write(work.join("cm.toml"), format!("project = \"shop\"\n{head}{toml}")).expect("written");
        let compose = format!("name: {}\nservices:\n{services}", self.project);
        std::fs::write(work.join("compose.yml"), compose).expect("written");
    }

    /// Starts the service: `docker run OPTIONS… IMAGE WORDS…`, and waits until `ready` succeeds in it.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start(&self, service: &str, options: &[&str], words: &[&str], ready: &[&str]) {
        let labels = [
            format!("com.docker.compose.project={}", self.project),
            format!("com.docker.compose.service={service}"),
            "com.docker.compose.oneoff=False".to_owned(),
            "cm.test=1".to_owned(),
        ];
        let name = self.container(service);
        let mut docker = Command::new("docker");
        docker.args(["run", "--detach", "--name", &name]).args(labels.iter().flat_map(|label| ["--label", label]));
        docker.args(options).arg(image()).args(words).stdin(Stdio::null()).stdout(Stdio::null());
        assert!(docker.status().is_ok_and(|status| status.success()), "docker run {service}");
        let clock = Instant::now();
        while !self.try_exec(service, ready, b"").0 {
            assert!(clock.elapsed() < START_LIMIT, "{service} did not start: {:?}", self.try_exec(service, ready, b""));
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// The name of a service's container.
    pub fn container(&self, service: &str) -> String {
        format!("{}-{service}-1", self.project)
    }

    /// Runs a command in a service's container, and wants success; gives stdout.
    ///
    /// # Panics
    /// If it fails.
    pub fn exec(&self, service: &str, words: &[&str], input: &str) -> String {
        let (done, said) = self.try_exec(service, words, input.as_bytes());
        assert!(done, "in {service}: {words:?}: {said}");
        said
    }

    fn try_exec(&self, service: &str, words: &[&str], input: &[u8]) -> (bool, String) {
        let mut docker = Command::new("docker");
        docker.args(["exec", "-i", &self.container(service)]).args(words);
        let mut child =
            docker.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("docker");
        let _one_that_reads_nothing = child.stdin.take().expect("piped").write_all(input);
        let output = child.wait_with_output().expect("docker");
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).trim_end().to_owned())
    }

    /// Runs a program in the project's directory.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Answer {
        self.home.run(program, arguments, "work", None)
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        let filter = format!("label=com.docker.compose.project={}", self.project);
        let remove = r#"for what in $(docker ps --all --quiet --filter "$1"); do docker rm --force --volumes "$what"; done
for what in $(docker volume ls --quiet --filter "$1"); do docker volume rm "$what"; done"#;
        let mut shell = Command::new("sh");
        let _gone = shell.args(["-c", remove, "sh", &filter]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}
