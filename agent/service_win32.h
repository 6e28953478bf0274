/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_AGENT_SERVICE_WIN32_H
#define VARVE_AGENT_SERVICE_WIN32_H

/* Between service_win32.c (the process) and service_manager_win32.c (the service manager). */

/* What service_wait_end() waits for. */
void service_want_end(void);

#endif
