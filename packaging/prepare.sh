# What the scripts of this repository share: finding and installing what they
# need. To be sourced, with the repository's root as current folder.

say() { printf '== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

# need_packages PROGRAM:PACKAGE...: installs the packages of programs that are missing.
need_packages() {
    local pair missing=() as_root=()
    for pair; do
        # Servers hide their programs from PATH.
        command -v "${pair%%:*}" >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/${pair%%:*}" >/dev/null ||
            missing+=("${pair#*:}")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || fail "please install ${missing[*]}: this is no Debian or Ubuntu"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || fail "please install ${missing[*]} as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends \
        ca-certificates "${missing[@]}" >/dev/null
}

# need_cargo: a Rust toolchain that is new enough, in target/toolchain when there is none.
need_cargo() {
    local wanted have
    wanted=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    have=$(cargo --version 2>/dev/null | cut -d' ' -f2) || true
    if [ -n "$have" ] && [ "$(printf '%s\n' "$wanted" "$have" | sort -V | head -1)" = "$wanted" ]; then
        return 0
    fi
    export CARGO_HOME=$PWD/target/toolchain/cargo RUSTUP_HOME=$PWD/target/toolchain/rustup
    export PATH=$CARGO_HOME/bin:$PATH
    if [ ! -x "$CARGO_HOME/bin/cargo" ]; then
        say "cargo is ${have:-missing}, $wanted is needed: installing Rust into target/toolchain"
        mkdir -p "$CARGO_HOME"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -q -y --no-modify-path --profile minimal --default-toolchain stable ||
            fail "cannot install Rust $wanted: get it from https://rustup.rs and run this again"
    fi
}
