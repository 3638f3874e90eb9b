//! Tables on stdout, for people.

/// Columns as wide as their widest cell; the last one has no trailing blanks.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let one_line = |cell: &String| crate::clean(cell).replace(['\n', '\t'], " ");
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(one_line)).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; N] = std::array::from_fn(width);
    let line = |row: &[String; N]| {
        let cells: Vec<_> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn columns_line_up_and_lines_do_not_trail() {
        let lying = [["a\u{1b}[2J\nb", "c"]].map(|row| row.map(str::to_owned));
        assert_eq!(super::table(&lying), "a[2J b  c");
        let rows = [["a", "é", ""], ["long", "b", "c"]].map(|row| row.map(str::to_owned));
        assert_eq!(super::table(&rows), "a     é\nlong  b  c");
    }
}
