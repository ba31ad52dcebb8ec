#!/bin/sh
# Installs what the tests of the docker provider need, with apt: a real container engine (Podman
# with runc and bridge networks), the static busybox of which they make their image, and a small
# registry to pull from. Does nothing if all of it is there. Needs root.
set -eu

# iptables: without it netavark fails with a bare "No such file or directory".
# catatonit: Podman's init, process 1 of each job.
packages="podman runc netavark aardvark-dns iptables catatonit busybox-static"
# A registry to pull from, and htpasswd for one that asks who pulls.
packages="$packages docker-registry apache2-utils"
missing=""
for package in $packages; do
    status=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$status" = "install ok installed" ] || missing="$missing $package"
done
if [ -z "$missing" ]; then
    echo "podman: everything is installed"
    exit 0
fi
echo "podman: installing$missing"
export DEBIAN_FRONTEND=noninteractive
# The registry's package starts no service: its tests start their own on a free port.
[ -e /usr/sbin/policy-rc.d ] || {
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
}
apt-get update -qq
# shellcheck disable=SC2086
apt-get install -y -qq --no-install-recommends $missing >/dev/null
podman --version
