#!/usr/bin/env bash
# Deploys the project in this directory by the runbook's steps. Each step is a program that reads
# one JSON document and writes it, extended; this script puts them in order, under the deploy lock.
# When a step fails, those after it do nothing, cm-rollback rolls back what was changed, and the
# exit status is that of the step that failed: cm(7). Run again after it was interrupted (a laptop
# closed, a program killed), it resumes: the same commit and options within the hour, or --resume.
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
  --resume RUN          Resume a run that was interrupted, with its options
  -h, --help            Print this

Without a service flag, the services that changed since what runs are deployed.
Asked for the same within the hour, a run that was interrupted resumes by itself.
USAGE
}

die() { # die STATUS MESSAGE HINT
    printf '[FAIL] %s\n       hint: %s\n' "$2" "$3" >&2
    exit "$1"
}

script=("$0" "$@") lock=(cm-lock run) begin=(cm-record begin) detect=(cm-detect) what="changed services" dry=''
case ${1-} in --resume=*) set -- --resume "${1#*=}" "${@:2}" ;; esac
if [ "${1-}" = --resume ]; then
    [ $# -eq 2 ] || die 2 "--resume takes a run's ID and nothing else" "cm-record history shows them"
    begin+=(--resume "$2") options=$(cm-record options "$2")
    set --
    while IFS= read -r option; do [ -z "$option" ] || set -- "$@" "$option"; done <<<"$options"
fi
while [ $# -gt 0 ]; do
    case $1 in
    --full) detect+=(--full) what="everything, from scratch" ;;
    --dashboard | --backend | --gateway | --runner | --docs) detect+=(--group "${1#--}") what=${1#--} ;;
    --host | --branch)
        [ $# -ge 2 ] || die 2 "$1 needs a name" "deploy-to-vps.sh --help shows how it is used"
        detect+=("$1" "$2") begin+=("$1" "$2")
        if [ "$1" = --host ]; then lock+=("$1" "$2"); else export CM_BRANCH=$2; fi
        shift
        ;;
    --no-push) detect+=(--pushed --skip push) begin+=(--pushed) ;;
    --no-backup | --no-prune) detect+=(--skip "${1#--no-}") ;;
    --skip-canary | --skip-verify) detect+=(--skip "${1#--skip-}") ;;
    --skip-syntax-check) detect+=("$1") ;;
    --dry-run) dry=yes detect+=("$1") begin+=("$1") ;;
    -h | --help) usage && exit ;;
    *) die 2 "unknown option '$1'" "deploy-to-vps.sh --help lists them" ;;
    esac
    shift
done
for program in cm-lock cm-detect cm-backup cm-build cm-health cm-verify cm-rollback cm-record git; do
    command -v "$program" >/dev/null || die 6 "$program is not on the PATH" "make install puts the cm programs there"
done

# Under the lock from here on, for exactly the life of this process; a dry run takes none.
if [ -z "${CM_LOCK_NONCE-}" ] && [ -z "$dry" ]; then
    exec "${lock[@]}" --reason "deploy-to-vps.sh: $what" -- "${script[@]}"
fi
CM_RUN_ID=$("${begin[@]}" -- "${script[@]}")
export CM_RUN_ID
if [ -t 1 ]; then exec >/dev/null; fi # the document is for programs
set +e
trap : INT TERM HUP PIPE # they reach each program, and this script waits for what is rolled back
cm-record open |
    "${detect[@]}" |
    cm-build push |
    cm-health --preflight |
    cm-backup |
    cm-verify --baseline |
    cm-build |
    cm-health |
    cm-verify |
    cm-rollback --on-failure |
    cm-build prune |
    cm-record
codes=("${PIPESTATUS[@]}") killed=$(cm-record unfinished "${PIPESTATUS[@]}")
if [ -n "$killed" ]; then
    cm-rollback --on-failure --run "$killed" </dev/null | cm-record
    codes+=("${PIPESTATUS[@]}")
fi
cm-record end "${codes[@]}"
