#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# First process of dom0: Xen's services, then the rig's agent on the second serial line.
export PATH=/bin:/sbin:/usr/bin:/usr/lib/xen-4.17/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /run
mkdir -p /run/xen /run/xenstored /job
for m in /m/*.ko; do insmod "$m" || echo "RIG-FAULT $m does not load"; done
mount -t xenfs xenfs /proc/xen
xenstored --pid-file /run/xenstored.pid
n=0
while ! xenstore-read / >/dev/null 2>&1; do
    usleep 20000
    n=$((n + 1))
    [ $n -gt 500 ] && { echo "RIG-FAULT xenstored does not answer"; break; }
done
xen-init-dom0 || echo "RIG-FAULT xen-init-dom0 failed"
xenconsoled --log=all --log-dir=/var/log/xen --pid-file=/run/xenconsoled.pid
for d in /dev/vda /dev/xen/evtchn /dev/xen/gntdev /dev/xen/privcmd; do
    n=0
    while [ ! -e $d ] && [ $n -lt 100 ]; do
        usleep 20000
        n=$((n + 1))
    done
    [ -e $d ] || echo "RIG-FAULT there is no $d"
done
stty -F /dev/ttyS1 raw -echo
echo RIG-READY
while :; do
    xenpeer agent /dev/ttyS1
    echo "RIG-FAULT agent ended: $?"
    sleep 1
done
