// SPDX-License-Identifier: BSD-2-Clause
// Resources: one message interrupt a processor is asked for; what is granted is checked and used.
#include "cpnp.h"

// IO_RESOURCE_DESCRIPTOR's interrupt part since Windows 7, which the DDK's header lacks.
typedef struct {
    ULONG minimum, maximum;
    USHORT policy, group;
    ULONG priority;
    KAFFINITY targets;
} INTERRUPT_WANTED;

C_ASSERT(sizeof(INTERRUPT_WANTED) == sizeof(((PIO_RESOURCE_DESCRIPTOR)0)->u));

// Returns a list with a message interrupt for every active processor, and frees the old one.
PIO_RESOURCE_REQUIREMENTS_LIST add_messages(PIO_RESOURCE_REQUIREMENTS_LIST old)
{
    ULONG cpus = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS);
    CHECK(old != NULL && old->AlternativeLists == 1);
    ULONG size = old->ListSize + cpus * sizeof(IO_RESOURCE_DESCRIPTOR);
    PIO_RESOURCE_REQUIREMENTS_LIST list = ExAllocatePoolWithTag(PagedPool, size, TAG);
    if (list == NULL)
        return NULL;
    memcpy(list, old, old->ListSize);
    list->ListSize = size;
    for (ULONG cpu = 0; cpu < cpus; cpu++) {
        PIO_RESOURCE_DESCRIPTOR wanted = &list->List[0].Descriptors[list->List[0].Count++];
        memset(wanted, 0, sizeof(*wanted));
        wanted->Type = CmResourceTypeInterrupt;
        wanted->ShareDisposition = CmResourceShareDeviceExclusive;
        wanted->Flags = 7 /* latched, message, policy included */;
        INTERRUPT_WANTED *interrupt = (PVOID)&wanted->u;
        interrupt->minimum = interrupt->maximum = CM_RESOURCE_INTERRUPT_MESSAGE_TOKEN;
        interrupt->policy = 4; // IrqPolicySpecifiedProcessors
        interrupt->targets = (KAFFINITY)1 << cpu;
    }
    ExFreePool(old);
    return list;
}

static BOOLEAN NTAPI service(PKINTERRUPT interrupt, PVOID context)
{
    UNREFERENCED_PARAMETER(interrupt);
    UNREFERENCED_PARAMETER(context);
    return FALSE;
}

static void connect(EXTENSION *bus, PCM_PARTIAL_RESOURCE_DESCRIPTOR translated)
{
    IO_CONNECT_INTERRUPT_PARAMETERS connect = { .Version = CONNECT_FULLY_SPECIFIED };
    connect.FullySpecified.PhysicalDeviceObject = bus->pdo;
    connect.FullySpecified.InterruptObject = &bus->interrupts[bus->interrupt_count];
    connect.FullySpecified.ServiceRoutine = service;
    connect.FullySpecified.ServiceContext = bus;
    connect.FullySpecified.SynchronizeIrql = (KIRQL)translated->u.Interrupt.Level;
    connect.FullySpecified.Irql = (KIRQL)translated->u.Interrupt.Level;
    connect.FullySpecified.Vector = translated->u.Interrupt.Vector;
    connect.FullySpecified.InterruptMode = Latched;
    connect.FullySpecified.ProcessorEnableMask = translated->u.Interrupt.Affinity;
    NTSTATUS status = IoConnectInterruptEx(&connect);
    CHECK_STATUS(status, STATUS_SUCCESS);
    if (NT_SUCCESS(status))
        bus->interrupt_count++;
}

NTSTATUS use_resources(EXTENSION *bus, PCM_RESOURCE_LIST raw_list, PCM_RESOURCE_LIST translated_list)
{
    ULONG cpus = KeQueryActiveProcessorCountEx(ALL_PROCESSOR_GROUPS), memory = 0, lines = 0;
    KAFFINITY messages = 0;
    CHECK(raw_list != NULL && raw_list->Count == 1 && raw_list->List[0].InterfaceType == PCIBus);
    PCM_PARTIAL_RESOURCE_LIST raw = &raw_list->List[0].PartialResourceList;
    PCM_PARTIAL_RESOURCE_LIST translated = &translated_list->List[0].PartialResourceList;
    CHECK(raw->Count == translated->Count);
    for (ULONG i = 0; i < raw->Count; i++) {
        PCM_PARTIAL_RESOURCE_DESCRIPTOR here = &translated->PartialDescriptors[i];
        CHECK(here->Type == raw->PartialDescriptors[i].Type);
        if (here->Type == CmResourceTypeMemory) {
            memory++;
            PVOID mapped = MmMapIoSpace(here->u.Memory.Start, PAGE_SIZE, MmNonCached);
            CHECK(mapped != NULL && here->u.Memory.Length >= PAGE_SIZE);
            MmUnmapIoSpace(mapped, PAGE_SIZE);
        } else if (here->Type == CmResourceTypeInterrupt) {
            CHECK(here->u.Interrupt.Vector >> 4 == here->u.Interrupt.Level);
            if (here->Flags & CM_RESOURCE_INTERRUPT_MESSAGE) {
                messages |= here->u.Interrupt.Affinity;
                connect(bus, here);
            } else {
                lines++;
                CHECK(here->u.Interrupt.Affinity == 1);
            }
        }
    }
    CHECK(memory >= 1 && lines == 1 && messages == ((KAFFINITY)1 << cpus) - 1);
    return STATUS_SUCCESS;
}

void drop_resources(EXTENSION *bus)
{
    while (bus->interrupt_count != 0) {
        IO_DISCONNECT_INTERRUPT_PARAMETERS disconnect = { .Version = CONNECT_FULLY_SPECIFIED };
        disconnect.ConnectionContext.InterruptObject = bus->interrupts[--bus->interrupt_count];
        IoDisconnectInterruptEx(&disconnect);
    }
}
