# Fills the cache with what the device test needs, each part once: Debian
# packages on this machine, a snapd that trusts snapd's public test root key, the
# fixture maker, and a Debian 12 root file system. Sourced by `run`.
#
# Sets nothing but files: $cache/bin, $cache/rootfs.

packages=(debootstrap gcc golang-go iproute2 libc6-dev squashfs-tools systemd-container util-linux
    # snapd's source, and the packages that its Go code imports
    golang-github-snapcore-snapd-dev
    golang-dbus-dev golang-github-boltdb-bolt-dev golang-github-coreos-go-systemd-dev
    golang-github-gorilla-mux-dev golang-github-jessevdk-go-flags-dev
    golang-github-juju-ratelimit-dev golang-github-mvo5-goconfigparser-dev
    golang-golang-x-crypto-dev golang-golang-x-sys-dev golang-golang-x-term-dev
    golang-golang-x-xerrors-dev golang-gopkg-macaroon.v1-dev golang-gopkg-mgo.v2-dev
    golang-gopkg-retry.v1-dev golang-gopkg-tomb.v2-dev golang-gopkg-yaml.v2-dev
    golang-gopkg-yaml.v3-dev)

# go_build OUTPUT PACKAGE: with Debian's Go and Debian's sources only. The build
# tags trust the test root key, and leave out disk encryption, which needs more sources.
go_build() {
    say "building ${1##*/}"
    env -u GOFLAGS -u GOROOT GO111MODULE=off GOTOOLCHAIN=local GOPATH=/usr/share/gocode \
        GOCACHE="$cache/go" /usr/bin/go build -trimpath -tags 'withtestkeys nosecboot' \
        -o "$1" "$2" > "$cache/log/${1##*/}" 2>&1 ||
        die "cannot build ${1##*/}, see $cache/log/${1##*/}"
}

build_programs() {
    local p version
    version=$(dpkg-query -W -f '${Version}' golang-github-snapcore-snapd-dev)
    for p in snapd snap; do
        [ -x "$cache/bin/$p" ] && [ "$(cat "$cache/bin/version")" = "$version" ] ||
            go_build "$cache/bin/$p" "github.com/snapcore/snapd/cmd/$p"
    done
    echo "$version" > "$cache/bin/version"
    if [ "$here/fixtures.go" -nt "$cache/bin/fixtures" ]; then
        go_build "$cache/bin/fixtures" "$here/fixtures.go"
    fi
}

# The device's root file system, the same for every device and never written to.
build_rootfs() {
    make_rootfs "$release" ca-certificates curl dbus dbus-user-session fuse3 snapd squashfuse systemd-sysv udev
    local root=$cache/rootfs
    install -m 755 "$cache/bin/snapd" "$root/usr/lib/snapd/snapd"
    install -m 755 "$cache/bin/snap" "$root/usr/bin/snap"
    # snapd must not give way to the (empty) snapd snap of the fixtures
    mkdir -p "$root/etc/systemd/system/snapd.service.d"
    printf '[Service]\nEnvironment=SNAP_REEXEC=0 SNAPD_DEBUG=1\n' > "$root/etc/systemd/system/snapd.service.d/test.conf"
    # snapd has udev read its rules again and fails an install where it cannot;
    # containers have no udev
    ln -sf /bin/true "$root/usr/local/bin/udevadm"
}
