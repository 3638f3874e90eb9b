//! The ward: a compose project of sick and healthy services on a sandbox's server, and
//! what is so about each of them.

use cm_testkit::{Answer, Sandbox, sample_document};
use serde_json::{Value, json};
use std::path::PathBuf;

const FILES: [(&str, &str); 3] = [
    ("cm.toml", include_str!("cm.toml")),
    ("compose.yml", include_str!("compose.yml")),
    ("patient.py", include_str!("patient.py")),
];

/// A service and what is so about it.
pub struct Patient {
    pub service: &'static str,
    state: &'static str,
    /// The codes that are right: a crash loop may be seen while it is down or up.
    codes: &'static [&'static str],
    exit: Option<i64>,
    /// What the verdict must say somewhere: in its message, its check's output or its log.
    says: &'static str,
    /// Whether it serves pages, so that the first one can be waited for.
    serves: bool,
}

const CRASHED: &[&str] = &["exited", "restarting", "restarted"];

const fn sick(service: &'static str, codes: &'static [&'static str], exit: Option<i64>, says: &'static str) -> Patient {
    Patient { service, state: "unhealthy", codes, exit, says, serves: true }
}

const fn well(service: &'static str, codes: &'static [&'static str], serves: bool) -> Patient {
    Patient { service, state: "healthy", codes, exit: None, says: "", serves }
}

pub const PATIENTS: [Patient; 20] = [
    sick("crashes-at-once", CRASHED, Some(3), "there is no configuration"),
    sick("crashes-after-2s", CRASHED, Some(4), "counting to two"),
    sick("well-once-dies-at-4s", CRASHED, Some(5), "four seconds to live"),
    sick("two-of-three-dead", &["exited"], Some(3), "no place left"),
    sick("out-of-memory", &["oom-killed"], Some(137), "want of memory"),
    sick("check-fails", &["unhealthy"], None, "the schema is too old"),
    sick("check-hangs", &["unhealthy"], None, "exceeded timeout"),
    sick("check-was-green-once", &["check-failed"], None, "never again"),
    sick("port-never-opens", &["no-answer"], None, "nothing answers on port 8080"),
    sick("port-never-opens-tcp", &["no-answer"], None, "nothing answers on port 8080"),
    sick("command-complains", &["no-answer"], None, "ended with 9: the cache is cold"),
    sick("wrong-image", &["wrong-image"], None, "but sha256:0000"),
    Patient { serves: false, ..sick("job-fails", &["exited"], Some(7), "cannot migrate") },
    sick("needs-dead-database", &["unhealthy"], None, "it depends on dead-database, which is exited, exit code 1"),
    well("slow-but-fine", &["healthy"], true),
    well("job-done", &["finished"], false),
    well("job-done-restarts-on-failure", &["finished"], false),
    well("healthy", &["healthy"], true),
    well("healthy-by-probes", &["healthy"], true),
    well("quiet-worker", &["healthy"], false),
];

impl Patient {
    pub fn is_well(&self) -> bool {
        self.state == "healthy"
    }

    /// How a verdict differs from what is so.
    pub fn differs(&self, verdict: &Value) -> Option<String> {
        let code = verdict["code"].as_str().unwrap_or_default();
        let log = verdict["log_tail"].as_array().map(Vec::as_slice).unwrap_or_default();
        let texts = [&verdict["message"], &verdict["health_output"]].into_iter().chain(log);
        let said = texts.filter_map(Value::as_str).collect::<Vec<_>>().join("\n");
        match () {
            () if verdict["state"] != self.state => Some(format!("it is {}", self.state)),
            () if !self.codes.contains(&code) => Some(format!("the code should be one of {:?}", self.codes)),
            () if self.exit.is_some() && verdict["exit_code"].as_i64() != self.exit => {
                Some(format!("the exit code should be {:?}", self.exit))
            }
            () if !said.contains(self.says) => Some(format!("it should say {:?}", self.says)),
            () if log.len() > 20 => Some("more than the last 20 lines".to_owned()),
            () => None,
        }
    }
}

/// A sandbox with the ward on its platform server.
pub struct Ward {
    pub sandbox: Sandbox,
    directory: PathBuf,
}

impl Ward {
    pub fn open(test: &str) -> Ward {
        let sandbox = Sandbox::up(&format!("health-{test}"));
        let directory = sandbox.home.path().join("ward");
        std::fs::create_dir(&directory).expect("a directory");
        sandbox.server("platform", &["mkdir", "ward"]);
        for (name, text) in FILES {
            std::fs::write(directory.join(name), text).expect("write");
            sandbox.server("platform", &["sh", "-c", "printf %s \"$1\" >ward/\"$2\"", "sh", text, name]);
        }
        Ward { sandbox, directory }
    }

    /// A program of cm on the laptop, in the ward's directory.
    pub fn run(&self, program: &str, arguments: &[&str], input: Option<&Value>) -> Answer {
        let input = input.map(|document| document.to_string().into_bytes());
        self.sandbox.home.run(program, arguments, &self.directory.display().to_string(), input.as_deref())
    }

    /// Compose on the server.
    pub fn compose(&self, arguments: &[&str]) -> String {
        let command = ["docker", "compose", "--ansi", "never", "-f", "ward/compose.yml"];
        self.sandbox.server("platform", &[&command, arguments].concat())
    }

    /// Everybody comes in again.
    pub fn admit(&self) {
        self.compose(&["down", "--timeout", "0"]);
        self.compose(&["up", "-d", "--quiet-pull"]);
    }

    /// The gate's word on every patient.
    pub fn judge(&self) -> Answer {
        let mut document = sample_document();
        document["project"] = json!("ward");
        document["services"] = json!([]);
        let other = format!("sha256:{}", "0".repeat(64));
        document["facts"]["build"] = json!({"hosts": {"platform": {
            "project": "ward", "services": {"wrong-image": {"image_id": other}},
        }}});
        let names = PATIENTS.iter().flat_map(|patient| ["--service", patient.service]);
        let arguments: Vec<&str> = std::iter::once("--keep-going").chain(names).collect();
        self.run("cm-health", &arguments, Some(&document))
    }

    /// Whether `docker compose up --wait` is content with it.
    pub fn compose_wait(&self, patient: &Patient) -> bool {
        let script = "docker compose --ansi never -f ward/compose.yml up -d --wait --wait-timeout 25 \
                      --force-recreate --no-deps \"$1\" >/dev/null 2>&1 && echo healthy || echo not";
        self.sandbox.server("platform", &["sh", "-c", script, "sh", patient.service]) == "healthy"
    }

    /// Whether one of its containers answers 200 once within 25 s; `None` if it serves nothing.
    pub fn first_200(&self, patient: &Patient) -> Option<bool> {
        let script = "docker compose --ansi never -f ward/compose.yml up -d --force-recreate --no-deps \"$1\" >/dev/null 2>&1
            end=$(($(date +%s) + 25))
            while [ \"$(date +%s)\" -lt $end ]; do
                for id in $(docker ps -q --filter label=com.docker.compose.service=\"$1\"); do
                    ip=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' \"$id\")
                    if [ \"$(curl -s -o /dev/null -m 2 -w '%{http_code}' \"http://$ip:8080/\")\" = 200 ]; then echo healthy; exit; fi
                done
                sleep 0.3
            done
            echo not";
        patient
            .serves
            .then(|| self.sandbox.server("platform", &["sh", "-c", script, "sh", patient.service]) == "healthy")
    }
}
