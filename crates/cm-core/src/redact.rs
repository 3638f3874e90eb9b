//! Secrets never leave the process: a program that reads one registers it here,
//! and everything written to stdout, stderr or the journal passes through
//! [`redact`]. The registry is global because a log line can come from anywhere.

use std::borrow::Cow;
use std::sync::{PoisonError, RwLock};

static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Shorter values are too likely to be part of ordinary words.
const MIN_LENGTH: usize = 6;

/// From now on `secret` is written as `***`, plain or percent-encoded.
pub fn add_secret(secret: &str) {
    if secret.len() < MIN_LENGTH {
        return;
    }
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    for form in [secret.to_owned(), percent_encoded(secret), json_escaped(secret)] {
        if !secrets.contains(&form) {
            secrets.push(form);
        }
    }
    // The longest first, so that a secret inside another does not split it.
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
}

/// `text` with every registered secret replaced by `***`.
pub fn redact(text: &str) -> Cow<'_, str> {
    let secrets = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    let mut text = Cow::Borrowed(text);
    for secret in secrets.iter() {
        if text.contains(secret) {
            text = Cow::Owned(text.replace(secret, "***"));
        }
    }
    text
}

fn percent_encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn json_escaped(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_hidden_in_every_form() {
        add_secret("p@ss \"word\" of mine");
        for text in ["p@ss \"word\" of mine", "p%40ss%20%22word%22%20of%20mine", r#"p@ss \"word\" of mine"#] {
            assert_eq!(redact(&format!("a {text} b")), "a *** b");
        }
    }

    #[test]
    fn short_values_do_not_eat_ordinary_text() {
        add_secret("on");
        assert_eq!(redact("one second"), "one second");
    }
}
