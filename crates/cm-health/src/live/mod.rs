//! `--watch`: how services are now, for people, until they have seen enough. It judges
//! nothing: that is the gate's work. On a terminal it is a table that is drawn again; on
//! anything else, and where TERM is dumb, one line for each change.

mod sight;
mod table;

use crate::args::Args;
use crate::selection::{HostWatch, Selection};
use cm_core::{Exit, Io, Log, Result};
use cm_gate::Events;
use cm_host::Connect;
use cm_project::Project;
use jiff::{Timestamp, Zoned};
use sight::{Condition, Row, Seen, Sight};
use std::io::{IsTerminal, Write};
use std::time::Duration;
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::{Instant, interval, sleep, sleep_until, timeout};

/// A host that does not answer in this time was not seen.
const LIMIT: Duration = Duration::from_secs(15);

/// Before a host that could not be reached is tried again.
const PAUSE: Duration = Duration::from_secs(3);

/// How often the table is drawn, so that its times advance.
const TICK: Duration = Duration::from_secs(1);

/// One stream of events lasts this long.
const EVENTS: Duration = Duration::from_secs(600);

/// Shows the services until `--timeout`, or Ctrl-C.
///
/// # Errors
/// [`Exit::Config`], [`Exit::Usage`]; [`Exit::Undelivered`] if nobody reads any more.
pub async fn run(args: &Args, io: &Io) -> Result<Exit> {
    let project = Project::load(&args.common, cm_git::tracked)?;
    let selection = Selection::of_flags(&project, args)?;
    let (sender, mut seen) = channel(16);
    for watch in selection.hosts.clone() {
        tokio::spawn(look(project.clone(), watch, sender.clone(), io.log.clone()));
    }
    let mut screen = Screen::open();
    let mut sight = Sight::default();
    let mut ticks = interval(TICK);
    let end = args.timeout.map(|limit| Instant::now() + limit);
    loop {
        tokio::select! {
            Some((host, answer)) = seen.recv() => sight.take(&host, answer),
            _ = ticks.tick() => {}
            () = until(end) => break,
        }
        let rows = sight.rows(&selection, Timestamp::now());
        match &mut screen {
            Some(screen) => screen.draw(&rows)?,
            None => sight.news(&rows).into_iter().try_for_each(|line| io.print(&format!("{} {line}", clock())))?,
        }
    }
    Ok(verdict(&sight.rows(&selection, Timestamp::now())))
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// What scripts are told by a watch that ends by itself.
fn verdict(rows: &[Row]) -> Exit {
    match rows.iter().map(|row| row.condition).max() {
        Some(Condition::Healthy) => Exit::Done,
        Some(Condition::Unknown) | None => Exit::HealthUnknown,
        Some(Condition::Starting | Condition::Unhealthy) => Exit::Unhealthy,
    }
}

fn clock() -> String {
    Zoned::now().strftime("%H:%M:%S").to_string()
}

/// Looks at one host for ever, whatever happens to it; ends when nobody listens.
async fn look(project: Project, watch: HostWatch, sender: Sender<(String, Seen)>, log: Log) {
    loop {
        let why = match follow(&project, &watch, &sender, &log).await {
            Ok(()) => return,
            Err(failure) => failure.to_string(),
        };
        if sender.send((watch.host.clone(), Err(why))).await.is_err() {
            return;
        }
        sleep(PAUSE).await;
    }
}

/// Readings, at the interval and at each event, until one fails.
async fn follow(project: &Project, watch: &HostWatch, sender: &Sender<(String, Seen)>, log: &Log) -> Result<()> {
    let host = project.connect_to(project.host(&watch.host)?, log).await?;
    let name = watch.compose_project_on(project, &host, log).await?;
    let events = Events::follow(&host, &name, EVENTS);
    loop {
        let read = timeout(LIMIT, cm_engine::containers(&host, &name)).await;
        let seen = match read {
            Ok(read) => Ok(read?),
            Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
        };
        if sender.send((watch.host.clone(), seen)).await.is_err() {
            return Ok(());
        }
        sleep(project.health().interval / 5).await;
        tokio::select! {
            () = sleep(project.health().interval) => {}
            () = events.next() => {}
        }
    }
}

/// A terminal's other screen, given back when this is dropped.
struct Screen {
    color: bool,
    last: Vec<String>,
}

impl Screen {
    /// The screen, if stdout is a terminal that can move its cursor.
    fn open() -> Option<Screen> {
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        if !std::io::stdout().is_terminal() || set("TERM").is_none_or(|term| term == "dumb") {
            return None;
        }
        write("\u{1b}[?1049h\u{1b}[?25l").ok()?;
        Some(Screen { color: set("NO_COLOR").is_none(), last: Vec::new() })
    }

    fn draw(&mut self, rows: &[Row]) -> Result<()> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
        let (width, height) = size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()));
        // Some terminals do not know how large they are.
        let size = (if width == 0 { 80 } else { width }, if height == 0 { 24 } else { height });
        self.last = table::render(&title(rows), rows, size, self.color);
        let lines = self.last.join("\u{1b}[K\r\n");
        write(&format!("\u{1b}[H{lines}\u{1b}[K\u{1b}[J"))
    }
}

impl Drop for Screen {
    /// What was seen last stays on the terminal.
    fn drop(&mut self) {
        let _closed = write(&format!("\u{1b}[?25h\u{1b}[?1049l{}\r\n", self.last.join("\r\n")));
    }
}

fn title(rows: &[Row]) -> String {
    let count = |condition| rows.iter().filter(|row| row.condition == condition).count();
    let parts = [
        (count(Condition::Healthy), "healthy"),
        (count(Condition::Starting), "starting"),
        (count(Condition::Unhealthy), "unhealthy"),
        (count(Condition::Unknown), "not seen"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
    format!("{}  {}  (Ctrl-C ends)", clock(), parts.collect::<Vec<_>>().join(", "))
}

fn write(text: &str) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(|error| {
        cm_core::Failure::new(Exit::Undelivered, "output.closed", "cannot write to stdout").cause(error)
    })
}
