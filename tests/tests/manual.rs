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
