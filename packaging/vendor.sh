#!/bin/bash
# Packs this source with the source of every crate, for a build on a machine without a network:
#
#   packaging/vendor.sh [FILE]          writes FILE (default: target/package/airlock-VERSION-vendored.tar.xz)
#   packaging/vendor.sh --check FILE    compiles what is in FILE, in a namespace without a network
#
# There, with a Rust toolchain and build-essential: tar xf FILE, cd airlock-VERSION, packaging/deb. The same commit gives the same
# bytes. Only what is committed is packed.
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=packaging/prepare.sh
. packaging/prepare.sh

case ${1-} in
-h | --help) sed -n '2,9s/^# \{0,1\}//p' packaging/vendor.sh; exit 0 ;;
--check)
    file=$(cd "$here" && realpath -e -- "${2-}")
    need_cargo
    stage=$(mktemp -d)
    trap 'rm -rf "$stage"' EXIT
    tar -x -f "$file" -C "$stage"
    # With a home for cargo that holds nothing: what is missing in FILE is nowhere else.
    CARGO_HOME=$stage/home CARGO_TARGET_DIR=$stage/target RUSTUP_TOOLCHAIN=$(rustup show active-toolchain 2>/dev/null | cut -d' ' -f1) \
        unshare --net --map-root-user bash -c 'cd "$1"/airlock-* && cargo check --quiet --locked --package server --package cli' - "$stage"
    say "$file compiles without a network"
    exit 0
    ;;
-*) echo "usage: packaging/vendor.sh [--check] [FILE]" >&2; exit 2 ;;
esac
need_packages git:git xz:xz-utils
need_cargo
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
file=$(cd "$here" && realpath -m -- "${1:-$OLDPWD/target/package/airlock-$version-vendored.tar.xz}")
name=airlock-$version
epoch=$(git log -1 --format=%ct)

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
mkdir "$stage/$name"
git archive HEAD | tar -x -C "$stage/$name"
say "copying the crates"
(
    cd "$stage/$name"
    mkdir .cargo
    cargo vendor --locked --versioned-dirs vendor > .cargo/config.toml 2>"$stage/log" || { cat "$stage/log" >&2; exit 1; }
    printf '\n[net]\noffline = true\n' >> .cargo/config.toml
)
mkdir -p "$(dirname "$file")"
tar --create --sort=name --mtime="@$epoch" --owner=0 --group=0 --numeric-owner --mode=u+rw,go+r-w \
    -C "$stage" "$name" | xz -T0 -3 > "$file"
say "wrote $file"
