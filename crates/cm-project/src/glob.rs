//! The globs of Docker's patterns: `*`, `?`, `[…]` and, where it has its meaning, `**`.
//!
//! Paths are bytes: file names need not be UTF-8. A character that is no valid
//! UTF-8 counts as one byte.

/// One element of a compiled pattern.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Token {
    /// This byte.
    Byte(u8),
    /// `?`: one character that is no slash.
    One,
    /// `*`: any characters that are no slash.
    Star,
    /// `**/`: nothing, or anything that ends with a slash.
    Directories,
    /// A final `**`: anything.
    Rest,
    /// `[a-z]`, `[^a-z]`: one of these characters, or none of them.
    Class { negated: bool, ranges: Vec<(char, char)> },
}

/// Compiles `text`; `double` says whether `**` has its meaning. `None` for a
/// pattern that Docker refuses.
pub fn compile(text: &str, double: bool) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '*' if double && chars.peek() == Some(&'*') => {
                chars.next();
                if chars.peek() == Some(&'/') {
                    chars.next();
                }
                tokens.push(if chars.peek().is_none() { Token::Rest } else { Token::Directories });
            }
            '*' => tokens.push(Token::Star),
            '?' => tokens.push(Token::One),
            '[' => tokens.push(class(&mut chars)?),
            '\\' => push_char(&mut tokens, chars.next()?),
            c => push_char(&mut tokens, c),
        }
    }
    Some(tokens)
}

fn push_char(tokens: &mut Vec<Token>, c: char) {
    let mut buffer = [0; 4];
    tokens.extend(c.encode_utf8(&mut buffer).bytes().map(Token::Byte));
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars>) -> Option<Token> {
    let negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let low = match chars.next()? {
            ']' if !ranges.is_empty() => return Some(Token::Class { negated, ranges }),
            ']' | '-' => return None,
            '\\' => chars.next()?,
            c => c,
        };
        let high = match chars.next_if_eq(&'-') {
            None => low,
            Some(_) => match chars.next()? {
                ']' | '-' => return None,
                '\\' => chars.next()?,
                c => c,
            },
        };
        ranges.push((low, high));
    }
}

/// Whether the whole of `text` matches. The table of what can be reached keeps this
/// at pattern × text steps, whatever the pattern.
pub fn matches(tokens: &[Token], text: &[u8]) -> bool {
    // Most patterns begin or end with plain text, and most texts with another.
    let same = |(token, byte): &(&Token, &u8)| matches!(token, Token::Byte(wanted) if wanted == *byte);
    let start = tokens.iter().zip(text).take_while(same).count();
    let (tokens, text) = (&tokens[start..], &text[start..]);
    match tokens.first() {
        None => return text.is_empty(),
        Some(Token::Byte(_)) => return false,
        Some(_) => {}
    }
    let end = tokens.iter().rev().zip(text.iter().rev()).take_while(same).count();
    let (tokens, text) = (&tokens[..tokens.len() - end], &text[..text.len() - end]);
    match tokens.last() {
        None => return text.is_empty(),
        Some(Token::Byte(_)) => return false,
        Some(Token::Star) if tokens.len() == 1 => return !text.contains(&b'/'),
        Some(_) => {}
    }
    SCRATCH.with_borrow_mut(|(before, after)| {
        before.clear();
        before.resize(text.len() + 1, false);
        before[0] = true;
        for token in tokens {
            step(token, text, before, after);
            std::mem::swap(before, after);
            if !before.contains(&true) {
                return false;
            }
        }
        before[text.len()]
    })
}

thread_local! {
    /// The tables of one match, kept for the next: there are millions.
    static SCRATCH: std::cell::RefCell<(Vec<bool>, Vec<bool>)> = const { std::cell::RefCell::new((Vec::new(), Vec::new())) };
}

/// Where matching can stand after `token`, given where it can stand before.
fn step(token: &Token, text: &[u8], before: &[bool], after: &mut Vec<bool>) {
    after.clear();
    after.resize(before.len(), false);
    let mut open = false;
    for i in 0..before.len() {
        open |= before[i];
        match token {
            Token::Star => {
                after[i] |= open;
                open &= text.get(i) != Some(&b'/');
            }
            Token::Rest => after[i] |= open,
            Token::Directories => after[i] |= before[i] || (open && i > 0 && text[i - 1] == b'/'),
            _ if before[i] => {
                if let Some(length) = one(token, &text[i..]) {
                    after[i + length] = true;
                }
            }
            _ => {}
        }
    }
}

/// The length of the one character at the start of `text`, if `token` takes it.
fn one(token: &Token, text: &[u8]) -> Option<usize> {
    let first = *text.first()?;
    match token {
        Token::Byte(byte) => (first == *byte).then_some(1),
        Token::One => (first != b'/').then(|| character(text).1),
        Token::Class { negated, ranges } => {
            let (c, length) = character(text);
            let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
            (within != *negated && c != '/').then_some(length)
        }
        Token::Star | Token::Directories | Token::Rest => None,
    }
}

/// The first character and its length; a byte that is no UTF-8 is one replacement character.
fn character(text: &[u8]) -> (char, usize) {
    let longest = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(longest) {
        Ok(valid) => valid,
        Err(error) => std::str::from_utf8(&longest[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8()))
}
