// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from include/src/debug.rs: change that file.
//
// The published DEBUG interface, version 1.
//
// Callbacks run at HIGH_LEVEL, one at a time under a lock or, at a bug check, without one; they may only
// print. All callbacks must be deregistered before the last DebugRelease.

#ifndef _XENBUS_DEBUG_INTERFACE_H
#define _XENBUS_DEBUG_INTERFACE_H

// Include after <ntddk.h>. The file that includes <initguid.h> before it defines the GUID.
#include <guiddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// {0DF600AE-6B20-4227-BF94-03DA9A26A114}
DEFINE_GUID(GUID_XENBUS_DEBUG_INTERFACE, 0x0df600ae, 0x6b20, 0x4227,
    0xbf, 0x94, 0x03, 0xda, 0x9a, 0x26, 0xa1, 0x14);

#define XENBUS_DEBUG_INTERFACE_VERSION_MIN 1
#define XENBUS_DEBUG_INTERFACE_VERSION_MAX 1

// A registered callback, opaque to requesters.
typedef struct _XENBUS_DEBUG_CALLBACK XENBUS_DEBUG_CALLBACK, *PXENBUS_DEBUG_CALLBACK;

// Prints the caller's state. Crashing: shared pages must not be touched.
typedef VOID (*XENBUS_DEBUG_FUNCTION)(
    PVOID Argument,
    BOOLEAN Crashing
    );

typedef NTSTATUS (*XENBUS_DEBUG_ACQUIRE)(
    PINTERFACE Interface
    );

typedef VOID (*XENBUS_DEBUG_RELEASE)(
    PINTERFACE Interface
    );

// Adds a callback; the prefix is copied, at most 31 characters. STATUS_NO_MEMORY.
typedef NTSTATUS (*XENBUS_DEBUG_REGISTER)(
    PINTERFACE Interface,
    PSTR Prefix,
    XENBUS_DEBUG_FUNCTION Function,
    PVOID Argument,
    PXENBUS_DEBUG_CALLBACK *Callback
    );

// Prints with the callback's prefix; in a debug callback only.
typedef VOID (*XENBUS_DEBUG_PRINTF)(
    PINTERFACE Interface,
    PCSTR Format,
    ...
    );

// Runs a callback, or all for NULL. Any IRQL, not in a debug callback.
typedef VOID (*XENBUS_DEBUG_TRIGGER)(
    PINTERFACE Interface,
    PXENBUS_DEBUG_CALLBACK Callback
    );

// Removes and frees a callback.
typedef VOID (*XENBUS_DEBUG_DEREGISTER)(
    PINTERFACE Interface,
    PXENBUS_DEBUG_CALLBACK Callback
    );

struct _XENBUS_DEBUG_INTERFACE_V1 {
    INTERFACE               Interface;
    XENBUS_DEBUG_ACQUIRE    DebugAcquire;
    XENBUS_DEBUG_RELEASE    DebugRelease;
    XENBUS_DEBUG_REGISTER   DebugRegister;
    XENBUS_DEBUG_PRINTF     DebugPrintf;
    XENBUS_DEBUG_TRIGGER    DebugTrigger;
    XENBUS_DEBUG_DEREGISTER DebugDeregister;
};

// The newest version.
typedef struct _XENBUS_DEBUG_INTERFACE_V1 XENBUS_DEBUG_INTERFACE, *PXENBUS_DEBUG_INTERFACE;

// Calls a method: XENBUS_DEBUG(Acquire, &Interface).
#define XENBUS_DEBUG(_Method, _Interface, ...) \
    (_Interface)->Debug ## _Method((PINTERFACE)(_Interface), ## __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif // _XENBUS_DEBUG_INTERFACE_H
