//! The two pattern languages of a Docker build: globs in the sources of COPY and
//! ADD, matched part by part, and the patterns of `.dockerignore`, `--exclude` and
//! `--parents`, which know `**` and mean everything below what they match.

use crate::glob::{Token, compile, matches};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// A path without `.`, `..` and double slashes, as Go's `filepath.Clean` leaves it.
pub fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// A source of COPY or ADD: it takes what it matches and everything below.
#[derive(Clone, Debug)]
pub struct Source {
    parts: Vec<Vec<Token>>,
    text: String,
    fixed: String,
}

/// What of the text of a source was not known when it was read.
pub const UNKNOWN: char = '\0';

impl Source {
    /// Reads a source. Where a part of it is not known, everything from there on is
    /// taken.
    pub fn new(text: &str) -> Self {
        let rooted = clean(&format!("/{text}"));
        let known: Vec<&str> =
            rooted.split('/').filter(|part| !part.is_empty()).take_while(|part| !part.contains(UNKNOWN)).collect();
        // A pattern that Docker refuses ends the build; until then it means all.
        let mut parts = Vec::new();
        for part in &known {
            match compile(part, false) {
                Some(tokens) => parts.push(tokens),
                None => break,
            }
        }
        let is_fixed = |tokens: &&Vec<Token>| tokens.iter().all(|token| matches!(token, Token::Byte(_)));
        let fixed = parts.iter().take_while(is_fixed).count();
        Source { text: text.replace(UNKNOWN, "…"), fixed: known[..fixed].join("/"), parts }
    }

    /// The source as it was written, `…` for what is not known.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The path the source begins with, up to the first part that is a pattern or
    /// not known; the whole source where there is none.
    pub fn fixed(&self) -> &str {
        &self.fixed
    }

    /// How long the part of `path` is that the source names, if `path` is that or
    /// below it: what is below starts there.
    pub fn matched(&self, path: &[u8]) -> Option<usize> {
        let mut length = 0;
        let mut rest = path.split(|byte| *byte == b'/');
        for tokens in &self.parts {
            let part = rest.next()?;
            if !matches(tokens, part) {
                return None;
            }
            length += part.len() + 1;
        }
        Some(length.min(path.len()))
    }

    /// Whether the source names something below `path`, so that `path` as a whole
    /// (a submodule, say) decides over it.
    pub fn is_below(&self, path: &[u8]) -> bool {
        let parts = path.split(|byte| *byte == b'/');
        let count = parts.clone().count();
        count <= self.parts.len() && parts.zip(&self.parts).all(|(part, tokens)| matches(tokens, part))
    }
}

/// A list of `.dockerignore` patterns: the last that matches decides, `!` takes back.
#[derive(Clone, Debug, Default)]
pub struct Patterns {
    rules: Vec<Rule>,
    /// What the patterns said about directories that were judged already.
    known: RefCell<HashMap<Vec<u8>, Vec<bool>>>,
    /// How often a pattern was tried.
    tried: Cell<u64>,
}

/// How many patterns are tried before an ignore file counts as one that ignores nothing: some
/// thousand patterns for some ten thousand files. A repository must not keep the laptop busy.
const MAX_TRIED: u64 = 200_000_000;

/// What is remembered of directories, in patterns.
const MAX_KNOWN: usize = 4_000_000;

#[derive(Clone, Debug)]
struct Rule {
    exception: bool,
    form: Form,
}

#[derive(Clone, Debug)]
enum Form {
    /// The text itself.
    Exact(String),
    /// `**` and then plain text: whatever ends with it.
    Suffix(String),
    /// Anything else.
    Tokens(Vec<Token>),
}

impl Form {
    fn new(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("**")
            && !rest.contains(['*', '?', '[', ']', '\\'])
        {
            return Some(Form::Suffix(rest.to_owned()));
        }
        let tokens = compile(text, true)?;
        let plain = !text.contains(['*', '?', '[', ']', '\\']);
        Some(if plain { Form::Exact(text.to_owned()) } else { Form::Tokens(tokens) })
    }

    fn matches(&self, path: &[u8]) -> bool {
        match self {
            Form::Exact(text) => path == text.as_bytes(),
            Form::Suffix(text) => {
                path.ends_with(text.as_bytes()) || text.strip_prefix('/').is_some_and(|name| path == name.as_bytes())
            }
            Form::Tokens(tokens) => matches(tokens, path),
        }
    }
}

impl Patterns {
    /// The patterns in a `.dockerignore`.
    pub fn parse(text: &str) -> Self {
        let lines = text.trim_start_matches('\u{feff}').lines().filter(|line| !line.starts_with('#'));
        Patterns::with(lines.filter_map(Patterns::rule).collect())
    }

    /// The lines of a `.dockerignore` that Docker refuses, with their numbers.
    pub fn refused(text: &str) -> Vec<(usize, String)> {
        let lines = text.trim_start_matches('\u{feff}').lines().enumerate();
        let patterns = lines.filter(|(_, line)| !line.starts_with('#') && !line.trim().is_empty());
        let refused = patterns.filter(|(_, line)| Patterns::rule(line).is_none());
        refused.map(|(index, line)| (index + 1, line.trim().to_owned())).collect()
    }

    /// These patterns, one by one.
    pub fn of<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Patterns::with(patterns.into_iter().filter_map(Patterns::rule).collect())
    }

    fn with(rules: Vec<Rule>) -> Self {
        Patterns { rules, ..Patterns::default() }
    }

    /// One pattern. What Docker refuses excludes nothing.
    fn rule(line: &str) -> Option<Rule> {
        let line = line.trim();
        let (exception, text) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest.trim()));
        if text.is_empty() {
            return None;
        }
        let cleaned = clean(text);
        let relative = if cleaned.len() > 1 { cleaned.trim_start_matches('/') } else { &cleaned };
        Some(Rule { exception, form: Form::new(relative)? })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether `path`, relative to where the patterns apply, is matched. Directories are
    /// judged on the way down, and what a pattern said about a directory holds below
    /// it: exactly as BuildKit walks, down to the exceptions that come too late.
    pub fn matches(&self, path: &[u8]) -> bool {
        if self.rules.is_empty() || self.is_exhausted() {
            return false;
        }
        let mut above = match path.iter().rposition(|byte| *byte == b'/') {
            Some(end) => self.directory(&path[..end]),
            None => vec![false; self.rules.len()],
        };
        self.judge(path, &mut above)
    }

    /// Whether so many patterns were tried that what is asked now counts as not ignored.
    pub fn is_exhausted(&self) -> bool {
        self.tried.get() > MAX_TRIED
    }

    /// As after too many tries.
    #[cfg(test)]
    pub(crate) fn exhaust(&self) {
        self.tried.set(MAX_TRIED + 1);
    }

    /// Which patterns match a directory or one above it.
    fn directory(&self, path: &[u8]) -> Vec<bool> {
        if let Some(known) = self.known.borrow().get(path) {
            return known.clone();
        }
        let mut above = match path.iter().rposition(|byte| *byte == b'/') {
            Some(end) => self.directory(&path[..end]),
            None => vec![false; self.rules.len()],
        };
        self.judge(path, &mut above);
        let mut known = self.known.borrow_mut();
        if known.len() * self.rules.len() < MAX_KNOWN {
            known.insert(path.to_owned(), above.clone());
        }
        above
    }

    /// One directory or file; `above` holds which patterns matched its directory, and then it.
    fn judge(&self, path: &[u8], above: &mut [bool]) -> bool {
        let mut matched = false;
        self.tried.set(self.tried.get() + self.rules.len() as u64);
        for (rule, above) in self.rules.iter().zip(above) {
            if !*above {
                if rule.exception != matched {
                    continue;
                }
                *above = rule.form.matches(path);
            }
            if *above {
                matched = !rule.exception;
            }
        }
        matched
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(patterns: &str, path: &str) -> bool {
        Patterns::parse(patterns).matches(path.as_bytes())
    }

    #[test]
    fn dockerignore_patterns_match_as_docker_says() {
        for (patterns, path, wanted) in [
            ("*.md", "a.md", true),
            ("*.md", "docs/a.md", false),
            ("**/*.md", "docs/deep/a.md", true),
            ("**/*.md", "a.md", true),
            ("docs", "docs/a/b", true),
            ("/docs/", "docs/a", true),
            ("./docs/../docs", "docs/a", true),
            ("*/temp*", "some/temporary.txt", true),
            ("*/temp*", "a/b/temporary.txt", false),
            ("temp?", "tempa", true),
            ("temp?", "temp", false),
            ("temp?", "tempé", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/z", "a/z", true),
            ("a/**/z", "a/b/c/z", true),
            ("a/**/z", "a/b/c/zz", false),
            ("**", "anything/at/all", true),
            ("**/foo", "foo", true),
            ("**/foo", "barfoo", false),
            ("**foo", "barfoo", true),
            ("# a comment\n\n  b  \n", "b", true),
            ("\\#x", "#x", true),
            ("a.b+c", "a.b+c", true),
            ("a.b", "axb", false),
            ("[", "[", false),
        ] {
            assert_eq!(ignored(patterns, path), wanted, "{patterns:?} {path:?}");
        }
    }

    #[test]
    fn thousands_of_patterns_for_thousands_of_files_take_seconds() {
        let text: String = (0..1_000).map(|i| format!("**/*a*b*c{i}*d\n")).collect();
        let patterns = Patterns::parse(&text);
        let begun = std::time::Instant::now();
        let files = (0..500).map(|i| format!("dir{}/aaaaaabbbbbbcccccc{i}", i % 40));
        assert_eq!(files.filter(|file| patterns.matches(file.as_bytes())).count(), 0);
        assert!(begun.elapsed().as_secs() < 120, "{:?}", begun.elapsed());
        patterns.exhaust();
        assert!(patterns.is_exhausted() && !patterns.matches(b"xabc1d"), "what is too dear ignores nothing");
    }

    #[test]
    fn what_docker_refuses_has_its_line() {
        assert_eq!(
            Patterns::refused("# x\n\na[\n*.md\n!\n[^b]\nb\\\n"),
            [(3, "a[".to_owned()), (5, "!".to_owned()), (7, "b\\".to_owned())]
        );
    }

    #[test]
    fn exceptions_take_back_what_came_before_them() {
        let patterns = "*\n!src\n!package.json\nsrc/**/*.test.js\n";
        assert!(!ignored(patterns, "src/a/b.js"));
        assert!(ignored(patterns, "src/a/b.test.js"));
        assert!(ignored(patterns, "README.md"));
        assert!(!ignored(patterns, "package.json"));
        assert!(ignored("!a\na", "a"));
        assert!(!ignored("a\n!a/keep", "a/keep/x"));
        assert!(ignored("a\n!a/keep", "a/other"));
    }

    #[test]
    fn an_exception_for_a_directory_does_not_reach_into_it_after_a_deep_pattern() {
        // BuildKit judges `docs` before any file in it matched, and remembers that.
        assert!(ignored("**/*.md\n!docs", "docs/a.md"));
        assert!(!ignored("**/*.md\n!docs/**", "docs/a.md"));
        assert!(!ignored("**/*.md\n!docs/*.md", "docs/a.md"));
    }

    #[test]
    fn sources_take_what_they_match_and_everything_below() {
        for (source, path, wanted) in [
            ("src", "src/a/b.js", Some(4)),
            ("./src/", "src", Some(3)),
            ("/src", "src/x", Some(4)),
            ("src", "srcs/x", None),
            (".", "any/thing", Some(0)),
            ("*.json", "package.json", Some(12)),
            ("*.json", "a/package.json", None),
            ("app*/src", "apps/src/x", Some(9)),
            ("arr[[]0].txt", "arr[0].txt", Some(10)),
            ("../up", "up/x", Some(3)),
            ("**/a", "x/a", Some(3)),
            ("**/a", "x/y/a", None),
        ] {
            assert_eq!(Source::new(source).matched(path.as_bytes()), wanted, "{source:?} {path:?}");
        }
    }

    #[test]
    fn an_unknown_part_means_everything_from_there_on() {
        let source = Source::new("apps/x\0y/src");
        assert!(source.matched(b"apps/whatever/z").is_some());
        assert!(source.matched(b"lib/x").is_none());
        assert_eq!(source.fixed(), "apps");
        assert_eq!(Source::new("a/./b").fixed(), "a/b");
    }

    #[test]
    fn names_that_are_not_utf8_match_too() {
        assert!(Patterns::parse("a?c").matches(b"a\xffc"));
        assert!(Source::new("caf*").matched(b"caf\xe9/x").is_some());
        assert!(Patterns::parse("*.py").matches(b"\xff\xfe.py"));
    }

    #[test]
    fn many_stars_cost_little() {
        let path = "a".repeat(2000);
        assert!(!ignored(&format!("{}b", "a*".repeat(30)), &path));
    }

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, wanted) in [("", "."), ("./a//b/", "a/b"), ("a/../..", ".."), ("/../a", "/a"), ("a/b/../c", "a/c")] {
            assert_eq!(clean(path), wanted);
        }
    }
}
