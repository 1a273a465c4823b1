// SPDX-License-Identifier: BSD-2-Clause
// Leaves an interrupt connected.
#include "wrong.h"

static BOOLEAN NTAPI service(PKINTERRUPT interrupt, PVOID context)
{
    UNREFERENCED_PARAMETER(interrupt);
    UNREFERENCED_PARAMETER(context);
    return FALSE;
}

WRONG
{
    static PKINTERRUPT interrupt;
    IO_CONNECT_INTERRUPT_PARAMETERS connect = { .Version = CONNECT_FULLY_SPECIFIED };
    connect.FullySpecified.InterruptObject = &interrupt;
    connect.FullySpecified.ServiceRoutine = service;
    connect.FullySpecified.SynchronizeIrql = connect.FullySpecified.Irql = 0xb;
    connect.FullySpecified.Vector = 0xb7;
    connect.FullySpecified.InterruptMode = Latched;
    connect.FullySpecified.ProcessorEnableMask = 1;
    IoConnectInterruptEx(&connect);
}
