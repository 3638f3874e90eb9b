#!/usr/bin/env bash
# A whole deployment of one static service against the runbook as a plain shell script (runbook.sh), on a real server
# (scripts/sandbox) over links of 40 ms round trip, ssh and HTTP alike, without a backup; both in turns:
#
#   window of 10 s, and of 3 s     deploy-to-vps.sh, start to end
#   nothing to do                  the same, after it
#   logins and round trips         of one deployment, counted on the link to the server
#   cm-health --all                of a platform that has run for longer than the window, against `docker compose ps`
#
#   scripts/bench/deployment.sh [ROUNDS]     default 10
#
# CM_BIN_DIR is the directory of the programs under test (default: target/dist). Exit status 1 where a row misses its limit.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
scripts=$(dirname "$here")
programs=$(cd "${CM_BIN_DIR:-$here/../../target/dist}" && pwd)
rounds=${1:-10}
[[ $rounds =~ ^[1-9][0-9]?$ ]] || fail "not a number of rounds: '$rounds'"
[[ -x $programs/cm-record ]] || fail "no programs in $programs: make dist"
for command in ssh python3 git curl; do type -P "$command" >/dev/null || fail "$command is not installed"; done

directory=$(mktemp -d)
name=bench-deployment-$$
# The sandbox is in the home that this was started in.
ours=(HOME="$HOME" XDG_STATE_HOME="${XDG_STATE_HOME:-$HOME/.local/state}")
relays=()
finish() {
  [[ ${#relays[@]} -eq 0 ]] || kill "${relays[@]}" 2>/dev/null || :
  env "${ours[@]}" "$scripts/sandbox" down --name "$name" >/dev/null 2>&1 || :
  rm -rf "$directory"
}
trap finish EXIT
"$scripts/sandbox" up --name "$name" >"$directory/up" 2>&1 || {
  cat "$directory/up" >&2
  fail 'no sandbox'
}
eval "$("$scripts/sandbox" env --name "$name")"
laptop=$(dirname "$CM_SSH_CONFIG")/laptop

# Nobody's home, lock or journal takes part.
export HOME=$directory XDG_STATE_HOME=$directory/state XDG_RUNTIME_DIR=$directory/run PATH=$programs:$scripts:$PATH CM_ACTOR=bench
export CM_LOCK_FILE=$directory/lock LOCK_FILE=$directory/runbook.lock GIT_CONFIG_GLOBAL=$directory/gitconfig
mkdir -m 700 "$directory/run"
git config --file "$directory/gitconfig" user.name bench
git config --file "$directory/gitconfig" user.email bench@example.org
unset CM_CONFIG CM_LOG CM_LOCK_NONCE CM_RUN_ID SLACK_DEPLOY_WEBHOOK

# relay NAME PORT - a link to a port of this machine; sets port, and adds to relays.
relay() {
  python3 "$here/relay.py" "$2" "$directory" "$1" &
  relays+=($!)
  until [[ -s $directory/$1.port ]]; do sleep 0.05; done
  port=$(cat "$directory/$1.port")
}
for host in platform:$PLATFORM_VPS_IP runners:$RUNNERS_VPS_IP; do
  real=$(ssh -F "$CM_SSH_CONFIG" -G "${host#*:}" | sed -n 's/^port //p')
  relay "${host%%:*}" "$real"
  printf 'Host %s\n  Port %s\n  HostKeyAlias [127.0.0.1]:%s\n' "${host#*:}" "$port" "$real"
done >"$directory/relayed"
cat "$directory/relayed" "$CM_SSH_CONFIG" >"$directory/ssh_config"
export CM_SSH_CONFIG=$directory/ssh_config GIT_SSH_COMMAND="ssh -F $directory/ssh_config"
relay http "${API_URL##*:}"
export API_URL=${API_URL%:*}:$port DASHBOARD_URL=${DASHBOARD_URL%:*}:$port DOCS_URL=${DOCS_URL%:*}:$port

# counts - connections to the server and round trips on its link, so far.
counts() {
  rm -f "$directory/platform.counts"
  kill -USR1 "${relays[0]}"
  until [[ -s $directory/platform.counts ]]; do sleep 0.02; done
  cat "$directory/platform.counts"
}
version() { # version TEXT - a commit that changes the documentation's page alone.
  echo "<!-- $1 -->" >>"$page"
  git commit -qam "docs: $1"
}
over() { ssh -F "$directory/ssh_config" -S "$directory/peer" -o ControlMaster=auto -o ControlPersist=60 "$DEPLOY_USER@$PLATFORM_VPS_IP" "$@"; }

cd "$laptop"
page=apps/docs/content/api.md
[[ -f $page ]] || fail "the sample platform has no $page"
git push -q origin HEAD:develop
version warm
timed "$directory/warm" deploy-to-vps.sh --no-backup
for window in 10 3; do
  sed -i "s/^window = \"[0-9]*s\"/window = \"${window}s\"/" cm.toml
  git commit -qam "window: $window s" || :
  for ((round = 0; round < rounds; round++)); do
    version "runbook-$window-$round"
    timed "$directory/runbook-$window" "$here/runbook.sh" --no-backup
    version "cm-$window-$round"
    read -r logins trips < <(counts)
    timed "$directory/cm-$window" deploy-to-vps.sh --no-backup
    read -r logins_after trips_after < <(counts)
    echo $((logins_after - logins)) >>"$directory/logins"
    echo $((trips_after - trips)) >>"$directory/trips"
    [[ $window = 10 ]] || continue
    timed "$directory/runbook-idle" "$here/runbook.sh" --no-backup
    timed "$directory/cm-idle" deploy-to-vps.sh --no-backup
    timed "$directory/ps" over 'cd platform && docker compose -f docker-compose.production.yml --env-file .env.production ps'
    timed "$directory/health" cm-health --all
  done
done
script='the runbook as a shell script'
row 'deployment of one static service, 40 ms, window of 10 s' ms "$directory/cm-10" "$script" "$directory/runbook-10" '<=1.20'
row 'the same, window of 3 s' ms "$directory/cm-3" "$script" "$directory/runbook-3" '<=0.60'
row 'the same, nothing to do' ms "$directory/cm-idle" "$script" "$directory/runbook-idle" '<=1.00'
row 'cm-health --all, two hosts, healthy for longer than the window' ms "$directory/health" 'docker compose ps on one, over a connection that is open' "$directory/ps" '<=2.00'
row 'logins per deployment and host' '' "$directory/logins" - - '=<=1'
row 'round trips per deployment and host' '' "$directory/trips" - - '=<=12'
((missed == 0))
