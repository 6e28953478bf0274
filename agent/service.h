/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_AGENT_SERVICE_H
#define VARVE_AGENT_SERVICE_H

#include "base/error.h"

/* What the program asks of the system as a service; one file per system. */

#define SERVICE_NAME_MAX 256u

/* Before the first thread: the wish to end is for service_wait_end() alone. */
void service_prepare(void);
/* Returns when the system wants the program to end. */
void service_wait_end(void);

/* What the machine calls itself, and what it is: "Linux 6.1.0 x86_64". */
void service_host_name(char out[SERVICE_NAME_MAX]);
void service_system(char out[SERVICE_NAME_MAX]);

/* Until the process ends this file is ours alone; VARVE_ERR_BUSY: another agent has it.  Nothing is
 * left behind by any end. */
VARVE_CHECK enum varve_err service_own(const char *path, struct varve_error *err);

#endif
