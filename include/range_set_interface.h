// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from include/src/range_set.rs: change that file.
//
// The published RANGE_SET interface, version 1.
//
// A set of disjoint inclusive ranges of signed 64-bit numbers, sorted and coalesced, with a lock of its own.
// All methods run at <= DISPATCH_LEVEL. A count of 0 is STATUS_INVALID_PARAMETER. All sets must be destroyed,
// and be empty by then, before the last RangeSetRelease.

#ifndef _XENBUS_RANGE_SET_INTERFACE_H
#define _XENBUS_RANGE_SET_INTERFACE_H

// Include after <ntddk.h>. The file that includes <initguid.h> before it defines the GUID.
#include <guiddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// {EE7E78A2-6847-48C5-B123-BB012F0EABF4}
DEFINE_GUID(GUID_XENBUS_RANGE_SET_INTERFACE, 0xee7e78a2, 0x6847, 0x48c5,
    0xb1, 0x23, 0xbb, 0x01, 0x2f, 0x0e, 0xab, 0xf4);

#define XENBUS_RANGE_SET_INTERFACE_VERSION_MIN 1
#define XENBUS_RANGE_SET_INTERFACE_VERSION_MAX 1

// Opaque to requesters.
typedef struct _XENBUS_RANGE_SET XENBUS_RANGE_SET, *PXENBUS_RANGE_SET;

typedef NTSTATUS (*XENBUS_RANGE_SET_ACQUIRE)(
    PINTERFACE Interface
    );

typedef VOID (*XENBUS_RANGE_SET_RELEASE)(
    PINTERFACE Interface
    );

// STATUS_NO_MEMORY; STATUS_BUFFER_OVERFLOW for a name that is too long.
typedef NTSTATUS (*XENBUS_RANGE_SET_CREATE)(
    PINTERFACE Interface,
    PCSTR Name,
    PXENBUS_RANGE_SET *RangeSet
    );

// Adds Count numbers from Start on, none of which may be present.
typedef NTSTATUS (*XENBUS_RANGE_SET_PUT)(
    PINTERFACE Interface,
    PXENBUS_RANGE_SET RangeSet,
    LONGLONG Start,
    ULONGLONG Count
    );

// Takes the lowest Count numbers of the first range that has as many; STATUS_INSUFFICIENT_RESOURCES when none
// has.
typedef NTSTATUS (*XENBUS_RANGE_SET_POP)(
    PINTERFACE Interface,
    PXENBUS_RANGE_SET RangeSet,
    ULONGLONG Count,
    PLONGLONG Start
    );

// Takes exactly these numbers, which must lie in one range.
typedef NTSTATUS (*XENBUS_RANGE_SET_GET)(
    PINTERFACE Interface,
    PXENBUS_RANGE_SET RangeSet,
    LONGLONG Start,
    ULONGLONG Count
    );

typedef VOID (*XENBUS_RANGE_SET_DESTROY)(
    PINTERFACE Interface,
    PXENBUS_RANGE_SET RangeSet
    );

struct _XENBUS_RANGE_SET_INTERFACE_V1 {
    INTERFACE                Interface;
    XENBUS_RANGE_SET_ACQUIRE RangeSetAcquire;
    XENBUS_RANGE_SET_RELEASE RangeSetRelease;
    XENBUS_RANGE_SET_CREATE  RangeSetCreate;
    XENBUS_RANGE_SET_PUT     RangeSetPut;
    XENBUS_RANGE_SET_POP     RangeSetPop;
    XENBUS_RANGE_SET_GET     RangeSetGet;
    XENBUS_RANGE_SET_DESTROY RangeSetDestroy;
};

// The newest version.
typedef struct _XENBUS_RANGE_SET_INTERFACE_V1 XENBUS_RANGE_SET_INTERFACE, *PXENBUS_RANGE_SET_INTERFACE;

// Calls a method: XENBUS_RANGE_SET(Acquire, &Interface).
#define XENBUS_RANGE_SET(_Method, _Interface, ...) \
    (_Interface)->RangeSet ## _Method((PINTERFACE)(_Interface), ## __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif // _XENBUS_RANGE_SET_INTERFACE_H
