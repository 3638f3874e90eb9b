//! The table, as lines of text. Pure: what was seen and the width go in.

use super::sight::{Condition, Row};
use cm_core::Meaning;
use cm_core::redact;

/// Columns, the most dispensable last: title, and its most useful width.
const COLUMNS: [(&str, usize); 8] = [
    ("SERVICE", 24),
    ("HOST", 12),
    ("STATE", 18),
    ("UP", 8),
    ("RESTARTS", 8),
    ("LAST CHECK", 60),
    ("CONTAINER", 32),
    ("IMAGE", 48),
];

/// Two blanks between columns.
const GAP: usize = 2;

/// A column of text narrower than this says nothing.
const LEAST: usize = 12;

/// The table of `rows`, each line at most `width` characters; with colours if `color`.
/// Where `height` is too little for all, those that are not healthy stay.
pub fn render(title: &str, rows: &[Row], (width, height): (usize, usize), color: bool) -> Vec<String> {
    let widths = fit(&cells(rows), width);
    let mut lines = vec![cut(title, width), line(&COLUMNS.map(|(title, _)| title.to_owned()), &widths)];
    let room = height.saturating_sub(lines.len() + 1);
    let shown = most_important(rows, room);
    for row in &shown {
        let text = line(&words(row), &widths);
        lines.push(if color { paint(row.condition, &text) } else { text });
    }
    if shown.len() < rows.len() {
        lines.push(cut(&format!("… and {} more", rows.len() - shown.len()), width));
    }
    lines
}

fn words(row: &Row) -> [String; 8] {
    let check = redact(row.check.lines().last().unwrap_or_default()).into_owned();
    let restarts = if row.restarts == 0 { "0".to_owned() } else { format!("+{}", row.restarts) };
    [
        row.service.clone(),
        row.host.clone(),
        row.state.clone(),
        row.up.map_or_else(|| "-".to_owned(), up),
        restarts,
        check,
        row.container.clone(),
        row.image.clone(),
    ]
    .map(|text| cm_core::clean(&text).replace(['\n', '\t'], " "))
}

fn cells(rows: &[Row]) -> Vec<[String; 8]> {
    rows.iter().map(words).collect()
}

/// How wide each column is: as its longest cell wants, up to its useful width; those
/// that have no room left are 0.
fn fit(cells: &[[String; 8]], width: usize) -> Vec<usize> {
    let mut left = width;
    let wanted = COLUMNS.iter().enumerate().map(|(index, (title, most))| {
        let longest = cells.iter().map(|row| row[index].chars().count()).max().unwrap_or(0);
        if longest == 0 { 0 } else { longest.clamp(title.len(), (*most).max(title.len())) }
    });
    let mut widths = Vec::new();
    for (index, wanted) in wanted.enumerate() {
        let gap = if index == 0 { 0 } else { GAP };
        let given = wanted.min(left.saturating_sub(gap));
        // Half a number is worse than none.
        let useful = given == wanted || (given >= LEAST && !matches!(index, 3 | 4));
        let given = if useful { given } else { 0 };
        left -= if given == 0 { 0 } else { given + gap };
        widths.push(given);
    }
    widths
}

fn line(words: &[String; 8], widths: &[usize]) -> String {
    let shown = words.iter().zip(widths).filter(|(_, width)| **width > 0);
    let padded = shown.map(|(word, width)| format!("{:<width$}", cut(word, *width), width = *width));
    padded.collect::<Vec<_>>().join(&" ".repeat(GAP)).trim_end().to_owned()
}

fn cut(text: &str, width: usize) -> String {
    match text.chars().count() > width {
        true => text.chars().take(width.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

fn paint(condition: Condition, text: &str) -> String {
    let meaning = match condition {
        Condition::Healthy => Meaning::Plain,
        Condition::Starting => Meaning::Warning,
        Condition::Unhealthy | Condition::Unknown => Meaning::Bad,
    };
    meaning.paint(text)
}

/// The rows that there is room for, in their order.
fn most_important(rows: &[Row], room: usize) -> Vec<&Row> {
    if rows.len() <= room {
        return rows.iter().collect();
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|index| std::cmp::Reverse(rows[*index].condition));
    let mut chosen: Vec<usize> = order.into_iter().take(room).collect();
    chosen.sort_unstable();
    chosen.into_iter().map(|index| &rows[index]).collect()
}

/// `45s`, `12m`, `3h`, `9d`.
fn up(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(service: &str, condition: Condition, check: &str) -> Row {
        Row {
            service: service.to_owned(),
            host: "platform".to_owned(),
            container: format!("shop-{service}-1"),
            state: "healthy".to_owned(),
            condition,
            up: Some(75),
            restarts: 0,
            check: check.to_owned(),
            image: "acme/shop:1".to_owned(),
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_and_the_service_stays() {
        let rows =
            [row("web", Condition::Healthy, &"long ".repeat(40)), row(&"x".repeat(60), Condition::Unhealthy, "")];
        for width in [20, 40, 80, 132, 200, 400] {
            let lines = render(&"t".repeat(300), &rows, (width, 40), false);
            assert_eq!(lines.len(), 4, "{width}");
            assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:#?}");
            assert!(lines[2].starts_with("web"), "{lines:#?}");
        }
        let narrow = render("t", &rows, (80, 40), false);
        assert!(narrow[1].contains("RESTARTS") && !narrow[1].contains("IMAGE"), "{narrow:#?}");
        let wide = render("t", &rows, (200, 40), false);
        assert!(wide[1].ends_with("IMAGE") && wide[2].ends_with("acme/shop:1"), "{wide:#?}");
    }

    #[test]
    fn where_rows_do_not_fit_those_that_are_not_healthy_stay() {
        let mut rows: Vec<Row> = (0..20).map(|n| row(&format!("s{n}"), Condition::Healthy, "")).collect();
        rows[17].condition = Condition::Unhealthy;
        let lines = render("t", &rows, (80, 8), false);
        assert_eq!(lines.len(), 8);
        assert!(lines.iter().any(|line| line.starts_with("s17")), "{lines:#?}");
        assert_eq!(lines[7], "… and 15 more");
    }

    #[test]
    fn what_a_check_printed_cannot_move_the_cursor() {
        let lines = render("t", &[row("web", Condition::Unhealthy, "a\u{1b}[2Jb")], (80, 9), false);
        assert!(lines.iter().all(|line| !line.contains('\u{1b}')), "{lines:#?}");
    }
}
