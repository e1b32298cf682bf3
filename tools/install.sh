# install.sh - brings the packages of some errands (tools/packages) onto a Debian; sourced by ./dev.
#
# An errand that was satisfied once is not looked at again until tools/packages changes: its stamp
# is build/.packages-ERRAND.  Nothing that a package brings is started, and no database cluster is
# made: services and clusters that exist already are left exactly as they are.

say() { printf '%s\n' "$*" >&2; }
die() { say "dev: $*"; exit 1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

# missing_packages ERRAND...: prints what is not installed
missing_packages() {
    local errand wanted
    wanted=$(for errand in "$@"; do awk -v e="$errand" '$1 == e { print $2, $3 }' tools/packages; done |
        while read -r package unless; do
            if [ -z "$unless" ] || ! command -v "${unless#unless:}" >/dev/null; then
                echo "$package"
            fi
        done | sort -u)
    # shellcheck disable=SC2086
    comm -23 <(printf '%s\n' $wanted) \
        <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null |
            awk '$1 == "installed" { print $2 }' | sort -u)
}

# Services stay down and no cluster is made while apt works; both are taken back by quiet_end.
quiet_policy=
quiet_cluster=
quiet_begin() {
    trap quiet_end EXIT
    if [ ! -e /usr/sbin/policy-rc.d ]; then
        quiet_policy=/usr/sbin/policy-rc.d
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$quiet_policy" >/dev/null
        as_root chmod 755 "$quiet_policy"
    fi
    quiet_cluster=/etc/postgresql-common/createcluster.d/zz-no-main-cluster.conf
    if [ -e "$quiet_cluster" ]; then
        quiet_cluster=
    else
        as_root mkdir -p "${quiet_cluster%/*}"
        echo 'create_main_cluster = false' | as_root tee "$quiet_cluster" >/dev/null
    fi
}

quiet_end() {
    [ -z "$quiet_policy" ] || as_root rm -f "$quiet_policy"
    [ -z "$quiet_cluster" ] || as_root rm -f "$quiet_cluster"
    quiet_policy=
    quiet_cluster=
    trap - EXIT
}

# The services of peers that only the benchmark wants must not come up at the next boot either.
disable_service() {
    if command -v systemctl >/dev/null; then
        as_root systemctl disable --quiet "$1" 2>/dev/null || true
    fi
    as_root update-rc.d "$1" disable >/dev/null 2>&1 || true
}

install_packages() {
    say "installing: $*"
    if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
        die "run this once as root, or install sudo: apt-get install $*"
    fi
    quiet_begin
    local log=build/install.log
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300
        -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold)
    as_root "${apt[@]}" update </dev/null >"$log" 2>&1 ||
        say "apt-get update failed; trying with the lists at hand"
    if ! as_root "${apt[@]}" install -y --no-install-recommends "$@" </dev/null >>"$log" 2>&1; then
        cat "$log" >&2
        die "apt-get could not install: $*"
    fi
    quiet_end
    local package
    for package in "$@"; do
        case $package in pgbouncer | haproxy | nsd | patroni | redis-server | slapd) disable_service "$package" ;;
            etcd-server) disable_service etcd ;; esac
    done
}

# Packages that npm has and Debian has not: what the lock file of a driver's test pins goes into
# build/drivers/NAME, once for each lock file.
install_node_modules() {
    local lock name folder
    for lock in tests/integration/drivers/*/package-lock.json; do
        name=$(basename "${lock%/*}")
        folder=build/drivers/$name
        cmp -s "$lock" "$folder/installed-from" && continue
        say "installing: what $lock names"
        mkdir -p "$folder"
        cp "${lock%/*}"/package*.json "$folder"
        npm ci --prefix "$folder" --no-audit --no-fund --ignore-scripts --loglevel=error \
            </dev/null >build/install.log 2>&1 || {
            cat build/install.log >&2
            say "npm could not install what $lock names; the tests with it will fail"
            continue
        }
        cp "$lock" "$folder/installed-from"
    done
}

# need ERRAND...: what the errands want is there when this returns
need() {
    local errand open=()
    mkdir -p build
    for errand in "$@"; do
        [ "build/.packages-$errand" -nt tools/packages ] || open+=("$errand")
    done
    [ ${#open[@]} -eq 0 ] || need_packages "${open[@]}"
    case " $* " in *" test "*) install_node_modules ;; esac
}

# need_packages ERRAND...: the same for what Debian has
need_packages() {
    local errand missing open=("$@")
    if ! command -v apt-get >/dev/null; then
        say "this is no Debian: install by hand what tools/packages lists for: ${open[*]}"
        return 0
    fi
    missing=$(missing_packages "${open[@]}")
    # shellcheck disable=SC2086
    [ -z "$missing" ] || install_packages $missing
    for errand in "${open[@]}"; do touch "build/.packages-$errand"; done
}
