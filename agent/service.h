/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_AGENT_SERVICE_H
#define VARVE_AGENT_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* What the program asks of the system as a service; one file per system. */

#define SERVICE_NAME_MAX 256u

/*
 * First of all, before the first thread: the wish to end is for service_wait_end() alone.  On Windows
 * it also turns the arguments into UTF-8: *argv may become another array, which lives as long as the
 * program.
 */
void service_prepare(int *argc, char ***argv);
/* Waits so long, 0: for ever.  True: the system wants the program to end. */
bool service_wait_end(uint32_t timeout_ms);

/* What the machine calls itself, and what it is: "Linux 6.1.0 x86_64". */
void service_host_name(char out[SERVICE_NAME_MAX]);
void service_system(char out[SERVICE_NAME_MAX]);

/* Until the process ends this file is ours alone; VARVE_ERR_BUSY: another agent has it.  Nothing is
 * left behind by any end. */
VARVE_CHECK enum varve_err service_own(const char *path, struct varve_error *err);

/*
 * Commands that only this system has: "service" (run by the service manager), "install" and
 * "uninstall" on Windows, none elsewhere.  A command that is none of these leaves *code as it is
 * and gives false.  service is what the manager calls it, the same for all three.  run is what "service" runs until the
 * manager stops it; its result is the exit code.
 */
bool service_command(const char *name, const char *service, int argc, char **argv,
                     int (*run)(void *arg), void *arg, int *code);
/* What service_command() knows, for messages: ", install, uninstall"; "" none. */
extern const char *const service_commands;

#endif
