//! The table of steps and faults, tests/faults.md: what each run ended with. A run writes the cells that it tried.

use super::fault::{FAULTS, Fault, STEPS, Step};
use cm_testkit::repository;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

const HEAD: &str = "# Steps and faults

Written by `CM_FAULTS=all CM_FAULTS_TABLE=1` and the test `faults`: do not edit. A column is a step of scripts/deploy-to-vps.sh, a row is
what happened at a random moment of the first 1.5 s of it. A cell is the exit status of that run (cm(7); 137: the script itself was killed). It stands
here only if, afterwards, protected files and the documents of the database were as before, Docker and the ledgers agreed
about what ran, the lock was free, and the next plain run deployed the commit and ended with 0 (after a rollback that the fault had kept from being made). An empty cell was not tried yet.

";

pub struct Table(BTreeMap<(String, String), String>);

fn path() -> PathBuf {
    repository().join("tests/faults.md")
}

impl Table {
    pub fn read() -> Table {
        let text = std::fs::read_to_string(path()).unwrap_or_default();
        let mut rows = text
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
        let steps = rows.next().unwrap_or_default();
        let mut table = Table(BTreeMap::new());
        for row in rows.skip(1) {
            for (step, cell) in steps.iter().zip(&row).skip(1).filter(|(_, cell)| !cell.is_empty()) {
                table.0.insert((step.clone(), row[0].clone()), cell.clone());
            }
        }
        table
    }

    pub fn has(&self, step: &Step, fault: &Fault) -> bool {
        self.0.contains_key(&(step.name.to_owned(), fault.name.to_owned()))
    }

    /// Keeps what a run ended with, and writes the table if that is wanted.
    pub fn set(&mut self, step: &Step, fault: &Fault, code: i32) {
        let code = if code == -1 { 137 } else { code };
        self.0.insert((step.name.to_owned(), fault.name.to_owned()), code.to_string());
        if std::env::var_os("CM_FAULTS_TABLE").is_some() {
            std::fs::write(path(), self.text()).expect("tests/faults.md");
        }
    }

    fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        let tried = FAULTS.iter().flat_map(|fault| STEPS.iter().map(move |step| self.has(step, fault)));
        let _ = writeln!(text, "{} of {} tried.\n", tried.filter(|tried| *tried).count(), FAULTS.len() * STEPS.len());
        let row = |first: &str, cells: Vec<String>| format!("| {first} | {} |\n", cells.join(" | "));
        text += &row("", STEPS.iter().map(|step| step.name.to_owned()).collect());
        text += &row("---", vec!["---".to_owned(); STEPS.len()]);
        for fault in FAULTS {
            let cell = |step: &Step| self.0.get(&(step.name.to_owned(), fault.name.to_owned())).cloned();
            text += &row(fault.name, STEPS.iter().map(|step| cell(step).unwrap_or_default()).collect());
        }
        text
    }
}
