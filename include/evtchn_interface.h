// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from include/src/evtchn.rs: change that file.
//
// The published EVTCHN interface, versions 5 to 9.
//
// A channel's callback runs at the device IRQL of its vector with the interrupt's lock held and may only
// count, queue a DPC, wake a waker, send, or unmask with InCallback true. A fresh channel is masked until the
// first unmask. After EvtchnClose returns, a callback that already passed its check on another CPU may still
// be finishing, so its argument must outlive the call.

#ifndef _XENBUS_EVTCHN_INTERFACE_H
#define _XENBUS_EVTCHN_INTERFACE_H

// Include after <ntddk.h>. The file that includes <initguid.h> before it defines the GUID.
#include <guiddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// {BE2440AC-1098-4150-AF4D-452FADCEF923}
DEFINE_GUID(GUID_XENBUS_EVTCHN_INTERFACE, 0xbe2440ac, 0x1098, 0x4150,
    0xaf, 0x4d, 0x45, 0x2f, 0xad, 0xce, 0xf9, 0x23);

#define XENBUS_EVTCHN_INTERFACE_VERSION_MIN 5
#define XENBUS_EVTCHN_INTERFACE_VERSION_MAX 9

typedef enum _XENBUS_EVTCHN_TYPE {
    XENBUS_EVTCHN_TYPE_INVALID = 0,
    // Variadic ULONG LocalPort, BOOLEAN Mask.
    XENBUS_EVTCHN_TYPE_FIXED = 1,
    // Variadic USHORT RemoteDomain, BOOLEAN Mask.
    XENBUS_EVTCHN_TYPE_UNBOUND = 2,
    // Variadic USHORT RemoteDomain, ULONG RemotePort, BOOLEAN Mask.
    XENBUS_EVTCHN_TYPE_INTER_DOMAIN = 3,
    // Variadic ULONG Index and, from version 9, USHORT Group, UCHAR Number.
    XENBUS_EVTCHN_TYPE_VIRQ = 4
} XENBUS_EVTCHN_TYPE, *PXENBUS_EVTCHN_TYPE;

// Opaque to requesters.
typedef struct _XENBUS_EVTCHN_CHANNEL XENBUS_EVTCHN_CHANNEL, *PXENBUS_EVTCHN_CHANNEL;

typedef NTSTATUS (*XENBUS_EVTCHN_ACQUIRE)(
    PINTERFACE Interface
    );

typedef VOID (*XENBUS_EVTCHN_RELEASE)(
    PINTERFACE Interface
    );

// NULL on any failure.
// Published as variadic after Argument. The three slots stand for the variadic arguments: an integer argument
// is passed the same way by either form, and a provider reads only those slots that the type calls for,
// masked to the width of the argument.
typedef PXENBUS_EVTCHN_CHANNEL (*XENBUS_EVTCHN_OPEN)(
    PINTERFACE Interface,
    XENBUS_EVTCHN_TYPE Type,
    PKSERVICE_ROUTINE Function,
    PVOID Argument,
    ...
    );

typedef NTSTATUS (*XENBUS_EVTCHN_BIND)(
    PINTERFACE Interface,
    PXENBUS_EVTCHN_CHANNEL Channel,
    USHORT Group,
    UCHAR Number
    );

// As EvtchnUnmask with Force true and no result.
typedef VOID (*XENBUS_EVTCHN_UNMASK_VERSION4)(
    PINTERFACE Interface,
    PXENBUS_EVTCHN_CHANNEL Channel,
    BOOLEAN InCallback
    );

// TRUE means that the channel is still masked and there is more work.
typedef BOOLEAN (*XENBUS_EVTCHN_UNMASK)(
    PINTERFACE Interface,
    PXENBUS_EVTCHN_CHANNEL Channel,
    BOOLEAN InCallback,
    BOOLEAN Force
    );

// At <= DISPATCH_LEVEL.
typedef VOID (*XENBUS_EVTCHN_SEND_VERSION1)(
    PINTERFACE Interface,
    PXENBUS_EVTCHN_CHANNEL Channel
    );

// At >= DISPATCH_LEVEL.
typedef VOID (*XENBUS_EVTCHN_SEND)(
    PINTERFACE Interface,
    PXENBUS_EVTCHN_CHANNEL Channel
    );

// A local event without the hypervisor.
typedef VOID (*XENBUS_EVTCHN_TRIGGER)(
    PINTERFACE Interface,
    PXENBUS_EVTCHN_CHANNEL Channel
    );

// Deliveries since the channel was opened.
typedef ULONG (*XENBUS_EVTCHN_GET_COUNT)(
    PINTERFACE Interface,
    PXENBUS_EVTCHN_CHANNEL Channel
    );

// Waits for the next delivery.
typedef NTSTATUS (*XENBUS_EVTCHN_WAIT_VERSION5)(
    PINTERFACE Interface,
    PXENBUS_EVTCHN_CHANNEL Channel,
    PLARGE_INTEGER Timeout
    );

// Waits until the count reaches Count; STATUS_TIMEOUT is a success code.
typedef NTSTATUS (*XENBUS_EVTCHN_WAIT)(
    PINTERFACE Interface,
    PXENBUS_EVTCHN_CHANNEL Channel,
    ULONG Count,
    PLARGE_INTEGER Timeout
    );

typedef ULONG (*XENBUS_EVTCHN_GET_PORT)(
    PINTERFACE Interface,
    PXENBUS_EVTCHN_CHANNEL Channel
    );

typedef VOID (*XENBUS_EVTCHN_CLOSE)(
    PINTERFACE Interface,
    PXENBUS_EVTCHN_CHANNEL Channel
    );

struct _XENBUS_EVTCHN_INTERFACE_V5 {
    INTERFACE                     Interface;
    XENBUS_EVTCHN_ACQUIRE         EvtchnAcquire;
    XENBUS_EVTCHN_RELEASE         EvtchnRelease;
    XENBUS_EVTCHN_OPEN            EvtchnOpen;
    XENBUS_EVTCHN_BIND            EvtchnBind;
    XENBUS_EVTCHN_UNMASK_VERSION4 EvtchnUnmaskVersion4;
    XENBUS_EVTCHN_SEND_VERSION1   EvtchnSendVersion1;
    XENBUS_EVTCHN_TRIGGER         EvtchnTrigger;
    XENBUS_EVTCHN_WAIT_VERSION5   EvtchnWaitVersion5;
    XENBUS_EVTCHN_GET_PORT        EvtchnGetPort;
    XENBUS_EVTCHN_CLOSE           EvtchnClose;
};

// As version 5 with the newer send.
struct _XENBUS_EVTCHN_INTERFACE_V6 {
    INTERFACE                     Interface;
    XENBUS_EVTCHN_ACQUIRE         EvtchnAcquire;
    XENBUS_EVTCHN_RELEASE         EvtchnRelease;
    XENBUS_EVTCHN_OPEN            EvtchnOpen;
    XENBUS_EVTCHN_BIND            EvtchnBind;
    XENBUS_EVTCHN_UNMASK_VERSION4 EvtchnUnmaskVersion4;
    XENBUS_EVTCHN_SEND            EvtchnSend;
    XENBUS_EVTCHN_TRIGGER         EvtchnTrigger;
    XENBUS_EVTCHN_WAIT_VERSION5   EvtchnWaitVersion5;
    XENBUS_EVTCHN_GET_PORT        EvtchnGetPort;
    XENBUS_EVTCHN_CLOSE           EvtchnClose;
};

// Counts, and a wait that takes one.
struct _XENBUS_EVTCHN_INTERFACE_V7 {
    INTERFACE                     Interface;
    XENBUS_EVTCHN_ACQUIRE         EvtchnAcquire;
    XENBUS_EVTCHN_RELEASE         EvtchnRelease;
    XENBUS_EVTCHN_OPEN            EvtchnOpen;
    XENBUS_EVTCHN_BIND            EvtchnBind;
    XENBUS_EVTCHN_UNMASK_VERSION4 EvtchnUnmaskVersion4;
    XENBUS_EVTCHN_SEND            EvtchnSend;
    XENBUS_EVTCHN_TRIGGER         EvtchnTrigger;
    XENBUS_EVTCHN_GET_COUNT       EvtchnGetCount;
    XENBUS_EVTCHN_WAIT            EvtchnWait;
    XENBUS_EVTCHN_GET_PORT        EvtchnGetPort;
    XENBUS_EVTCHN_CLOSE           EvtchnClose;
};

// The newer unmask.
struct _XENBUS_EVTCHN_INTERFACE_V8 {
    INTERFACE               Interface;
    XENBUS_EVTCHN_ACQUIRE   EvtchnAcquire;
    XENBUS_EVTCHN_RELEASE   EvtchnRelease;
    XENBUS_EVTCHN_OPEN      EvtchnOpen;
    XENBUS_EVTCHN_BIND      EvtchnBind;
    XENBUS_EVTCHN_UNMASK    EvtchnUnmask;
    XENBUS_EVTCHN_SEND      EvtchnSend;
    XENBUS_EVTCHN_TRIGGER   EvtchnTrigger;
    XENBUS_EVTCHN_GET_COUNT EvtchnGetCount;
    XENBUS_EVTCHN_WAIT      EvtchnWait;
    XENBUS_EVTCHN_GET_PORT  EvtchnGetPort;
    XENBUS_EVTCHN_CLOSE     EvtchnClose;
};

// Laid out as version 8; a VIRQ channel's CPU is an argument of open.
struct _XENBUS_EVTCHN_INTERFACE_V9 {
    INTERFACE               Interface;
    XENBUS_EVTCHN_ACQUIRE   EvtchnAcquire;
    XENBUS_EVTCHN_RELEASE   EvtchnRelease;
    XENBUS_EVTCHN_OPEN      EvtchnOpen;
    XENBUS_EVTCHN_BIND      EvtchnBind;
    XENBUS_EVTCHN_UNMASK    EvtchnUnmask;
    XENBUS_EVTCHN_SEND      EvtchnSend;
    XENBUS_EVTCHN_TRIGGER   EvtchnTrigger;
    XENBUS_EVTCHN_GET_COUNT EvtchnGetCount;
    XENBUS_EVTCHN_WAIT      EvtchnWait;
    XENBUS_EVTCHN_GET_PORT  EvtchnGetPort;
    XENBUS_EVTCHN_CLOSE     EvtchnClose;
};

// The newest version.
typedef struct _XENBUS_EVTCHN_INTERFACE_V9 XENBUS_EVTCHN_INTERFACE, *PXENBUS_EVTCHN_INTERFACE;

// Calls a method: XENBUS_EVTCHN(Acquire, &Interface).
#define XENBUS_EVTCHN(_Method, _Interface, ...) \
    (_Interface)->Evtchn ## _Method((PINTERFACE)(_Interface), ## __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif // _XENBUS_EVTCHN_INTERFACE_H
