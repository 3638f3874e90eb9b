//! The HTTP client of verification and notification: one place for the TLS
//! provider, for limits, and for names under `.localhost`, which mean this machine
//! (RFC 6761) as they do for curl and browsers. Redirects are shown, not followed:
//! a check wants to see the answer that a user's first request gets.

use cm_core::{Exit, Failure, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

/// More of an answer than this is not read, in bytes.
const MAX_BODY: usize = 4 << 20;

/// A client; cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    inner: reqwest::Client,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The `Location` of a redirect.
    pub location: Option<String>,
    /// The body, cut at 4 MiB; bytes that are not UTF-8 are replaced.
    pub body: String,
    /// From the first byte sent to the last one read.
    pub latency: Duration,
}

/// A request: GET, or POST when it has a body.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The full URL.
    pub url: String,
    /// Header names and values; values may be secret.
    pub headers: Vec<(String, String)>,
    /// A JSON body.
    pub json: Option<serde_json::Value>,
}

impl Client {
    /// A client whose requests take at most `limit` each.
    ///
    /// # Errors
    /// [`Exit::Bug`] if TLS cannot be set up.
    pub fn new(limit: Duration) -> Result<Client> {
        static TLS: Once = Once::new();
        TLS.call_once(|| {
            // Fails only if one is installed already, which is as good.
            let _installed = rustls::crypto::ring::default_provider().install_default();
        });
        let builder = reqwest::Client::builder()
            .timeout(limit)
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("cm/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Resolver));
        let inner = builder.build().map_err(|error| Failure::bug("cannot set up the HTTP client").source(error))?;
        Ok(Client { inner })
    }

    /// Sends a request and reads the answer, whatever its status.
    ///
    /// # Errors
    /// `exit` with code `http.no-answer` if there is no answer: that is "could not check".
    pub async fn send(&self, request: &Request, exit: Exit) -> Result<Answer> {
        let began = Instant::now();
        let mut builder = match &request.json {
            Some(json) => self.inner.post(&request.url).json(json),
            None => self.inner.get(&request.url),
        };
        for (name, value) in &request.headers {
            builder = builder.header(name, value);
        }
        let no_answer = |error: reqwest::Error| {
            let timed_out = error.is_timeout();
            // The URL of a webhook is a secret; the message names no URL.
            let failure = Failure::new(exit, "http.no-answer", "no answer").source(error.without_url()).retryable();
            if timed_out { failure.cause("timed out") } else { failure }
        };
        let mut response = builder.send().await.map_err(no_answer)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(no_answer)? {
            body.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY - body.len())]);
        }
        let location = response.headers().get("location").and_then(|value| value.to_str().ok()).map(str::to_owned);
        Ok(Answer {
            status: response.status().as_u16(),
            location,
            body: String::from_utf8_lossy(&body).into_owned(),
            latency: began.elapsed(),
        })
    }
}

/// The system's resolver, with `.localhost` answered here.
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let host = name.as_str().trim_end_matches('.').to_ascii_lowercase();
        Box::pin(async move {
            if host == "localhost" || host.ends_with(".localhost") {
                let loopback = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
                return Ok(Box::new(std::iter::once(loopback)) as Addrs);
            }
            let found: Vec<_> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
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
