//! What the engine of a host says to the project that comes: whether it can run it, and what it does otherwise.

use super::finding::Finding;
use super::needs::{self, Subject};
use cm_core::Exit;
use cm_engine::{Matter, Obstacle};
use cm_host::{Host, Output};
use cm_project::Project;

/// Asks it. An engine that does not answer is a finding, too.
pub async fn look(project: &Project, host: &Host, config: &Output) -> Vec<Finding> {
    let config =
        if config.success() { cm_host::parse_json(&config.stdout).unwrap_or_default() } else { Default::default() };
    let sight = cm_engine::sight(host);
    let (own, beyond) = tokio::join!(sight.obstacles(project, host, &config), sight.beyond(project, host));
    match own {
        // Where the engine itself does not answer, nothing beyond it does.
        Ok(obstacles) => {
            let own = obstacles.into_iter().map(finding);
            match beyond {
                Ok(beyond) => own.chain(beyond.into_iter().map(finding)).collect(),
                Err(failure) => own.chain([Finding::of(&needs::NODES, Exit::Config, &failure)]).collect(),
            }
        }
        Err(failure) => vec![Finding::of(&needs::SWARM, Exit::Config, &failure)],
    }
}

fn finding(obstacle: Obstacle) -> Finding {
    let about: &'static Subject = match obstacle.matter {
        Matter::File => &needs::STACK,
        Matter::Engine => &needs::SWARM,
        Matter::Nodes => &needs::NODES,
        Matter::Registry => &needs::REGISTRY,
    };
    let finding = match obstacle.stops {
        true => Finding::fail(Exit::Config, about, obstacle.message),
        false => Finding::warn(about, obstacle.message),
    };
    if obstacle.hint.is_empty() { finding } else { finding.hint(obstacle.hint) }
}
