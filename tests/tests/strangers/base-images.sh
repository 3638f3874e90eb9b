# What a registry would give these projects, on a server without one: the images that the sandbox has, under the names
# that the projects build on. Programs of theirs that are not there have a stand-in.
set -eu
docker tag curateme/python:1 python:3.12-slim
docker tag curateme/redis:1 redis:7-alpine
docker tag curateme/caddy:1 caddy:2-alpine
build() { docker build -q -t "$1" - >/dev/null; }
build ruby:3.4.2-slim <<'X'
FROM curateme/python:1
RUN printf '#!/usr/bin/env python3\nimport sys, urllib.request\nurllib.request.urlopen(sys.argv[-1], timeout=2)\n' >/usr/bin/curl && chmod 755 /usr/bin/curl
X
build node:20-alpine <<'X'
FROM curateme/python:1
RUN ln -s /usr/bin/python3 /usr/local/bin/node && printf '#!/bin/sh\nmkdir -p node_modules\n' >/usr/local/bin/npm && chmod 755 /usr/local/bin/npm
X
printf 'FROM %s\nCMD ["postgres"]\n' "$1" | build postgres:16
