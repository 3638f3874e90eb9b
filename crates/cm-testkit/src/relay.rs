//! A link between a laptop and a server, as bad as a test wants it: a TCP relay on this machine that delays,
//! limits, stalls and cuts what passes, and counts it. Plain threads, so that a test needs no runtime; each
//! connection has a reader and a writer for either direction, with the bytes that are on their way between them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The most that is read at once, in bytes.
const CHUNK: usize = 16 * 1024;

/// How many chunks of one direction can be on their way.
const IN_FLIGHT: usize = 256;

/// A relay to one address; it ends when it is dropped, with every connection through it.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    link: Arc<Link>,
    acceptor: Option<JoinHandle<()>>,
}

impl Relay {
    /// A relay to `target` on a free port of this machine; at first it adds nothing.
    ///
    /// # Panics
    /// If there is no such address or no free port.
    pub fn to(target: impl ToSocketAddrs) -> Self {
        Relay::between(Ipv4Addr::LOCALHOST.into(), target)
    }

    /// A relay to `target` on a free port of `own`, which is an address of this machine.
    ///
    /// # Panics
    /// If there is no such address or no free port.
    pub fn between(own: IpAddr, target: impl ToSocketAddrs) -> Self {
        let target = target.to_socket_addrs().expect("an address").next().expect("an address");
        let listener = TcpListener::bind((own, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        let link = Arc::new(Link::default());
        let acceptor = thread::spawn({
            let link = link.clone();
            move || accept(&listener, target, &link)
        });
        Relay { address, link, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on every byte takes this much longer, in each direction: half of what it adds to a round trip.
    pub fn delay(&self, one_way: Duration) {
        self.link.change(|quality| quality.delay = one_way);
    }

    /// From now on so many bytes a second pass in each direction, all connections together; `None` is no limit.
    pub fn bandwidth(&self, bytes_per_second: Option<u64>) {
        self.link.change(|quality| quality.bytes_per_second = bytes_per_second);
    }

    /// Nothing passes any more, and nobody is told: a laptop that sleeps, a tunnel without a signal.
    pub fn stall(&self) {
        self.link.change(|quality| quality.state = State::Stalled);
    }

    /// Ends every connection, and every new one at once: a server that restarts. What was on its way is lost.
    pub fn cut(&self) {
        self.link.change(|quality| quality.state = State::Cut);
    }

    /// Cuts the link when so many bytes more have come through it, both directions together.
    pub fn cut_after(&self, bytes: u64) {
        self.link.change(|quality| quality.cut_after = Some(bytes));
    }

    /// Ends a [`stall`](Self::stall) or a [`cut`](Self::cut).
    pub fn restore(&self) {
        self.link.change(|quality| {
            quality.state = State::Open;
            quality.cut_after = None;
        });
    }

    /// How many connections there have been.
    pub fn connections(&self) -> u64 {
        self.link.connections.load(Ordering::Relaxed)
    }

    /// How many bytes have come from the client and from the server.
    pub fn bytes(&self) -> (u64, u64) {
        let count = |side: Side| self.link.bytes[side as usize].load(Ordering::Relaxed);
        (count(Side::Client), count(Side::Server))
    }

    /// How often the server has answered after the client had spoken. With a delay that is longer than either
    /// side thinks, these are round trips of the conversation.
    pub fn round_trips(&self) -> u64 {
        self.link.round_trips.load(Ordering::Relaxed)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.link.change(|quality| quality.state = State::Ended);
        // It waits for a connection; here is one.
        let _awake = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ended = acceptor.join();
        }
    }
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum State {
    #[default]
    Open,
    Stalled,
    Cut,
    Ended,
}

#[derive(Clone, Copy, Debug)]
enum Side {
    Client = 0,
    Server = 1,
}

/// How good the link is now.
#[derive(Clone, Copy, Debug, Default)]
struct Quality {
    state: State,
    delay: Duration,
    bytes_per_second: Option<u64>,
    cut_after: Option<u64>,
    /// When the line will be free for the next chunk from the client and from the server.
    free_at: [Option<Instant>; 2],
}

/// What all connections of a relay share.
#[derive(Debug, Default)]
struct Link {
    quality: Mutex<Quality>,
    changed: Condvar,
    open: Mutex<Vec<TcpStream>>,
    connections: AtomicU64,
    bytes: [AtomicU64; 2],
    round_trips: AtomicU64,
}

impl Link {
    fn quality(&self) -> MutexGuard<'_, Quality> {
        self.quality.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Quality)) {
        let mut quality = self.quality();
        // Whoever still passes something on may find a reason to cut; nothing is open again after the end.
        if quality.state != State::Ended {
            change(&mut quality);
        }
        let ends = matches!(quality.state, State::Cut | State::Ended);
        drop(quality);
        self.changed.notify_all();
        if ends {
            self.end_all();
        }
    }

    fn end_all(&self) {
        for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ended_already = stream.shutdown(Shutdown::Both);
        }
    }

    /// Notes streams that a cut must end; `false` if the link is cut already.
    fn note(&self, streams: [&TcpStream; 2]) -> io::Result<bool> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        for stream in streams {
            open.push(stream.try_clone()?);
        }
        Ok(matches!(self.quality().state, State::Open | State::Stalled))
    }

    /// The most to read at once, so that a slow line is slow evenly: 20 ms of it.
    fn chunk(&self) -> usize {
        let least = |rate: u64| usize::try_from(rate / 50).unwrap_or(CHUNK).clamp(64, CHUNK);
        self.quality().bytes_per_second.map_or(CHUNK, least)
    }

    /// Waits until `length` bytes of `side` are on the line; gives when they are due at the other end, or
    /// `None` if the link is cut.
    fn pass(&self, side: Side, length: usize) -> Option<Instant> {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.bytes[side as usize].fetch_add(length, Ordering::Relaxed);
        let mut quality = self.quality();
        if let Some(left) = &mut quality.cut_after {
            *left = left.saturating_sub(length);
            if *left == 0 {
                drop(quality);
                self.change(|quality| quality.state = State::Cut);
                return None;
            }
        }
        let now = Instant::now();
        let sent = match quality.bytes_per_second {
            Some(rate) => {
                let begin = quality.free_at[side as usize].map_or(now, |at| at.max(now));
                begin + Duration::from_secs_f64(length as f64 / rate.max(1) as f64)
            }
            None => now,
        };
        quality.free_at[side as usize] = Some(sent);
        let due = sent + quality.delay;
        drop(quality);
        thread::sleep(sent.saturating_duration_since(now));
        Some(due)
    }

    /// Waits until `due` and for the end of a stall; `false` if the link is cut.
    fn arrive(&self, due: Instant) -> bool {
        let mut quality = self.quality();
        loop {
            let left = due.saturating_duration_since(Instant::now());
            quality = match quality.state {
                State::Cut | State::Ended => return false,
                State::Open if left.is_zero() => return true,
                State::Open => self.changed.wait_timeout(quality, left).unwrap_or_else(PoisonError::into_inner).0,
                State::Stalled => self.changed.wait(quality).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

fn accept(listener: &TcpListener, target: SocketAddr, link: &Arc<Link>) {
    for client in listener.incoming() {
        if link.quality().state == State::Ended {
            return;
        }
        link.connections.fetch_add(1, Ordering::Relaxed);
        // A target that refuses is a connection that ends.
        let _refused = client.and_then(|client| connect(client, target, link));
    }
}

fn connect(client: TcpStream, target: SocketAddr, link: &Arc<Link>) -> io::Result<()> {
    let server = TcpStream::connect_timeout(&target, Duration::from_secs(5))?;
    for stream in [&client, &server] {
        stream.set_nodelay(true)?;
    }
    if !link.note([&client, &server])? {
        link.end_all();
        return Ok(());
    }
    let spoke_last = Arc::new(Mutex::new(Side::Server));
    for (side, from, to) in [(Side::Client, client.try_clone()?, server.try_clone()?), (Side::Server, server, client)] {
        let (sender, receiver) = sync_channel(IN_FLIGHT);
        let (reading, writing, spoke_last) = (link.clone(), link.clone(), spoke_last.clone());
        thread::spawn(move || read(&reading, side, &spoke_last, from, &sender));
        thread::spawn(move || write(&writing, to, &receiver));
    }
    Ok(())
}

fn read(
    link: &Link,
    side: Side,
    spoke_last: &Mutex<Side>,
    mut from: TcpStream,
    sender: &SyncSender<(Instant, Vec<u8>)>,
) {
    loop {
        let mut chunk = vec![0; link.chunk()];
        let length = from.read(&mut chunk).unwrap_or(0);
        if length == 0 {
            return;
        }
        chunk.truncate(length);
        let before = std::mem::replace(&mut *spoke_last.lock().unwrap_or_else(PoisonError::into_inner), side);
        if let (Side::Client, Side::Server) = (before, side) {
            link.round_trips.fetch_add(1, Ordering::Relaxed);
        }
        let Some(due) = link.pass(side, length) else { return };
        if sender.send((due, chunk)).is_err() {
            return;
        }
    }
}

fn write(link: &Link, mut to: TcpStream, receiver: &Receiver<(Instant, Vec<u8>)>) {
    for (due, chunk) in receiver {
        if !link.arrive(due) || to.write_all(&chunk).is_err() {
            let _ended_already = to.shutdown(Shutdown::Both);
            return;
        }
    }
    // The other side has said all it had to say.
    let _ended_already = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    /// A server that says back what it hears.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("its address");
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut reading = stream.try_clone().expect("clone");
                    let mut writing = stream;
                    let _ended = io::copy(&mut reading, &mut writing);
                    let _ended = writing.shutdown(Shutdown::Write);
                });
            }
        });
        address
    }

    fn client(relay: &Relay) -> TcpStream {
        let stream = TcpStream::connect(relay.address()).expect("connect");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        stream
    }

    /// Says `bytes`, and gives how long it took until they were back.
    fn say(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<Duration> {
        let began = Instant::now();
        let mut writing = stream.try_clone()?;
        let words = bytes.to_vec();
        let writer = thread::spawn(move || writing.write_all(&words));
        let mut heard = vec![0; bytes.len()];
        stream.read_exact(&mut heard)?;
        writer.join().expect("no panic")?;
        assert!(heard == bytes, "what comes back is what was said");
        Ok(began.elapsed())
    }

    #[test]
    fn everything_passes_whole_and_is_counted() {
        let relay = Relay::to(echo());
        let mut stream = client(&relay);
        let bytes: Vec<u8> = (0..=255).cycle().take(3 << 20).collect();
        say(&mut stream, &bytes).expect("heard");
        stream.shutdown(Shutdown::Write).expect("the last word");
        assert_eq!(stream.read(&mut [0; 8]).expect("its end"), 0, "an end passes too");
        assert_eq!((relay.connections(), relay.bytes()), (1, (3 << 20, 3 << 20)));
    }

    #[test]
    fn a_delay_is_of_each_direction_and_turns_are_counted() {
        let relay = Relay::to(echo());
        relay.delay(Duration::from_millis(60));
        let mut stream = client(&relay);
        for _ in 0..3 {
            let took = say(&mut stream, b"ping").expect("heard");
            assert!(took >= Duration::from_millis(120), "{took:?}");
        }
        assert_eq!(relay.round_trips(), 3);
    }

    #[test]
    fn a_slow_line_is_shared_by_its_connections() {
        let relay = Relay::to(echo());
        relay.bandwidth(Some(200_000));
        let began = Instant::now();
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| say(&mut client(&relay), &[7; 50_000]).expect("heard"));
            }
        });
        let took = began.elapsed();
        assert!(took >= Duration::from_millis(450), "100 kB at 200 kB/s: {took:?}");
    }

    #[test]
    fn a_stalled_line_says_nothing_and_loses_nothing() {
        let relay = Relay::to(echo());
        let mut stream = client(&relay);
        say(&mut stream, b"one").expect("heard");
        relay.stall();
        stream.set_read_timeout(Some(Duration::from_millis(200))).expect("a limit");
        stream.write_all(b"two").expect("on its way");
        assert_eq!(stream.read(&mut [0; 8]).expect_err("silence").kind(), io::ErrorKind::WouldBlock);
        relay.restore();
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        let mut heard = [0; 3];
        stream.read_exact(&mut heard).expect("heard");
        assert_eq!(&heard, b"two");
    }

    #[test]
    fn a_cut_line_ends_what_there_is_and_what_comes_until_it_is_restored() {
        let relay = Relay::to(echo());
        let mut stream = client(&relay);
        say(&mut stream, b"one").expect("heard");
        relay.cut();
        assert!(say(&mut stream, b"two").is_err());
        assert!(say(&mut client(&relay), b"three").is_err());
        relay.restore();
        say(&mut client(&relay), b"four").expect("heard");
    }

    #[test]
    fn what_comes_late_does_not_undo_its_end() {
        let link = Link::default();
        link.change(|quality| quality.state = State::Ended);
        link.change(|quality| quality.state = State::Cut);
        assert_eq!(link.quality().state, State::Ended);
    }

    #[test]
    fn it_is_cut_in_the_middle_of_what_passes() {
        let relay = Relay::to(echo());
        let mut stream = client(&relay);
        relay.cut_after(100_000);
        assert!(say(&mut stream, &[7; 300_000]).is_err());
        let (up, down) = relay.bytes();
        assert!((100_000..300_000).contains(&(up + down)), "{up} {down}");
    }
}
