//! Tables on stdout, for people. On a terminal a table fits the width that there is: IDs are
//! shortened as far as they stay unique, what may be cut is cut with `…`, and what has no room even
//! so is left out, the last column first. Where not even what matters has room, each row is a block of its own.
//! `--wide`, a pipe and JSON have everything.

use crate::meaning::Meaning;
use crate::time;
use std::collections::BTreeSet;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// What a column gives up where there is no room.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Column {
    /// Nothing: it is what people look for.
    Whole,
    /// The end of IDs that are unique without it.
    Id,
    /// Nothing: it is the state of what the row is about, and has the colour of its word.
    State,
    /// That it is a moment: it becomes `7 h ago`.
    Time,
    /// Its end.
    Cut,
    /// Its begin: it is a path, whose end says which file it is.
    Path,
}

/// The least that a column is cut to, and an ID is shortened to.
const LEAST: usize = 8;

/// The least that a column is cut to as long as a moment has another way to be told.
const ENOUGH: usize = 16;

/// Between two columns.
const GAP: usize = 2;

/// Columns as wide as their widest cell; the last one has no trailing blanks.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    text(&cleaned(rows), N, |_, cell| cell.to_owned())
}

/// [`table`] in `width` columns, `colored` or not; the first row has the names of its columns.
pub fn fitted<const N: usize>(rows: &[[String; N]], columns: [Column; N], width: usize, colored: bool) -> String {
    let (text, _) = fitting(rows, columns, width, colored);
    text
}

/// The same, of which nothing is left out: where columns have no room, each row is a block.
pub(crate) fn whole<const N: usize>(rows: &[[String; N]], columns: [Column; N], width: usize) -> String {
    match fitting(rows, columns, width, false) {
        (text, left_out) if left_out.is_empty() => text,
        _ => blocks(&cleaned(rows), columns, width, false),
    }
}

/// The same, and the names of the columns that have no room.
pub(crate) fn fitting<const N: usize>(
    rows: &[[String; N]],
    columns: [Column; N],
    width: usize,
    colored: bool,
) -> (String, Vec<String>) {
    let mut rows = cleaned(rows);
    let fits = |rows: &[[String; N]], count: usize| total(&widths(rows)[..count]) <= width;
    if !fits(&rows, N) {
        for at in (0..N).filter(|at| columns[*at] == Column::Id) {
            shorten(&mut rows, at);
        }
    }
    let whole = rows.clone();
    if !cut_columns(&mut rows, columns, width, ENOUGH) {
        rows = whole.clone();
        for at in (0..N).filter(|at| columns[*at] == Column::Time) {
            rows.iter_mut().skip(1).for_each(|row| row[at] = time::ago(&row[at]).unwrap_or_else(|| row[at].clone()));
        }
        cut_columns(&mut rows, columns, width, LEAST);
    }
    let matters = (0..N)
        .rev()
        .find(|at| matches!(columns[*at], Column::Whole | Column::State | Column::Time))
        .map_or(1, |last| last + 1);
    match (matters..=N).rev().find(|count| fits(&rows, *count)) {
        Some(count) => {
            let shown = text(&rows, count, |column, cell| match columns[column] {
                Column::State if colored => Meaning::of(cell).paint(cell),
                _ => cell.to_owned(),
            });
            // A column without anything in it is not missed.
            let says = |at: &usize| whole.iter().skip(1).any(|row| !matches!(row[*at].as_str(), "" | "-"));
            (shown, (count..N).filter(says).map(|at| whole[0][at].clone()).collect())
        }
        None => (blocks(&whole, columns, width, colored), Vec::new()),
    }
}

/// Cuts the widest of what may be cut until all has room, none to less than `least`; says whether all has.
fn cut_columns<const N: usize>(rows: &mut [[String; N]], columns: [Column; N], width: usize, least: usize) -> bool {
    loop {
        let widths = widths(rows);
        if total(&widths) <= width {
            return true;
        }
        let may_be_cut = |at: &usize| matches!(columns[*at], Column::Cut | Column::Path) && widths[*at] > least;
        let cuttable = (0..N).filter(may_be_cut);
        let Some(widest) = cuttable.max_by_key(|at| widths[*at]) else { return false };
        let room = widths[widest] - 1;
        let cut = if columns[widest] == Column::Path { cut_begin } else { cut };
        rows.iter_mut().for_each(|row| row[widest] = cut(&row[widest], room));
    }
}

/// Each row as its columns' names and its cells, one below the other.
fn blocks<const N: usize>(rows: &[[String; N]], columns: [Column; N], width: usize, colored: bool) -> String {
    let Some((head, rows)) = rows.split_first() else { return String::new() };
    let block = |row: &[String; N]| {
        let cells = head.iter().zip(row).zip(columns).filter(|((_, cell), _)| !matches!(cell.as_str(), "" | "-"));
        let lines = cells.clone().map(|((name, cell), _)| [name.clone(), cell.clone()]);
        let painted = |column: Column, cell: &str| match column {
            Column::State if colored => Meaning::of(cell).paint(cell),
            _ => cell.to_owned(),
        };
        let kinds: Vec<Column> = cells.map(|(_, column)| column).collect();
        folded_as(&lines.collect::<Vec<_>>(), width, |row, line| painted(kinds[row], line))
    };
    rows.iter().map(block).collect::<Vec<_>>().join("\n\n")
}

/// Keys and values, `key  value`; a value that has no room in `width` is folded below itself.
pub fn folded(rows: &[[String; 2]], width: usize) -> String {
    folded_as(rows, width, |_, line| line.to_owned())
}

/// The same, each line of the value of a row as `shown`.
fn folded_as(rows: &[[String; 2]], width: usize, shown: impl Fn(usize, &str) -> String) -> String {
    let rows = cleaned(rows);
    let indent = widths(&rows)[0] + GAP;
    let room = width.saturating_sub(indent).max(LEAST);
    let fold = |(row, [key, value]): (usize, &[String; 2])| {
        let mut lines = vec![String::new()];
        for word in value.split(' ').flat_map(|word| pieces(word, room)) {
            match lines.last_mut() {
                Some(line) if line.is_empty() => line.push_str(&word),
                Some(line) if line.width() + 1 + word.width() <= room => line.extend([" ", &word]),
                _ => lines.push(word),
            }
        }
        let key = format!("{key}{}", " ".repeat(indent - key.width()));
        let lines: Vec<_> = lines.iter().map(|line| shown(row, line)).collect();
        format!("{key}{}", lines.join(&format!("\n{}", " ".repeat(indent)))).trim_end().to_owned()
    };
    rows.iter().enumerate().map(fold).collect::<Vec<_>>().join("\n")
}

/// A word in parts that have room.
fn pieces(word: &str, room: usize) -> Vec<String> {
    let mut pieces = vec![String::new()];
    for c in word.chars() {
        match pieces.last_mut() {
            Some(piece) if piece.width() + c.width().unwrap_or_default() <= room => piece.push(c),
            _ => pieces.push(c.to_string()),
        }
    }
    pieces
}

/// `text` in `width` columns of a terminal, with a sign where something is missing.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut columns = 0;
    let fits = |c: &char| {
        columns += c.width().unwrap_or_default();
        columns < width
    };
    let kept: String = text.trim_end_matches('…').chars().take_while(fits).collect();
    if width == 0 { String::new() } else { format!("{kept}…") }
}

/// The same, with what is missing at its begin.
fn cut_begin(text: &str, width: usize) -> String {
    let reversed = |text: &str| text.chars().rev().collect::<String>();
    reversed(&cut(&reversed(text), width))
}

fn cleaned<const N: usize>(rows: &[[String; N]]) -> Vec<[String; N]> {
    let one_line = |cell: &String| crate::clean(cell).replace(['\n', '\t'], " ");
    rows.iter().map(|row| row.each_ref().map(one_line)).collect()
}

fn widths<const N: usize>(rows: &[[String; N]]) -> [usize; N] {
    std::array::from_fn(|column| rows.iter().map(|row| row[column].width()).max().unwrap_or(0))
}

fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

fn text<const N: usize>(rows: &[[String; N]], count: usize, shown: impl Fn(usize, &str) -> String) -> String {
    let widths = widths(rows);
    let line = |row: &[String; N]| {
        let (mut line, mut blanks) = (String::new(), 0);
        for (column, cell) in row.iter().enumerate().take(count) {
            if !cell.is_empty() {
                line.extend([" ".repeat(blanks), shown(column, cell)]);
                blanks = 0;
            }
            blanks += widths[column] - cell.width() + GAP;
        }
        line
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// Shortens the IDs of a column to what tells them apart.
fn shorten<const N: usize>(rows: &mut [[String; N]], at: usize) {
    let ids: BTreeSet<String> = rows.iter().skip(1).map(|row| row[at].clone()).collect();
    let begin = |id: &String, length: usize| id.chars().take(length).collect::<String>();
    let is_unique =
        |length: &usize| ids.iter().map(|id| begin(id, *length)).collect::<BTreeSet<_>>().len() == ids.len();
    let longest = ids.iter().map(|id| id.chars().count()).max().unwrap_or(0);
    let length = (LEAST..longest).find(is_unique).unwrap_or(longest);
    rows.iter_mut().skip(1).for_each(|row| row[at] = begin(&row[at], length));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows<const N: usize>(rows: &[[&str; N]]) -> Vec<[String; N]> {
        rows.iter().map(|row| row.map(str::to_owned)).collect()
    }

    #[test]
    fn columns_line_up_and_lines_do_not_trail() {
        assert_eq!(table(&rows(&[["a\u{1b}[2J\nb", "c"]])), "a[2J b  c");
        assert_eq!(table(&rows(&[["a", "é", ""], ["long", "b", "c"]])), "a     é\nlong  b  c");
        assert_eq!(table(&rows(&[["漢字", "x"], ["a", "y"]])), "漢字  x\na     y");
    }

    #[test]
    fn a_value_without_room_is_folded_below_itself() {
        let rows = rows(&[["by", "ada"], ["why", "web/app.py (context), and 漢字漢字漢字漢字"]]);
        assert_eq!(folded(&rows, 80), table(&rows), "there is room");
        assert_eq!(folded(&rows, 20), "by   ada\nwhy  web/app.py\n     (context), and\n     漢字漢字漢字漢\n     字");
        for width in 13..60 {
            assert!(folded(&rows, width).lines().all(|line| line.width() <= width), "{width}");
        }
    }

    #[test]
    fn a_path_keeps_its_end_and_an_empty_column_is_not_missed() {
        let rows = rows(&[["HOST", "FILE", "NOTE"], ["one", "/var/backups/shop/a.zst", "-"], ["two", "b.zst", "-"]]);
        let columns = [Column::Whole, Column::Path, Column::Cut];
        assert_eq!(
            fitting(&rows, columns, 17, false),
            ("HOST  FILE\none   …p/a.zst\ntwo   b.zst".to_owned(), Vec::new())
        );
    }

    #[test]
    fn a_moment_is_told_from_now_where_there_is_no_room_for_it() {
        let at = time::local("2026-05-04T09:30:00Z");
        let table_of = |at: &str| rows(&[["AT", "BY"], [at, "ada"], ["-", "grace"]]);
        assert_eq!(fitted(&table_of(&at), [Column::Time, Column::Cut], 80, false), table(&table_of(&at)));
        let narrow = fitted(&table_of(&at), [Column::Time, Column::Cut], 24, false);
        assert!(narrow.lines().nth(1).is_some_and(|line| line.contains(" ago  ada")), "{narrow}");
        let blocks = fitted(&table_of(&at), [Column::Time, Column::Whole], 8, false);
        assert!(!blocks.contains("ago"), "there is room below each other: {blocks}");
    }

    #[test]
    fn a_table_fits_its_terminal_and_what_matters_stays_whole() {
        let columns = [Column::Whole, Column::Id, Column::State, Column::Cut];
        let rows = rows(&[
            ["HOST", "RELEASE", "VERDICT", "SERVICES"],
            ["platform", "01a226fb-8454-733b", "rolled_back", "dashboard,docs,web-gateway"],
            ["runners", "01a226fb-8454-733b", "verified", "runner-agent"],
            ["platform", "01a226fc-1111-733b", "verified", "docs"],
        ]);
        assert_eq!(fitted(&rows, columns, 200, false), table(&rows), "there is room");
        let fitting = "HOST      RELEASE   VERDICT      SERVICES\n\
                       platform  01a226fb  rolled_back  dashboard,docs,we…\n\
                       runners   01a226fb  verified     runner-agent\n\
                       platform  01a226fc  verified     docs";
        assert_eq!(fitted(&rows, columns, 51, false), fitting);
        let colored = fitted(&rows, columns, 51, true);
        assert!(colored.contains("01a226fb  \u{1b}[33mrolled_back\u{1b}[0m  dash"), "{colored:?}");
        assert!(colored.contains("01a226fc  \u{1b}[32mverified\u{1b}[0m     docs"), "{colored:?}");
        assert_eq!(colored.replace("\u{1b}[33m", "").replace("\u{1b}[32m", "").replace("\u{1b}[0m", ""), fitting);
        let narrow = fitted(&rows, columns, 35, false);
        assert_eq!(narrow.lines().next(), Some("HOST      RELEASE   VERDICT"));
        assert_eq!(super::fitting(&rows, columns, 35, false).1, ["SERVICES"], "it is said what is left out");
        assert!(whole(&rows, columns, 35).contains("SERVICES  runner-agent"), "{}", whole(&rows, columns, 35));
        assert!(fitted(&rows, columns, 24, true).starts_with(
            "HOST      platform\nRELEASE   01a226fb\nVERDICT   \u{1b}[33mrolled_back\u{1b}[0m\nSERVICES  dashboard"
        ));
        let blocks = fitted(&rows, columns, 24, false);
        let first = "HOST      platform\nRELEASE   01a226fb\nVERDICT   rolled_back\nSERVICES  dashboard,docs\n          ,web-gateway\n\n";
        assert!(blocks.starts_with(first), "{blocks}");
        for width in 18..120 {
            assert!(fitted(&rows, columns, width, false).lines().all(|line| line.width() <= width), "{width}");
        }
    }
}
