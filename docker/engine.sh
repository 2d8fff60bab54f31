#!/usr/bin/env bash
# Gets ready what the images and the end-to-end tests need, on a Debian machine that may have none of it.
# Every subcommand may be repeated at any time: what is there already is left alone.
set -euo pipefail
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

readonly ENGINE_LOG=/var/log/dockerd.log
readonly ENGINE_DEADLINE_S=60
# The first Debian whose docker-compose is version 2. That package needs no newer C library than Debian 12 has.
readonly COMPOSE_SUITE=trixie
readonly COMPOSE_PLUGIN=/usr/local/lib/docker/cli-plugins/docker-compose
readonly PODMAN_DROP_IN=/etc/containers/containers.conf.d/outrider.conf

usage() {
  cat <<'USAGE'
Usage: docker/engine.sh [subcommand]

  ensure    (default) a Docker engine that answers, and Docker Compose 2
  podman    podman, set up so that `podman kube play` runs pod manifests as root
  chromium  a Chromium browser for the tests of pages
  git       git, an OpenSSH client and server, and GnuPG, for tests with real repositories; no server is started
  help      this text

Missing programs are installed from Debian's packages, which takes root; elsewhere it says what to install.
USAGE
}

say() { printf 'engine: %s\n' "$*"; }

fail() {
  printf 'engine: %s\n' "$@" >&2
  exit 1
}

# Hides a command's output unless it fails.
quietly() {
  local output status=0
  output=$("$@" 2>&1) || status=$?
  ((status == 0)) && return
  printf '%s\n' "$output" | tail -n 30 >&2
  fail "failed with exit code $status: $*"
}

# --- Debian packages

# Arguments: what is needed, and what to do elsewhere than as root on Debian.
require_root_on_debian() {
  local id
  id=$(. /etc/os-release 2>/dev/null && echo "${ID:-}") || true
  if [[ $id != debian ]] || ! command -v apt-get >/dev/null; then
    fail "$1 is missing, and only on Debian can this script install it." "$2"
  fi
  ((EUID == 0)) || fail "$1 is missing, and installing it takes root: sudo $0 $SUBCOMMAND" "Or: $2"
}

package_lists_are_fresh=
refresh_package_lists() {
  [[ -n $package_lists_are_fresh ]] && return
  say 'apt-get update'
  quietly apt-get -o DPkg::Lock::Timeout=120 update
  package_lists_are_fresh=yes
}

install_packages() {
  refresh_package_lists
  say "apt-get install $*"
  DEBIAN_FRONTEND=noninteractive quietly apt-get -o DPkg::Lock::Timeout=120 install \
    --yes --no-install-recommends "$@"
}

is_installable() { [[ -n $(apt-cache madison "$1" 2>/dev/null) ]]; }

# --- the engine

# Prints nothing, and fails, when no engine answers; some clients give exit code 0 then.
engine_version() {
  local version
  version=$(timeout 15 docker info --format '{{.ServerVersion}}' 2>/dev/null) || return 1
  [[ -n $version ]] && echo "$version"
}

ensure_engine() {
  local version
  if version=$(engine_version); then
    say "Docker engine $version answers"
    return
  fi
  if [[ -n ${DOCKER_HOST:-} ]]; then
    fail "no engine answers at DOCKER_HOST=$DOCKER_HOST." 'Start that engine, or unset DOCKER_HOST to use one on this machine.'
  fi
  require_root_on_debian 'a Docker engine that answers' \
    'install and start Docker Engine 20.10 or newer with Compose 2, and be allowed to use it (group docker).'
  install_engine
  # The package starts the engine by itself where that is possible and allowed.
  engine_version >/dev/null || start_engine
  say "Docker engine $(engine_version) answers"
}

install_engine() {
  command -v dockerd >/dev/null && command -v docker >/dev/null && return
  say "no Docker engine: installing Debian's docker.io"
  local packages=(docker.io iptables ca-certificates)
  refresh_package_lists
  # Since Debian 13 the client is a package of its own, merely recommended by docker.io.
  command -v docker >/dev/null || ! is_installable docker-cli || packages+=(docker-cli)
  install_packages "${packages[@]}"
}

start_engine() {
  if [[ -d /run/systemd/system ]]; then
    say 'systemctl start docker'
    systemctl start docker || fail 'systemctl could not start docker; see: journalctl --unit docker --lines 50'
    await_engine 'journalctl --unit docker --lines 50'
    return
  fi
  local pid
  if pid=$(running_pid /var/run/docker.pid dockerd); then
    say "dockerd (process $pid) runs but does not answer yet"
  else
    running_pid /var/run/docker/containerd/containerd.pid containerd >/dev/null || true
    say "starting dockerd in the background, log in $ENGINE_LOG"
    setsid dockerd </dev/null >>"$ENGINE_LOG" 2>&1 &
    pid=$!
  fi
  await_engine "$ENGINE_LOG" "$pid"
}

# Prints the process that a pid file names, when it is alive and is that program. A pid file that survived a crash or a
# reboot is removed, since dockerd refuses to start beside one, whatever has the number now.
running_pid() {
  local file=$1 program=$2 pid
  [[ -f $file ]] || return 1
  pid=$(<"$file")
  if is_alive "$pid" && [[ $(<"/proc/$pid/comm") == "$program" ]]; then
    echo "$pid"
    return
  fi
  say "removing the stale $file" >&2
  rm -f "$file"
  return 1
}

# A process that has ended stays as a zombie where nobody asks for its exit code, as in a container without an init.
is_alive() { [[ $(awk '$1 == "State:" { print $2 }' "/proc/$1/status" 2>/dev/null) == [!Z] ]]; }

# Arguments: where its log is, and the process to watch if it is ours to watch.
await_engine() {
  local log=$1 pid=${2:-} deadline=$((SECONDS + ENGINE_DEADLINE_S)) reason=
  until engine_version >/dev/null; do
    if [[ -n $pid ]] && ! is_alive "$pid"; then
      reason='dockerd ended'
    elif ((SECONDS >= deadline)); then
      reason="the engine did not answer within $ENGINE_DEADLINE_S seconds"
    fi
    if [[ -n $reason ]]; then
      [[ -f $log ]] && tail -n 20 "$log" >&2
      fail "$reason; its log: $log"
    fi
    sleep 0.2
  done
}

# --- Compose

# Prints the version when it is 2 or newer: the Python version 1 never was a plugin of `docker`.
compose_version() {
  local version
  version=$(docker compose version --short 2>/dev/null) || return 1
  version=${version#v}
  [[ $version =~ ^[0-9]+ ]] && ((BASH_REMATCH[0] >= 2)) && echo "$version"
}

ensure_compose() {
  local version
  if ! version=$(compose_version); then
    require_root_on_debian 'Docker Compose 2' 'install the Compose plugin, so that `docker compose version` answers.'
    install_compose
    version=$(compose_version) || fail 'Docker Compose is installed, but `docker compose version` does not answer 2 or newer.'
  fi
  say "Docker Compose $version answers"
}

install_compose() {
  refresh_package_lists
  local candidate
  candidate=$(LC_ALL=C apt-cache policy docker-compose | awk '$1 == "Candidate:" { print $2 }')
  if [[ -n $candidate ]] && dpkg --compare-versions "$candidate" ge 2; then
    install_packages docker-compose
  else
    say "no Compose 2 in this Debian: taking the plugin alone out of $COMPOSE_SUITE's docker-compose"
    # A subshell, so that its trap and its directory end with it.
    (copy_compose_from_newer_debian)
  fi
}

# Everything apt learns about the newer suite stays in a temporary directory: the machine's own sources, lists and
# preferences do not change, and nothing else can come from that suite by accident.
copy_compose_from_newer_debian() {
  local mirror tmp
  mirror=$(debian_mirror)
  tmp=$(mktemp -d)
  trap "rm -rf '$tmp'" EXIT
  chmod 755 "$tmp"
  mkdir -p "$tmp/lists" "$tmp/cache/archives"
  # apt fetches as the user _apt.
  install -d -o _apt "$tmp/download"
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $COMPOSE_SUITE main" >"$tmp/sources.list"
  local apt=(
    -o Dir::Etc::sourcelist="$tmp/sources.list" -o Dir::Etc::sourceparts=- -o Dir::Etc::preferencesparts=-
    -o Dir::State::Lists="$tmp/lists" -o Dir::Cache="$tmp/cache" -o APT::Get::List-Cleanup=false
    -o APT::Default-Release= -o Acquire::Languages=none
  )
  quietly apt-get "${apt[@]}" update
  cd "$tmp/download"
  quietly apt-get "${apt[@]}" download docker-compose
  dpkg-deb -x docker-compose_*.deb "$tmp/package"
  install -D -m 755 "$tmp/package/usr/libexec/docker/cli-plugins/docker-compose" "$COMPOSE_PLUGIN"
}

# The mirror from which this machine gets Debian itself.
debian_mirror() {
  local mirror
  mirror=$(apt-get indextargets --format '$(REPO_URI)' \
    'Created-By: Packages' 'Origin: Debian' 'Label: Debian' 'Component: main')
  [[ -n $mirror ]] || fail "no Debian mirror among apt's sources; add one, or install Docker Compose 2 by hand."
  echo "${mirror%%$'\n'*}"
}

# --- podman

ensure_podman() {
  if ! has_podman; then
    require_root_on_debian podman 'install podman 4.3 or newer, with runc.'
    # catatonit is the process of a pod's infra container, which podman builds itself instead of pulling one. The rest
    # is for its network, and differs between podman 4 and 5.
    install_packages podman runc catatonit containernetworking-plugins iptables nftables ca-certificates
  fi
  write_podman_drop_in
  say "$(podman --version) is ready"
}

has_podman() {
  local PATH=$PATH:/usr/libexec/podman:/usr/lib/podman program
  for program in podman runc catatonit; do
    command -v "$program" >/dev/null || return 1
  done
}

# runc and cgroupfs work without systemd and under either version of cgroups; podman's own default of 1 048 576 open
# files is refused where the machine's hard limit is lower.
write_podman_drop_in() {
  [[ -e $PODMAN_DROP_IN ]] && return
  ((EUID == 0)) || fail "podman lacks $PODMAN_DROP_IN, and writing it takes root: sudo $0 $SUBCOMMAND"
  say "writing $PODMAN_DROP_IN"
  mkdir -p "${PODMAN_DROP_IN%/*}"
  cat >"$PODMAN_DROP_IN" <<'CONF'
# Written by Outrider's docker/engine.sh, which leaves it alone from now on.
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=20000:20000"]

[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
CONF
}

# --- chromium

ensure_chromium() {
  local program
  for program in chromium chromium-browser google-chrome google-chrome-stable; do
    command -v "$program" >/dev/null || continue
    say "$(command -v "$program") is there"
    return
  done
  require_root_on_debian 'a Chromium browser' 'install chromium, so that a program of that name is on the PATH.'
  # Without a font every letter is an empty box.
  install_packages chromium fonts-dejavu-core
  say "$(command -v chromium) is there"
}

# --- git

ensure_git() {
  if ! has_git; then
    require_root_on_debian 'git, OpenSSH (ssh, ssh-keygen, sshd) or GnuPG' \
      'install git, an OpenSSH client and server, and GnuPG.'
    local packages=(git openssh-client gnupg ca-certificates)
    install_packages "${packages[@]}"
    command -v sshd >/dev/null || install_ssh_server
  fi
  # As root, sshd does not start without it; where systemd does not make it, it is gone when the machine starts again.
  ((EUID != 0)) || mkdir -p -m 755 /run/sshd
  say "$(git --version), sshd and gpg are there"
}

has_git() {
  local program
  for program in git ssh ssh-keygen sshd gpg; do
    command -v "$program" >/dev/null || return 1
  done
}

# Tests start a server of their own on loopback: the package must not open this machine, neither now nor at its next start.
install_ssh_server() {
  local policy=/usr/sbin/policy-rc.d
  if [[ ! -e $policy ]]; then
    trap "rm -f $policy" EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
  fi
  install_packages openssh-server
  say 'the SSH server of the machine stays off: update-rc.d ssh disable'
  quietly update-rc.d ssh disable
}

readonly SUBCOMMAND=${1:-ensure}
case $SUBCOMMAND in
  ensure)
    ensure_engine
    ensure_compose
    ;;
  podman) ensure_podman ;;
  chromium) ensure_chromium ;;
  git) ensure_git ;;
  help | -h | --help) usage ;;
  *)
    usage >&2
    fail "unknown subcommand $SUBCOMMAND"
    ;;
esac
