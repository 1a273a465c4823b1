// SPDX-License-Identifier: BSD-2-Clause
// Queues memory that is no DPC.
#include "wrong.h"

WRONG
{
    KeInsertQueueDpc(block(sizeof(KDPC)), NULL, NULL);
}
