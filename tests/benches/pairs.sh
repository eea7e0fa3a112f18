# Two versions each of real Debian packages, as trees: sourced by `media` and `month`. Works in the current folder.

# versions PACKAGE: the two newest that the archive has, the older one first
versions() { apt-cache madison "$1" | awk '{ print $3 }' | uniq | head -2 | tac; }

# fetched PACKAGE VERSION: the name of its file
fetched() {
    local file
    for file in debs/"$1"_"${2//:/%3a}"_*.deb; do
        [ -e "$file" ] || (mkdir -p debs && cd debs && apt-get download -q "$1=$2" >/dev/null 2>&1)
    done
    for file in debs/"$1"_"${2//:/%3a}"_*.deb; do echo "$file"; done
}

# trees NAME PACKAGE...: NAME-1 and NAME-2; a package with one version is in both as it is
trees() {
    local name=$1 package number version
    shift
    rm -rf "$name-1" "$name-2"
    mkdir "$name-1" "$name-2"
    for package; do
        number=1
        for version in $(versions "$package"); do
            dpkg-deb -x "$(fetched "$package" "$version")" "$name-$number"
            number=$((number + 1))
        done
        [ $number -gt 2 ] || dpkg-deb -x "$(fetched "$package" "$version")" "$name-2"
    done
}

# kernels [FLAVOUR]: the packages of the two newest kernels, the older one first
kernels() {
    apt-cache search --names-only "^linux-image-6\.[0-9.]+-[0-9]+${1:-}-amd64\$" | awk '{ print $1 }' | sort -V | tail -2
}

# kernel_trees NAME [FLAVOUR]: their paths carry their versions
kernel_trees() {
    local name=$1 package number=1
    for package in $(kernels "${2:-}"); do
        rm -rf "$name-$number"
        mkdir "$name-$number"
        dpkg-deb -x "$(fetched "$package" "$(versions "$package" | tail -1)")" "$name-$number"
        number=$((number + 1))
    done
}

# packed TREE COMPRESSION: as `snap pack` packs it
packed() {
    mksquashfs "$1" "$1.snap" -noappend -quiet -no-progress -all-root -no-xattrs -no-fragments -comp "$2" >/dev/null
}

BASE='libc6 libssl3 openssl systemd udev libsystemd0 perl-base util-linux apt dpkg bash coreutils findutils grep sed tar
    gzip mount login passwd libgnutls30 libstdc++6 python3.11-minimal libpython3.11-stdlib iproute2 kmod e2fsprogs ncurses-base
    libncursesw6 libcrypt1 libpam-modules libapt-pkg6.0 libgcrypt20 gpgv debconf tzdata'
PYTHON='python3-django python3-cryptography python3-numpy python3-pandas'
GO=containerd
RUST=librsvg2-2
