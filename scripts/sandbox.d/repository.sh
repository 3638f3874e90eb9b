# shellcheck shell=bash
# The repository of a sandbox: the laptop's working clone, the origin, and the servers' checkouts.
#
# Sourced by scripts/sandbox.
#
# The caller sets: name, state, parts, platform, debian_mirror.
# shellcheck disable=SC2154

# make_laptop - the sample platform as a repository with one commit on develop.
make_laptop() {
  local laptop=$state/laptop
  mkdir -p "$laptop"
  tar -C "$platform" --exclude=.git --exclude=__pycache__ -c . | tar -C "$laptop" --no-same-owner -x
  git -C "$laptop" -c init.defaultBranch=develop init --quiet
  git -C "$laptop" symbolic-ref HEAD refs/heads/develop
  git -C "$laptop" config user.name 'Sandbox Laptop'
  git -C "$laptop" config user.email 'laptop@sandbox.invalid'
  git -C "$laptop" config commit.gpgSign false
  git -C "$laptop" config core.sshCommand "$(git_ssh_command)"
  git -C "$laptop" remote add origin "ssh://origin.$name.sandbox/srv/git/platform.git"
  git -C "$laptop" add --all
  git -C "$laptop" commit --quiet --no-verify -m 'The platform as it is in production'
}

# Our git commands talk to this sandbox and no other repository, whatever the caller's environment says.
own_git_environment() {
  unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_SSH
  GIT_SSH_COMMAND=$(git_ssh_command)
  export GIT_SSH_COMMAND
}

git_ssh_command() { printf 'ssh -F %q' "$state/ssh_config"; }

make_origin() {
  docker exec --user git "$(container origin)" \
    git -c init.defaultBranch=develop init --quiet --bare /srv/git/platform.git
}

push_laptop() {
  timeout 60 git -C "$state/laptop" push --quiet --set-upstream origin develop </dev/null ||
    fail "the first push from $state/laptop to the origin failed" "GIT_TRACE=1 git -C $state/laptop push origin develop"
}

# clone_on ROLE - the server's checkout, and its local files: a Caddyfile edited by hand and the secrets.
clone_on() {
  ssh_to "$1" timeout 60 bash -seu -- "$1" >/dev/null <<'SCRIPT' || fail "could not clone the repository on $1" 'do the containers of one network reach each other on this machine?'
umask 022
GIT_SSH_COMMAND='ssh -o BatchMode=yes -o ConnectTimeout=10' git clone --quiet --branch develop ssh://git@origin/srv/git/platform.git platform
cd platform
if [ -e deploy/sandbox/Caddyfile ]; then cat deploy/sandbox/Caddyfile >Caddyfile; fi
own=deploy/sandbox/env.production.$1
[ -e "$own" ] || own=deploy/sandbox/env.production
(umask 077 && cp "$own" .env.production)
chmod 0600 .env.production
SCRIPT
}
