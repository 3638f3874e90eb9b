//! A named volume, as a tar archive of all that is in it, made by the tar of an image that uses it. Its
//! containers are stopped meanwhile, or its files are of several moments, as the section says. A
//! restore unpacks alongside what is there, in the volume itself, and moves one for the other while
//! nobody runs.

mod tar;

use crate::job::{Job, job, script};
use crate::kind::{Kind, Scratch, Words};
use crate::scan::Scan;
use cm_archive::manifest::Consistency;
use tar::Entries;

/// A volume of a Compose project.
#[derive(Debug)]
pub struct Volume {
    /// The project's name as Compose knows it.
    pub project: String,
    /// Its name in the compose file.
    pub volume: String,
    /// Whether the containers that use it are stopped meanwhile.
    pub stop: bool,
    /// The directory on its host that lists who is stopped.
    pub stopped: String,
}

impl Volume {
    fn arguments(&self, more: impl IntoIterator<Item = String>) -> impl IntoIterator<Item = String> {
        let stop = if self.stop { "stop" } else { "" };
        let fixed = [self.project.clone(), self.volume.clone(), stop.to_owned(), self.stopped.clone()];
        fixed.into_iter().chain(more)
    }
}

impl Kind for Volume {
    fn words(&self) -> Words {
        Words {
            format: "tar",
            suffix: ".tar",
            is_packed: false,
            consistency: if self.stop { Consistency::Snapshot } else { Consistency::None },
            not_verified: &["sockets are not in it"],
        }
    }

    fn recover(&self) -> Option<Job> {
        Some(job!("Starts who was stopped by a run that has died", script!("restart.sh"), self.arguments([])))
    }

    fn name(&self) -> Option<&str> {
        Some(&self.volume)
    }

    fn look(&self) -> Job {
        job!("Asks for the volume", script!("look.sh"), self.arguments([]))
    }

    fn dump(&self) -> Job {
        job!("Packs the volume", script!("dump.sh"), self.arguments([]))
    }

    fn scan(&self) -> Box<dyn Scan> {
        Box::new(Entries::default())
    }

    fn load(&self, scratch: &Scratch, keeps: bool) -> Option<Job> {
        let arguments = self.arguments([scratch.new_name(), if keeps { "keep" } else { "" }.to_owned()]);
        Some(job!("Unpacks the archive where nobody uses it", script!("change.sh", "load.sh"), arguments))
    }

    fn unload(&self, scratch: &Scratch) -> Option<Job> {
        Some(job!("Removes what was unpacked", script!("drop.sh"), self.arguments([scratch.new_name()])))
    }

    fn take(&self, scratch: &Scratch) -> Option<Job> {
        let arguments = self.arguments([scratch.new_name(), scratch.old_name()]);
        Some(job!("Changes the files of the volume", script!("change.sh", "take.sh"), arguments))
    }
}
