//! What is left of URLs in texts that leave the company's own machines: queries and user info hold
//! tokens and passwords that nobody has registered as secrets.

/// What may stand behind a URL and is no part of it.
const BEHIND: [char; 10] = ['.', ',', ':', ';', '!', ')', ']', '}', '"', '\''];

/// `text`, with nothing of its URLs but scheme, host, port and path.
pub fn plain(text: &str) -> String {
    let Some(at) = text.find("://") else { return text.to_owned() };
    let (before, after) = (&text[..at + 3], &text[at + 3..]);
    if !before.strip_suffix("://").is_some_and(|before| before.ends_with(|c: char| c.is_ascii_alphanumeric())) {
        return format!("{before}{}", plain(after));
    }
    let end = after.find(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '<' | '>' | '`'));
    let (token, rest) = after.split_at(end.unwrap_or(after.len()));
    let url = token.trim_end_matches(BEHIND);
    let behind = &token[url.len()..];
    let url = &url[user_info(url)..];
    // A path may hold another URL.
    let kept = plain(&url[..url.find(['?', '#']).unwrap_or(url.len())]);
    format!("{before}{kept}{behind}{}", plain(rest))
}

/// One URL without its user info.
pub fn without_user_info(url: &str) -> String {
    let stripped = url.split_once("://").map(|(scheme, rest)| format!("{scheme}://{}", &rest[user_info(rest)..]));
    stripped.unwrap_or_else(|| url.to_owned())
}

/// How long the user info of `url` is, `@` included; `url` begins behind the scheme.
fn user_info(url: &str) -> usize {
    let authority = &url[..url.find(['/', '?', '#']).unwrap_or(url.len())];
    let behind = |at: Option<usize>| at.map_or(0, |at| at + 1);
    // A password that should have been escaped: what looks like a port is no number.
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let cut = !authority.starts_with('[') && authority.split_once(':').is_some_and(|(_, port)| !is_port(port));
    behind(if cut { url.rfind('@') } else { authority.rfind('@') })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_urls_only_scheme_host_and_path_are_left() {
        let cases = [
            ("no URL: what? a@b", "no URL: what? a@b"),
            ("https://shop.example/health", "https://shop.example/health"),
            ("https://shop.example/health?token=s3cret: 500", "https://shop.example/health: 500"),
            ("(https://shop.example?token=s3cret) failed", "(https://shop.example) failed"),
            (
                "cannot ask \"https://ada:s3cret@shop.example:8443/x?y#s3cret\": refused",
                "cannot ask \"https://shop.example:8443/x\": refused",
            ),
            ("mongodb+srv://u:s3@cret@db.example/shop?authSource=s3cret", "mongodb+srv://db.example/shop"),
            ("redis://:s3cret@cache:6379/0", "redis://cache:6379/0"),
            ("postgres://u:s3/cr?et@db/shop", "postgres://db/shop"),
            ("https://s3cret@[::1]:80/", "https://[::1]:80/"),
            ("http://[::1]:80/@x", "http://[::1]:80/@x"),
            ("https://npm.example/@scope/x", "https://npm.example/@scope/x"),
            ("https://a/,https://u:s3cret@b/?s3cret https://c/?s3cret", "https://a/,https://b/ https://c/"),
            ("see <https://a/?s3cret|here>", "see <https://a/>"),
            ("HTTPS://a/#s3cret", "HTTPS://a/"),
            ("é://x ://y?z", "é://x ://y?z"),
        ];
        for (text, wanted) in cases {
            assert_eq!(plain(text), wanted, "{text:?}");
        }
    }
}
