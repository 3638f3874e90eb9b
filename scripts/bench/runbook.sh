#!/usr/bin/env bash
# The runbook as a plain shell script: what cm is measured against. One step after the other, an ssh login for each that
# needs a server, services taken from a table of directories, health polled every five seconds, checks one by one with curl.
#
#   runbook.sh [--no-backup]       in the monorepo; DEPLOY_USER, PLATFORM_VPS_IP, CM_SSH_CONFIG, API_URL, DASHBOARD_URL, DOCS_URL
set -euo pipefail

lock=${LOCK_FILE:-/tmp/runbook-bench.lock} branch=develop
to=$DEPLOY_USER@$PLATFORM_VPS_IP
server() { ssh -F "$CM_SSH_CONFIG" -o ControlMaster=no -o ControlPath=none -o ConnectTimeout=5 "$to" "$@"; }
compose='docker compose -f docker-compose.production.yml --env-file .env.production'

# 1. lock
if [ -e "$lock" ] && kill -0 "$(cat "$lock")" 2>/dev/null; then
  echo "locked" >&2
  exit 10
fi
echo $$ >"$lock"
trap 'rm -f "$lock"' EXIT

# 2. uncommitted changes; 3. changed services
git diff --quiet HEAD || echo "uncommitted changes" >&2
git fetch -q origin
changed=$(git diff --name-only "origin/$branch..HEAD")
services=()
for pair in apps/docs:docs apps/dashboard:dashboard services/backend:backend-b2b; do
  if grep -q "^${pair%%:*}/" <<<"$changed"; then services+=("${pair##*:}"); fi
done

# 4. Python syntax; 5. push; 6. SSH
grep '\.py$' <<<"$changed" | while read -r file; do python3 -m py_compile "$file"; done || :
git push -q origin "HEAD:$branch"
server "echo ok" >/dev/null

if [ ${#services[@]} -gt 0 ]; then
  # 7. backup
  [ "${1-}" = --no-backup ] || server "docker exec curateme-mongodb mongodump --archive --gzip >backups/bench.archive.gz"
  # 8. keep, 9. pull, 10. restore
  server "cd platform && mkdir -p /tmp/keep && cp -p Caddyfile .env.production /tmp/keep/"
  server "cd platform && git fetch -q && git reset -q --hard origin/$branch"
  server "cd platform && cp -p /tmp/keep/Caddyfile /tmp/keep/.env.production ."
  # 11. build and restart
  server "cd platform && $compose build -q ${services[*]} && $compose up -d ${services[*]}"
else
  echo "nothing to deploy"
fi

# 12. health, up to three minutes
for ((n = 0; n < 36; n++)); do
  [ ${#services[@]} -eq 0 ] || sleep 5
  states=$(server "cd platform && $compose ps --format '{{.Name}} {{.Status}}'")
  grep -Eq 'unhealthy|starting|Restarting|Exited' <<<"$states" || break
done

# 13. canary and verification
for url in "$API_URL/v1/health" "$API_URL/gateway/health" "$API_URL/v1/health" "$API_URL/api/v1/health" "$DASHBOARD_URL/" \
  "$DOCS_URL/" "$API_URL/gateway/health" "$API_URL/gateway/health"; do
  curl -s -o /dev/null --max-time 10 "$url"
done

# 14. prune; 15. record
if [ ${#services[@]} -gt 0 ]; then server "docker image prune -f >/dev/null"; fi
curl -s -o /dev/null --max-time 10 -X POST -d '{"status":"ok"}' "$API_URL/api/v1/ops/deploys"
