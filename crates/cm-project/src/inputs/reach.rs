//! The services that a path may touch, by the directories of their rules: with many services
//! and many paths, nearly every pair has nothing to do with each other.

use super::ServiceInputs;
use std::collections::HashMap;

/// An index of rules by the directories that they are about.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    directories: HashMap<String, Vec<usize>>,
    count: usize,
}

impl Reach {
    /// Adds what the service of this number depends on; more than once, if it depended
    /// on other things before. The numbers come in order.
    pub fn add(&mut self, number: usize, inputs: &ServiceInputs) {
        self.count = number + 1;
        for directory in inputs.reach() {
            let services = self.directories.entry(directory).or_default();
            if services.last() != Some(&number) {
                services.push(number);
            }
        }
    }

    /// The numbers of the services that a change of `path` may touch, in order: there is
    /// a rule about a directory that it is in. A `module` may also be above what a rule is about.
    pub fn services(&self, path: &[u8], module: bool) -> Vec<usize> {
        if module {
            return (0..self.count).collect();
        }
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let above = [0].into_iter().chain(ends).chain([path.len()]).map(|end| &path[..end]);
        let directories = above.filter_map(|directory| self.directories.get(std::str::from_utf8(directory).ok()?));
        let mut services: Vec<usize> = directories.flatten().copied().collect();
        services.sort_unstable();
        services.dedup();
        services
    }
}
