/* SPDX-License-Identifier: Apache-2.0 */
#include "state/run_info.h"

const char *
run_phase_name(enum run_phase phase)
{
    switch (phase) {
    case RUN_WAITING:
        return "waiting";
    case RUN_FREEZE:
        return "freeze";
    case RUN_READ:
        return "read";
    case RUN_COMMIT:
        return "commit";
    case RUN_CLEAN:
        return "clean";
    case RUN_DONE:
        return "done";
    case RUN_FAILED:
        return "failed";
    }
    return "failed";
}

bool
run_phase_is_final(enum run_phase phase)
{
    return phase == RUN_DONE || phase == RUN_FAILED;
}
