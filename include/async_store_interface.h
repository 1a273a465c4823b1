// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from include/src/store_async.rs: change that file.
//
// , version 1: the store without waiting.
//
// A table beside the published STORE interface, with a GUID of its own and outside the published revisions,
// so that nothing deployed is disturbed. The bus driver's store task completes requests by callback. It is
// the table under the async wrappers of this crate and just as usable from C.
//
// The contract
//
// * Methods run at <= DISPATCH_LEVEL and never wait for xenstored. The first argument is the requester's copy
//   of the table, as in every interface. Buffers passed in must be resident.
// * A reference (AsyncStoreAcquire) must be held for all other methods. Before the last AsyncStoreRelease
//   every request handle and every watch handle must have been given back.
// * A request handle is given back exactly once, by AsyncStoreClose, whether the request has completed or
//   not. Closing a request that has not completed cancels it: its completion will not be called. Closing one
//   whose completion is running on another processor waits until it has returned. So after AsyncStoreClose
//   the context and the code of the completion may go away.
// * AsyncStoreClose and AsyncStoreWatchRemove must not be called from a callback of this table, nor with a
//   lock held that such a callback takes.
// * Callbacks run at DISPATCH_LEVEL, on any processor, possibly before AsyncStoreSubmit or AsyncStoreWatchAdd
//   has returned, outside the store's own task and with none of its locks held. They may submit further
//   requests. They must not wait.
// * A requester may have any number of requests outstanding: those with a completion are never refused for
//   want of room, they wait for their turn, and requesters take turns. Requests without one are refused with
//   STATUS_INSUFFICIENT_RESOURCES when more than 1024 of them wait.
// * A request copies its input before AsyncStoreSubmit returns. The data that a completion gets belong to the
//   bus and end with the callback.
// * A cancelled request may or may not have been carried out. What it would have left behind in the store's
//   bookkeeping (a transaction just started) is undone by the bus.
//
// submit --> waiting --> completion running --> done --> close --> (gone)
//
//               |              |
//               |              +-- close waits for it --> (gone)
//               +-- close: cancelled, no completion --> (gone)

#ifndef _XENBUS_ASYNC_STORE_INTERFACE_H
#define _XENBUS_ASYNC_STORE_INTERFACE_H

#include "store_interface.h"

#ifdef __cplusplus
extern "C" {
#endif

// {731C7FFF-B8AF-4FA6-B6C8-94B4FF935BD8}
DEFINE_GUID(GUID_XENBUS_ASYNC_STORE_INTERFACE, 0x731c7fff, 0xb8af, 0x4fa6,
    0xb6, 0xc8, 0x94, 0xb4, 0xff, 0x93, 0x5b, 0xd8);

#define XENBUS_ASYNC_STORE_INTERFACE_VERSION_MIN 1
#define XENBUS_ASYNC_STORE_INTERFACE_VERSION_MAX 1

typedef enum _XENBUS_ASYNC_STORE_OPERATION {
    // Reads a node. Reply: the value, without a terminator.
    XENBUS_ASYNC_STORE_OP_READ = 1,
    // Writes Value to a node. No reply data.
    XENBUS_ASYNC_STORE_OP_WRITE = 2,
    // Removes a node and all below it. No reply data.
    XENBUS_ASYNC_STORE_OP_REMOVE = 3,
    // Lists a node. Reply: the children's names, each with a NUL; none is an empty reply, not an error. A
    // list may be far longer than one payload of the store.
    XENBUS_ASYNC_STORE_OP_DIRECTORY = 4,
    // Starts a transaction; no path. Reply: its identity, 8 bytes, little endian, never zero.
    // The identity names the connection too: one from before a reconnection is recognised and refused.
    XENBUS_ASYNC_STORE_OP_TRANSACTION_START = 5,
    // Commits Transaction; no path. STATUS_RETRY: a conflict, or a connection of the past. The identity is
    // void afterwards whatever the status.
    XENBUS_ASYNC_STORE_OP_TRANSACTION_COMMIT = 6,
    // Aborts Transaction; no path. The identity is void afterwards whatever the status.
    XENBUS_ASYNC_STORE_OP_TRANSACTION_ABORT = 7,
    // Sets the permissions of a node: Value is an array of Permission.
    XENBUS_ASYNC_STORE_OP_PERMISSIONS_SET = 8,
    // Reads the permissions of a node. Reply: an entry for each domain named, the owner first: a letter (n
    // none, r read, w write, b both), the domain in decimal, a NUL.
    // Buses of before this operation answer STATUS_NOT_SUPPORTED, as to any unknown number.
    XENBUS_ASYNC_STORE_OP_PERMISSIONS_GET = 9
} XENBUS_ASYNC_STORE_OPERATION, *PXENBUS_ASYNC_STORE_OPERATION;

// One request. The bus copies it, the path and the value before AsyncStoreSubmit returns.
typedef struct _XENBUS_ASYNC_STORE_REQUEST {
    ULONG Size;
    XENBUS_ASYNC_STORE_OPERATION Operation;
    ULONGLONG Transaction;
    const UCHAR *Path;
    const UCHAR *Value;
    ULONG PathLength;
    ULONG ValueLength;
} XENBUS_ASYNC_STORE_REQUEST, *PXENBUS_ASYNC_STORE_REQUEST;

// A submitted request, opaque to requesters.
typedef struct _XENBUS_ASYNC_STORE_REQUEST_HANDLE XENBUS_ASYNC_STORE_REQUEST_HANDLE, *PXENBUS_ASYNC_STORE_REQUEST_HANDLE;

// A registered watch, opaque to requesters.
typedef struct _XENBUS_ASYNC_STORE_WATCH_HANDLE XENBUS_ASYNC_STORE_WATCH_HANDLE, *PXENBUS_ASYNC_STORE_WATCH_HANDLE;

// Called once when a request has completed, unless it was closed before.
// Data has Length bytes on success, where the operation has a reply; else Length is 0. Statuses are those of
// the STORE interface, and STATUS_CONNECTION_DISCONNECTED when the store went away.
typedef VOID (*XENBUS_ASYNC_STORE_COMPLETION)(
    PVOID Context,
    NTSTATUS Status,
    const UCHAR *Data,
    ULONG Length
    );

// Called when a watch has fired, once soon after registration, and once after a reconnection.
// Changes coalesce: at least one call follows every change. A failure status says that the watch could not be
// registered, or not again, and is dead: no further call comes, AsyncStoreWatchRemove is still due. Calls for
// one watch do not overlap.
typedef VOID (*XENBUS_ASYNC_STORE_WATCH_CALLBACK)(
    PVOID Context,
    NTSTATUS Status
    );

// Takes a reference.
typedef NTSTATUS (*XENBUS_ASYNC_STORE_ACQUIRE)(
    PINTERFACE Interface
    );

// Gives a reference back.
typedef VOID (*XENBUS_ASYNC_STORE_RELEASE)(
    PINTERFACE Interface
    );

// Submits a request.
// Success: the completion will be called unless the handle is closed before. A failure status: it will not
// be, and there is no handle. Completion NULL: fire and forget, the bus stores NULL in *handle and there is
// nothing to close; Handle may then be NULL too.
typedef NTSTATUS (*XENBUS_ASYNC_STORE_SUBMIT)(
    PINTERFACE Interface,
    const XENBUS_ASYNC_STORE_REQUEST *Request,
    XENBUS_ASYNC_STORE_COMPLETION Completion,
    PVOID Context,
    PXENBUS_ASYNC_STORE_REQUEST_HANDLE *Handle
    );

// Gives a request handle back; cancels the request if it has not completed.
typedef VOID (*XENBUS_ASYNC_STORE_CLOSE)(
    PINTERFACE Interface,
    PXENBUS_ASYNC_STORE_REQUEST_HANDLE Handle
    );

// Registers a watch on a node and all below it.
// Success means that the local part is done; the daemon's refusal comes by callback. The bus keeps the watch
// registered over reconnections by itself.
typedef NTSTATUS (*XENBUS_ASYNC_STORE_WATCH_ADD)(
    PINTERFACE Interface,
    const UCHAR *Path,
    ULONG PathLength,
    XENBUS_ASYNC_STORE_WATCH_CALLBACK Callback,
    PVOID Context,
    PXENBUS_ASYNC_STORE_WATCH_HANDLE *Handle
    );

// Removes a watch; no callback runs or comes once it has returned.
typedef VOID (*XENBUS_ASYNC_STORE_WATCH_REMOVE)(
    PINTERFACE Interface,
    PXENBUS_ASYNC_STORE_WATCH_HANDLE Handle
    );

struct _XENBUS_ASYNC_STORE_INTERFACE_V1 {
    INTERFACE                       Interface;
    XENBUS_ASYNC_STORE_ACQUIRE      AsyncStoreAcquire;
    XENBUS_ASYNC_STORE_RELEASE      AsyncStoreRelease;
    XENBUS_ASYNC_STORE_SUBMIT       AsyncStoreSubmit;
    XENBUS_ASYNC_STORE_CLOSE        AsyncStoreClose;
    XENBUS_ASYNC_STORE_WATCH_ADD    AsyncStoreWatchAdd;
    XENBUS_ASYNC_STORE_WATCH_REMOVE AsyncStoreWatchRemove;
};

// The newest version.
typedef struct _XENBUS_ASYNC_STORE_INTERFACE_V1 XENBUS_ASYNC_STORE_INTERFACE, *PXENBUS_ASYNC_STORE_INTERFACE;

// Calls a method: XENBUS_ASYNC_STORE(Acquire, &Interface).
#define XENBUS_ASYNC_STORE(_Method, _Interface, ...) \
    (_Interface)->AsyncStore ## _Method((PINTERFACE)(_Interface), ## __VA_ARGS__)

#ifdef __cplusplus
}
#endif

#endif // _XENBUS_ASYNC_STORE_INTERFACE_H
