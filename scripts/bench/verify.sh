#!/usr/bin/env bash
# What checks cost side by side: `cm-verify` with eight checks against the slowest of them alone (at most 1.2 times
# as long), and against curl, scripted to ask the same eight URLs in parallel. All are measured in turns within one run,
# against a server on this machine whose answers take 100 to 400 ms. Prints the ratios of the medians; exit status 1 if
# the first is above 1.2, or the second above 1.
#
#   scripts/bench/verify.sh [ROUNDS]     default 20
#
# CM_BIN_DIR is the directory of the program under test (default: target/dist).
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lib.sh
. "$here/lib.sh"
program=${CM_BIN_DIR:-$here/../../target/dist}/cm-verify
rounds=${1:-20}
delays=(100 150 200 250 300 350 380 400) # milliseconds; the slowest last

[[ $rounds =~ ^[1-9][0-9]{0,5}$ ]] || fail "not a number of rounds: '$rounds'"
[[ -x $program ]] || fail "no program at $program: make dist"
for command in curl python3; do type -P "$command" >/dev/null || fail "$command is not installed"; done

# Nobody's cm.toml or environment takes part.
directory=$(mktemp -d)
server=''
trap '[ -z "$server" ] || kill "$server"; rm -rf "$directory"' EXIT
cd "$directory"
unset CM_CONFIG CM_LOG SLACK_DEPLOY_WEBHOOK
export HOME=$directory XDG_STATE_HOME=$directory/state

# GET /MILLISECONDS is answered after so long.
cat >server.py <<'PYTHON'
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        time.sleep(int(self.path[1:]) / 1000)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_request(self, *_):
        pass


# Its own 5 are too few for eight that come at once: the others would try again a second later.
ThreadingHTTPServer.request_queue_size = 64
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
PYTHON
mkfifo says
python3 server.py >says &
server=$!
read -r port <says

printf 'services:\n  web:\n    image: web\n' >compose.yaml
config() { # DELAY...
  printf 'project = "bench"\n'
  for delay in "$@"; do
    printf '[[verify.checks]]\nname = "%s"\nurl = "http://127.0.0.1:%s/%s"\nstatus = 200\n' "$delay" "$port" "$delay"
  done
}
config "${delays[@]}" >eight.toml
config "${delays[-1]}" >slowest.toml

eight() { "$program" --config eight.toml --quiet --json >/dev/null; }
slowest() { "$program" --config slowest.toml --quiet --json >/dev/null; }
parallel_curl() {
  local urls=() delay
  for delay in "${delays[@]}"; do urls+=("http://127.0.0.1:$port/$delay"); done
  printf '%s\n' "${urls[@]}" | xargs -P 8 -n 1 curl -sf -o /dev/null -w '' --max-time 10
}

# measure NAME COMMAND - appends one time in microseconds to the file NAME.
measure() {
  local begin=${EPOCHREALTIME/./}
  "$2" </dev/null || fail "$2 failed"
  echo $((${EPOCHREALTIME/./} - begin)) >>"$1"
}

parallel_curl </dev/null && eight </dev/null && slowest </dev/null # warm
for ((round = 0; round < rounds; round++)); do
  measure eight.times eight
  measure slowest.times slowest
  measure curl.times parallel_curl
done

row 'eight checks' ms "$(scaled eight.times 1000)" 'cm-verify with the slowest of them' "$(scaled slowest.times 1000)" '<=1.20'
row 'eight checks, alongside a script' ms "$(scaled eight.times 1000)" 'eight curls at once' "$(scaled curl.times 1000)" '<=1.00'
((missed == 0))
