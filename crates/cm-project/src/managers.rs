//! The nodes of a Swarm besides the manager that its host names: the other managers, any of which speaks for all nodes,
//! and workers, each of which has images and containers of its own.

use crate::host::node_address;
use crate::project::Project;
use crate::value::Template;
use cm_core::Result;

impl Project {
    /// The addresses of the Swarm's other managers, without those whose variable is empty.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] that names the variable that is not set, or what is wrong with an address.
    pub fn managers(&self) -> Result<Vec<String>> {
        addresses("a manager", self.config.swarm.iter().flat_map(|swarm| &swarm.managers))
    }

    /// The addresses of the Swarm's nodes that are no managers, without those whose variable is empty.
    ///
    /// # Errors
    /// As [`Project::managers`].
    pub fn workers(&self) -> Result<Vec<String>> {
        addresses("a worker", self.config.swarm.iter().flat_map(|swarm| &swarm.workers))
    }
}

fn addresses<'a>(whose: &str, all: impl Iterator<Item = &'a Template>) -> Result<Vec<String>> {
    let addresses: Vec<String> = all.map(|written| node_address(whose, written)).collect::<Result<_>>()?;
    Ok(addresses.into_iter().filter(|address| !address.is_empty()).collect())
}
