//! Secrets never leave the process: a program that reads one registers it here, and everything
//! written to stdout, stderr or the journal passes through [`redact`]: plain, and as JSON, URLs, hex
//! and base64 write it. The registry is global because a log line can come from anywhere. Values
//! that only one text may contain are hidden by [`hide`]: most of them are no secrets elsewhere.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::{PoisonError, RwLock};

static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

/// Shorter values are no secrets: they are part of nearly every text.
const MIN_LENGTH: usize = 3;

/// Shorter ones are hidden only where they stand alone: they may be part of ordinary words.
const ANYWHERE: usize = 8;

/// What a URL does not write as it is.
const URL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// Values that every environment has.
const COMMON: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "none", "null", "production"];

/// From now on `secret` is written as `***`, in every form.
pub fn add_secret(secret: &str) {
    if secret.len() < MIN_LENGTH {
        return;
    }
    let mut secrets = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    for form in forms(secret) {
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
    for secret in secrets.iter().filter(|secret| text.contains(secret.as_str())).collect::<Vec<_>>() {
        text = Cow::Owned(replaced(&text, secret, "***"));
    }
    text
}

/// `text` with the values of these variables (`NAME`, value) replaced by `${NAME}`.
pub fn hide<'a>(text: &str, variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let is_number = |value: &str| value.len() < 4 && value.bytes().all(|byte| byte.is_ascii_digit());
    let may_be_one = |value: &str| value.len() >= MIN_LENGTH && !COMMON.contains(&value) && !is_number(value);
    let variables = variables.into_iter().filter(|(_, value)| may_be_one(value));
    let mut known: Vec<(String, &str)> =
        variables.flat_map(|(name, value)| forms(value).into_iter().map(move |form| (form, name))).collect();
    known.sort_by_key(|(form, _)| std::cmp::Reverse(form.len()));
    let mut text = text.to_owned();
    for (form, name) in known {
        if text.contains(&form) {
            text = replaced(&text, &form, &format!("${{{name}}}"));
        }
    }
    text
}

/// Everything that `secret` may look like. Of base64, what it is at each of three places, without
/// what its neighbours have a say in.
fn forms(secret: &str) -> Vec<String> {
    let quoted = serde_json::Value::from(secret).to_string();
    let hex = secret.bytes().fold(String::new(), |mut hex, byte| {
        let _written = write!(hex, "{byte:02x}");
        hex
    });
    let percent = utf8_percent_encode(secret, URL).to_string();
    let mut forms = vec![
        secret.to_owned(),
        quoted[1..quoted.len() - 1].to_owned(),
        percent.replace("%20", "+"),
        in_small_letters(&percent),
        percent,
    ];
    forms.extend(secret.lines().filter(|line| line.len() >= ANYWHERE).map(str::to_owned));
    if secret.len() > MIN_LENGTH {
        forms.extend([hex.to_uppercase(), hex]);
        for skipped in 0..3 {
            let whole = STANDARD_NO_PAD.encode([&vec![0; skipped][..], secret.as_bytes()].concat());
            let from = if skipped == 0 { 0 } else { skipped + 1 };
            let core = &whole[from..8 * (skipped + secret.len()) / 6];
            if skipped == 0 {
                forms.push(whole.clone());
            }
            forms.extend([core.to_owned(), core.replace('+', "-").replace('/', "_")]);
        }
    }
    forms.retain(|form| form.len() >= MIN_LENGTH);
    forms.sort();
    forms.dedup();
    forms
}

fn replaced(text: &str, form: &str, with: &str) -> String {
    if form.len() >= ANYWHERE {
        return text.replace(form, with);
    }
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let (mut out, mut copied) = (String::new(), 0);
    for (at, _) in text.match_indices(form) {
        let end = at + form.len();
        if !is_word(text[..at].chars().next_back()) && !is_word(text[end..].chars().next()) {
            out.push_str(&text[copied..at]);
            out.push_str(with);
            copied = end;
        }
    }
    out.push_str(&text[copied..]);
    out
}

/// A URL's encoding of `text` with small letters.
fn in_small_letters(percent: &str) -> String {
    let mut parts = percent.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (code, rest) = part.split_at(2);
        out.extend(["%", &code.to_ascii_lowercase(), rest]);
    }
    out
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
        for text in ["7040737320", "cEBzcyAid29yZCIgb2YgbWluZQ==", "dTpwQHNzICJ3b3JkIiBvZiBtaW5l"] {
            let whole = text.replace("7040737320", "7040737320 22776f726422206f66206d696e65").replace(' ', "");
            let hidden = redact(&whole).into_owned();
            assert!(hidden.contains("***") && hidden.len() < 12, "{hidden}");
        }
    }

    #[test]
    fn short_values_do_not_eat_ordinary_text() {
        add_secret("on");
        assert_eq!(redact("one second"), "one second");
        add_secret("hunt3");
        assert_eq!(redact("hunt3 shunt3r hunt3!"), "*** shunt3r ***!");
    }

    #[test]
    fn the_values_of_an_environment_are_told_by_their_names() {
        let environment = [("DEBUG", "true"), ("PIN", "4711"), ("TOKEN", "tok-abcdef-1"), ("N", "12")];
        let text = "pin 4711 of 47110, true, 12, tok-abcdef-1 and dG9rLWFiY2RlZi0x";
        assert_eq!(hide(text, environment), "pin ${PIN} of 47110, true, 12, ${TOKEN} and ${TOKEN}");
    }
}
