// SPDX-License-Identifier: BSD-2-Clause
// Made by `cargo xtask headers` from xenbus/src/interfaces.rs: change that file.
//
// Revisions of the bus. A revision is a number in the hardware ids of a child device (REV_09000008); it promises one
// version of every interface. Define DEFINE_REVISION with 12 parameters, the revision and the versions of
//   SUSPEND, SHARED_INFO, EVTCHN, DEBUG, STORE, RANGE_SET, CACHE, GNTTAB, UNPLUG, CONSOLE, EMULATED,
// then use DEFINE_REVISION_TABLE: it expands to one DEFINE_REVISION for each revision, oldest first, with nothing between.

#ifndef _REVISION_H_
#define _REVISION_H_

#define DEFINE_REVISION_TABLE \
    DEFINE_REVISION(0x09000008, 1, 3, 9, 1, 2, 1, 2, 4, 1, 1, 2) \
    DEFINE_REVISION(0x09000009, 1, 4, 9, 1, 2, 1, 2, 4, 1, 1, 2) \
    DEFINE_REVISION(0x0900000A, 1, 4, 9, 1, 2, 1, 2, 4, 2, 1, 2) \
    DEFINE_REVISION(0x0900000B, 1, 4, 9, 1, 2, 1, 2, 4, 3, 1, 2) \
    DEFINE_REVISION(0x0900000C, 1, 4, 9, 1, 2, 1, 2, 4, 3, 1, 3)

#endif // _REVISION_H_
