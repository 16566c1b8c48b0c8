#!/usr/bin/env bash
# Makes sure that the engine has the images that the Dockerfile and the compose file are built on, so that the very files
# that users get can be tested on a machine without a registry.
#
#   tests/compose/base-images.sh           pulls what is missing; what can't be pulled is made here, of Debian's packages
#                                          and this machine's Rust, under the same name
#   tests/compose/base-images.sh --remove  removes what was made here, and nothing else
#
# What is made here has the label quorate.stand-in. Exits with 3, after a line that begins with SKIPPED, if an image can
# neither be pulled nor made.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Debian's own, unless DEBIAN_MIRROR names one.
mirror=(${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"})
label=quorate.stand-in
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

skip() {
    echo "SKIPPED: $*"
    exit 3
}

have() { docker image inspect "$1" >/dev/null 2>&1; }

# Whether an image has to be made: it is not there, and nobody can be asked for it.
missing() {
    if have "$1"; then
        echo "there      $1"
        return 1
    fi
    if timeout 300 docker pull --quiet "$1" >"$work/pull" 2>&1; then
        echo "pulled     $1"
        return 1
    fi
    echo "not to be had from a registry: $1 ($(tail -n 1 "$work/pull"))"
}

made() { echo "made here  $1, a stand-in: $2, $(docker image inspect --format '{{.Size}}' "$1" | numfmt --to=si)B"; }

# The small Debian: what debootstrap's minbase has, without what apt left.
debian() {
    local image=$1 release=${1#debian:}
    release=${release%-slim}
    missing "$image" || return 0
    if ! type debootstrap >/dev/null 2>&1; then
        # Only where that is a matter of course: in a container or a virtual machine of CI.
        [[ ${CI:-} == true && $EUID == 0 ]] && type apt-get >/dev/null 2>&1 &&
            apt-get update -qq && apt-get install -qq -y --no-install-recommends debootstrap >"$work/apt" 2>&1 ||
            skip "$image: neither a registry nor debootstrap"
    fi
    ((EUID == 0)) || skip "$image: no registry, and debootstrap wants root"
    debootstrap --variant=minbase --include=ca-certificates "$release" "$work/tree" "${mirror[@]}" >"$work/log" 2>&1 || {
        tail -n 5 "$work/log"
        skip "$image: debootstrap failed"
    }
    rm -rf "$work"/tree/{var/cache/apt/*,var/lib/apt/lists/*,var/log/*,usr/share/doc/*,usr/share/man/*,usr/share/locale/*}
    tar -C "$work/tree" --one-file-system -c . |
        docker import --change "LABEL $label=debootstrap" --change 'CMD ["bash"]' - "$image" >/dev/null
    rm -rf "$work/tree"
    made "$image" "debootstrap, $release"
}

# Rust as this machine has it, with gcc, and with what its cargo needs to reach a registry.
rust() {
    local image=$1 version=${1#rust:} release=${1##*-} sysroot here
    version=${version%%-*}
    missing "$image" || return 0
    type rustc >/dev/null 2>&1 || skip "$image: no registry, and no rustc here"
    here=$(rustc --version | cut -d' ' -f2)
    [[ $here == "$version" || $here == "$version".* ]] || skip "$image: no registry, and this machine has Rust $here"
    debian "debian:$release-slim"
    sysroot=$(rustc --print sysroot)
    mkdir -p "$work/rust/toolchain/bin" "$work/rust/home"
    cp "$sysroot"/bin/{cargo,rustc} "$work/rust/toolchain/bin/"
    cp -a "$sysroot/lib" "$work/rust/toolchain/"
    # A mirror, and who vouches for it: of this machine, so in the image that stands for this machine's registry.
    local home=${CARGO_HOME:-$HOME/.cargo} file
    for file in config.toml config; do
        [[ ! -e $home/$file ]] || cp "$home/$file" "$work/rust/home/"
    done
    local authorities=${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt} env=""
    cp "$authorities" "$work/rust/ca-certificates.crt"
    for file in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY CARGO_HTTP_PROXY CARGO_HTTP_TIMEOUT; do
        [[ -z ${!file:-} ]] || env+="ENV $file=\"${!file}\""$'\n'
    done
    cat >"$work/rust/Dockerfile" <<EOF
FROM debian:$release-slim
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
COPY ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY toolchain /usr/local
COPY home /usr/local/cargo
ENV CARGO_HOME=/usr/local/cargo
${env}LABEL $label=rust
EOF
    build "$image" "$work/rust"
    rm -rf "$work/rust"
    made "$image" "$(docker run --rm "$image" rustc --version)"
}

# Debian's Prometheus, which has to be of the very version.
prometheus() {
    local image=$1 version=${1##*:v} release=$2
    missing "$image" || return 0
    debian "debian:$release-slim"
    mkdir "$work/prometheus"
    cat >"$work/prometheus/Dockerfile" <<EOF
FROM debian:$release-slim
RUN apt-get update && apt-get install -y --no-install-recommends prometheus && rm -rf /var/lib/apt/lists/* \
    && for name in prometheus promtool; do [ -e /bin/\$name ] || ln -s /usr/bin/\$name /bin/; done
RUN prometheus --version 2>&1 | grep -F "version $version" && install -d -o 65534 -g 65534 /prometheus
USER 65534:65534
VOLUME /prometheus
WORKDIR /prometheus
EXPOSE 9090
ENTRYPOINT ["/usr/bin/prometheus"]
LABEL $label=prometheus
EOF
    build "$image" "$work/prometheus"
    made "$image" "Debian's package, $version"
}

build() {
    DOCKER_BUILDKIT=0 docker build --quiet --tag "$1" "$2" >"$work/build" 2>&1 || {
        cat "$work/build"
        skip "$1 could not be made"
    }
}

type docker >/dev/null 2>&1 && docker version >/dev/null 2>&1 || skip "no Docker engine answers"
if [[ ${1:-} == --remove ]]; then
    docker image ls --filter "label=$label" --format '{{.Repository}}:{{.Tag}}' | grep -v '<none>' |
        xargs --no-run-if-empty docker image rm
    exit
fi

# The names as the files have them.
mapfile -t images < <(awk '$1 == "FROM" { print $2 }' Dockerfile)
release=$(printf '%s\n' "${images[@]}" | sed -n 's/^debian:\(.*\)-slim$/\1/p')
images+=("$(awk '$1 == "image:" && $2 ~ /^prom\// { print $2 }' docker-compose.yml)")
for image in "${images[@]}"; do
    case $image in
    debian:*-slim) debian "$image" ;;
    rust:*-slim-*) rust "$image" ;;
    prom/prometheus:*) prometheus "$image" "$release" ;;
    *) skip "$image: nobody knows how to make it here" ;;
    esac
done
