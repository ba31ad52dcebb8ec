#!/bin/sh
# Installs the broker of the tests of events to RabbitMQ, with apt. Does nothing if it is there.
# Needs root.
set -eu

if [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] && command -v epmd >/dev/null; then
    echo "rabbitmq: it is installed"
    exit 0
fi
export DEBIAN_FRONTEND=noninteractive
# The package would start its service: the tests start their own on free ports.
[ -e /usr/sbin/policy-rc.d ] || {
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
}
apt-get update -qq
apt-get install -y -qq --no-install-recommends rabbitmq-server >/dev/null
dpkg-query -W -f 'rabbitmq: ${Version}\n' rabbitmq-server
