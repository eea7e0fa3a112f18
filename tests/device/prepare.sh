# Fills $cache with what the device test needs, each part once: a root file system
# of the Debian release that packages this version of snapd, that snapd built
# anew to trust snapd's public test root key, and the fixture maker. Sourced by `run`.

packages=(debootstrap iproute2 squashfs-tools systemd-container util-linux xdelta3)
device_packages=(ca-certificates curl dbus dbus-user-session fuse3 snapd squashfuse systemd-sysv udev)

# What the release's source package of snapd says that its Go code is built with.
go_packages() {
    local apt=$cache/apt mirror
    mirror=$(debian_mirror)
    mkdir -p "$apt/lists/partial"
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" > "$apt/sources.list"
    local own=(-o Dir::Etc::SourceList="$apt/sources.list" -o Dir::Etc::SourceParts=/dev/null
        -o Dir::State="$apt" -o Dir::Cache="$apt")
    apt-get -q "${own[@]}" update > "$cache/log/sources" 2>&1 || die "cannot ask for $release, see $cache/log/sources"
    apt-cache "${own[@]}" showsrc snapd | sed -n 's/^Build-Depends: //p' | grep -o 'golang-[a-z0-9.+-]*' | sort -u
    rm -rf "$apt"
}

# The device's root file system, with all that builds its snapd; never written to
# once $cache/bin has the programs.
build_rootfs() {
    [ ! -d "$cache/rootfs" ] || return 0
    local go
    go=$(go_packages)
    [ -n "$go" ] || die "Debian's $release has no source package of snapd"
    # shellcheck disable=SC2086 # one argument for each package
    make_rootfs "$release" "${device_packages[@]}" gcc libc6-dev golang-github-snapcore-snapd-dev $go
}

# go_build OUTPUT PACKAGE: with the Go and the sources of the release only. The build
# tags trust the test root key, and leave out disk encryption, which needs more sources.
go_build() {
    local name=${1##*/}
    say "building $name"
    # GOROOT, as Go would look for it in a /proc that is not there
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/build CGO_ENABLED="${3-1}" \
        GOROOT=/usr/lib/go GO111MODULE=off GOTOOLCHAIN=local GOPATH=/usr/share/gocode GOCACHE=/build/cache \
        chroot "$cache/rootfs" /usr/bin/go build -trimpath -tags 'withtestkeys nosecboot' -o "/build/$name" "$2" \
        > "$cache/log/$name" 2>&1 || die "cannot build $name, see $cache/log/$name"
    mv "$cache/rootfs/build/$name" "$1"
}

build_programs() {
    local p root=$cache/rootfs
    mkdir -p "$root/build"
    for p in snapd snap; do
        # newer ones are one program with two names
        [ -d "$root/usr/share/gocode/src/github.com/snapcore/snapd/cmd/$p" ] || continue
        [ -x "$cache/bin/$p" ] || go_build "$cache/bin/$p" "github.com/snapcore/snapd/cmd/$p"
    done
    if [ "$here/fixtures.go" -nt "$cache/bin/fixtures" ]; then
        cp "$here/fixtures.go" "$root/build"
        go_build "$cache/bin/fixtures" /build/fixtures.go 0 # runs on this machine, whatever its libraries
    fi
}

install_programs() {
    local root=$cache/rootfs found
    found=$(chroot "$root" dpkg-query -W -f '${source:Upstream-Version}' snapd)
    [ "$found" = "$version" ] || say "*** Debian's $release no longer has snapd $version: this is $found ***"
    install -m 755 "$cache/bin/snapd" "$root/usr/lib/snapd/snapd"
    [ -L "$root/usr/bin/snap" ] || install -m 755 "$cache/bin/snap" "$root/usr/bin/snap"
    # snapd must not give way to the (empty) snapd snap of the fixtures
    mkdir -p "$root/etc/systemd/system/snapd.service.d"
    printf '[Service]\nEnvironment=SNAP_REEXEC=0 SNAPD_DEBUG=1\n' > "$root/etc/systemd/system/snapd.service.d/test.conf"
    # snapd has udev read its rules again and fails an install where it cannot;
    # containers have no udev
    ln -sf /bin/true "$root/usr/local/bin/udevadm"
}
