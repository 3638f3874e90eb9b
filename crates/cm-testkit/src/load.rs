//! A steady load of HTTP requests, each on a connection of its own, whose every answer
//! is counted. Requests start by the clock, not when the one before is answered: a gap
//! of a second is missed by as many requests as belong into a second.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longer than any proxy waits for a backend.
const LIMIT: Duration = Duration::from_secs(30);

/// Requests that may be under way at once.
const WORKERS: u32 = 32;

/// What the answers were.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Requests answered with 200.
    pub answered: usize,
    /// What became of the others, in words.
    pub failed: Vec<String>,
    /// The different bodies of good answers, and how often each came.
    pub bodies: BTreeMap<String, usize>,
    /// The longest wait for a good answer.
    pub slowest: Duration,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, all) = (self.failed.len(), self.answered + self.failed.len());
        write!(f, "{failed} of {all} requests failed; the slowest took {} ms", self.slowest.as_millis())
    }
}

/// A load that goes on until it is stopped or dropped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    counts: Arc<Mutex<Counts>>,
    workers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Asks 127.0.0.1:`port` for `path` of `host`, `rate` times a second.
    pub fn start(port: u16, host: &str, path: &str, rate: u32) -> Load {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let (stop, answered, counts) = <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<Mutex<Counts>>)>::default();
        let tick = Arc::new(AtomicUsize::new(0));
        let begin = Instant::now();
        let worker = |_| {
            let (stop, answered, counts) = (Arc::clone(&stop), Arc::clone(&answered), Arc::clone(&counts));
            let (tick, request) = (Arc::clone(&tick), request.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let n = tick.fetch_add(1, Ordering::Relaxed);
                    let due = begin + Duration::from_secs(1).mul_f64(n as f64 / f64::from(rate));
                    if !sleep_until(due, &stop) {
                        return;
                    }
                    let asked = Instant::now();
                    let answer = ask(port, &request);
                    let mut counts = counts.lock().expect("no worker panics");
                    match answer {
                        Ok(body) => {
                            counts.answered += 1;
                            answered.fetch_add(1, Ordering::Relaxed);
                            counts.slowest = counts.slowest.max(asked.elapsed());
                            *counts.bodies.entry(body).or_default() += 1;
                        }
                        Err(why) => counts.failed.push(format!("after {:.1} s: {why}", begin.elapsed().as_secs_f64())),
                    }
                }
            })
        };
        let workers = (0..WORKERS.min(rate.max(1) * 4)).map(worker).collect();
        Load { stop, answered, counts, workers }
    }

    /// How many requests were answered well so far.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends the load, waits for the answers under way and counts.
    ///
    /// # Panics
    /// If a worker did.
    pub fn stop(mut self) -> Counts {
        self.stop.store(true, Ordering::Relaxed);
        for worker in self.workers.drain(..) {
            worker.join().expect("no worker panics");
        }
        self.counts.lock().expect("no worker panics").clone()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Whether the time came before the load was stopped.
fn sleep_until(due: Instant, stop: &AtomicBool) -> bool {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if stop.load(Ordering::Relaxed) || left.is_zero() {
            return left.is_zero();
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// The body of an answer 200, or what else came.
fn ask(port: u16, request: &str) -> Result<String, String> {
    let said = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).map_err(said)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(said)?;
    stream.write_all(request.as_bytes()).map_err(said)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(said)?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(|| format!("an answer that was cut: {text:?}"))?;
    let status = head.lines().next().unwrap_or_default();
    if status.split(' ').nth(1) == Some("200") { Ok(body.to_owned()) } else { Err(status.to_owned()) }
}
