//! What ssh, and what it runs to get to a server (ProxyCommand, a jump host's ssh), say when there is no connection:
//! their last words, without the secrets of this machine.

use cm_core::hide;
use std::iter::from_fn;

/// Words of a name, in capitals, whose value nobody shall read.
const SECRET: [&str; 6] = ["TOKEN", "SECRET", "PASSW", "CREDENTIAL", "API_KEY", "APIKEY"];

/// So many lines are told at most, and so many bytes: their end, where the reason is.
const LINES: usize = 20;
const BYTES: usize = 2_000;

const QUOTES: [char; 2] = ['"', '\''];

/// The end of what was said. What is secret in the environment of this program, in the `ProxyCommand` of
/// `configuration` (as `ssh -G` tells it) and in URLs is left out.
pub fn last_words(said: &str, configuration: &str) -> String {
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| is_secret(name))
        .collect();
    let command = configuration.lines().find_map(|line| line.strip_prefix("proxycommand ")).unwrap_or_default();
    let arguments = arguments(command);
    let known = environment.iter().chain(&arguments).map(|(name, value)| (name.as_str(), value.as_str()));
    let hidden = hide(said, known);
    let lines: Vec<_> = hidden.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let told = lines[lines.len().saturating_sub(LINES)..].join("\n");
    let start = (told.len().saturating_sub(BYTES)..told.len()).find(|at| told.is_char_boundary(*at));
    without_passwords(&told[start.unwrap_or(0)..])
}

fn is_secret(name: &str) -> bool {
    let name = name.to_uppercase().replace('-', "_");
    SECRET.iter().any(|word| name.contains(word))
}

/// The values of options whose names say that they are secret: `--token X`, `--token=X`, `TOKEN=X`.
fn arguments(command: &str) -> Vec<(String, String)> {
    let mut words = command.split_whitespace().map(|word| word.trim_matches(QUOTES));
    let mut option = None;
    let found = from_fn(|| {
        let word = words.next()?;
        let pair = match (option.take(), word.split_once('=')) {
            (Some(name), _) => Some((name, word)),
            (None, Some((name, value))) if is_secret(name) => Some((name, value.trim_matches(QUOTES))),
            (None, _) => {
                option = Some(word).filter(|word| word.starts_with('-') && is_secret(word));
                None
            }
        };
        Some(pair)
    });
    let named = |(name, value): (&str, &str)| (name.trim_start_matches('-').to_owned(), value.to_owned());
    found.flatten().map(named).collect()
}

/// `https://ada:***@example.org` for every URL with a password.
fn without_passwords(text: &str) -> String {
    let mut parts = text.split("://");
    let mut clean = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|c: char| c == '/' || c.is_whitespace()).unwrap_or(part.len());
        let (place, rest) = part.split_at(end);
        clean.push_str("://");
        match place.rsplit_once('@').and_then(|(user, host)| Some((user.split_once(':')?.0, host))) {
            Some((user, host)) => clean.extend([user, ":***@", host]),
            None => clean.push_str(place),
        }
        clean.push_str(rest);
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_command_is_given_to_keep_is_not_told() {
        let configuration = "hostname h\nproxycommand cloudflared access ssh --hostname h --service-token-id id.access \
            --service-token-secret 0123456789abcdef API_KEY='k3y-of-mine' --password=hunt3rhunt3r -v\nport 22";
        let said = "ERR 0123456789abcdef of id was refused\nkey k3y-of-mine\npassword hunt3rhunt3r -v\n\n\
            via https://ada:geheim@proxy.example:3128/x and ssh://git@h/y\n";
        assert_eq!(
            last_words(said, configuration),
            "ERR ${service-token-secret} of id was refused\nkey ${API_KEY}\npassword ${password} -v\n\
             via https://ada:***@proxy.example:3128/x and ssh://git@h/y"
        );
    }

    #[test]
    fn of_many_words_the_last_are_told() {
        let many: String = (0..100).map(|number| format!("line {number}\r\n")).collect();
        let told = last_words(&many, "");
        assert_eq!((told.lines().count(), told.lines().last()), (LINES, Some("line 99")));
        assert_eq!(last_words(&"é".repeat(5_000), "").len(), BYTES);
        assert_eq!(last_words("", ""), "");
    }
}
