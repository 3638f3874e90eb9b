#!/usr/bin/env bash
# Verifies what runs now, by the runbook's checks table: the canary's requests, then
# the checks of cm.toml. Can be run at any time; it changes nothing.
#
# This is `cm-verify` under the runbook's name and with the runbook's flags. What it
# prints on stdout (the document, or with --json the results) is for programs.
set -euo pipefail

usage() {
    cat <<'USAGE'
Usage: post-deploy-verify.sh [OPTIONS]

  --production    Verify production: what cm.toml names, which is the default
  --notify        Tell Slack if verification fails (SLACK_DEPLOY_WEBHOOK)
  --verbose       Show the bodies of the answers
  --json          Print the results as JSON, for CI
  --skip-canary   Make the checks only
  -h, --help      Print this

Exit status: 0 passed, 50 failed, 51 could not verify; see cm-verify --help.
USAGE
}

fail() { # STATUS MESSAGE HINT
    printf '[FAIL] %s\n       hint: %s\n' "$2" "$3" >&2
    exit "$1"
}

arguments=() json=no
for argument in "$@"; do
    case $argument in
    --production) ;;
    --json) json=yes arguments+=(--json) ;;
    --notify | --verbose | --skip-canary) arguments+=("$argument") ;;
    -h | --help) usage; exit 0 ;;
    *) fail 2 "unknown option '$argument'" "post-deploy-verify.sh --help lists them" ;;
    esac
done
command -v cm-verify >/dev/null || fail 6 "cm-verify is not on the PATH" "make install puts the cm programs there"

if [ "$json" = yes ]; then
    exec cm-verify "${arguments[@]}"
fi
exec cm-verify ${arguments[@]+"${arguments[@]}"} </dev/null >/dev/null
