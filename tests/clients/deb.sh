#!/usr/bin/env bash
# Installs a package in a clean Debian 12 tree, looks at what it put there, runs it, purges it, looks at what is left.
#
#   tests/clients/deb.sh WHARFINGER.deb
#
# Needs root and debootstrap. The tree is kept as target/debian-12.tar, so that only the first run fetches it.
set -euo pipefail
deb=$(readlink -f "${1:?usage: tests/clients/deb.sh WHARFINGER.deb}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${CARGO_TARGET_DIR:-$root/target}/debian-12.tar
tree=$(mktemp -d /var/tmp/wharfinger-deb-XXXXXX)
log=$(mktemp)

clean_up() {
    mountpoint -q "$tree/proc" && umount "$tree/proc"
    rm -rf --one-file-system "$tree"
    rm -f "$log"
}
trap clean_up EXIT

failures=0
check() { # what it is, then the command that must succeed
    local what=$1
    shift
    if "$@" >"$log" 2>&1; then
        echo "ok    $what"
    else
        echo "FAIL  $what"
        sed 's/^/      /' "$log"
        failures=$((failures + 1))
    fi
}
inside() { chroot "$tree" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
files() { # every path with type, mode and owner; what dpkg and apt write for themselves is left out
    (cd "$tree" && find . -xdev \( -path ./proc -o -path ./sys -o -path ./dev -o -path ./run \
        -o -path ./var/lib/dpkg -o -path ./var/log -o -path ./var/cache \) -prune -o -printf '%p %y %m %U:%G\n') | sort
}
mode() { [ "$(stat -c '%a %U:%G' "$tree$1" 2>&1)" = "$2" ] || { stat -c '%n is %a %U:%G' "$tree$1"; return 1; }; }

# --- a clean tree, with what the package depends on -------------------------------------------------------------------
if [ ! -e "$cache" ]; then
    command -v debootstrap >/dev/null || { apt-get update -qq && apt-get install -y -qq debootstrap >/dev/null; }
    packages=adduser,ca-certificates,man-db,passwd,procps,systemd
    for pause in 15 30 0; do # what the network refuses once is tried again
        debootstrap --variant=minbase --include=$packages bookworm "$tree" >"$log" 2>&1 && fetched=yes && break
        sleep $pause
    done
    [ -n "${fetched:-}" ] || { tail "$log"; exit 1; }
    mkdir -p "$(dirname "$cache")"
    tar -C "$tree" --one-file-system --exclude=./var/cache/apt -cf "$cache.new" . && mv "$cache.new" "$cache"
else
    tar -C "$tree" -xf "$cache"
fi
chmod 755 "$tree" # the service's user walks through it
mount -t proc proc "$tree/proc"
printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d" # no service starts in here
chmod 755 "$tree/usr/sbin/policy-rc.d"
cp "$deb" "$tree/wharfinger.deb"
inside dpkg --purge wharfinger >/dev/null 2>&1 || true
cp "$tree/etc/passwd" "$tree/etc/group" "$tree/root/"
files >"$log.before"

# --- installed --------------------------------------------------------------------------------------------------------
check "installs" inside dpkg -i /wharfinger.deb
check "dpkg finds nothing wrong" inside dpkg --audit
check "every file is as packed" inside dpkg --verify wharfinger
check "binary 755 root" mode /usr/bin/wharfinger "755 root:root"
check "configuration 644 root" mode /etc/wharfinger/wharfinger.toml "644 root:root"
check "configuration is a conffile" \
    grep -q /etc/wharfinger/wharfinger.toml "$tree/var/lib/dpkg/info/wharfinger.conffiles"
uid=$(inside id -u wharfinger 2>/dev/null || echo none)
check "system user exists, unprivileged" test "$uid" != none -a "$uid" != 0 -a "$uid" -lt 1000
check "the user cannot log in" inside sh -c 'getent passwd wharfinger | grep -q ":/usr/sbin/nologin$"'
check "its store is its own" inside sh -c '
    [ "$(stat -c "%a %U:%G" /var/lib/wharfinger)" = "700 wharfinger:wharfinger" ]'
check "the service is enabled" test -L "$tree/etc/systemd/system/multi-user.target.wants/wharfinger.service"
check "the unit is well-formed" sh -c '
    said=$(systemd-analyze verify --root="$1" --man=no wharfinger.service 2>&1) && [ -z "$said" ] && exit
    echo "$said"
    exit 1' sh "$tree"
check "the sandbox is tight" inside systemd-analyze security --offline=true --threshold=20 wharfinger.service
check "the manual page renders without a warning" inside sh -c '
    said=$(man --warnings -l /usr/share/man/man1/wharfinger.1.gz 2>&1 >/dev/null) && [ -z "$said" ] && exit
    echo "$said"
    exit 1'
for file in /usr/share/bash-completion/completions/wharfinger /usr/share/zsh/vendor-completions/_wharfinger \
    /usr/share/fish/vendor_completions.d/wharfinger.fish /usr/share/doc/wharfinger/copyright \
    /usr/share/doc/wharfinger/changelog.Debian.gz; do
    check "$file" test -s "$tree$file"
done

# --- it runs ----------------------------------------------------------------------------------------------------------
as_service() { inside setpriv --reuid=wharfinger --regid=wharfinger --clear-groups "$@"; }
check "prints its version" inside wharfinger --version
check "accepts its configuration" as_service wharfinger check --config /etc/wharfinger/wharfinger.toml
check "makes its store there" as_service sh -c '
    echo "a long enough password" |
        wharfinger --config /etc/wharfinger/wharfinger.toml user add alice --password-stdin'

# --- gone -------------------------------------------------------------------------------------------------------------
check "is removed" inside dpkg --remove wharfinger
check "removing keeps the store and the configuration" test -d "$tree/var/lib/wharfinger" -a -d "$tree/etc/wharfinger"
check "is purged" inside dpkg --purge wharfinger
# Written by the package's tools: the shadow suite's backups of the user tables.
files | grep -vE '^\./etc/(passwd|group|shadow|gshadow|subuid|subgid)- ' >"$log.after"
grep -vE '^\./etc/(passwd|group|shadow|gshadow|subuid|subgid)- ' "$log.before" >"$log.wanted"
check "purging leaves no file behind and changes none" diff "$log.wanted" "$log.after"
check "purging leaves no user" cmp "$tree/root/passwd" "$tree/etc/passwd"
check "purging leaves no group" cmp "$tree/root/group" "$tree/etc/group"
rm -f "$log".*

[ $failures = 0 ] || { echo "$failures of the package's checks failed"; exit 1; }
