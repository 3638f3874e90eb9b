#!/usr/bin/env bash
# Deploys the project in this directory, by the runbook's steps:
#
#    1 take the deploy lock             9 fetch and move the checkout
#    2 warn of uncommitted changes     10 restore nothing: protected files never moved
#    3 detect the changed services     11 build and restart only what changed
#    4 check Python syntax             12 wait for health, up to 3 minutes
#    5 push                            13 canary and verification
#    6 check SSH and the servers       14 prune old images (after verification,
#    7 back up MongoDB                    so that the way back is never pruned)
#    8 keep Caddyfile and env file     15 record the deploy event
#
# Each step is a program that reads one JSON document and writes it, extended; this
# script only puts them in order. When a step fails, the ones after it do nothing,
# cm-rollback takes back what was changed, and the exit status is that of the step
# that failed: see cm(7), or any program's --help.
#
# Run again after it was cut off (a laptop closed, a network gone, a program killed), it
# goes on where it stood: the same commit and options within the hour, or --resume RUN.
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage: deploy-to-vps.sh [OPTIONS]

  --full                Rebuild all services with no cache
  --dashboard           Dashboard container only
  --backend             All backend services (B2B + Gateway + workers)
  --gateway             Gateway container only
  --runner              Runner-agent service only
  --docs                Documentation site only
  --host NAME           Only this server and its services; may be repeated
  --no-push             Deploy whatever is already on the remote (skip git push)
  --no-backup           Skip the pre-deploy MongoDB backup
  --no-prune            Skip Docker image cleanup
  --skip-canary         Skip the canary health check
  --skip-verify         Skip post-deploy verification
  --skip-syntax-check   Skip Python syntax validation (emergency only)
  --branch NAME         Deploy from a specific branch
  --dry-run             Print what would happen without executing
  --resume RUN          Go on with a run that was cut off, with its options
  -h, --help            Print this

Without a service flag, the services that changed since what runs are deployed.
Asked for the same within the hour, a run that was cut off goes on by itself.
USAGE
}

# A closed terminal is no reason to stop partway.
say() { printf '[%s] %s\n' "$1" "$2" >&2 2>/dev/null || :; }
die() { # die STATUS MESSAGE HINT
    say FAIL "$2${3:+$'\n'       hint: $3}"
    exit "$1"
}

lock=() detect=() images=() verify=() common=()
push=yes backup=yes canary=yes prune=yes preflight=yes build=yes gate=yes check=yes named='' resume='' what="changed services"
original=("$@")
runs=${XDG_STATE_HOME:-$HOME/.local/state}/cm/runs
case ${1-} in
--resume | --resume=*)
    resume=${1#--resume} resume=${resume#=}
    if [ -z "$resume" ] && [ $# -ge 2 ]; then resume=$2 && shift; fi
    shift
    if [ -z "$resume" ] || [ $# -gt 0 ]; then die 2 "--resume takes a run's id and nothing else" "cm-record history shows them"; fi
    case $resume in *[!0-9a-f-]*) die 2 "'$resume' is no run id" "cm-record history shows them" ;; esac
    [ -f "$runs/$resume/command" ] ||
        die 4 "this machine's journal has no run $resume that got anywhere" "deploy-to-vps.sh deploys from what the servers run"
    while IFS= read -r argument; do set -- "$@" "$argument"; done < <(sed 1d "$runs/$resume/command")
    ;;
esac
arguments=("$@")
while [ $# -gt 0 ]; do
    case $1 in
    --full) detect+=(--full) images+=(--full) what="everything, from scratch" ;;
    --dashboard | --backend | --gateway | --runner | --docs)
        detect+=(--group "${1#--}") what=${1#--}
        ;;
    --host)
        [ $# -ge 2 ] || die 2 "--host needs a name" "a host of cm.toml, such as deploy-to-vps.sh --host platform"
        lock+=(--host "$2") detect+=(--host "$2")
        shift
        ;;
    --no-push) push=no ;;
    --no-backup) backup=no ;;
    --no-prune) prune=no ;;
    --skip-canary) canary=no verify+=("$1") ;;
    --skip-verify) verify+=("$1") ;;
    --skip-syntax-check) detect+=("$1") ;;
    --branch)
        [ $# -ge 2 ] || die 2 "--branch needs a name" "deploy-to-vps.sh --branch develop"
        export CM_BRANCH=$2
        named=$2
        detect+=(--branch "$2")
        shift
        ;;
    --dry-run) common+=(--dry-run) ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) die 2 "unknown option '$1'" "deploy-to-vps.sh --help lists them" ;;
    esac
    shift
done
for program in cm-lock cm-detect cm-backup cm-build cm-health cm-verify cm-rollback cm-record git; do
    command -v "$program" >/dev/null || die 6 "$program is not on the PATH" "make install puts the cm programs there"
done

# 1. Under the lock from here on, on this machine and on every server (or those that
# were named: one that is down holds up nobody else), for exactly the life of this
# process. A dry run changes nothing and takes none.
if [ -z "${CM_LOCK_NONCE-}" ] && [ ${#common[@]} -eq 0 ]; then
    exec cm-lock run ${lock[@]+"${lock[@]}"} --reason "deploy-to-vps.sh: $what" -- "$0" ${original[@]+"${original[@]}"}
fi

# What runs that were cut off have left is settled first: under this lock there is nobody
# else. One of them goes on, where it was asked for by name or is the same again: the same
# commit and options, and it got as far as a backup or a first change.
if [ "$push" = no ]; then
    git fetch -q "${CM_REMOTE:-origin}" || die 7 "cannot fetch from ${CM_REMOTE:-origin}"
    detect+=(--pushed)
fi
command_of() { # the commit, then one option a line
    if [ "$push" = no ]; then
        git for-each-ref "refs/remotes/${CM_REMOTE:-origin}" | git hash-object --stdin
    else
        git rev-parse "${named:-HEAD}" 2>/dev/null || echo unknown
    fi
    [ ${#arguments[@]} -eq 0 ] || printf '%s\n' "${arguments[@]}"
}
recorded() { # recorded DIRECTORY; a server that was away knows nothing yet
    local file
    for file in "$1"/*-cm-record.json; do
        [ ! -f "$file" ] || grep -q '"tool":"cm-record","version":"[^"]*","status":"failed"' "$file" || return 0
    done
    return 1
}
unended() { # the newest such run of the last hour
    local newest
    newest=$(find "$runs" -mindepth 2 -maxdepth 2 -name command -mmin -60 2>/dev/null | sort | tail -n 1)
    newest=${newest%/command}
    if [ -n "$newest" ] && [ "$(cat "$newest/command")" = "$(command_of)" ] &&
        ! recorded "$newest" &&
        { [ -f "$newest/undo.jsonl" ] || ls "$newest"/*-cm-backup.json >/dev/null 2>&1; }; then
        printf '%s\n' "${newest##*/}"
    fi
}
settle() { cm-record settle ${common[@]+"${common[@]}"} ${lock[@]+"${lock[@]}"} "$@" </dev/null; }
document=''
if [ -n "$resume" ]; then
    document=$(settle --resume "$resume")
elif [ ${#common[@]} -eq 0 ] && resume=$(unended) && [ -n "$resume" ]; then
    document=$(settle --resume "$resume") || say WARN "run $resume does not go on; deploying again"
else
    settle
fi

# 2, 3, 4. What is deployed, and what must change for it.
[ -n "$document" ] || { resume='' && document=$(cm-detect ${common[@]+"${common[@]}"} ${detect[@]+"${detect[@]}"} </dev/null); }
CM_RUN_ID=$(sed -n 's/.*"run":{"id":"\([^"]*\)".*/\1/p' <<<"$document")
export CM_RUN_ID
if [ -n "$resume" ]; then
    # What is done is not done again. The gate and the verification have the names of the
    # preflight and the baseline: they are the ones after the build.
    done=$(grep -o '"tool":"cm-[a-z]*","version"' <<<"$document" | tr -d '\n')
    case $done in *cm-health*) preflight=no ;; esac
    case $done in *cm-backup*) backup=no ;; esac
    case $done in *cm-verify*) canary=no ;; esac
    case $done in *cm-build*) preflight=no backup=no canary=no build=no ;; esac
    case $done in *cm-build*cm-health*) gate=no ;; esac
    case $done in *cm-build*cm-verify*) check=no ;; esac
    case $done in *cm-build*cm-build*) prune=no ;; esac
    case $document in
    *'","status":"ok","services":'*) ;;
    *) preflight=no backup=no canary=no build=no gate=no check=no prune=no ;; # only taking back is left
    esac
elif [ ${#common[@]} -eq 0 ]; then
    (umask 077 && command_of >"$runs/$CM_RUN_ID/command") || say WARN "this run cannot be resumed: its journal is not writable"
fi

# 5. What is pushed is what people see checked out, or what they named.
read -r branch commit < <(sed -n 's/.*"branch":"\([^"]*\)","commit":"\([^"]*\)","status":.*/\1 \2/p' <<<"$document")
current=$(git symbolic-ref -q --short HEAD || echo "no branch")
if [ "$push" = yes ] && [ -z "$named" ] && [ "$current" != "$branch" ]; then
    die 20 "this is $current, and $branch is what is deployed; nothing was pushed" \
        "git switch $branch, or say what you want: --branch NAME, or --no-push for what is on the remote"
fi
if [ "$push" = yes ] && [ ${#common[@]} -gt 0 ]; then
    say INFO "would push ${commit:0:12} to ${CM_REMOTE:-origin}/$branch"
elif [ "$push" = yes ]; then
    say INFO "pushing ${commit:0:12} to ${CM_REMOTE:-origin}/$branch"
    git push -q "${CM_REMOTE:-origin}" "$commit:refs/heads/$branch" ||
        die 20 "cannot push to ${CM_REMOTE:-origin}/$branch; nothing was deployed" \
            "git pull --rebase, look at what came, and deploy again"
fi

# 6 to 15. All programs start at once; each waits for the document of the one before.
# Ctrl-C and a closed terminal reach each of them, and what was changed is then taken
# back: this script waits for that, under the lock.
step() { # step YES|NO PROGRAM ARGUMENTS...
    if [ "$1" = yes ]; then
        shift
        exec "$@"
    fi
    trap '' INT TERM HUP
    exec cat
}
set +e
trap : INT TERM HUP PIPE
document=$(
    trap : INT TERM HUP
    step "$preflight" cm-health --preflight ${common[@]+"${common[@]}"} <<<"$document" |
        step "$backup" cm-backup |
        step "$canary" cm-verify --baseline |
        step "$build" cm-build ${images[@]+"${images[@]}"} |
        step "$gate" cm-health |
        step "$check" cm-verify ${verify[@]+"${verify[@]}"} |
        cm-rollback --on-failure |
        step "$prune" cm-build prune |
        cm-record
    codes=("${PIPESTATUS[@]}") status=0
    for code in "${codes[@]}"; do
        case $code in
        0) ;;
        6[0-2]) status=$code ;;                           # how the rollback ended says most
        3) [ "$status" -ne 0 ] || status=3 ;;             # refused: an earlier one failed
        *) case $status in 0 | 3) status=$code ;; esac ;; # the first to fail
        esac
    done
    exit "$status"
)
status=$?
set -e
if [ -z "$document" ] && [ ${#common[@]} -eq 0 ]; then
    say WARN "a program was stopped partway; going on from the journal"
    if document=$(
        trap : INT TERM HUP
        cm-rollback --on-failure --run "$CM_RUN_ID" </dev/null | cm-record
    ); then
        case $document in # verified before; only the record was missing
        *'"summary":"nothing failed"'*) status=0 ;;
        esac
    else
        status=$?
    fi
    [ -n "$document" ] || status=1
fi

# The document is for programs; people have read what it says.
[ -t 1 ] || printf '%s\n' "$document" 2>/dev/null || :
if [ "$status" -ne 0 ]; then
    [ "$status" -ne 60 ] || die 60 "the deployment failed and was rolled back; what ran before runs again"
    die "$status" "the deployment failed (exit status $status)" "the first [FAIL] above says what and where"
fi
healthy=$(sed -n 's/.*"summary":"\(All [0-9]* services healthy\)".*/\1/p' <<<"$document")
if [ -n "$healthy" ]; then say SUCCESS "$healthy!"; fi
