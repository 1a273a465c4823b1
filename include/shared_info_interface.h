// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from include/src/shared_info.rs: change that file.
//
// The published SHARED_INFO interface, versions 2 to 4.
//
// Children use SharedInfoAcquire, SharedInfoRelease and the time; the rest serves event delivery with the
// two-level ABI. Processors are named by their Windows index.

#ifndef _XENBUS_SHARED_INFO_INTERFACE_H
#define _XENBUS_SHARED_INFO_INTERFACE_H

// Include after <ntddk.h>. The file that includes <initguid.h> before it defines the GUID.
#include <guiddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// {7E73C34F-1640-4649-A8F3-263BC930A004}
DEFINE_GUID(GUID_XENBUS_SHARED_INFO_INTERFACE, 0x7e73c34f, 0x1640, 0x4649,
    0xa8, 0xf3, 0x26, 0x3b, 0xc9, 0x30, 0xa0, 0x04);

#define XENBUS_SHARED_INFO_INTERFACE_VERSION_MIN 2
#define XENBUS_SHARED_INFO_INTERFACE_VERSION_MAX 4

// Called for a pending and unmasked port.
typedef BOOLEAN (*XENBUS_SHARED_INFO_EVENT)(
    PVOID Argument,
    ULONG Port
    );

typedef NTSTATUS (*XENBUS_SHARED_INFO_ACQUIRE)(
    PINTERFACE Interface
    );

typedef VOID (*XENBUS_SHARED_INFO_RELEASE)(
    PINTERFACE Interface
    );

// Whether the processor has a vcpu_info. Any IRQL.
typedef BOOLEAN (*XENBUS_SHARED_INFO_UPCALL_SUPPORTED)(
    PINTERFACE Interface,
    ULONG Index
    );

// Takes the processor's upcall-pending flag. Any IRQL.
typedef BOOLEAN (*XENBUS_SHARED_INFO_UPCALL_PENDING)(
    PINTERFACE Interface,
    ULONG Index
    );

// Calls Event for each pending and unmasked port of the processor; returns the OR of the results. Does not
// acknowledge. Any IRQL; the caller serialises for each processor.
typedef BOOLEAN (*XENBUS_SHARED_INFO_EVTCHN_POLL)(
    PINTERFACE Interface,
    ULONG Index,
    XENBUS_SHARED_INFO_EVENT Event,
    PVOID Argument
    );

// Clears the port's pending bit. Any IRQL.
typedef VOID (*XENBUS_SHARED_INFO_EVTCHN_ACK)(
    PINTERFACE Interface,
    ULONG Port
    );

// Any IRQL.
typedef VOID (*XENBUS_SHARED_INFO_EVTCHN_MASK)(
    PINTERFACE Interface,
    ULONG Port
    );

// Returns whether the port is pending; redelivers nothing. Any IRQL.
typedef BOOLEAN (*XENBUS_SHARED_INFO_EVTCHN_UNMASK)(
    PINTERFACE Interface,
    ULONG Port
    );

// 100 ns since 1601.
typedef LARGE_INTEGER (*XENBUS_SHARED_INFO_GET_TIME_VERSION2)(
    PINTERFACE Interface
    );

// 100 ns since 1601, and whether that is local time. Local may be NULL.
typedef VOID (*XENBUS_SHARED_INFO_GET_TIME)(
    PINTERFACE Interface,
    PLARGE_INTEGER Time,
    PBOOLEAN Local
    );

struct _XENBUS_SHARED_INFO_INTERFACE_V2 {
    INTERFACE                            Interface;
    XENBUS_SHARED_INFO_ACQUIRE           SharedInfoAcquire;
    XENBUS_SHARED_INFO_RELEASE           SharedInfoRelease;
    XENBUS_SHARED_INFO_UPCALL_PENDING    SharedInfoUpcallPending;
    XENBUS_SHARED_INFO_EVTCHN_POLL       SharedInfoEvtchnPoll;
    XENBUS_SHARED_INFO_EVTCHN_ACK        SharedInfoEvtchnAck;
    XENBUS_SHARED_INFO_EVTCHN_MASK       SharedInfoEvtchnMask;
    XENBUS_SHARED_INFO_EVTCHN_UNMASK     SharedInfoEvtchnUnmask;
    XENBUS_SHARED_INFO_GET_TIME_VERSION2 SharedInfoGetTimeVersion2;
};

// The time comes with its zone.
struct _XENBUS_SHARED_INFO_INTERFACE_V3 {
    INTERFACE                         Interface;
    XENBUS_SHARED_INFO_ACQUIRE        SharedInfoAcquire;
    XENBUS_SHARED_INFO_RELEASE        SharedInfoRelease;
    XENBUS_SHARED_INFO_UPCALL_PENDING SharedInfoUpcallPending;
    XENBUS_SHARED_INFO_EVTCHN_POLL    SharedInfoEvtchnPoll;
    XENBUS_SHARED_INFO_EVTCHN_ACK     SharedInfoEvtchnAck;
    XENBUS_SHARED_INFO_EVTCHN_MASK    SharedInfoEvtchnMask;
    XENBUS_SHARED_INFO_EVTCHN_UNMASK  SharedInfoEvtchnUnmask;
    XENBUS_SHARED_INFO_GET_TIME       SharedInfoGetTime;
};

// A method more, in the middle.
struct _XENBUS_SHARED_INFO_INTERFACE_V4 {
    INTERFACE                           Interface;
    XENBUS_SHARED_INFO_ACQUIRE          SharedInfoAcquire;
    XENBUS_SHARED_INFO_RELEASE          SharedInfoRelease;
    XENBUS_SHARED_INFO_UPCALL_SUPPORTED SharedInfoUpcallSupported;
    XENBUS_SHARED_INFO_UPCALL_PENDING   SharedInfoUpcallPending;
    XENBUS_SHARED_INFO_EVTCHN_POLL      SharedInfoEvtchnPoll;
    XENBUS_SHARED_INFO_EVTCHN_ACK       SharedInfoEvtchnAck;
    XENBUS_SHARED_INFO_EVTCHN_MASK      SharedInfoEvtchnMask;
    XENBUS_SHARED_INFO_EVTCHN_UNMASK    SharedInfoEvtchnUnmask;
    XENBUS_SHARED_INFO_GET_TIME         SharedInfoGetTime;
};

// The newest version.
typedef struct _XENBUS_SHARED_INFO_INTERFACE_V4 XENBUS_SHARED_INFO_INTERFACE, *PXENBUS_SHARED_INFO_INTERFACE;

// Calls a method: XENBUS_SHARED_INFO(Acquire, &Interface).
#define XENBUS_SHARED_INFO(_Method, _Interface, ...) \
    (_Interface)->SharedInfo ## _Method((PINTERFACE)(_Interface), ## __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif // _XENBUS_SHARED_INFO_INTERFACE_H
