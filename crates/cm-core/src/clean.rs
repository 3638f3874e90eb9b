//! Text of other programs, made harmless.

/// Text without what makes a terminal do something: output of other programs ends up in messages and
/// tables, and must neither move the cursor nor turn the direction of what stands around it.
pub fn clean(text: &str) -> String {
    let turns =
        |c: char| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().filter(|c| !(c.is_control() || turns(*c)) || matches!(c, '\n' | '\t')).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_terminal_would_obey_is_left_out() {
        let text = "a\u{1b}]52;c;ZXZpbA==\u{7}b\u{9b}2Jc\r\u{202e}d\u{2066}e\u{200f}\n\té";
        assert_eq!(super::clean(text), "a]52;c;ZXZpbA==b2Jcde\n\té");
    }
}
