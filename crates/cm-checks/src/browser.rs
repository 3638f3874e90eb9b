//! What an answer should say to a browser, and what of it people should not see.

use cm_http::Answer;
use regex::{Captures, Regex};
use std::sync::LazyLock;

/// The headers that protect browsers and are not there; `None` if all are. Transport
/// security is a matter of https alone.
pub fn missing(answer: &Answer) -> Option<String> {
    let framing = |answer: &Answer| {
        answer.header("x-frame-options").is_some()
            || answer.header("content-security-policy").is_some_and(|policy| policy.contains("frame-ancestors"))
    };
    let wanted = [
        (
            "Strict-Transport-Security",
            answer.certificate.is_none() || answer.header("strict-transport-security").is_some(),
        ),
        ("X-Content-Type-Options", answer.header("x-content-type-options").is_some_and(|value| value == "nosniff")),
        ("X-Frame-Options or frame-ancestors", framing(answer)),
        ("Referrer-Policy", answer.header("referrer-policy").is_some()),
    ];
    let missing: Vec<_> = wanted.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect();
    Some(missing.join(", ")).filter(|names| !names.is_empty())
}

/// `"token": "…"` and the like, and the password in `scheme://user:password@`.
static SECRET: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(
        r#"(?i)("[a-z0-9_-]*(?:password|passwd|secret|token|api_?-?key|authorization|cookie)[a-z0-9_-]*"\s*:\s*")[^"]+|([a-z][a-z0-9+.-]*://[^\s:/@"]+:)[^"\s@/]+@"#,
    )
    .ok()
});

/// A body without the values that its keys call secret.
pub fn scrub(body: &str) -> String {
    let hide = |found: &Captures<'_>| match (found.get(1), found.get(2)) {
        (Some(key), _) => format!("{}***", key.as_str()),
        (_, Some(user)) => format!("{}***@", user.as_str()),
        _ => String::new(),
    };
    SECRET.as_ref().map_or(String::new(), |secret| secret.replace_all(body, hide).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_others_are_not_shown() {
        for (body, shown) in [
            (r#"{"api_key": "abc", "b": 1}"#, r#"{"api_key": "***", "b": 1}"#),
            (r#"{"accessToken":"x.y"}"#, r#"{"accessToken":"***"}"#),
            ("mongodb://me:pw@db/x", "mongodb://me:***@db/x"),
            // A port is no password.
            (r#"{"status":"ok","url":"http://a:80/x"}"#, r#"{"status":"ok","url":"http://a:80/x"}"#),
        ] {
            assert_eq!(scrub(body), shown);
        }
    }

    #[test]
    fn missing_headers_are_named() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut answer = Answer { certificate: Some(Vec::new()), ..Answer::default() };
        assert_eq!(
            missing(&answer).as_deref(),
            Some(
                "Strict-Transport-Security, X-Content-Type-Options, X-Frame-Options or frame-ancestors, Referrer-Policy"
            )
        );
        answer.headers = vec![
            header("strict-transport-security", "max-age=63072000"),
            header("x-content-type-options", "nosniff"),
            header("content-security-policy", "frame-ancestors 'none'"),
            header("referrer-policy", "no-referrer"),
        ];
        assert_eq!(missing(&answer), None);
    }
}
