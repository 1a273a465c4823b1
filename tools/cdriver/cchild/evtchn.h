// SPDX-License-Identifier: BSD-2-Clause
// What the tests of event channels share.
#pragma once

#include "child.h"

#define DOMID_SELF 0x7FF0

// xen.sys, to make ports and to set timers; not for drivers.
NTSYSAPI NTSTATUS NTAPI EventChannelAllocateUnbound(USHORT domain, PULONG port);
NTSYSAPI NTSTATUS NTAPI EventChannelQueryInterDomain(ULONG port, PUSHORT domain, PULONG remote);
NTSYSAPI NTSTATUS NTAPI EventChannelClose(ULONG port);
NTSYSAPI NTSTATUS NTAPI SystemProcessorVcpuId(ULONG processor, PULONG vcpu);
NTSYSAPI NTSTATUS NTAPI VcpuSetPeriodicTimer(ULONG vcpu, const LARGE_INTEGER *period);

// The newest table, for the time of `evtchn_tests`.
extern XENBUS_EVTCHN_INTERFACE evtchn;

// Processors other than 0 take no events: they have no vectors.
extern BOOLEAN one_processor;

// What a channel's callback has seen.
typedef struct {
    volatile LONG events;
    // Of the last one.
    volatile LONG processor;
    // No callback may run any more.
    volatile LONG closed;
    // Sends that the callback makes by itself before it unmasks the channel.
    volatile LONG sends;
    PXENBUS_EVTCHN_CHANNEL channel;
    PXENBUS_EVTCHN_CHANNEL other;
} EAR;

// Two channels of ours, bound to each other: what is sent by `out` is heard by `ear`.
typedef struct {
    EAR ear;
    EAR deaf;
    PXENBUS_EVTCHN_CHANNEL in;
    PXENBUS_EVTCHN_CHANNEL out;
} LOOP;

// Counts in the EAR that is its argument.
BOOLEAN NTAPI hear(PKINTERRUPT interrupt, PVOID argument);

// Opens a loop, `in` masked and masking itself if `mask`. False, and a failed check: nothing is open.
BOOLEAN loop_open(LOOP *loop, BOOLEAN mask);
void loop_close(LOOP *loop);

// At <= DISPATCH_LEVEL.
void send(PXENBUS_EVTCHN_CHANNEL channel);

void evtchn_unmask_tests(void);
void evtchn_many_tests(void);
