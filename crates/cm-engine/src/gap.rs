//! How long nothing of a service ran while its container was replaced, by what the engine noted.

use cm_core::{Exit, Result};
use cm_host::Host;
use std::collections::BTreeMap;
use std::time::Duration;

/// The engine's own times, so that no clock is compared with another one.
const EVENTS: &str = concat!(
    "# Looks how long services were away.\n",
    cm_host::small_sh!(),
    r#"docker events --since "$2s" --until "$(now)" --filter type=container --filter event=die --filter event=start \
    --filter "label=com.docker.compose.project=$1" --filter label=com.docker.compose.oneoff=False \
    --format '{{.TimeNano}} {{.Action}} {{index .Actor.Attributes "com.docker.compose.service"}}'"#
);

/// By service, the time from the end of its container to the start of the next one, within the last
/// `since`. The engine remembers its last events only; what it has forgotten is left out.
///
/// # Errors
/// [`Exit::Unreachable`]; [`Exit::Build`] if the engine does not say.
pub async fn gaps(host: &Host, project: &str, since: Duration) -> Result<BTreeMap<String, Duration>> {
    let seconds = since.as_secs() + 1;
    let said =
        host.script(EVENTS, [project.to_owned(), seconds.to_string()]).text(Exit::Build, "engine.events").await?;
    Ok(read(&said))
}

fn read(said: &str) -> BTreeMap<String, Duration> {
    let (mut ended, mut gaps) = (BTreeMap::new(), BTreeMap::new());
    for line in said.lines() {
        let mut words = line.split(' ');
        let (Some(Ok(at)), Some(action), Some(service)) =
            (words.next().map(str::parse::<u64>), words.next(), words.next())
        else {
            continue;
        };
        match action {
            "die" => drop(ended.insert(service.to_owned(), at)),
            _ => {
                if let Some(then) = ended.remove(service) {
                    gaps.insert(service.to_owned(), Duration::from_nanos(at.saturating_sub(then)));
                }
            }
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_from_an_end_to_the_next_start() {
        let said = "5000000 start old\n7000000 die web\n8000000 die api\n9500000 start web\nnonsense\n";
        assert_eq!(read(said), BTreeMap::from([("web".to_owned(), Duration::from_micros(2500))]));
    }
}
