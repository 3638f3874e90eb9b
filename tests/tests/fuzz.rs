//! Every reader of what somebody else wrote, with everything of tests/fuzz/corpus, as it is and changed at random: none panics,
//! none hangs. `make fuzz` does the same guided by coverage, and puts what it finds into the corpus.
//!
//! `CM_FUZZ_SECONDS` is how long (default 10), `CM_SEED` repeats the changes.

#![expect(clippy::print_stdout, reason = "a long test tells its numbers")]

#[path = "fuzz/readers.rs"]
mod readers;

use std::time::{Duration, Instant, SystemTime};

/// Random numbers.
struct Random(u64);

impl Random {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most.max(1)
    }
}

/// What readers know as words: a change of one byte seldom makes them.
const WORDS: [&str; 24] = [
    "${",
    "}",
    ":-",
    "\"",
    "'",
    "\n",
    "\t",
    "\\",
    "{",
    "[",
    "]",
    "&a ",
    "*a",
    "<<: ",
    "!reset",
    "null",
    "18446744073709551615",
    "-1",
    "1e999",
    "\u{0}",
    "\u{1b}]0;",
    "\u{202e}",
    "../",
    "**/",
];

fn corpus() -> Vec<Vec<u8>> {
    let directory = cm_testkit::repository().join("tests/fuzz/corpus");
    let entries = std::fs::read_dir(directory).expect("tests/fuzz/corpus").flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    files.iter().map(|path| std::fs::read(path).expect("a file of the corpus")).collect()
}

fn changed(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut bytes = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(6) {
        let (at, other) = (random.below(bytes.len()), random.below(bytes.len()));
        let (from, to) = (at.min(other), at.max(other));
        match random.below(6) {
            0 => drop(bytes.drain(from..to)),
            1 => bytes.extend_from_within(from..to),
            2 => {
                let word = WORDS[random.below(WORDS.len())].as_bytes();
                bytes.splice(at..at, word.iter().copied()).for_each(drop);
            }
            3 => {
                let seed = &seeds[random.below(seeds.len())];
                let (from, length) = (random.below(seed.len()), random.below(40));
                let piece = seed[from..].iter().take(length).copied().collect::<Vec<_>>();
                bytes.splice(at..at, piece).for_each(drop);
            }
            4 => bytes.truncate(to.max(2)),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.below(256) as u8;
                }
            }
        }
    }
    bytes.truncate(16 << 10);
    bytes
}

#[test]
fn no_reader_panics_or_hangs_whatever_it_is_given() {
    let seeds = corpus();
    for (number, (name, _)) in readers::READERS.iter().enumerate() {
        let count = seeds.iter().filter(|seed| seed.first().is_some_and(|first| usize::from(*first) == number)).count();
        assert!(count > 0, "tests/fuzz/corpus has nothing for {name} ({number})");
    }
    seeds.iter().for_each(|seed| readers::read(seed));
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").subsec_nanos();
    let seed = std::env::var("CM_SEED").map_or_else(|_| clock().into(), |seed| seed.parse().expect("a number"));
    let seconds = std::env::var("CM_FUZZ_SECONDS").map_or(10, |text| text.parse().expect("a number"));
    let (mut random, began, mut count) = (Random(seed), Instant::now(), 0_u64);
    println!("seed {seed}");
    while began.elapsed() < Duration::from_secs(seconds) {
        let bytes = changed(&seeds, &mut random);
        let one = Instant::now();
        let read = std::panic::catch_unwind(|| readers::read(&bytes));
        assert!(
            read.is_ok() && one.elapsed() < Duration::from_secs(10),
            "seed {seed}, number {count}: {:?}",
            String::from_utf8_lossy(&bytes)
        );
        count += 1;
    }
    println!("{count} executions over {} readers", readers::READERS.len());
}
