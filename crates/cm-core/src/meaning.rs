//! What colour means, in one place: something is good, wants a look, is bad, or is of little account. Colour never
//! says it alone: the words are there without it. Each is one of the terminal's own colours, which whoever sits there
//! can read on their background, dark or light.

use std::io::IsTerminal;

/// What a word or a line is to who reads it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// As it should be.
    Good,
    /// Somebody should look at it.
    Warning,
    /// It failed, or is not as it should be.
    Bad,
    /// Of little account.
    Quiet,
    /// Nothing of these.
    Plain,
}

impl Meaning {
    /// That of a word by which a table names the state of something.
    pub fn of(word: &str) -> Meaning {
        match word {
            "verified" | "healthy" | "done" | "free" | "there" | "pass" | "ok" | "ready" => Meaning::Good,
            "failed" | "unhealthy" | "fail" | "unreachable" | "unreadable" | "missing" | "not its manifest's size" => {
                Meaning::Bad
            }
            "rolled_back"
            | "abandoned"
            | "interrupted"
            | "unknown"
            | "pending"
            | "started"
            | "held"
            | "stale"
            | "warned"
            | "no manifest"
            | "left over, not a backup" => Meaning::Warning,
            "-" | "none" | "skipped" => Meaning::Quiet,
            _ => Meaning::Plain,
        }
    }

    /// `text` in its colour.
    pub fn paint(self, text: &str) -> String {
        let color = match self {
            Meaning::Good => 32,
            Meaning::Warning => 33,
            Meaning::Bad => 31,
            Meaning::Quiet => 2,
            Meaning::Plain => return text.to_owned(),
        };
        format!("\u{1b}[{color}m{text}\u{1b}[0m")
    }
}

/// Whether colour is wanted on a stream: it is a terminal that knows it, and nobody said otherwise.
pub fn is_colored(stream: &impl IsTerminal) -> bool {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    stream.is_terminal() && !no_color && !dumb
}

#[cfg(test)]
mod tests {
    use super::Meaning;

    #[test]
    fn a_state_has_one_colour_and_its_word() {
        for (word, meaning) in [
            ("verified", Meaning::Good),
            ("rolled_back", Meaning::Warning),
            ("failed", Meaning::Bad),
            ("-", Meaning::Quiet),
            ("web", Meaning::Plain),
        ] {
            assert_eq!(Meaning::of(word), meaning, "{word}");
            assert!(meaning.paint(word).contains(word));
        }
        assert_eq!(Meaning::Bad.paint("failed"), "\u{1b}[31mfailed\u{1b}[0m");
        assert_eq!(Meaning::Plain.paint("web"), "web");
    }
}
