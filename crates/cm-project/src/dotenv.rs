//! Env files as Compose reads them: `NAME=value` and `NAME: value`, `export`, comments,
//! quotes that reach over lines, escapes in double ones. What a value refers to is left
//! to [`Variables`](crate::variables::Variables): it depends on what is known already.
//! A service may also have env files of the format `raw`, in which nothing has a meaning.

/// One assignment.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assignment {
    /// Its line, from 1.
    pub line: usize,
    /// The variable.
    pub name: String,
    /// What it is set to; `None` for a line without a value, which takes it from the environment.
    pub value: Option<Raw>,
}

/// A value, its quotes and escapes read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Raw {
    /// As it stands: it was in single quotes.
    Literal(String),
    /// Its references are to be replaced.
    Expanded(String),
}

/// What Compose refuses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong; never a value.
    pub message: String,
}

/// How an env file is to be read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// With quotes, escapes, comments and references.
    #[default]
    Quoted,
    /// `format: raw`: what follows the `=` is the value.
    Raw,
}

/// The assignments in the text of an env file, up to the first mistake, and that mistake.
pub fn parse(text: &str, format: Format) -> (Vec<Assignment>, Option<Mistake>) {
    match format {
        Format::Quoted => quoted(text),
        Format::Raw => raw(text),
    }
}

fn raw(text: &str) -> (Vec<Assignment>, Option<Mistake>) {
    let mut found = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let (line, number) = (line.trim_start(), index + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = line.split_once('=').map_or((line, None), |(name, value)| (name, Some(value)));
        let wrong = |message: &str| Some(Mistake { line: number, message: message.to_owned() });
        if name.is_empty() {
            return (found, wrong("there is no name before the ="));
        }
        if name.contains(char::is_whitespace) {
            return (found, wrong("the name of a variable cannot contain a space"));
        }
        let value = value.map(|value| Raw::Literal(value.to_owned()));
        found.push(Assignment { line: number, name: name.to_owned(), value });
    }
    (found, None)
}

fn quoted(text: &str) -> (Vec<Assignment>, Option<Mistake>) {
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let mut rest = text.as_str();
    let mut found = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return (found, None);
        }
        if rest.starts_with('#') {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
            continue;
        }
        let line = text[..text.len() - rest.len()].matches('\n').count() + 1;
        match assignment(rest) {
            Ok((assignment, after)) => {
                found.push(Assignment { line, ..assignment });
                rest = after;
            }
            Err(message) => return (found, Some(Mistake { line, message })),
        }
    }
}

/// White space inside of a line.
fn is_blank(c: char) -> bool {
    c.is_whitespace() && c != '\n'
}

/// The assignment that `text` starts with, and what comes after it.
fn assignment(text: &str) -> Result<(Assignment, &str), String> {
    let text = match text.strip_prefix("export") {
        Some(after) if after.starts_with(char::is_whitespace) => after.trim_start_matches(is_blank),
        _ => text,
    };
    let of_name = |c: char| c.is_alphanumeric() || is_blank(c) || matches!(c, '_' | '.' | '-' | '[' | ']');
    let end = text.find(|c| !of_name(c)).unwrap_or(text.len());
    let name = text[..end].trim_end().to_owned();
    let after = &text[end..];
    if let Some(odd) = after.chars().next().filter(|c| !matches!(c, '=' | ':' | '\n')) {
        return Err(format!("unexpected {odd:?} in the name of a variable"));
    }
    if name.contains(' ') {
        return Err("the name of a variable cannot contain a space".to_owned());
    }
    if !after.starts_with(['=', ':']) {
        return Ok((Assignment { line: 1, name, value: None }, after));
    }
    let (value, after) = value(after[1..].trim_start_matches(is_blank))
        .ok_or_else(|| format!("the quote around the value of {name} is never closed"))?;
    Ok((Assignment { line: 1, name, value: Some(value) }, after))
}

/// The value that `text` starts with, and what comes after it; `None` if a quote is not closed.
fn value(text: &str) -> Option<(Raw, &str)> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let (line, rest) = text.split_once('\n').unwrap_or((text, ""));
        let value = line.split_once(" #").map_or(line, |(value, _)| value);
        return Some((Raw::Expanded(value.trim_end().to_owned()), rest));
    };
    let inside = &text[1..];
    let mut value = String::new();
    let mut chars = inside.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => {
                let raw = if quote == '"' { Raw::Expanded(unescaped(&value)) } else { Raw::Literal(value) };
                return Some((raw, &inside[at + 1..]));
            }
            '\\' => match chars.next()?.1 {
                next if next == quote => value.push(next),
                next => value.extend(['\\', next]),
            },
            c => value.push(c),
        }
    }
    None
}

/// The escapes of a shell; `\$` becomes the `$$` that stands for a dollar among references.
fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let (put, length) = escape(after).unwrap_or(("\\".to_owned(), 0));
        out.push_str(&put);
        rest = &after[length..];
    }
    out.push_str(rest);
    out
}

/// What the escape after a backslash stands for, and its length.
fn escape(after: &str) -> Option<(String, usize)> {
    let one = |c: char| Some((c.to_string(), 1));
    match after.chars().next()? {
        'a' => one('\u{7}'),
        'b' => one('\u{8}'),
        'f' => one('\u{c}'),
        'n' => one('\n'),
        'r' => one('\r'),
        't' => one('\t'),
        'v' => one('\u{b}'),
        c @ ('"' | '\\') => one(c),
        '$' => Some(("$$".to_owned(), 1)),
        '0' => {
            let digits = after.bytes().skip(1).take(3).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
            let code = u32::from_str_radix(after.get(1..=digits)?, 8).ok().filter(|_| digits == 3)?;
            Some((char::from_u32(code)?.to_string(), 1 + digits))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The assignments of a text without a mistake, as `NAME=value`, `'` before what is literal.
    fn read(text: &str) -> Vec<String> {
        let (found, mistake) = parse(text, Format::Quoted);
        assert_eq!(mistake, None, "{text:?}");
        let shown = found.into_iter().map(|assignment| match assignment.value {
            None => assignment.name,
            Some(Raw::Literal(value)) => format!("{}='{value}", assignment.name),
            Some(Raw::Expanded(value)) => format!("{}={value}", assignment.name),
        });
        shown.collect()
    }

    #[test]
    fn every_form_is_read_as_compose_reads_it() {
        for (text, wanted) in [
            (
                "# no\nexport A=1\nB=\"x y\" # note\nC='#'\nD=plain # note\n\nE=\nF\n",
                &["A=1", "B=x y", "C='#", "D=plain", "E=", "F"][..],
            ),
            ("V: 1\nW : 2\nX\t=\t3", &["V=1", "W=2", "X=3"]),
            ("export\tV=1\n  export   W=2\nexport=3", &["V=1", "W=2", "export=3"]),
            ("\u{feff}V=1\r\nW=2\r\n", &["V=1", "W=2"]),
            (
                "V=\"a\\\"b\"\nW='a\\'b'\nX=\"a\\nb\\\\c\\qd\"\nY='a\\nb'",
                &["V=a\"b", "W='a'b", "X=a\nb\\c\\qd", "Y='a\\nb"],
            ),
            ("V=\"a\nb\"\nW='c\nd'", &["V=a\nb", "W='c\nd"]),
            ("V=\"\\$B $C\"\nW=\"\\0101\"\nX=\\$B", &["V=$$B $C", "W=A", "X=\\$B"]),
            ("V=a#b\nW=a\t#c\nX= #c\nY=#c", &["V=a#b", "W=a\t#c", "X=#c", "Y=#c"]),
            ("V=a=b\nV-X=1\nV[0]=2\né=3\n1V=4", &["V=a=b", "V-X=1", "V[0]=2", "é=3", "1V=4"]),
            ("V=\n\nW=1\nX='a'b", &["V=", "W=1", "X='a", "b"]),
        ] {
            assert_eq!(read(text), wanted, "{text:?}");
        }
    }

    #[test]
    fn a_mistake_has_its_line_and_keeps_what_comes_before_it() {
        for (text, line, message) in [
            ("A=1\nV X=1", 2, "the name of a variable cannot contain a space"),
            ("A=1\n\nV=\"a", 3, "the quote around the value of V is never closed"),
            ("A=1\nV='it''s'", 2, "unexpected '\\'' in the name of a variable"),
        ] {
            let (found, mistake) = parse(text, Format::Quoted);
            assert_eq!(found[0].name, "A", "{text}");
            assert_eq!(
                mistake.map(|mistake| (mistake.line, mistake.message)),
                Some((line, message.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn a_raw_file_has_values_as_they_stand() {
        let (found, mistake) = parse("\u{feff}A=\"x\" # y\r\n  # no\n\n  B=$C \nD\nE=\nF F=1\nG=2", Format::Raw);
        let literal = |text: &str| Some(Raw::Literal(text.to_owned()));
        let wanted = [("A", literal("\"x\" # y")), ("B", literal("$C ")), ("D", None), ("E", literal(""))];
        assert_eq!(found.iter().map(|one| (one.name.as_str(), one.value.clone())).collect::<Vec<_>>(), wanted);
        assert_eq!(mistake.map(|mistake| mistake.line), Some(7));
        assert_eq!(parse("A=1\n=2", Format::Raw).1.map(|mistake| mistake.line), Some(2));
    }
}
