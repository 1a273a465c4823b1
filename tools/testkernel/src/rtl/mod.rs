// SPDX-License-Identifier: BSD-2-Clause
//! `rtl`: the run-time library.
//!
//! Strings, C run-time names, formatted and debug output, version, time, GUIDs and bit maps. Nothing here
//! owns a thread or keeps state but the list of print callbacks.

mod buffer;
mod crt;
pub mod guid;
pub mod misc;
mod print;
mod printf;
mod strings;
mod time;

pub use misc::{VERSION, read_guid, write_guid};
pub use print::{callbacks_in, look_for, seen};
pub(crate) use strings::allocated;

use crate::export::{A, ANY, D, P};
use crate::mem::Ptr;

/// The upper-case form of a UTF-16 unit; ASCII and Latin-1.
pub const fn upcase(unit: u16) -> u16 {
    match unit {
        0x61..=0x7A => unit - 0x20,
        0xE0..=0xFE if unit != 0xF7 => unit - 0x20,
        _ => unit,
    }
}

/// The lower-case form of a UTF-16 unit; ASCII and Latin-1.
pub const fn downcase(unit: u16) -> u16 {
    match unit {
        0x41..=0x5A => unit + 0x20,
        0xC0..=0xDE if unit != 0xD7 => unit + 0x20,
        _ => unit,
    }
}

/// Allocates a string's buffer, which the calling driver must free.
fn allocate(size: usize, tag: u32) -> Ptr {
    if crate::ex::pool::shall_fail() {
        return Ptr::NULL;
    }
    crate::ex::pool::allocate_for_caller(size, tag)
}

fn release(block: Ptr) {
    crate::ex::pool::free(block);
}

crate::exports! {
    "RtlInitAnsiString", D => strings::init_ansi;
    "RtlInitString", D => strings::init_ansi;
    "RtlInitUnicodeString", D => strings::init_unicode;
    "RtlAnsiStringToUnicodeString", P => strings::ansi_to_unicode;
    "RtlUnicodeStringToAnsiString", P => strings::unicode_to_ansi;
    "RtlUpcaseUnicodeString", P => strings::upcase_unicode;
    "RtlDowncaseUnicodeString", P => strings::downcase_unicode;
    "RtlUpcaseUnicodeChar", P => strings::upcase_char;
    "RtlDowncaseUnicodeChar", P => strings::downcase_char;
    "RtlFreeUnicodeString", P => strings::free;
    "RtlFreeAnsiString", P => strings::free;
    "RtlAppendUnicodeToString", P => strings::append_text;
    "RtlAppendUnicodeStringToString", P => strings::append_string;
    "RtlCopyUnicodeString", D => strings::copy_unicode;
    "RtlCompareUnicodeString", P => strings::compare_unicode;
    "RtlEqualUnicodeString", P => strings::equal_unicode;
    "RtlPrefixUnicodeString", P => strings::prefix_unicode;
    "RtlCompareString", ANY => strings::compare_ansi;
    "RtlEqualString", ANY => strings::equal_ansi;
    "RtlUnicodeStringToInteger", P => strings::unicode_to_integer;
    "RtlIntegerToUnicodeString", P => strings::integer_to_unicode;
    "RtlInt64ToUnicodeString", P => strings::int64_to_unicode;
    "RtlStringFromGUID", P => misc::string_from_guid;
    "RtlGUIDFromString", P => misc::guid_from_string;
    "RtlGetVersion", P => misc::get_version;
    "RtlRandom", A => misc::random;
    "RtlRandomEx", A => misc::random;
    "RtlTimeToTimeFields", ANY => misc::time_to_fields;
    "RtlTimeFieldsToTime", ANY => misc::fields_to_time;
    "RtlCompareMemory", ANY => misc::compare_memory;
    "RtlCopyMemory", ANY => crt::memcpy;
    "RtlMoveMemory", ANY => crt::memcpy;
    "RtlFillMemory", ANY => misc::fill_memory;
    "RtlZeroMemory", ANY => misc::zero_memory;
    "RtlCaptureStackBackTrace", ANY => misc::capture_back_trace;
    "RtlLookupFunctionEntry", ANY => misc::lookup_function_entry;
    "RtlVirtualUnwind", ANY => misc::virtual_unwind;
    "__C_specific_handler", ANY => misc::c_specific_handler;
    "RtlCaptureContext", ANY => misc::capture_context;
    "RtlInitializeBitMap", ANY => misc::bitmap_init;
    "RtlSetBits", ANY => misc::bitmap_set;
    "RtlClearBits", ANY => misc::bitmap_clear;
    "RtlSetAllBits", ANY => misc::bitmap_set_all;
    "RtlClearAllBits", ANY => misc::bitmap_clear_all;
    "RtlTestBit", ANY => misc::bitmap_test;
    "RtlSetBit", ANY => misc::bitmap_set_one;
    "RtlClearBit", ANY => misc::bitmap_clear_one;
    "RtlAreBitsSet", ANY => misc::bitmap_are_set;
    "RtlAreBitsClear", ANY => misc::bitmap_are_clear;
    "RtlFindClearBits", ANY => misc::bitmap_find_clear;
    "RtlFindSetBits", ANY => misc::bitmap_find_set;
    "RtlFindClearBitsAndSet", ANY => misc::bitmap_find_clear_and_set;
    "RtlNumberOfSetBits", ANY => misc::bitmap_count_set;
    "DbgPrint", ANY => print::dbg_print;
    "DbgPrintEx", ANY => print::dbg_print_ex;
    "vDbgPrintEx", ANY => print::vdbg_print_ex;
    "vDbgPrintExWithPrefix", ANY => print::vdbg_print_ex_with_prefix;
    "DbgSetDebugFilterState", ANY => print::set_filter;
    "DbgQueryDebugFilterState", ANY => print::query_filter;
    "DbgSetDebugPrintCallback", D => print::set_callback;
    "_vsnprintf", ANY => print::vsnprintf;
    "_vsnwprintf", ANY => print::vsnwprintf;
    "vsprintf", ANY => print::vsprintf;
    "_snprintf", ANY => print::snprintf;
    "_snwprintf", ANY => print::snwprintf;
    "sprintf", ANY => print::sprintf;
    "memcpy", ANY => crt::memcpy;
    "memmove", ANY => crt::memcpy;
    "memset", ANY => crt::memset;
    "memcmp", ANY => crt::memcmp;
    "memchr", ANY => crt::memchr;
    "strlen", ANY => crt::strlen;
    "strnlen", ANY => crt::strnlen;
    "strcmp", ANY => crt::strcmp;
    "strncmp", ANY => crt::strncmp;
    "_stricmp", ANY => crt::stricmp;
    "_strnicmp", ANY => crt::strnicmp;
    "strchr", ANY => crt::strchr;
    "strrchr", ANY => crt::strrchr;
    "strstr", ANY => crt::strstr;
    "strcpy", ANY => crt::strcpy;
    "strncpy", ANY => crt::strncpy;
    "strcat", ANY => crt::strcat;
    "strncat", ANY => crt::strncat;
    "wcslen", ANY => crt::wcslen;
    "wcsnlen", ANY => crt::wcsnlen;
    "wcscmp", ANY => crt::wcscmp;
    "wcsncmp", ANY => crt::wcsncmp;
    "_wcsicmp", ANY => crt::wcsicmp;
    "_wcsnicmp", ANY => crt::wcsnicmp;
    "wcschr", ANY => crt::wcschr;
    "wcsrchr", ANY => crt::wcsrchr;
    "wcsstr", ANY => crt::wcsstr;
    "wcscpy", ANY => crt::wcscpy;
    "wcsncpy", ANY => crt::wcsncpy;
    "wcscat", ANY => crt::wcscat;
    "wcsncat", ANY => crt::wcsncat;
    "_strtoui64", ANY => crt::strtoui64;
    "strtoul", ANY => crt::strtoul;
    "strtol", ANY => crt::strtol;
    "atoi", ANY => crt::atoi;
    "atol", ANY => crt::atoi;
    "_atoi64", ANY => crt::atoi64;
    "toupper", ANY => crt::toupper;
    "tolower", ANY => crt::tolower;
    "towupper", ANY => crt::towupper;
    "isdigit", ANY => crt::isdigit;
    "isxdigit", ANY => crt::isxdigit;
    "isspace", ANY => crt::isspace;
    "isprint", ANY => crt::isprint;
    "isupper", ANY => crt::isupper;
    "islower", ANY => crt::islower;
    "isalpha", ANY => crt::isalpha;
    "isalnum", ANY => crt::isalnum;
}
