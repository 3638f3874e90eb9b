//! An image on its way to or from a registry, and how much of it is there. Docker shows bytes on a terminal only, so on the
//! host it is given one; what it draws there is added up there once a second, and travels as a line of numbers.

use cm_core::{Failure, Task};

/// What such a line begins with.
const MARK: &str = "cm transfer ";

/// Shell functions for a script: `transfer SECONDS pull|push IMAGE [PLATFORM]` runs that `docker` command and prints how far it
/// is, as [`Transfer::read`] takes it. It ends as the command does, or with 124 after so many seconds. Needs [`crate::small_sh`].
#[macro_export]
macro_rules! transfer_sh {
    () => {
        r#"# Whether a command can be given a terminal, and how it ended is known then.
can_draw() {
    drawn=0
    SHELL=/bin/sh script -qefc 'exit 7' /dev/null </dev/null >/dev/null 2>&1 || drawn=$?
    [ "$drawn" -eq 7 ]
}
# Adds up what `docker pull` or `docker push` has drawn or said of its layers.
add_up() { # FILE
    tr '\033\r' '\n\n' <"$1" | LC_ALL=C awk '
        function bytes(text) {
            return (text + 0) * (text ~ /kB$/ ? 1e3 : text ~ /MB$/ ? 1e6 : text ~ /GB$/ ? 1e9 : text ~ /TB$/ ? 1e12 : 1)
        }
        $1 ~ /^[0-9a-f]+:$/ && length($1) == 13 && $3 != "from" && $2 != "digest:" {
            at[$1] = $2
            for (i = 3; i <= NF; i++)
                if ($2 != "Extracting" && $i ~ /^[0-9.]+[kMGT]?B\/[0-9.]+[kMGT]?B$/ && split($i, amount, "/") == 2) {
                    done[$1] = bytes(amount[1])
                    total[$1] = bytes(amount[2])
                }
            ended[$1] = $0 ~ /: (Pull complete|Already exists|Pushed|Layer already exists|Mounted from)/
        }
        END {
            phase = "loading"
            for (id in at) {
                layers++
                all += total[id]
                came += (at[id] ~ /^(Verifying|Download|Extracting|Pull|Pushed)$/ || done[id] > total[id]) ? total[id] : done[id]
                there += ended[id]
                loads += at[id] ~ /^(Pulling|Waiting|Downloading|Preparing|Pushing)$/
                extracts += at[id] == "Extracting"
                if (at[id] == "Retrying") phase = "retrying"
            }
            if (phase == "loading" && !loads && extracts) phase = "extracting"
            printf "cm transfer %.0f %.0f %d %d %s\n", came, all, there, layers, phase
        }'
}
transfer() { # SECONDS pull|push IMAGE [PLATFORM]
    transfer_code=0
    transfer_file=$(mktemp) || return
    (while sleep 1 </dev/null >/dev/null 2>&1; do add_up "$transfer_file"; done) &
    transfer_watch=$!
    if can_draw; then
        export CM_VERB="$2" CM_IMAGE="$3" CM_PLATFORM="${4-}"
        SHELL=/bin/sh limited "$1" script -qefc \
            'exec docker "$CM_VERB" ${CM_PLATFORM:+--platform "$CM_PLATFORM"} -- "$CM_IMAGE" 2>&3' \
            /dev/null 3>&2 2>/dev/null </dev/null >"$transfer_file" || transfer_code=$?
    else
        limited "$1" docker "$2" ${4:+--platform "$4"} -- "$3" </dev/null >"$transfer_file" || transfer_code=$?
    fi
    kill "$transfer_watch" 2>/dev/null || :
    [ "$transfer_code" -ne 0 ] || add_up "$transfer_file"
    rm -f -- "$transfer_file"
    [ "$transfer_code" -ne 124 ] || echo "docker $2 $3 has not ended within $1 s" >&2
    return "$transfer_code"
}
"#
    };
}

/// How far an image is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transfer {
    /// The bytes that are there, of the layers whose size is known.
    pub done: u64,
    /// The size of those layers.
    pub total: u64,
    /// The layers that are done.
    pub ended: u64,
    /// All of them.
    pub layers: u64,
    /// What is going on.
    pub phase: Phase,
}

/// What is going on with an image that is on its way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Layers travel.
    Loading,
    /// All are there; the host unpacks them.
    Extracting,
    /// A layer broke off, and Docker waits before it asks again.
    Retrying,
}

impl Transfer {
    /// Reads a line of the script; `None` for anything else.
    pub fn read(line: &str) -> Option<Transfer> {
        let mut words = line.strip_prefix(MARK)?.split(' ');
        let mut number = || words.next()?.parse().ok();
        let (done, total, ended, layers) = (number()?, number()?, number()?, number()?);
        let phase = match words.next()? {
            "extracting" => Phase::Extracting,
            "retrying" => Phase::Retrying,
            _ => Phase::Loading,
        };
        Some(Transfer { done, total, ended, layers, phase })
    }

    /// Shows it to whoever watches `task`: in bytes as soon as a size is known, in layers else.
    pub fn show(&self, task: &Task) {
        let &Transfer { done, total, ended, layers, phase } = self;
        match total {
            0 if layers == 0 => return,
            0 => task.reached(ended, Some(layers), "layers"),
            _ => task.reached(done, Some(total), "bytes"),
        }
        let doing = match phase {
            Phase::Loading => "",
            Phase::Extracting => "extracting",
            Phase::Retrying => "the connection to the registry broke off; Docker tries again",
        };
        let count = if total == 0 { String::new() } else { format!("{ended} of {layers} layers") };
        task.note(&[doing, &count].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", "));
    }

    /// The failure of such a script, whose last words are Docker's own.
    #[must_use]
    pub fn without_lines(failure: Failure) -> Failure {
        let own = |cause: &String| cause.lines().filter(|line| !line.starts_with(MARK)).collect::<Vec<_>>().join("\n");
        let causes = failure.causes.iter().map(own).filter(|cause| !cause.is_empty()).collect();
        Failure { causes, ..failure }
    }
}

#[cfg(test)]
mod tests;
