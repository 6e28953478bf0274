/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_CTL_H
#define HVSIM_CTL_H

#include <stdbool.h>

/*
 * One call for scripts: prints the reply (without id and ok) on standard output.
 * Exit codes: 0 done, 1 refused by the host (reply printed; with wait: or the job failed),
 * 2 no connection or bad arguments (text on standard error).
 */
int ctl_call(const char *socket_path, const char *op, const char *json, bool wait);

#endif
