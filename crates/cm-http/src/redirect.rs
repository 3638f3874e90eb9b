//! Following redirects, as far as a request allows it. A loop is told apart from a
//! chain that is too long, and what is secret does not go to another server.

use super::message::{Answer, No, Request};
use reqwest::Url;

/// The way of one request.
pub struct Hops {
    request: Request,
    seen: Vec<Url>,
}

impl Hops {
    pub fn of(request: &Request) -> Result<Hops, No> {
        let url = Url::parse(&request.url).map_err(|_| No::Words("builder error: this is not a URL"))?;
        Ok(Hops { request: request.clone(), seen: vec![url] })
    }

    /// What is asked next.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Whether the answer leads on; if so, [`Hops::request`] is the next one.
    pub fn follow(&mut self, answer: &Answer) -> Result<bool, No> {
        let (true, true, Some(location)) =
            (self.request.redirects > 0, matches!(answer.status, 301 | 302 | 303 | 307 | 308), &answer.location)
        else {
            return Ok(false);
        };
        let here = &self.seen[self.seen.len() - 1];
        let next = here.join(location).map_err(|_| No::Words("it redirects to what is not a URL"))?;
        if self.seen.contains(&next) {
            return Err(No::Words("redirect loop"));
        }
        if self.seen.len() > self.request.redirects as usize {
            return Err(No::Words("too many redirects"));
        }
        if next.origin() != here.origin() {
            self.request.headers.clear();
        }
        // As browsers do; 307 and 308 keep the method.
        if matches!(answer.status, 301..=303) && self.request.method != "HEAD" {
            (self.request.method, self.request.json) = ("GET", None);
        }
        self.request.url = next.to_string();
        self.seen.push(next);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, location: &str) -> Answer {
        Answer { status, location: Some(location.to_owned()), ..Answer::default() }
    }

    fn start(redirects: u32) -> Hops {
        let headers = vec![("X-Key".to_owned(), "secret".to_owned())];
        let request = Request { url: "http://a/x".to_owned(), redirects, headers, ..Request::default() };
        Hops::of(&request).unwrap_or_else(|_| panic!("a URL"))
    }

    #[test]
    fn loops_and_long_ways_are_told_apart() {
        let mut hops = start(2);
        assert!(matches!(hops.follow(&answer(302, "y")), Ok(true)));
        assert!(matches!(hops.follow(&answer(302, "/x")), Err(No::Words("redirect loop"))));
        assert!(matches!(hops.follow(&answer(302, "/z")), Ok(true)));
        assert!(matches!(hops.follow(&answer(302, "/w")), Err(No::Words("too many redirects"))));
        assert!(matches!(start(0).follow(&answer(302, "/x")), Ok(false)), "shown, not followed");
    }

    #[test]
    fn secrets_stay_with_their_server() {
        let mut hops = start(5);
        assert!(matches!(hops.follow(&answer(307, "/b")), Ok(true)));
        assert_eq!((hops.request().url.as_str(), hops.request().headers.len()), ("http://a/b", 1));
        assert!(matches!(hops.follow(&answer(307, "http://evil/")), Ok(true)));
        assert!(hops.request().headers.is_empty());
    }
}
