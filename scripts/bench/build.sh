#!/usr/bin/env bash
# What cm-build costs beside Docker Compose, on a real server (scripts/sandbox) over a link of 40 ms round trip:
#
#   nothing to do        cm-build of a plan without changes against one `docker compose ps` over the same kind of
#                        connection; at most 1.2 times as long, and no container touched
#   one service changed  round trips of cm-build, with the lock it takes itself, beyond those of `docker compose build`
#                        and `up -d`, counted on the link; at most 15
#
#   scripts/bench/build.sh [ROUNDS]     default 3
#
# CM_BIN_DIR is the directory of the programs under test (default: target/dist). Exit status 1 if a number is above
# its limit.
set -euo pipefail
export LC_ALL=C

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
programs=$(cd "${CM_BIN_DIR:-$here/../../target/dist}" && pwd)
rounds=${1:-3}
name=bench-build-$$

fail() {
  printf '[FAIL] %s\n' "$1" >&2
  exit 2
}
[[ $rounds =~ ^[1-9][0-9]{0,2}$ ]] || fail "not a number of rounds: '$rounds'"
for program in cm-build cm-detect cm-lock; do [[ -x $programs/$program ]] || fail "no $program at $programs: make dist"; done
for command in ssh python3 git; do type -P "$command" >/dev/null || fail "$command is not installed"; done

directory=$(mktemp -d)
# The sandbox is in the home that this was started in.
ours=(HOME="$HOME" XDG_STATE_HOME="${XDG_STATE_HOME:-$HOME/.local/state}")
relay=''
finish() {
  [[ -z $relay ]] || kill "$relay" 2>/dev/null || true
  env "${ours[@]}" "$here/../sandbox" down --name "$name" >/dev/null 2>&1 || true
  rm -rf "$directory"
}
trap finish EXIT
"$here/../sandbox" up --name "$name" >/dev/null
eval "$("$here/../sandbox" env --name "$name")"
state=$(dirname "$CM_SSH_CONFIG")
# Nobody's home, lock or journal takes part.
export HOME=$directory XDG_STATE_HOME=$directory/state XDG_RUNTIME_DIR=$directory/run PATH=$programs:$PATH CM_ACTOR=bench
export CM_LOCK_FILE=$directory/lock GIT_CONFIG_GLOBAL=$directory/gitconfig
mkdir "$directory/run"
git config --file "$directory/gitconfig" user.name bench
git config --file "$directory/gitconfig" user.email bench@example.org
unset CM_CONFIG CM_LOG CM_LOCK_NONCE CM_RUN_ID

# A link of 20 ms each way. On SIGUSR1 it writes how often the server has answered after the client had spoken.
cat >"$directory/relay.py" <<'PYTHON'
import asyncio, os, signal, sys

target, directory, trips, spoke = int(sys.argv[1]), sys.argv[2], 0, False


async def pass_on(reader, writer, from_client):
    global trips, spoke
    loop, queue = asyncio.get_running_loop(), asyncio.Queue()

    async def deliver():
        while item := await queue.get():
            due, data = item
            await asyncio.sleep(max(0, due - loop.time()))
            writer.write(data)
            await writer.drain()
        writer.close()

    task = asyncio.create_task(deliver())
    while data := await reader.read(16384):
        if from_client:
            spoke = True
        elif spoke:
            trips, spoke = trips + 1, False
        await queue.put((loop.time() + 0.02, data))
    await queue.put(None)
    await task


async def connection(reader, writer):
    there = await asyncio.open_connection("127.0.0.1", target)
    await asyncio.gather(pass_on(reader, there[1], True), pass_on(there[0], writer, False), return_exceptions=True)


def tell():
    with open(f"{directory}/trips.new", "w") as file:
        file.write(f"{trips}\n")
    os.rename(f"{directory}/trips.new", f"{directory}/trips")


async def main():
    server = await asyncio.start_server(connection, "127.0.0.1", 0)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    with open(f"{directory}/port", "w") as file:
        file.write(f"{server.sockets[0].getsockname()[1]}\n")
    await server.serve_forever()


asyncio.run(main())
PYTHON
port=$(ssh -F "$CM_SSH_CONFIG" -G "$PLATFORM_VPS_IP" | sed -n 's/^port //p')
python3 "$directory/relay.py" "$port" "$directory" &
relay=$!
until [[ -s $directory/port ]]; do sleep 0.05; done
{
  printf 'Host %s\n  Port %s\n  HostKeyAlias [127.0.0.1]:%s\n' "$PLATFORM_VPS_IP" "$(cat "$directory/port")" "$port"
  cat "$CM_SSH_CONFIG"
} >"$directory/ssh_config"
export CM_SSH_CONFIG=$directory/ssh_config GIT_SSH_COMMAND="ssh -F $directory/ssh_config"

cd "$state/laptop"
to=$DEPLOY_USER@$PLATFORM_VPS_IP
over() { ssh -F "$directory/ssh_config" -S "$directory/peer" -o ControlMaster=auto -o ControlPersist=60 "$to" "$@"; }
compose='cd platform && docker compose -f docker-compose.production.yml --env-file .env.production'

trips() {
  rm -f "$directory/trips"
  kill -USR1 "$relay"
  until [[ -s $directory/trips ]]; do sleep 0.02; done
  cat "$directory/trips"
}
measure() { # measure INPUT COMMAND... - sets took (microseconds) and went (round trips).
  local begin before input=$1
  shift
  before=$(trips)
  begin=${EPOCHREALTIME/./}
  "$@" <"$input" >"$directory/said" 2>&1 || {
    cat "$directory/said" >&2
    fail "failed: $*"
  }
  took=$((${EPOCHREALTIME/./} - begin))
  went=$(($(trips) - before))
}
median() { sort -n "$1" | awk '{ values[NR] = $1 } END { print values[int((NR + 1) / 2)] }'; }
version() { # version N - a change of the dashboard, pushed.
  echo "bench-$1" >apps/dashboard/VERSION
  git commit -qam "dashboard: $1"
  git push -q origin HEAD:develop
}
plan() { cm-detect --group dashboard </dev/null 2>/dev/null; }

git push -q origin HEAD:develop
measure /dev/null cm-build --service dashboard
over true
for ((round = 0; round < rounds; round++)); do
  measure /dev/null over "$compose ps"
  echo "$took" >>"$directory/ps"
  before=$(over docker ps -q --no-trunc)
  plan >"$directory/plan"
  sed 's/"action":"[a-z]*"/"action":"none"/g' "$directory/plan" >"$directory/nothing"
  measure "$directory/nothing" cm-build
  echo "$took" >>"$directory/idle"
  [[ $before == "$(over docker ps -q --no-trunc)" ]] || fail 'a container was touched'

  version "ours-$round"
  plan >"$directory/plan"
  measure "$directory/plan" cm-build
  echo "$went" >>"$directory/ours"

  version "peer-$round"
  over "cd platform && git fetch -q && git restore --source=origin/develop --staged --worktree apps" >/dev/null
  measure /dev/null over "$compose build dashboard && docker compose -f docker-compose.production.yml --env-file .env.production up -d --no-deps dashboard"
  echo "$went" >>"$directory/peer-trips"
  over "cd platform && git restore --source=HEAD --staged --worktree apps" >/dev/null
done
awk -v idle="$(median "$directory/idle")" -v ps="$(median "$directory/ps")" -v ours="$(median "$directory/ours")" \
  -v peer="$(median "$directory/peer-trips")" -v rounds="$rounds" 'BEGIN {
  ratio = idle / ps
  printf "build, nothing to do: cm-build %.0f ms, docker compose ps %.0f ms, ratio %.2f (at most 1.20; medians of %d rounds)\n", idle / 1000, ps / 1000, ratio, rounds
  printf "build, one service over 40 ms: cm-build %d round trips, docker compose build and up %d, own %d (at most 15)\n", ours, peer, ours - peer
  exit ratio > 1.2 || ours - peer > 15
}'
