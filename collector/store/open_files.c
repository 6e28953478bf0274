/* SPDX-License-Identifier: Apache-2.0 */
#include "store/open_files.h"

#include <sys/resource.h>

void
open_files_raise(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < OPEN_FILES_MAX) {
        limit.rlim_cur = limit.rlim_max < OPEN_FILES_MAX ? limit.rlim_max : OPEN_FILES_MAX;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}
