//! How what stands in the way is said, whatever the engine.

use crate::interface::{Matter, Obstacle};
use cm_project::Project;
use cm_swarm::{Note, place};

pub(crate) fn stop(matter: Matter, message: String, hint: &str) -> Obstacle {
    Obstacle { matter, message, hint: hint.to_owned(), stops: true }
}

pub(crate) fn warn(matter: Matter, message: String, hint: &str) -> Obstacle {
    Obstacle { stops: false, ..stop(matter, message, hint) }
}

/// With the file and the line of the key, where the files of this machine have it.
pub(crate) fn of_file(project: &Project, note: &Note, stops: bool, hint: &str) -> Obstacle {
    let at = project.compose_files().into_iter().find_map(|file| {
        let text = std::fs::read_to_string(project.repository.join(&file)).ok()?;
        place(&text, &note.service, &note.key).map(|line| format!("{file}:{line}: "))
    });
    Obstacle { stops, ..stop(Matter::File, format!("{}{note}", at.unwrap_or_default()), hint) }
}
