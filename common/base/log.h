/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_LOG_H
#define VARVE_BASE_LOG_H

#include <stdbool.h>

#include "base/error.h"

/*
 * Log lines: area, short text, key=value.  log_info("ingest", "disk done vm=%s chunks=%u", ...).
 * error: somebody must act; warn: it healed or will be retried; info: one line per job step;
 * debug.  Never keys, tokens or guest data.  common/ logs only debug.
 *
 * Lines go to standard error: "<RFC 3339 time> <level> <area>: <text>", control characters in the
 * text replaced, one write per line.  Threads: any.
 */
enum log_level { LOG_LEVEL_ERROR = 0, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_set_level(enum log_level level);
/* Instead of standard error, for programs that have none: line is the whole text, ends with a line feed
 * and a NUL; called by any thread at any time.  NULL: standard error again. */
void log_set_sink(void (*sink)(enum log_level level, const char *line));

void log_error(const char *area, const char *fmt, ...) VARVE_PRINTF(2, 3);
void log_warn(const char *area, const char *fmt, ...) VARVE_PRINTF(2, 3);
void log_info(const char *area, const char *fmt, ...) VARVE_PRINTF(2, 3);
void log_debug(const char *area, const char *fmt, ...) VARVE_PRINTF(2, 3);

#endif
