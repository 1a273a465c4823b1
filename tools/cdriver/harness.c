// SPDX-License-Identifier: BSD-2-Clause
// Counts failures and prints one line a test.
#include "test.h"

volatile LONG failures;
PDRIVER_OBJECT driver;

static const char *where_file;
static int where_line;
static const char *where_condition;

// Notes the first failed check of the running test. Any IRQL.
void check_failed(const char *file, int line, const char *condition)
{
    if (InterlockedIncrement(&failures) == 1 || where_file == NULL) {
        where_file = file;
        where_line = line;
        where_condition = condition;
    }
}

void run_test(const char *name, void (*test)(void))
{
    KIRQL before = KeGetCurrentIrql();
    where_file = NULL;
    test();
    if (KeGetCurrentIrql() != before) {
        check_failed(__FILE_NAME__, __LINE__, "the IRQL is what it was");
        KeLowerIrql(before);
    }
    if (where_file == NULL)
        DbgPrint("TEST %s ok\n", name);
    else
        DbgPrint("TEST %s FAIL %s:%d %s\n", name, where_file, where_line, where_condition);
}
