//! The manual and the schemas: what is committed is what the definitions say, readers of
//! manual pages have nothing to complain of, and schemas hold what they describe.

use cm_testkit::{Home, repository};
use std::path::PathBuf;

fn pages() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(repository().join("man")).expect("man/").flatten();
    let mut pages: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    pages.sort();
    assert!(pages.len() >= 12, "{pages:?}");
    pages
}

#[test]
fn what_is_committed_is_what_the_definitions_say() {
    let home = Home::new();
    let man = repository().join("man").display().to_string();
    let answer = home.run("cm-docs", &["--check", &man], "", None);
    assert_eq!(answer.code, 0, "{}", answer.stderr);
}

#[test]
fn two_readers_of_manual_pages_are_content() {
    let mut home = Home::new();
    home.set("MANWIDTH", "80");
    for page in pages() {
        let page = page.display().to_string();
        let lint = home.run("mandoc", &["-Tlint", &page], "", None);
        assert_eq!((lint.code, lint.stdout.as_str()), (0, ""), "mandoc -Tlint {page}: {}", lint.stderr);
        let groff = home.run("man", &["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", &page], "", None);
        assert_eq!((groff.code, groff.stderr.as_str()), (0, ""), "man --warnings {page}");
    }
}

#[test]
fn every_page_has_the_sections_that_readers_look_for() {
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page");
        let is_program = page.extension().is_some_and(|section| section == "1");
        let wanted: &[&str] = match is_program {
            true => &[
                "NAME",
                "SYNOPSIS",
                "DESCRIPTION",
                "OPTIONS",
                "\"INPUT AND OUTPUT\"",
                "\"EXIT STATUS\"",
                "ENVIRONMENT",
                "FILES",
                "EXAMPLES",
                "\"SEE ALSO\"",
            ],
            false => &["NAME", "\"SEE ALSO\""],
        };
        for section in wanted {
            assert!(text.contains(&format!(".SH {section}\n")), "{}: no section {section}", page.display());
        }
    }
}

/// A number of the table as people read it, and as `scripts/bench/table.py` writes it.
fn number(value: f64, unit: &str) -> String {
    if unit == "ms" && value >= 1_000.0 {
        return format!("{:.1} s", value / 1_000.0);
    }
    let digits = usize::from(value < 100.0 && value.fract() != 0.0);
    format!("{value:.digits$} {unit}").trim_end().to_owned()
}

#[test]
fn the_readme_shows_what_was_measured_last() {
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).expect(path);
    let results: serde_json::Value = serde_json::from_str(&read("scripts/bench/results.json")).expect("JSON");
    let readme = read("README.md");
    let table = readme.split("<!-- bench -->").nth(1).and_then(|rest| rest.split("<!-- /bench -->").next());
    let table = table.expect("the table's marks");
    let text = |key: &str| results[key].as_str().unwrap_or_else(|| panic!("{key}"));
    for about in [text("date"), text("machine"), text("programs")] {
        assert!(table.contains(about), "{about}");
    }
    let lines: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .skip(2)
        .map(|line| line.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect();
    let rows = results["rows"].as_array().expect("rows");
    assert_eq!(lines.len(), rows.len(), "a row for each, and none besides");
    assert!(!rows.is_empty());
    for (line, row) in lines.iter().zip(rows) {
        let unit = row["unit"].as_str().expect("a unit");
        let three = |key: &str| {
            let at = |index: usize| number(row[key][index].as_f64().expect("a number"), unit);
            format!("{} ({} – {})", at(0), at(1), at(2))
        };
        assert_eq!((line[0], line[1]), (row["row"].as_str().expect("a name"), three("ours").as_str()));
        if row["judged"] == "ratio" {
            assert_eq!(line[2], format!("{}: {}", row["peer"].as_str().expect("a peer"), three("theirs")));
            assert_eq!(line[3], format!("{:.2} ×", row["ratio"].as_f64().expect("a ratio")));
        }
        assert_eq!(line[5] == "yes", row["holds"] == true, "{line:?}");
    }
}
