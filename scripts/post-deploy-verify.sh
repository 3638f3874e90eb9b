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

  --production    Verify production: with [verify.profiles.production] of cm.toml, or
                  what cm.toml names where it has no profiles, which is the default
  --notify        Tell Slack if verification fails (SLACK_DEPLOY_WEBHOOK)
  --verbose       Show the bodies of the answers
  --json          Print the results as JSON, for CI
  --junit FILE    Write a JUnit report, for CI
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
while [ $# -gt 0 ]; do
    case $1 in
    --json) json=yes arguments+=(--json) ;;
    --junit)
        [ $# -ge 2 ] || fail 2 "--junit needs a file" "post-deploy-verify.sh --junit verify.xml"
        arguments+=(--junit "$2")
        shift
        ;;
    --production | --notify | --verbose | --skip-canary) arguments+=("$1") ;;
    -h | --help)
        usage
        exit 0
        ;;
    *) fail 2 "unknown option '$1'" "post-deploy-verify.sh --help lists them" ;;
    esac
    shift
done
command -v cm-verify >/dev/null || fail 6 "cm-verify is not on the PATH" "make install puts the cm programs there"

if [ "$json" = yes ]; then
    exec cm-verify "${arguments[@]}"
fi
exec cm-verify ${arguments[@]+"${arguments[@]}"} </dev/null >/dev/null
