# shellcheck shell=bash
# The images of a sandbox: the servers' own and the four the sample platform builds on, made once per machine.
#
# Sourced by scripts/sandbox. All are built on the machine's engine over one Debian base, so that they share its
# layer. The servers' engines get theirs ready made: a volume ("the seed") holds the data directory of an engine
# that has loaded them, and a new server copies it, which takes a fraction of loading.
#
# Names carry a fingerprint of this directory: a changed recipe makes new images, and the old ones are removed.
#
# The caller sets: name, state, parts, platform, databases, debian_mirror.
# shellcheck disable=SC2154,SC2034

service_images=(curateme/python:1 curateme/redis:1 curateme/caddy:1 curateme/mongo:1)

# prepare_script - what `cm-health --preflight --script` prints for a sandbox server. Its text stands with the program.
prepare_script() {
  printf 'set -eu\nuser=curateme checkout=/home/curateme/platform backups=/home/curateme/backups env_file=.env.production\n'
  cat "$parts/../../crates/cm-health/src/preflight/server.sh"
}

# fingerprint - of everything the images are made from.
fingerprint() {
  {
    (cd "$parts" && find . -type f ! -name '*.sh' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
    prepare_script
  } | sha256sum | cut -c1-12
}

base_image=cm-sandbox/base:trixie
seed_container=cm-sandbox.seed
scratch= # the directory make_images works in, while it does
server_image() { printf 'cm-sandbox/server:%s' "$(fingerprint)"; }
seed_volume() { printf 'cm-sandbox.seed.%s' "$(fingerprint)"; }

# ensure_images - make what is missing. One run at a time per machine; the others wait and find it done.
ensure_images() {
  images_ready && return 0
  with_lock "$(machine_dir)/images.lock" 1200 make_images
}

# The seed's mark is a second volume, because a volume says nothing about what is in it.
images_ready() {
  docker image inspect "$(server_image)" >/dev/null 2>&1 &&
    docker volume inspect "$(seed_volume)" "$(seed_volume).ready" >/dev/null 2>&1
}

make_images() {
  images_ready && return 0
  info 'making the images (once per machine)'
  scratch=$(mktemp -d -p "$(roomy_tmp)")
  ensure_base
  mkdir "$scratch/context"
  build_context "$scratch/context"
  build_all "$scratch/context"
  make_seed
  remove_outdated
  abandon_images
}

# abandon_images - remove what make_images needed only while it worked; also when it was interrupted.
abandon_images() {
  [[ -n $scratch ]] || return 0
  docker rm --force --volumes "$seed_container" >/dev/null 2>&1 || true
  rm -rf "$scratch"
  scratch=
}

# The base: Debian trixie from the registry, or the same made from Debian's packages.
ensure_base() {
  docker image inspect "$base_image" >/dev/null 2>&1 && return 0
  if registry_answers && pull_image "$CM_BASE_UPSTREAM"; then
    info "base: $CM_BASE_UPSTREAM from the registry"
    docker tag "$CM_BASE_UPSTREAM" "$base_image"
    return 0
  fi
  command -v mmdebstrap >/dev/null || fail 'no registry answers, and mmdebstrap, which makes the base instead, is missing' 'scripts/setup.sh'
  info 'base: no registry answers; making it from Debian packages with mmdebstrap'
  bootstrap_base
}

bootstrap_base() {
  local work=$scratch
  # Without root mmdebstrap works as a user of its own namespace, who has to get in here.
  chmod 0755 "$work"
  apt_settings >"$work/apt.conf"
  if ! TMPDIR=$work mmdebstrap --quiet --variant=minbase --include=ca-certificates --aptopt="$work/apt.conf" \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    trixie - "$debian_mirror" >"$work/base.tar" 2>"$work/log"; then
    tail -n 15 "$work/log" >&2
    fail "mmdebstrap could not make a Debian trixie from $debian_mirror" 'another mirror: CM_SANDBOX_MIRROR=http://...'
  fi
  docker import --change 'LABEL cm.sandbox.cache=1' --change 'CMD ["bash"]' "$work/base.tar" "$base_image" >/dev/null
  rm "$work/base.tar"
}

# A memory file system makes the bootstrap three times as fast, where it has room for one.
roomy_tmp() {
  local free
  free=$(df --output=avail -k /dev/shm 2>/dev/null | tail -n 1)
  if [[ -w /dev/shm && ${free:-0} -gt 2000000 ]]; then printf /dev/shm; else printf '%s' "${TMPDIR:-/tmp}"; fi
}

# What this machine's apt knows about proxies and clocks; packages inside the images come the same way.
apt_settings() {
  command -v apt-config >/dev/null || return 0
  apt-config dump | grep -E '^Acquire::(Check-Valid-Until|Check-Date|https?::Proxy) ' || true
}

build_context() {
  local context=$1
  cp -a "$parts/server" "$parts/services" "$context/"
  prepare_script >"$context/server/prepare.sh"
  mkdir "$context/machine"
  apt_settings >"$context/machine/apt.conf"
  cat /etc/ssl/certs/ca-certificates.crt >"$context/machine/ca.crt" 2>/dev/null || true
}

# build CONTEXT DOCKERFILE TAG [ARG...] - on the network of the machine: what reaches the package archives
# here is the machine, not necessarily a container.
build() {
  local context=$1 file=$2 tag=$3 log name
  shift 3
  log=$context/$(basename "$file" .Dockerfile)-$$.log
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL; do
    [[ -z ${!name:-} ]] || set -- "$@" --build-arg "$name"
  done
  info "building $tag"
  # The plain builder of this engine, whatever the user's favourite is: others need not put images into it.
  BUILDX_BUILDER=$(docker context show 2>/dev/null || echo default)
  export BUILDX_BUILDER
  if ! interruptible timeout 900 docker build --network host --force-rm --tag "$tag" --file "$context/$file" "$@" "$context" \
    >"$log" 2>&1 </dev/null; then
    tail -n 20 "$log" >&2
    fail "could not build $tag" 'run it again: finished steps are kept'
  fi
}

# Two at a time: the downloads of one run alongside the unpacking of the other.
build_all() {
  local context=$1 server services status=0
  spawn build "$context" server/Dockerfile "$(server_image)" --build-arg "BASE=$base_image"
  server=$spawned
  spawn build_services "$context"
  services=$spawned
  wait "$server" || status=1
  wait "$services" || status=1
  [[ $status -eq 0 ]] || exit 1
}

build_services() {
  local context=$1 name
  for name in python redis caddy; do
    build "$context" "services/$name.Dockerfile" "curateme/$name:1" --build-arg "BASE=$base_image"
  done
  build_mongo "$context"
}

build_mongo() {
  local context=$1
  if registry_answers && pull_image mongo:7 && docker run --rm --network none mongo:7 mongod --version >/dev/null 2>&1; then
    info 'database: mongo:7 from the registry'
    build "$context" services/mongo-upstream.Dockerfile curateme/mongo:1 --build-arg MONGO=mongo:7
  else
    info 'database: mongo:7 cannot be had or run here; SecantusDB with a mongod command instead'
    build "$context" services/mongo.Dockerfile curateme/mongo:1 \
      --build-arg "BASE=$base_image" --build-arg PYTHON=curateme/python:1
  fi
}

# ensure_databases - the image of the databases that tests back up; no sandbox is made from it. Prints its name.
ensure_databases() {
  local image
  image=cm-sandbox/databases:$(cd "$databases" && cat Dockerfile databases | sha256sum | cut -c1-12)
  docker image inspect "$image" >/dev/null 2>&1 || with_lock "$(machine_dir)/images.lock" 1200 make_databases "$image"
  printf '%s\n' "$image"
}

make_databases() {
  docker image inspect "$1" >/dev/null 2>&1 && return 0
  scratch=$(mktemp -d -p "$(roomy_tmp)")
  ensure_base
  mkdir -p "$scratch/context/machine"
  cp "$databases"/* "$scratch/context/"
  apt_settings >"$scratch/context/machine/apt.conf"
  build "$scratch/context" Dockerfile "$1" --build-arg "BASE=$base_image"
  abandon_images
}

# make_seed - the data directory of an engine that has loaded the services' images. A server whose engine is then
# stopped in good order leaves it consistent; its identity is removed, so that each copy gets its own.
make_seed() {
  local volume container=$seed_container status=0
  volume=$(seed_volume)
  info 'loading the base images of the services into a seed for the servers'
  docker rm --force --volumes "$container" >/dev/null 2>&1 || true
  docker volume rm "$volume" >/dev/null 2>&1 || true
  docker volume create --label cm.sandbox.cache=1 "$volume" >/dev/null
  run_server_container "$container" cm.sandbox.cache=1 --network none --volume "$volume:/var/lib/docker" "$(server_image)" server
  wait_for_inner_engine "$container" || status=1
  if [[ $status -eq 0 ]]; then load_images "$container" || status=1; fi
  if [[ $status -ne 0 ]]; then
    docker exec "$container" tail -n 15 /var/log/dockerd.log >&2 || true
    docker rm --force --volumes "$container" >/dev/null
    fail 'an engine inside a container could not load the images on this machine' 'scripts/setup.sh --engine, then try again'
  fi
  docker stop "$container" >/dev/null
  docker rm --volumes "$container" >/dev/null
  tidy_seed "$volume"
  docker volume create --label cm.sandbox.cache=1 "$volume.ready" >/dev/null
}

load_images() {
  local docker_limit=300
  docker save "${service_images[@]}" | docker exec --interactive "$1" docker load --quiet >/dev/null
}

tidy_seed() {
  docker run --rm --network none --volume "$1:/seed" --entrypoint /bin/sh "$(server_image)" -c \
    'cd /seed && rm -rf engine-id network containerd runtimes tmp buildkit .planted'
}

wait_for_inner_engine() {
  local end=$((SECONDS + 30))
  while ((SECONDS < end)); do
    docker_limit=10 docker exec "$1" docker version --format '{{.Server.Version}}' >/dev/null 2>&1 && return 0
    sleep 0.1
  done
  return 1
}

# Images and seeds of earlier recipes. One that a sandbox still uses stays, and so does one of today: another branch
# may still have its recipe.
remove_outdated() {
  local current volume image
  current=$(fingerprint)
  while read -r volume; do
    [[ $volume == *"$current"* ]] || is_of_today volume "$volume" || docker volume rm "$volume" >/dev/null 2>&1 || true
  done < <(docker volume ls --quiet --filter label=cm.sandbox.cache)
  while read -r image; do
    [[ $image == *":$current" ]] || is_of_today image "$image" || docker rmi "$image" >/dev/null 2>&1 || true
  done < <(docker images --filter label=cm.sandbox.cache --format '{{.Repository}}:{{.Tag}}' cm-sandbox/server)
}

# is_of_today volume|image NAME - whether it was made within a day.
is_of_today() {
  local made format='{{.CreatedAt}}'
  [[ $1 == volume ]] || format='{{.Created}}'
  made=$(docker "$1" inspect --format "$format" "$2" 2>/dev/null) || return 1
  (($(date +%s) - $(date -d "$made" +%s) < 86400))
}

# remove_images - everything ensure_images ever made or pulled here.
remove_images() {
  local memory ids
  memory=$(machine_dir)
  docker rm --force --volumes "$seed_container" >/dev/null 2>&1 || true
  mapfile -t ids < <(docker volume ls --quiet --filter label=cm.sandbox.cache)
  [[ ${#ids[@]} -eq 0 ]] || docker volume rm "${ids[@]}" >/dev/null
  mapfile -t ids < <(docker images --all --filter label=cm.sandbox.cache --format '{{.Repository}}:{{.Tag}}' | grep -v '<none>')
  if [[ -s $memory/pulled ]]; then mapfile -t -O "${#ids[@]}" ids <"$memory/pulled"; fi
  docker image inspect "$base_image" >/dev/null 2>&1 && ids+=("$base_image")
  [[ ${#ids[@]} -eq 0 ]] || docker rmi "${ids[@]}" >/dev/null 2>&1 || true
  docker image prune --force --filter label=cm.sandbox.cache >/dev/null
  rm -f "$memory/registry" "$memory/pulled"
}
