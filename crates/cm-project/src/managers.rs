//! The managers of a Swarm besides the one that its host names: any of them speaks for all nodes.

use crate::host::manager_address;
use crate::project::Project;
use cm_core::Result;

impl Project {
    /// The addresses of the Swarm's other managers, without those whose variable is empty.
    ///
    /// # Errors
    /// [`cm_core::Exit::Config`] that names the variable that is not set, or what is wrong with an address.
    pub fn managers(&self) -> Result<Vec<String>> {
        let all = self.config.swarm.iter().flat_map(|swarm| &swarm.managers);
        let addresses: Vec<String> = all.map(manager_address).collect::<Result<_>>()?;
        Ok(addresses.into_iter().filter(|address| !address.is_empty()).collect())
    }
}
