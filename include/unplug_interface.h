// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from include/src/unplug.rs: change that file.
//
// The published UNPLUG interface, versions 1 to 3.
//
// A request for the emulated devices of one kind to be unplugged at the next boot is a count in the registry,
// consumed by that boot. Methods but UnplugAcquire and UnplugRelease run at PASSIVE_LEVEL.

#ifndef _XENBUS_UNPLUG_INTERFACE_H
#define _XENBUS_UNPLUG_INTERFACE_H

// Include after <ntddk.h>. The file that includes <initguid.h> before it defines the GUID.
#include <guiddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// {73DB6517-3D06-4937-989F-199B7501E229}
DEFINE_GUID(GUID_XENBUS_UNPLUG_INTERFACE, 0x73db6517, 0x3d06, 0x4937,
    0x98, 0x9f, 0x19, 0x9b, 0x75, 0x01, 0xe2, 0x29);

#define XENBUS_UNPLUG_INTERFACE_VERSION_MIN 1
#define XENBUS_UNPLUG_INTERFACE_VERSION_MAX 3

typedef enum _XENBUS_UNPLUG_DEVICE_TYPE {
    XENBUS_UNPLUG_DEVICE_TYPE_INVALID = 0,
    XENBUS_UNPLUG_DEVICE_TYPE_NICS = 1,
    XENBUS_UNPLUG_DEVICE_TYPE_DISKS = 2
} XENBUS_UNPLUG_DEVICE_TYPE, *PXENBUS_UNPLUG_DEVICE_TYPE;

typedef NTSTATUS (*XENBUS_UNPLUG_ACQUIRE)(
    PINTERFACE Interface
    );

typedef VOID (*XENBUS_UNPLUG_RELEASE)(
    PINTERFACE Interface
    );

// Adds a request for the next boot, or takes one back.
typedef VOID (*XENBUS_UNPLUG_REQUEST)(
    PINTERFACE Interface,
    XENBUS_UNPLUG_DEVICE_TYPE Type,
    BOOLEAN Make
    );

// Whether devices of the type were unplugged at this boot.
typedef BOOLEAN (*XENBUS_UNPLUG_IS_REQUESTED)(
    PINTERFACE Interface,
    XENBUS_UNPLUG_DEVICE_TYPE Type
    );

// Whether this boot was told to use the emulated disk.
typedef BOOLEAN (*XENBUS_UNPLUG_BOOT_EMULATED)(
    PINTERFACE Interface
    );

// Asks the monitor service for a reboot, in the name of Module.
typedef VOID (*XENBUS_UNPLUG_REBOOT)(
    PINTERFACE Interface,
    PSTR Module
    );

struct _XENBUS_UNPLUG_INTERFACE_V1 {
    INTERFACE             Interface;
    XENBUS_UNPLUG_ACQUIRE UnplugAcquire;
    XENBUS_UNPLUG_RELEASE UnplugRelease;
    XENBUS_UNPLUG_REQUEST UnplugRequest;
};

struct _XENBUS_UNPLUG_INTERFACE_V2 {
    INTERFACE                  Interface;
    XENBUS_UNPLUG_ACQUIRE      UnplugAcquire;
    XENBUS_UNPLUG_RELEASE      UnplugRelease;
    XENBUS_UNPLUG_REQUEST      UnplugRequest;
    XENBUS_UNPLUG_IS_REQUESTED UnplugIsRequested;
};

struct _XENBUS_UNPLUG_INTERFACE_V3 {
    INTERFACE                   Interface;
    XENBUS_UNPLUG_ACQUIRE       UnplugAcquire;
    XENBUS_UNPLUG_RELEASE       UnplugRelease;
    XENBUS_UNPLUG_REQUEST       UnplugRequest;
    XENBUS_UNPLUG_IS_REQUESTED  UnplugIsRequested;
    XENBUS_UNPLUG_BOOT_EMULATED UnplugBootEmulated;
    XENBUS_UNPLUG_REBOOT        UnplugReboot;
};

// The newest version.
typedef struct _XENBUS_UNPLUG_INTERFACE_V3 XENBUS_UNPLUG_INTERFACE, *PXENBUS_UNPLUG_INTERFACE;

// Calls a method: XENBUS_UNPLUG(Acquire, &Interface).
#define XENBUS_UNPLUG(_Method, _Interface, ...) \
    (_Interface)->Unplug ## _Method((PINTERFACE)(_Interface), ## __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif // _XENBUS_UNPLUG_INTERFACE_H
