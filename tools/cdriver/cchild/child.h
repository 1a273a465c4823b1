// SPDX-License-Identifier: BSD-2-Clause
// A child driver of the bus as C authors write it: the DDK's header, ours, and nothing else.
#pragma once

#include "../test.h"

#include "async_store_interface.h"
#include "cache_interface.h"
#include "console_interface.h"
#include "debug_interface.h"
#include "emulated_interface.h"
#include "evtchn_interface.h"
#include "gnttab_interface.h"
#include "range_set_interface.h"
#include "shared_info_interface.h"
#include "store_interface.h"
#include "suspend_interface.h"
#include "unplug_interface.h"

// The device below ours, which answers the queries.
extern PDEVICE_OBJECT below;

// The tests of one interface, in its own file; a line in tests.c calls it.
void query_tests(void);
void store_tests(void);
void evtchn_tests(void);
void shared_info_tests(void);
void suspend_tests(void);
void console_tests(void);
void unplug_tests(void);
void debug_tests(void);
void gnttab_tests(void);
void cache_tests(void);
void range_set_tests(void);
// Of a run that is only for these.
void faults_tests(void);

// Runs everything and prints `RESULT cchild done`. PASSIVE_LEVEL.
void all_tests(void);

// Sends IRP_MN_QUERY_INTERFACE with `before` as its status on arrival; returns its status.
NTSTATUS query_raw(const GUID *guid, USHORT version, PVOID table, USHORT size, NTSTATUS before, ULONG_PTR *information);

// As drivers query: false, and a failed check, if the table is not given.
BOOLEAN query(const GUID *guid, USHORT version, PVOID table, USHORT size);
#define QUERY(name, version, table) query(&GUID_##name##_INTERFACE, version, table, sizeof *(table))

// Takes and gives back the store for `ask`. PASSIVE_LEVEL.
BOOLEAN ask_open(void);
void ask_close(void);

// Lets dom0 do something (`xenpeer probe`): the first word names the service there. True if it could; its answer is then in
// `answer`. PASSIVE_LEVEL, for at most a minute.
BOOLEAN ask(char *answer, ULONG size, const char *format, ...);

// Waits until `*value` is `wanted` or a minute has passed. PASSIVE_LEVEL.
BOOLEAN wait_for(volatile LONG *value, LONG wanted);

// A DWORD of our service's Parameters key, or `missing`. PASSIVE_LEVEL.
ULONG parameter(const char *name, ULONG missing);

// Sleeps. PASSIVE_LEVEL.
void pause(LONG milliseconds);

// Moves this thread to a processor until `move_back`. PASSIVE_LEVEL.
void move_to(ULONG processor, GROUP_AFFINITY *before);
void move_back(GROUP_AFFINITY *before);
