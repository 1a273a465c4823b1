#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# First process of a Linux guest: runs its script, whose lines go to Xen's log of the guest, and powers off.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmpfs /tmp
{
    cd /tmp
    sh /script 2>&1
    echo "LINUX: done code=$?"
} | xenpeer log
poweroff -f
