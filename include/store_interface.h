// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from include/src/store.rs: change that file.
//
// The published STORE interface, version 2.
//
// Every method takes the requester's copy of the table as its first argument. All run at <= DISPATCH_LEVEL,
// with pointers to resident memory when called at DISPATCH_LEVEL; StorePoll runs at DISPATCH_LEVEL exactly. A
// reference (StoreAcquire) must be held for every other method, and all watches, transactions and buffers be
// gone before the last StoreRelease.

#ifndef _XENBUS_STORE_INTERFACE_H
#define _XENBUS_STORE_INTERFACE_H

// Include after <ntddk.h>. The file that includes <initguid.h> before it defines the GUID.
#include <guiddef.h>

#ifdef __cplusplus
extern "C" {
#endif

// {86824C3B-D34E-4753-B281-2F1E3AD214D7}
DEFINE_GUID(GUID_XENBUS_STORE_INTERFACE, 0x86824c3b, 0xd34e, 0x4753,
    0xb2, 0x81, 0x2f, 0x1e, 0x3a, 0xd2, 0x14, 0xd7);

#define XENBUS_STORE_INTERFACE_VERSION_MIN 2
#define XENBUS_STORE_INTERFACE_VERSION_MAX 2

// Opaque to requesters.
typedef struct _XENBUS_STORE_TRANSACTION XENBUS_STORE_TRANSACTION, *PXENBUS_STORE_TRANSACTION;

// Opaque to requesters.
typedef struct _XENBUS_STORE_WATCH XENBUS_STORE_WATCH, *PXENBUS_STORE_WATCH;

// A union of bits.
typedef enum _XENBUS_STORE_PERMISSION_MASK {
    XENBUS_STORE_PERM_NONE = 0,
    XENBUS_STORE_PERM_READ = 1,
    XENBUS_STORE_PERM_WRITE = 2
} XENBUS_STORE_PERMISSION_MASK, *PXENBUS_STORE_PERMISSION_MASK;

// What one domain may do with a node.
typedef struct _XENBUS_STORE_PERMISSION {
    USHORT Domain;
    XENBUS_STORE_PERMISSION_MASK Mask;
} XENBUS_STORE_PERMISSION, *PXENBUS_STORE_PERMISSION;

typedef NTSTATUS (*XENBUS_STORE_ACQUIRE)(
    PINTERFACE Interface
    );

typedef VOID (*XENBUS_STORE_RELEASE)(
    PINTERFACE Interface
    );

// Gives back a buffer of StoreRead or StoreDirectory.
typedef VOID (*XENBUS_STORE_FREE)(
    PINTERFACE Interface,
    PSTR Buffer
    );

// On success the buffer holds the value and two NULs.
typedef NTSTATUS (*XENBUS_STORE_READ)(
    PINTERFACE Interface,
    PXENBUS_STORE_TRANSACTION Transaction,
    PSTR Prefix,
    PSTR Node,
    PSTR *Buffer
    );

// Formats at most 1023 characters and writes them.
typedef NTSTATUS (*XENBUS_STORE_PRINTF)(
    PINTERFACE Interface,
    PXENBUS_STORE_TRANSACTION Transaction,
    PSTR Prefix,
    PSTR Node,
    PCSTR Format,
    ...
    );

typedef NTSTATUS (*XENBUS_STORE_PERMISSIONS_SET)(
    PINTERFACE Interface,
    PXENBUS_STORE_TRANSACTION Transaction,
    PSTR Prefix,
    PSTR Node,
    PXENBUS_STORE_PERMISSION Permissions,
    ULONG NumberPermissions
    );

typedef NTSTATUS (*XENBUS_STORE_REMOVE)(
    PINTERFACE Interface,
    PXENBUS_STORE_TRANSACTION Transaction,
    PSTR Prefix,
    PSTR Node
    );

// Names as consecutive strings, then one more NUL.
typedef NTSTATUS (*XENBUS_STORE_DIRECTORY)(
    PINTERFACE Interface,
    PXENBUS_STORE_TRANSACTION Transaction,
    PSTR Prefix,
    PSTR Node,
    PSTR *Buffer
    );

typedef NTSTATUS (*XENBUS_STORE_TRANSACTION_START)(
    PINTERFACE Interface,
    PXENBUS_STORE_TRANSACTION *Transaction
    );

// STATUS_RETRY on a conflict.
typedef NTSTATUS (*XENBUS_STORE_TRANSACTION_END)(
    PINTERFACE Interface,
    PXENBUS_STORE_TRANSACTION Transaction,
    BOOLEAN Commit
    );

// The event is signalled each time the watch fires, and soon after registration.
typedef NTSTATUS (*XENBUS_STORE_WATCH_ADD)(
    PINTERFACE Interface,
    PSTR Prefix,
    PSTR Node,
    PKEVENT Event,
    PXENBUS_STORE_WATCH *Watch
    );

typedef NTSTATUS (*XENBUS_STORE_WATCH_REMOVE)(
    PINTERFACE Interface,
    PXENBUS_STORE_WATCH Watch
    );

typedef VOID (*XENBUS_STORE_POLL)(
    PINTERFACE Interface
    );

struct _XENBUS_STORE_INTERFACE_V2 {
    INTERFACE                      Interface;
    XENBUS_STORE_ACQUIRE           StoreAcquire;
    XENBUS_STORE_RELEASE           StoreRelease;
    XENBUS_STORE_FREE              StoreFree;
    XENBUS_STORE_READ              StoreRead;
    XENBUS_STORE_PRINTF            StorePrintf;
    XENBUS_STORE_PERMISSIONS_SET   StorePermissionsSet;
    XENBUS_STORE_REMOVE            StoreRemove;
    XENBUS_STORE_DIRECTORY         StoreDirectory;
    XENBUS_STORE_TRANSACTION_START StoreTransactionStart;
    XENBUS_STORE_TRANSACTION_END   StoreTransactionEnd;
    XENBUS_STORE_WATCH_ADD         StoreWatchAdd;
    XENBUS_STORE_WATCH_REMOVE      StoreWatchRemove;
    XENBUS_STORE_POLL              StorePoll;
};

// The newest version.
typedef struct _XENBUS_STORE_INTERFACE_V2 XENBUS_STORE_INTERFACE, *PXENBUS_STORE_INTERFACE;

// Calls a method: XENBUS_STORE(Acquire, &Interface).
#define XENBUS_STORE(_Method, _Interface, ...) \
    (_Interface)->Store ## _Method((PINTERFACE)(_Interface), ## __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif // _XENBUS_STORE_INTERFACE_H
