//! A home with a project, and an ops API that answers what a test says.

use cm_testkit::Answer;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// What the API was sent.
#[derive(Clone, Debug)]
pub struct Post {
    pub key: String,
    pub event: Value,
}

type Answering = Box<dyn Fn(&Post) -> u16 + Send + Sync>;

/// The ops API. It lives as long as the test's process.
pub struct Api {
    pub url: String,
    posts: Arc<Mutex<Vec<Post>>>,
    answering: Arc<Mutex<Answering>>,
}

impl Api {
    pub fn start(answering: impl Fn(&Post) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/events", listener.local_addr().expect("an address"));
        let posts = Arc::<Mutex<Vec<Post>>>::default();
        let answering: Arc<Mutex<Answering>> = Arc::new(Mutex::new(Box::new(answering)));
        let (kept, how) = (Arc::clone(&posts), Arc::clone(&answering));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (kept, how) = (Arc::clone(&kept), Arc::clone(&how));
                std::thread::spawn(move || answer(stream, &kept, &how));
            }
        });
        Api { url, posts, answering }
    }

    pub fn now(&self, answering: impl Fn(&Post) -> u16 + Send + Sync + 'static) {
        *self.answering.lock().expect("lock") = Box::new(answering);
    }

    pub fn posts(&self) -> Vec<Post> {
        self.posts.lock().expect("lock").clone()
    }

    /// The ids it was sent, in order.
    pub fn ids(&self) -> Vec<String> {
        self.posts().iter().map(|post| post.event["id"].as_str().expect("an id").to_owned()).collect()
    }
}

fn answer(mut stream: TcpStream, posts: &Mutex<Vec<Post>>, answering: &Mutex<Answering>) {
    let mut reader = BufReader::new(stream.try_clone().expect("clone"));
    let (mut length, mut key) = (0, String::new());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').unwrap_or_default();
        match name.to_lowercase().as_str() {
            "content-length" => length = value.trim().parse().expect("a length"),
            "idempotency-key" => key = value.trim().to_owned(),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("the body");
    let post = Post { key, event: serde_json::from_slice(&body).expect("JSON") };
    posts.lock().expect("lock").push(post.clone());
    let status = answering.lock().expect("lock")(&post);
    let text = if status < 300 { "{}" } else { "what it thinks of it" };
    let _sent =
        write!(stream, "HTTP/1.1 {status} Word\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
}

/// What the program wrote into the document.
pub trait Recorded {
    fn facts(&self) -> Value;

    /// What became of the event.
    fn event(&self) -> String {
        self.facts()["event"].as_str().expect("a word").to_owned()
    }
}

impl Recorded for Answer {
    fn facts(&self) -> Value {
        self.document()["facts"]["record"].clone()
    }
}

/// A home with a project whose one host is this machine.
pub struct Home(cm_testkit::Home);

impl Home {
    pub fn new(ops: Option<&Api>) -> Self {
        let mut home = cm_testkit::Home::new();
        home.set("OPS_API_TOKEN", "planted-token");
        let ops = ops.map(|api| format!("[ops]\nurl = \"{}\"\n", api.url)).unwrap_or_default();
        let config = format!("project = \"shop\"\n{ops}[hosts.h]\naddress = \"local\"\n");
        std::fs::write(home.path().join("cm.toml"), config).expect("cm.toml");
        std::fs::write(home.path().join("compose.yaml"), "services:\n  web:\n    image: web\n").expect("compose.yaml");
        Home(home)
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.0.set(name, value);
    }

    pub fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    pub fn outbox(&self) -> PathBuf {
        self.0.path().join("state/cm/outbox/shop")
    }

    /// The events in a directory of the outbox, by name.
    pub fn events(&self, directory: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.outbox().join(directory)).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<_> = names.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
        names.sort();
        names
    }

    /// Starts the program, and does not wait for it.
    pub fn start(&self, arguments: &[&str]) -> std::process::Child {
        let mut command = self.0.command("cm-record", arguments, ".");
        command.stdin(std::process::Stdio::null()).spawn().expect("cm-record")
    }

    pub fn run(&self, arguments: &[&str], input: Option<&Value>) -> Answer {
        let input = input.map(|document| document.to_string().into_bytes());
        self.0.run("cm-record", arguments, ".", input.as_deref())
    }
}

/// The id of run `number`.
pub fn id(number: u8) -> String {
    format!("01980e5c-7b1a-7c3e-8a52-2f6f8f1f2a{number:02x}")
}

/// The document of run `number`.
pub fn document(number: u8) -> Value {
    let mut document = cm_testkit::sample_document();
    document["run"]["id"] = id(number).into();
    document
}
