// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from include/src/suspend.rs: change that file.
//
// The published SUSPEND interface, version 1.
//
// Callbacks run on processor 0 only, in the order of registration, the bus's own before any child's:
// SUSPEND_CALLBACK_EARLY at HIGH_LEVEL with interrupts disabled everywhere, SUSPEND_CALLBACK_LATE at
// DISPATCH_LEVEL with the other processors still captured. Neither may wait, touch pageable memory or
// register and deregister callbacks. No callback of either kind runs when the suspend was cancelled. All
// callbacks must be deregistered before the last Release.

#ifndef _XENBUS_SUSPEND_INTERFACE_H
#define _XENBUS_SUSPEND_INTERFACE_H

// Include after <ntddk.h>. The file that includes <initguid.h> before it defines the GUID.
#include <guiddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// {0554F2AF-B510-4C71-AC03-1C503E394238}
DEFINE_GUID(GUID_XENBUS_SUSPEND_INTERFACE, 0x0554f2af, 0xb510, 0x4c71,
    0xac, 0x03, 0x1c, 0x50, 0x3e, 0x39, 0x42, 0x38);

#define XENBUS_SUSPEND_INTERFACE_VERSION_MIN 1
#define XENBUS_SUSPEND_INTERFACE_VERSION_MAX 1

typedef enum _XENBUS_SUSPEND_CALLBACK_TYPE {
    SUSPEND_CALLBACK_TYPE_INVALID = 0,
    SUSPEND_CALLBACK_EARLY = 1,
    SUSPEND_CALLBACK_LATE = 2
} XENBUS_SUSPEND_CALLBACK_TYPE, *PXENBUS_SUSPEND_CALLBACK_TYPE;

// A registered callback, opaque to requesters.
typedef struct _XENBUS_SUSPEND_CALLBACK XENBUS_SUSPEND_CALLBACK, *PXENBUS_SUSPEND_CALLBACK;

// Called after a resume.
typedef VOID (*XENBUS_SUSPEND_FUNCTION)(
    PVOID Argument
    );

typedef NTSTATUS (*XENBUS_SUSPEND_ACQUIRE)(
    PINTERFACE Interface
    );

typedef VOID (*XENBUS_SUSPEND_RELEASE)(
    PINTERFACE Interface
    );

// Adds a callback behind those of its type; STATUS_NO_MEMORY.
typedef NTSTATUS (*XENBUS_SUSPEND_REGISTER)(
    PINTERFACE Interface,
    XENBUS_SUSPEND_CALLBACK_TYPE Type,
    XENBUS_SUSPEND_FUNCTION Function,
    PVOID Argument,
    PXENBUS_SUSPEND_CALLBACK *Callback
    );

// Removes and frees a callback.
typedef VOID (*XENBUS_SUSPEND_DEREGISTER)(
    PINTERFACE Interface,
    PXENBUS_SUSPEND_CALLBACK Callback
    );

// Suspends the domain and returns when it runs again. PASSIVE_LEVEL.
typedef NTSTATUS (*XENBUS_SUSPEND_TRIGGER)(
    PINTERFACE Interface
    );

// A number that changes across every resume; compare for inequality only. Any IRQL.
typedef ULONG (*XENBUS_SUSPEND_GET_COUNT)(
    PINTERFACE Interface
    );

struct _XENBUS_SUSPEND_INTERFACE_V1 {
    INTERFACE                 Interface;
    XENBUS_SUSPEND_ACQUIRE    Acquire;
    XENBUS_SUSPEND_RELEASE    Release;
    XENBUS_SUSPEND_REGISTER   Register;
    XENBUS_SUSPEND_DEREGISTER Deregister;
    XENBUS_SUSPEND_TRIGGER    Trigger;
    XENBUS_SUSPEND_GET_COUNT  GetCount;
};

// The newest version.
typedef struct _XENBUS_SUSPEND_INTERFACE_V1 XENBUS_SUSPEND_INTERFACE, *PXENBUS_SUSPEND_INTERFACE;

// Calls a method: XENBUS_SUSPEND(GetCount, &Interface).
#define XENBUS_SUSPEND(_Method, _Interface, ...) \
    (_Interface)->_Method((PINTERFACE)(_Interface), ## __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif // _XENBUS_SUSPEND_INTERFACE_H
