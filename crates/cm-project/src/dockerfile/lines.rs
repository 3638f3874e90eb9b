//! From text to instructions: parser directives, comments, continued lines,
//! here-documents.

use super::words;

/// One instruction, its lines joined.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Line {
    /// Where it starts, from 1.
    pub number: usize,
    /// `COPY`, in capitals.
    pub keyword: String,
    /// `--from=x` and the like, without the dashes.
    pub flags: Vec<String>,
    /// Everything after them.
    pub rest: String,
    /// How many here-documents belong to it.
    pub heredocs: usize,
}

/// What is wrong, and in which line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

pub fn error<T>(line: usize, message: impl Into<String>) -> Result<T, Error> {
    Err(Error { line, message: message.into() })
}

/// The instructions of a Dockerfile, and its escape character.
pub fn read(text: &str) -> Result<(Vec<Line>, char), Error> {
    let text = text.trim_start_matches('\u{feff}');
    let escape = escape_directive(text)?;
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line));
    let mut found = Vec::new();
    while let Some((number, first)) = lines.next() {
        if is_comment(first) {
            continue;
        }
        let mut whole = String::new();
        let (mut part, mut continued) = trim_continuation(first.trim_start(), escape);
        whole.push_str(part);
        let was_continued = continued;
        while continued {
            let Some((_, next)) = lines.next() else { break };
            if is_comment(next) || next.trim().is_empty() {
                continue;
            }
            (part, continued) = trim_continuation(next, escape);
            whole.push_str(part);
        }
        if whole.trim().is_empty() && was_continued {
            return error(number, "a continued line has no instruction");
        }
        if whole.trim().is_empty() {
            continue;
        }
        let mut line = instruction(number, &whole, escape);
        for heredoc in heredocs(&line) {
            if !lines.by_ref().any(|(_, text)| heredoc.ends_at(text)) {
                return error(number, format!("the here-document {:?} is never closed", heredoc.name));
            }
            line.heredocs += 1;
        }
        found.push(line);
    }
    if found.is_empty() { error(1, "the file has no instructions") } else { Ok((found, escape)) }
}

/// The `# escape=` directive, which must come before anything else.
fn escape_directive(text: &str) -> Result<char, Error> {
    let mut found = None;
    for (i, line) in text.lines().enumerate() {
        let Some(comment) = line.trim_start().strip_prefix('#') else { break };
        let Some((key, value)) = comment.split_once('=') else { break };
        match (key.trim().to_ascii_lowercase().as_str(), value.trim()) {
            ("syntax" | "check", _) => {}
            ("escape", "") => break,
            ("escape", _) if found.is_some() => return error(i + 1, "the directive escape is there twice"),
            ("escape", "\\") => found = Some('\\'),
            ("escape", "`") => found = Some('`'),
            ("escape", other) => return error(i + 1, format!("the escape character {other:?} is neither ` nor \\")),
            _ => break,
        }
    }
    Ok(found.unwrap_or('\\'))
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// The line without a trailing escape character, and whether there was one.
fn trim_continuation(line: &str, escape: char) -> (&str, bool) {
    let trimmed = line.trim_end_matches([' ', '\t', '\r']);
    match trimmed.strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest, true),
        _ => (line, false),
    }
}

/// The instruction that begins in line `number`, its lines joined to `whole`.
pub fn instruction(number: usize, whole: &str, escape: char) -> Line {
    let whole = whole.trim();
    let (keyword, mut rest) = whole.split_once(char::is_whitespace).unwrap_or((whole, ""));
    let mut flags = Vec::new();
    loop {
        rest = rest.trim_start();
        let Some(word) = rest.starts_with("--").then(|| words::split(rest, escape).into_iter().next()).flatten() else {
            break;
        };
        rest = &rest[word.len()..];
        if word == "--" {
            break;
        }
        flags.push(words::expand_kept(&word[2..], FLAG_ESCAPE));
    }
    Line { number, keyword: keyword.to_ascii_uppercase(), flags, rest: rest.trim().to_owned(), heredocs: 0 }
}

struct Heredoc {
    name: String,
    tabs: bool,
}

impl Heredoc {
    fn ends_at(&self, line: &str) -> bool {
        let line = line.trim_end_matches('\r');
        let line = if self.tabs { line.trim_start_matches('\t') } else { line };
        line == self.name
    }
}

/// The here-documents that `line` announces.
fn heredocs(line: &Line) -> Vec<Heredoc> {
    let nested = line.keyword == "ONBUILD";
    let takes = |keyword: &str| matches!(keyword, "RUN" | "COPY" | "ADD");
    let inner = line.rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    if !(takes(&line.keyword) || nested && takes(&inner)) {
        return Vec::new();
    }
    let words = words::split(&line.rest, DELIMITER_ESCAPE);
    let mut found = Vec::new();
    for (i, word) in words.iter().enumerate() {
        let Some(after) = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<") else { continue };
        let (tabs, name) = after.strip_prefix('-').map_or((false, after), |name| (true, name));
        let name = if name.is_empty() { words.get(i + 1).map_or("", String::as_str) } else { name };
        // A delimiter refers to nothing: a dollar in it is a dollar.
        let name = words::expand_kept(name, DELIMITER_ESCAPE);
        if !name.is_empty() && !after.contains('<') {
            found.push(Heredoc { name, tabs });
        }
    }
    found
}

/// What escapes in a here-document's delimiter, whatever escapes in the file.
const DELIMITER_ESCAPE: char = '\\';

/// What escapes in a flag, whose quotes go before anything reads it.
const FLAG_ESCAPE: char = '\\';

/// The `N` of the released frontend `1.N` that the file asks for in its `# syntax=`; `None` where it asks for none, or
/// for one whose flags nobody knows.
pub fn frontend(text: &str) -> Option<u32> {
    let directives = text.trim_start_matches('\u{feff}').lines().map_while(|line| line.trim_start().strip_prefix('#'));
    let mut pairs = directives.map_while(|line| line.split_once('='));
    let (_, image) = pairs.find(|(key, _)| key.trim().eq_ignore_ascii_case("syntax"))?;
    let image = image.trim();
    let tag = image.strip_prefix("docker.io/").unwrap_or(image).strip_prefix("docker/dockerfile:1.")?;
    let mut numbers = tag.split('.').map(|part| part.parse::<u32>().ok());
    let minor = numbers.next()??;
    numbers.all(|number| number.is_some()).then_some(minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Line> {
        read(text).expect(text).0
    }

    #[test]
    fn continued_lines_are_one_instruction() {
        let found = lines("# x\nRUN a && \\\n  # not this\n\n  b \\  \n c\nCOPY --from=x --chown=a:b  s d\n");
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].rest, "a &&   b  c");
        assert_eq!(
            (found[1].number, found[1].flags.as_slice()),
            (7, &["from=x".to_owned(), "chown=a:b".to_owned()][..])
        );
        assert_eq!(found[1].rest, "s d");
        assert_eq!(lines("RUN echo \\\\\nRUN b\n").len(), 2);
    }

    #[test]
    fn here_documents_are_no_instructions() {
        let found = lines("RUN <<EOF cat > x\nCOPY no no\nEOF\nCOPY <<-'A' <<B /x/\n\tone\n\tA\nFROM no\nB\nCMD x\n");
        let keywords: Vec<&str> = found.iter().map(|line| line.keyword.as_str()).collect();
        assert_eq!(keywords, ["RUN", "COPY", "CMD"]);
        assert_eq!(found[1].heredocs, 2);
        assert_eq!(read("RUN <<EOF\nx\n").expect_err("open").line, 1);
        assert_eq!(lines("RUN cat <<< word\nCMD x\n").len(), 2);
        assert_eq!(lines("RUN cat <<  EOF\nCMD x\nEOF\nRUN << -E\n-E\nRUN <<- E\n\tE\n").len(), 3);
        let found = lines("RUN <<eo\\'f\nCOPY no no\neo'f\nONBUILD RUN <<\"E O\"\nx\nE O\nCOPY <<$A /x\n$A\nCMD x\n");
        let keywords: Vec<&str> = found.iter().map(|line| line.keyword.as_str()).collect();
        assert_eq!(keywords, ["RUN", "ONBUILD", "COPY", "CMD"]);
    }

    #[test]
    fn the_escape_directive_changes_what_continues_a_line() {
        let (found, escape) =
            read("# syntax=docker/dockerfile:1\n# escape=`\nCOPY a `\n  c:\\\nCMD x\n").expect("valid");
        assert_eq!(escape, '`');
        assert_eq!(found[0].rest, "a   c:\\");
        assert_eq!(read("FROM a\n# escape=`\n").expect("a comment").1, '\\');
        assert!(read("# escape=x\nFROM a\n").is_err());
        assert!(read("# only\n\n").is_err());
    }
}
