// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from include/src/gnttab.rs: change that file.
//
// The published GNTTAB interface, versions 2 to 4.
//
// A grant cache is a cache (Cache) whose objects own one grant reference each; the rules of its lock
// callbacks, Locked, reservation and cap hold. Grants survive a suspend only as handles: what a new backend
// is to see must be granted again. All grant caches must be destroyed before the last GnttabRelease. Methods
// run at <= DISPATCH_LEVEL unless they say otherwise.

#ifndef _XENBUS_GNTTAB_INTERFACE_H
#define _XENBUS_GNTTAB_INTERFACE_H

#include "cache_interface.h"

#ifdef __cplusplus
extern "C" {
#endif

// {763679C5-E5C2-4A6D-8B88-6BB02EC42D8E}
DEFINE_GUID(GUID_XENBUS_GNTTAB_INTERFACE, 0x763679c5, 0xe5c2, 0x4a6d,
    0x8b, 0x88, 0x6b, 0xb0, 0x2e, 0xc4, 0x2d, 0x8e);

#define XENBUS_GNTTAB_INTERFACE_VERSION_MIN 2
#define XENBUS_GNTTAB_INTERFACE_VERSION_MAX 4

#define XENBUS_GNTTAB_CONSOLE_REFERENCE 0

#define XENBUS_GNTTAB_STORE_REFERENCE 1

// Opaque to requesters.
typedef struct _XENBUS_GNTTAB_CACHE XENBUS_GNTTAB_CACHE, *PXENBUS_GNTTAB_CACHE;

// One grant, opaque to requesters.
typedef struct _XENBUS_GNTTAB_ENTRY XENBUS_GNTTAB_ENTRY, *PXENBUS_GNTTAB_ENTRY;

typedef NTSTATUS (*XENBUS_GNTTAB_ACQUIRE)(
    PINTERFACE Interface
    );

typedef VOID (*XENBUS_GNTTAB_RELEASE)(
    PINTERFACE Interface
    );

// As GnttabCreateCache without a cap.
typedef NTSTATUS (*XENBUS_GNTTAB_CREATE_CACHE_VERSION1)(
    PINTERFACE Interface,
    PCSTR Name,
    ULONG Reservation,
    XENBUS_CACHE_ACQUIRE_LOCK AcquireLock,
    XENBUS_CACHE_RELEASE_LOCK ReleaseLock,
    PVOID Argument,
    PXENBUS_GNTTAB_CACHE *Cache
    );

// Statuses are those of Create.
typedef NTSTATUS (*XENBUS_GNTTAB_CREATE_CACHE)(
    PINTERFACE Interface,
    PCSTR Name,
    ULONG Reservation,
    ULONG Cap,
    XENBUS_CACHE_ACQUIRE_LOCK AcquireLock,
    XENBUS_CACHE_RELEASE_LOCK ReleaseLock,
    PVOID Argument,
    PXENBUS_GNTTAB_CACHE *Cache
    );

// Grants a page; STATUS_INSUFFICIENT_RESOURCES when the table is full.
typedef NTSTATUS (*XENBUS_GNTTAB_PERMIT_FOREIGN_ACCESS)(
    PINTERFACE Interface,
    PXENBUS_GNTTAB_CACHE Cache,
    BOOLEAN Locked,
    USHORT Domain,
    PFN_NUMBER Pfn,
    BOOLEAN ReadOnly,
    PXENBUS_GNTTAB_ENTRY *Entry
    );

// On failure the peer still uses the page, and the entry is the caller's.
typedef NTSTATUS (*XENBUS_GNTTAB_REVOKE_FOREIGN_ACCESS)(
    PINTERFACE Interface,
    PXENBUS_GNTTAB_CACHE Cache,
    BOOLEAN Locked,
    PXENBUS_GNTTAB_ENTRY Entry
    );

// The number to tell the peer. Any IRQL.
typedef ULONG (*XENBUS_GNTTAB_GET_REFERENCE)(
    PINTERFACE Interface,
    PXENBUS_GNTTAB_ENTRY Entry
    );

// What the live entry says; both results may be NULL. Any IRQL. STATUS_INVALID_PARAMETER beyond the frames of
// the table.
typedef NTSTATUS (*XENBUS_GNTTAB_QUERY_REFERENCE)(
    PINTERFACE Interface,
    ULONG Reference,
    PPFN_NUMBER Pfn,
    PBOOLEAN ReadOnly
    );

typedef VOID (*XENBUS_GNTTAB_DESTROY_CACHE)(
    PINTERFACE Interface,
    PXENBUS_GNTTAB_CACHE Cache
    );

// Maps another domain's pages one behind the other, all or none.
typedef NTSTATUS (*XENBUS_GNTTAB_MAP_FOREIGN_PAGES)(
    PINTERFACE Interface,
    USHORT Domain,
    ULONG NumberPages,
    PULONG References,
    BOOLEAN ReadOnly,
    PHYSICAL_ADDRESS *Address
    );

// STATUS_OBJECT_NAME_NOT_FOUND for an address that was not mapped.
typedef NTSTATUS (*XENBUS_GNTTAB_UNMAP_FOREIGN_PAGES)(
    PINTERFACE Interface,
    PHYSICAL_ADDRESS Address
    );

struct _XENBUS_GNTTAB_INTERFACE_V2 {
    INTERFACE                           Interface;
    XENBUS_GNTTAB_ACQUIRE               GnttabAcquire;
    XENBUS_GNTTAB_RELEASE               GnttabRelease;
    XENBUS_GNTTAB_CREATE_CACHE_VERSION1 GnttabCreateCacheVersion1;
    XENBUS_GNTTAB_PERMIT_FOREIGN_ACCESS GnttabPermitForeignAccess;
    XENBUS_GNTTAB_REVOKE_FOREIGN_ACCESS GnttabRevokeForeignAccess;
    XENBUS_GNTTAB_GET_REFERENCE         GnttabGetReference;
    XENBUS_GNTTAB_DESTROY_CACHE         GnttabDestroyCache;
    XENBUS_GNTTAB_MAP_FOREIGN_PAGES     GnttabMapForeignPages;
    XENBUS_GNTTAB_UNMAP_FOREIGN_PAGES   GnttabUnmapForeignPages;
};

// References can be queried.
struct _XENBUS_GNTTAB_INTERFACE_V3 {
    INTERFACE                           Interface;
    XENBUS_GNTTAB_ACQUIRE               GnttabAcquire;
    XENBUS_GNTTAB_RELEASE               GnttabRelease;
    XENBUS_GNTTAB_CREATE_CACHE_VERSION1 GnttabCreateCacheVersion1;
    XENBUS_GNTTAB_PERMIT_FOREIGN_ACCESS GnttabPermitForeignAccess;
    XENBUS_GNTTAB_REVOKE_FOREIGN_ACCESS GnttabRevokeForeignAccess;
    XENBUS_GNTTAB_GET_REFERENCE         GnttabGetReference;
    XENBUS_GNTTAB_QUERY_REFERENCE       GnttabQueryReference;
    XENBUS_GNTTAB_DESTROY_CACHE         GnttabDestroyCache;
    XENBUS_GNTTAB_MAP_FOREIGN_PAGES     GnttabMapForeignPages;
    XENBUS_GNTTAB_UNMAP_FOREIGN_PAGES   GnttabUnmapForeignPages;
};

// Caches have a cap.
struct _XENBUS_GNTTAB_INTERFACE_V4 {
    INTERFACE                           Interface;
    XENBUS_GNTTAB_ACQUIRE               GnttabAcquire;
    XENBUS_GNTTAB_RELEASE               GnttabRelease;
    XENBUS_GNTTAB_CREATE_CACHE          GnttabCreateCache;
    XENBUS_GNTTAB_PERMIT_FOREIGN_ACCESS GnttabPermitForeignAccess;
    XENBUS_GNTTAB_REVOKE_FOREIGN_ACCESS GnttabRevokeForeignAccess;
    XENBUS_GNTTAB_GET_REFERENCE         GnttabGetReference;
    XENBUS_GNTTAB_QUERY_REFERENCE       GnttabQueryReference;
    XENBUS_GNTTAB_DESTROY_CACHE         GnttabDestroyCache;
    XENBUS_GNTTAB_MAP_FOREIGN_PAGES     GnttabMapForeignPages;
    XENBUS_GNTTAB_UNMAP_FOREIGN_PAGES   GnttabUnmapForeignPages;
};

// The newest version.
typedef struct _XENBUS_GNTTAB_INTERFACE_V4 XENBUS_GNTTAB_INTERFACE, *PXENBUS_GNTTAB_INTERFACE;

// Calls a method: XENBUS_GNTTAB(Acquire, &Interface).
#define XENBUS_GNTTAB(_Method, _Interface, ...) \
    (_Interface)->Gnttab ## _Method((PINTERFACE)(_Interface), ## __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif // _XENBUS_GNTTAB_INTERFACE_H
