//! The services that a path may touch, by the folders of their rules: with many services
//! and many paths, nearly every pair has nothing to do with each other.

use super::ServiceInputs;
use std::collections::HashMap;

/// An index of rules by the folders that they are about.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    folders: HashMap<String, Vec<usize>>,
    count: usize,
}

impl Reach {
    /// Adds what the service of this number depends on; more than once, if it depended
    /// on other things before. The numbers come in order.
    pub fn add(&mut self, number: usize, inputs: &ServiceInputs) {
        self.count = number + 1;
        for folder in inputs.reach() {
            let services = self.folders.entry(folder).or_default();
            if services.last() != Some(&number) {
                services.push(number);
            }
        }
    }

    /// The numbers of the services that a change of `path` may touch, in order: there is
    /// a rule about a folder that it is in. A `module` may also be above what a rule is about.
    pub fn services(&self, path: &[u8], module: bool) -> Vec<usize> {
        if module {
            return (0..self.count).collect();
        }
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(end, _)| end);
        let above = [0].into_iter().chain(ends).chain([path.len()]).map(|end| &path[..end]);
        let folders = above.filter_map(|folder| self.folders.get(std::str::from_utf8(folder).ok()?));
        let mut services: Vec<usize> = folders.flatten().copied().collect();
        services.sort_unstable();
        services.dedup();
        services
    }
}
