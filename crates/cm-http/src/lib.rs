//! The HTTP client of verification and notification: one place for the TLS
//! provider, for limits, and for names under `.localhost`, which mean this machine
//! (RFC 6761) as they do for curl and browsers. Redirects are shown, not followed,
//! unless a request says so: a check wants to see the answer that a user's first
//! request gets. An answer without an end, in size or in time, ends here.

mod message;
mod redirect;

pub use message::{Answer, Request};

use cm_core::{Exit, Failure, Result};
use message::No;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Method, Url};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// More of an answer than this is not read, in bytes.
pub const MAX_BODY: usize = 4 << 20;

/// A client; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
    limit: Duration,
    asked: Asked,
}

impl Client {
    /// A client whose requests take at most `limit` each.
    ///
    /// # Errors
    /// [`Exit::Bug`] if TLS cannot be set up.
    pub fn new(limit: Duration) -> Result<Client> {
        Client::build(limit, |builder| builder)
    }

    /// A client whose every connection goes through a Unix socket, such as a tunnel's end.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn through(socket: &Path, limit: Duration) -> Result<Client> {
        Client::build(limit, |builder| builder.unix_socket(socket))
    }

    /// A client that takes `address` for the server called `name`.
    ///
    /// # Errors
    /// As [`Client::new`].
    pub fn resolving(name: &str, address: IpAddr, limit: Duration) -> Result<Client> {
        // Port 0: the URL's.
        Client::build(limit, |builder| builder.resolve(name, SocketAddr::new(address, 0)))
    }

    fn build(limit: Duration, more: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder) -> Result<Client> {
        static TLS: Once = Once::new();
        TLS.call_once(|| {
            // Fails only if one is installed already, which is as good.
            let _installed = rustls::crypto::ring::default_provider().install_default();
        });
        let asked = Asked::default();
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("cm/", env!("CARGO_PKG_VERSION")))
            .tls_info(true)
            .dns_resolver(Arc::new(Resolver(asked.clone())));
        let inner = more(builder).build();
        let inner = inner.map_err(|error| Failure::bug("cannot set up the HTTP client").source(error))?;
        Ok(Client { inner, limit, asked })
    }

    /// Sends a request and reads the answer, whatever its status.
    ///
    /// # Errors
    /// `exit` with code `http.no-answer` if there is no answer: that is "could not check".
    /// Its causes say why; `timed out`, `timed out while the body came`, `redirect loop`,
    /// `too many redirects` and [`NO_NAME_SERVICE`] are this client's own words.
    pub async fn send(&self, request: &Request, exit: Exit) -> Result<Answer> {
        let began = Instant::now();
        let limit = request.limit.unwrap_or(self.limit);
        let no_answer = |why: No| why.failure(exit);
        let mut hops = redirect::Hops::of(request).map_err(no_answer)?;
        loop {
            let asked = self.once(hops.request(), began, limit);
            let mut answer = asked.await.map_err(no_answer)?;
            answer.latency = began.elapsed();
            if !hops.follow(&answer).map_err(no_answer)? {
                return Ok(answer);
            }
        }
    }

    /// One request and its answer, within what is left of `limit`.
    async fn once(&self, request: &Request, began: Instant, limit: Duration) -> std::result::Result<Answer, No> {
        let left = || limit.saturating_sub(began.elapsed());
        let method = match (request.method, &request.json) {
            ("", Some(_)) => Method::POST,
            ("", None) => Method::GET,
            (method, _) => Method::from_bytes(method.as_bytes()).map_err(|_| No::Words("builder error: bad method"))?,
        };
        let mut builder = self.inner.request(method, &request.url);
        if let Some(json) = &request.json {
            builder = builder.json(json);
        }
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        // Whoever looks a name up is asked before the request is given up.
        let mut sending = std::pin::pin!(builder.send());
        let sent = tokio::time::timeout(left(), sending.as_mut()).await;
        let late = |_| No::Words(if self.asked.has(&request.url) { NO_NAME_SERVICE } else { "timed out" });
        let mut response = sent.map_err(late)??;
        let mut answer = head(&response);
        let read = tokio::time::timeout(left(), body(&mut response)).await;
        let (bytes, cut) = read.map_err(|_| No::Words("timed out while the body came"))??;
        (answer.body, answer.cut) = (String::from_utf8_lossy(&bytes).into_owned(), cut);
        Ok(answer)
    }
}

/// Everything but the body.
fn head(response: &reqwest::Response) -> Answer {
    let text = |value: &reqwest::header::HeaderValue| value.to_str().ok().map(str::to_owned);
    let headers = response.headers().iter().filter_map(|(name, value)| Some((name.as_str().to_owned(), text(value)?)));
    let tls = response.extensions().get::<reqwest::tls::TlsInfo>();
    Answer {
        status: response.status().as_u16(),
        location: response.headers().get("location").and_then(text),
        headers: headers.collect(),
        certificate: tls.and_then(|tls| tls.peer_certificate()).map(<[u8]>::to_vec),
        ..Answer::default()
    }
}

/// The body, and whether there was more of it than is read.
async fn body(response: &mut reqwest::Response) -> reqwest::Result<(Vec<u8>, bool)> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = MAX_BODY - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() > room {
            return Ok((body, true));
        }
    }
    Ok((body, false))
}

/// Whether `url` is one that can be asked: `http://` or `https://` and a host.
pub fn is_url(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

/// The host of a URL, without its port.
pub fn host(url: &str) -> Option<String> {
    Url::parse(url).ok()?.host_str().map(str::to_owned)
}

/// The port of a URL, or its scheme's.
pub fn port(url: &str) -> Option<u16> {
    Url::parse(url).ok()?.port_or_known_default()
}

/// The time was over, and this machine's name service had not said where to send the request.
pub const NO_NAME_SERVICE: &str = "dns error: the name service of this machine did not answer in time";

/// The names that the name service is being asked for.
#[derive(Clone, Debug, Default)]
struct Asked(Arc<Mutex<BTreeMap<String, usize>>>);

impl Asked {
    /// Until what it gives is dropped, the name service is being asked for `host`.
    fn begin(&self, host: &str) -> Asking {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(host.to_owned()).or_default() += 1;
        Asking { all: self.clone(), host: host.to_owned() }
    }

    fn has(&self, url: &str) -> bool {
        let host = host(url).map(|host| host.trim_end_matches('.').to_ascii_lowercase());
        host.is_some_and(|host| self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&host))
    }
}

struct Asking {
    all: Asked,
    host: String,
}

impl Drop for Asking {
    fn drop(&mut self) {
        let mut all = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        match all.get_mut(&self.host) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(all.remove(&self.host)),
        }
    }
}

/// The system's resolver, with `.localhost` answered here.
struct Resolver(Asked);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().trim_end_matches('.').to_ascii_lowercase();
        let asking = self.0.begin(&host);
        Box::pin(async move {
            if host == "localhost" || host.ends_with(".localhost") {
                let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
                return Ok(Box::new(std::iter::once(loopback)) as Addrs);
            }
            let found: Vec<_> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            drop(asking);
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn serve(answer: &'static str) -> u16 {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut request = [0; 4096];
            let _read = stream.read(&mut request).await;
            stream.write_all(answer.as_bytes()).await.expect("write");
        });
        port
    }

    fn get(url: String) -> Request {
        Request { url, ..Request::default() }
    }

    #[tokio::test]
    async fn a_request_that_waited_for_the_name_service_says_so() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let url = format!("http://Shop.localhost:{}/", listener.local_addr().expect("address").port());
        let client = Client::new(Duration::from_millis(200)).expect("a client");
        let why =
            async || client.send(&get(url.clone()), Exit::VerifyUnknown).await.expect_err("silent").causes.join("\n");
        assert_eq!(why().await, "timed out");
        let asking = client.asked.begin("shop.localhost");
        assert_eq!(why().await, NO_NAME_SERVICE);
        drop(asking);
        assert_eq!(why().await, "timed out");
    }

    #[tokio::test]
    async fn names_under_localhost_mean_this_machine_and_redirects_are_shown() {
        let port =
            serve("HTTP/1.1 307 T\r\nLocation: /login\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi").await;
        let client = Client::new(Duration::from_secs(5)).expect("client");
        let answer =
            client.send(&get(format!("http://any.name.localhost:{port}/")), Exit::VerifyUnknown).await.expect("answer");
        assert_eq!((answer.status, answer.location.as_deref(), answer.body.as_str()), (307, Some("/login"), "hi"));
    }

    #[tokio::test]
    async fn no_answer_is_an_error_and_names_no_url() {
        let client = Client::new(Duration::from_secs(5)).expect("client");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
        let port = listener.local_addr().expect("address").port();
        drop(listener);
        let failure = client
            .send(&get(format!("http://127.0.0.1:{port}/secret-token")), Exit::VerifyUnknown)
            .await
            .expect_err("refused");
        assert_eq!(failure.exit, Exit::VerifyUnknown);
        assert!(!failure.to_string().contains("secret-token"), "{failure}");
    }
}
