// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from include/src/emulated.rs: change that file.
//
// The published EMULATED interface, versions 1 to 3, which xenfilt.sys answers.
//
// The table's first argument is declared PVOID; it is the requester's copy of the table as in every
// interface. All methods run at <= DISPATCH_LEVEL.

#ifndef _XENFILT_EMULATED_INTERFACE_H
#define _XENFILT_EMULATED_INTERFACE_H

// Include after <ntddk.h>. The file that includes <initguid.h> before it defines the GUID.
#include <guiddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// {959027A1-FCCE-4E78-BCF4-637384F499C5}
DEFINE_GUID(GUID_XENFILT_EMULATED_INTERFACE, 0x959027a1, 0xfcce, 0x4e78,
    0xbc, 0xf4, 0x63, 0x73, 0x84, 0xf4, 0x99, 0xc5);

#define XENFILT_EMULATED_INTERFACE_VERSION_MIN 1
#define XENFILT_EMULATED_INTERFACE_VERSION_MAX 3

// Published with this prefix.
typedef enum _XENBUS_EMULATED_ACTIVATION_STATUS {
    XENBUS_EMULATED_ACTIVATE_NEUTRAL = 0,
    XENBUS_EMULATED_FORCE_ACTIVATED = 1,
    XENBUS_EMULATED_FORCE_DEACTIVATED = 2
} XENBUS_EMULATED_ACTIVATION_STATUS, *PXENBUS_EMULATED_ACTIVATION_STATUS;

typedef NTSTATUS (*XENFILT_EMULATED_ACQUIRE)(
    PVOID Context
    );

typedef VOID (*XENFILT_EMULATED_RELEASE)(
    PVOID Context
    );

// As EmulatedIsDevicePresent, without the status.
typedef BOOLEAN (*XENFILT_EMULATED_IS_DEVICE_PRESENT_VERSION1)(
    PVOID Context,
    PSTR DeviceID,
    PSTR InstanceID
    );

// Ignores case. No instance: any; no device: the one that is activated by force. IsForceActivated may be
// NULL.
typedef BOOLEAN (*XENFILT_EMULATED_IS_DEVICE_PRESENT)(
    PVOID Context,
    PSTR DeviceID,
    PSTR InstanceID,
    PXENBUS_EMULATED_ACTIVATION_STATUS IsForceActivated
    );

// Target is the disk's index, the rest is ignored.
typedef BOOLEAN (*XENFILT_EMULATED_IS_DISK_PRESENT_VERSION1)(
    PVOID Context,
    ULONG Controller,
    ULONG Target,
    ULONG Lun
    );

typedef BOOLEAN (*XENFILT_EMULATED_IS_DISK_PRESENT)(
    PVOID Context,
    ULONG Index
    );

struct _XENFILT_EMULATED_INTERFACE_V1 {
    INTERFACE                                   Interface;
    XENFILT_EMULATED_ACQUIRE                    EmulatedAcquire;
    XENFILT_EMULATED_RELEASE                    EmulatedRelease;
    XENFILT_EMULATED_IS_DEVICE_PRESENT_VERSION1 EmulatedIsDevicePresentVersion1;
    XENFILT_EMULATED_IS_DISK_PRESENT_VERSION1   EmulatedIsDiskPresentVersion1;
};

// Disks by index.
struct _XENFILT_EMULATED_INTERFACE_V2 {
    INTERFACE                                   Interface;
    XENFILT_EMULATED_ACQUIRE                    EmulatedAcquire;
    XENFILT_EMULATED_RELEASE                    EmulatedRelease;
    XENFILT_EMULATED_IS_DEVICE_PRESENT_VERSION1 EmulatedIsDevicePresentVersion1;
    XENFILT_EMULATED_IS_DISK_PRESENT            EmulatedIsDiskPresent;
};

// Tells what is activated by force.
struct _XENFILT_EMULATED_INTERFACE_V3 {
    INTERFACE                          Interface;
    XENFILT_EMULATED_ACQUIRE           EmulatedAcquire;
    XENFILT_EMULATED_RELEASE           EmulatedRelease;
    XENFILT_EMULATED_IS_DEVICE_PRESENT EmulatedIsDevicePresent;
    XENFILT_EMULATED_IS_DISK_PRESENT   EmulatedIsDiskPresent;
};

// The newest version.
typedef struct _XENFILT_EMULATED_INTERFACE_V3 XENFILT_EMULATED_INTERFACE, *PXENFILT_EMULATED_INTERFACE;

// Calls a method: XENFILT_EMULATED(Acquire, &Interface).
#define XENFILT_EMULATED(_Method, _Interface, ...) \
    (_Interface)->Emulated ## _Method((PVOID)(_Interface), ## __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif // _XENFILT_EMULATED_INTERFACE_H
