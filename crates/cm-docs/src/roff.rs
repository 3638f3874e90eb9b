//! Text as roff: escaped, filled to lines of less than 80 bytes, and with what stands in
//! backquotes in bold. What comes out is clean under `man --warnings` and `mandoc -Tlint`.

/// The longest line of text, in bytes.
const WIDTH: usize = 78;

/// The day of the release that the pages describe; it stands at the foot of every page.
const DATE: &str = "2026-11-24";

/// The page's first line.
pub fn title(name: &str, section: u8) -> String {
    format!(
        ".TH {} {section} {DATE} \"cm {}\" \"cm manual\"\n",
        escape(&name.to_uppercase()),
        env!("CARGO_PKG_VERSION")
    )
}

/// A section's heading.
pub fn section(name: &str) -> String {
    if name.contains(' ') { format!(".SH \"{name}\"\n") } else { format!(".SH {name}\n") }
}

/// An entry of a list of terms.
pub fn entry(term: &str, text: &str) -> String {
    format!(".TP\n{term}\n{}", paragraphs(text))
}

/// Text for a line that must not be filled, such as a term.
pub fn escape(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\e")
        .replace('-', "\\-")
        .replace('\'', "\\(aq")
        .replace('^', "\\(ha")
        .replace('~', "\\(ti");
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}

/// `text` in bold.
pub fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escape(text))
}

/// `text` in italics.
pub fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", escape(text))
}

/// Paragraphs of text, separated by empty lines; `code` becomes bold.
pub fn paragraphs(text: &str) -> String {
    let paragraphs = text.split("\n\n").map(|paragraph| fill(&marked(paragraph.trim())));
    paragraphs.collect::<Vec<_>>().join(".sp\n")
}

/// Escapes `text` and sets what is in backquotes in bold.
fn marked(text: &str) -> String {
    let pieces = text.split('`').enumerate();
    let marked = |(index, piece): (usize, &str)| if index % 2 == 1 { bold(piece) } else { escape(piece) };
    pieces.map(marked).collect::<Vec<_>>().concat()
}

/// `text` in lines that are short enough; none begins like a request.
fn fill(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ if word.starts_with(['.', '\'']) => lines.push(format!("\\&{word}")),
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// The page with its text cut into lines that are short enough; examples stay as they are.
pub fn wrapped(page: &str) -> String {
    let mut example = false;
    let mut text = String::new();
    for line in page.lines() {
        example = (example || line.starts_with(".EX")) && !line.starts_with(".EE");
        match example || line.starts_with(['.', '\'']) {
            true => text.extend([line, "\n"]),
            false => text.push_str(&fill(line)),
        }
    }
    text
}

/// The sections of a hand-written page: name and body.
pub fn sections(page: &str) -> Vec<(String, String)> {
    let mut sections: Vec<(String, String)> = Vec::new();
    for line in page.lines() {
        match (line.strip_prefix(".SH "), sections.last_mut()) {
            (Some(name), _) => sections.push((name.trim_matches('"').to_owned(), String::new())),
            (None, Some((_, body))) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {} // the comment at the top
        }
    }
    sections
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_filled_and_marked() {
        let text = paragraphs("Use `a-b` now.\n\n.dot \\ it's ~");
        assert_eq!(text, "Use \\fBa\\-b\\fR now.\n.sp\n\\&.dot \\e it\\(aqs \\(ti\n");
        let long = paragraphs(&"word ".repeat(40));
        assert!(long.lines().all(|line| line.len() <= WIDTH && !line.ends_with(' ')), "{long}");
    }

    #[test]
    fn a_page_is_cut_at_its_sections() {
        let cut = sections(".\\\" by hand\n.SH \"ONE TWO\"\na\n.SH THREE\nb\nc\n");
        assert_eq!(cut, [("ONE TWO".to_owned(), "a\n".to_owned()), ("THREE".to_owned(), "b\nc\n".to_owned())]);
    }
}
