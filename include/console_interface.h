// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from include/src/console.rs: change that file.
//
// The published CONSOLE interface, version 1.
//
// A pipe of bytes to the domain's console in both directions. Nothing blocks: reads and writes move what
// fits. ConsoleAcquire fails where the domain has no console. All wakeups must be removed before the last
// ConsoleRelease.

#ifndef _XENBUS_CONSOLE_INTERFACE_H
#define _XENBUS_CONSOLE_INTERFACE_H

// Include after <ntddk.h>. The file that includes <initguid.h> before it defines the GUID.
#include <guiddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// {04C4F738-034A-4268-BD20-A92AC90D4F82}
DEFINE_GUID(GUID_XENBUS_CONSOLE_INTERFACE, 0x04c4f738, 0x034a, 0x4268,
    0xbd, 0x20, 0xa9, 0x2a, 0xc9, 0x0d, 0x4f, 0x82);

#define XENBUS_CONSOLE_INTERFACE_VERSION_MIN 1
#define XENBUS_CONSOLE_INTERFACE_VERSION_MAX 1

// Opaque to requesters.
typedef struct _XENBUS_CONSOLE_WAKEUP XENBUS_CONSOLE_WAKEUP, *PXENBUS_CONSOLE_WAKEUP;

typedef NTSTATUS (*XENBUS_CONSOLE_ACQUIRE)(
    PINTERFACE Interface
    );

typedef VOID (*XENBUS_CONSOLE_RELEASE)(
    PINTERFACE Interface
    );

// Whether there is a byte to read. Any IRQL.
typedef BOOLEAN (*XENBUS_CONSOLE_CAN_READ)(
    PINTERFACE Interface
    );

// Reads at most Length bytes and says how many. Any IRQL.
typedef ULONG (*XENBUS_CONSOLE_READ)(
    PINTERFACE Interface,
    PSTR Data,
    ULONG Length
    );

// Whether there is room for a byte. Any IRQL.
typedef BOOLEAN (*XENBUS_CONSOLE_CAN_WRITE)(
    PINTERFACE Interface
    );

// Writes at most Length bytes and says how many. Any IRQL.
typedef ULONG (*XENBUS_CONSOLE_WRITE)(
    PINTERFACE Interface,
    PSTR Data,
    ULONG Length
    );

// The event is set whenever the other end has read or written. STATUS_NO_MEMORY.
typedef NTSTATUS (*XENBUS_CONSOLE_WAKEUP_ADD)(
    PINTERFACE Interface,
    PKEVENT Event,
    PXENBUS_CONSOLE_WAKEUP *Wakeup
    );

typedef VOID (*XENBUS_CONSOLE_WAKEUP_REMOVE)(
    PINTERFACE Interface,
    PXENBUS_CONSOLE_WAKEUP Wakeup
    );

struct _XENBUS_CONSOLE_INTERFACE_V1 {
    INTERFACE                    Interface;
    XENBUS_CONSOLE_ACQUIRE       ConsoleAcquire;
    XENBUS_CONSOLE_RELEASE       ConsoleRelease;
    XENBUS_CONSOLE_CAN_READ      ConsoleCanRead;
    XENBUS_CONSOLE_READ          ConsoleRead;
    XENBUS_CONSOLE_CAN_WRITE     ConsoleCanWrite;
    XENBUS_CONSOLE_WRITE         ConsoleWrite;
    XENBUS_CONSOLE_WAKEUP_ADD    ConsoleWakeupAdd;
    XENBUS_CONSOLE_WAKEUP_REMOVE ConsoleWakeupRemove;
};

// The newest version.
typedef struct _XENBUS_CONSOLE_INTERFACE_V1 XENBUS_CONSOLE_INTERFACE, *PXENBUS_CONSOLE_INTERFACE;

// Calls a method: XENBUS_CONSOLE(Acquire, &Interface).
#define XENBUS_CONSOLE(_Method, _Interface, ...) \
    (_Interface)->Console ## _Method((PINTERFACE)(_Interface), ## __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif // _XENBUS_CONSOLE_INTERFACE_H
