// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from include/src/cache.rs: change that file.
//
// The published CACHE interface, versions 1 and 2.
//
// A cache of objects of one size in non-paged memory. An object is made when it is first needed, and stays
// made over any number of puts and gets. The four callbacks are always called at DISPATCH_LEVEL. All methods
// run at <= DISPATCH_LEVEL; CacheCreateVersion1, CacheDestroy, CacheAcquire and CacheRelease must not be
// called with the cache's lock held. All caches must be destroyed before the last CacheRelease.

#ifndef _XENBUS_CACHE_INTERFACE_H
#define _XENBUS_CACHE_INTERFACE_H

// Include after <ntddk.h>. The file that includes <initguid.h> before it defines the GUID.
#include <guiddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// {A98DFD78-416A-4949-92A5-E084F2F4B44E}
DEFINE_GUID(GUID_XENBUS_CACHE_INTERFACE, 0xa98dfd78, 0x416a, 0x4949,
    0x92, 0xa5, 0xe0, 0x84, 0xf2, 0xf4, 0xb4, 0x4e);

#define XENBUS_CACHE_INTERFACE_VERSION_MIN 1
#define XENBUS_CACHE_INTERFACE_VERSION_MAX 2

// Opaque to requesters.
typedef struct _XENBUS_CACHE XENBUS_CACHE, *PXENBUS_CACHE;

// Makes an object of zeroed memory, with the cache's lock held.
typedef NTSTATUS (*XENBUS_CACHE_CTOR)(
    PVOID Argument,
    PVOID Object
    );

// Undoes a XENBUS_CACHE_CTOR before the memory is given back.
typedef VOID (*XENBUS_CACHE_DTOR)(
    PVOID Argument,
    PVOID Object
    );

// Takes the lock that the requester gives the cache.
typedef VOID (*XENBUS_CACHE_ACQUIRE_LOCK)(
    PVOID Argument
    );

// Releases it.
typedef VOID (*XENBUS_CACHE_RELEASE_LOCK)(
    PVOID Argument
    );

typedef NTSTATUS (*XENBUS_CACHE_ACQUIRE)(
    PINTERFACE Interface
    );

typedef VOID (*XENBUS_CACHE_RELEASE)(
    PINTERFACE Interface
    );

// As CacheCreate without a cap.
typedef NTSTATUS (*XENBUS_CACHE_CREATE_VERSION1)(
    PINTERFACE Interface,
    PCSTR Name,
    ULONG Size,
    ULONG Reservation,
    XENBUS_CACHE_CTOR Ctor,
    XENBUS_CACHE_DTOR Dtor,
    XENBUS_CACHE_ACQUIRE_LOCK AcquireLock,
    XENBUS_CACHE_RELEASE_LOCK ReleaseLock,
    PVOID Argument,
    PXENBUS_CACHE *Cache
    );

// Memory for Reservation objects is there on return; at most Cap exist, 0 is no limit.
// STATUS_INVALID_PARAMETER for a reservation above the cap, STATUS_BUFFER_OVERFLOW for a name that is too
// long, STATUS_NO_MEMORY, STATUS_INSUFFICIENT_RESOURCES.
typedef NTSTATUS (*XENBUS_CACHE_CREATE)(
    PINTERFACE Interface,
    PCSTR Name,
    ULONG Size,
    ULONG Reservation,
    ULONG Cap,
    XENBUS_CACHE_CTOR Ctor,
    XENBUS_CACHE_DTOR Dtor,
    XENBUS_CACHE_ACQUIRE_LOCK AcquireLock,
    XENBUS_CACHE_RELEASE_LOCK ReleaseLock,
    PVOID Argument,
    PXENBUS_CACHE *Cache
    );

// An object, or NULL. Locked: the caller holds the cache's lock or needs none.
typedef PVOID (*XENBUS_CACHE_GET)(
    PINTERFACE Interface,
    PXENBUS_CACHE Cache,
    BOOLEAN Locked
    );

// Gives an object back.
typedef VOID (*XENBUS_CACHE_PUT)(
    PINTERFACE Interface,
    PXENBUS_CACHE Cache,
    PVOID Object,
    BOOLEAN Locked
    );

// All objects must be back.
typedef VOID (*XENBUS_CACHE_DESTROY)(
    PINTERFACE Interface,
    PXENBUS_CACHE Cache
    );

struct _XENBUS_CACHE_INTERFACE_V1 {
    INTERFACE                    Interface;
    XENBUS_CACHE_ACQUIRE         CacheAcquire;
    XENBUS_CACHE_RELEASE         CacheRelease;
    XENBUS_CACHE_CREATE_VERSION1 CacheCreateVersion1;
    XENBUS_CACHE_GET             CacheGet;
    XENBUS_CACHE_PUT             CachePut;
    XENBUS_CACHE_DESTROY         CacheDestroy;
};

// Create takes a cap.
struct _XENBUS_CACHE_INTERFACE_V2 {
    INTERFACE            Interface;
    XENBUS_CACHE_ACQUIRE CacheAcquire;
    XENBUS_CACHE_RELEASE CacheRelease;
    XENBUS_CACHE_CREATE  CacheCreate;
    XENBUS_CACHE_GET     CacheGet;
    XENBUS_CACHE_PUT     CachePut;
    XENBUS_CACHE_DESTROY CacheDestroy;
};

// The newest version.
typedef struct _XENBUS_CACHE_INTERFACE_V2 XENBUS_CACHE_INTERFACE, *PXENBUS_CACHE_INTERFACE;

// Calls a method: XENBUS_CACHE(Acquire, &Interface).
#define XENBUS_CACHE(_Method, _Interface, ...) \
    (_Interface)->Cache ## _Method((PINTERFACE)(_Interface), ## __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif // _XENBUS_CACHE_INTERFACE_H
