/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_PRINT_H
#define VARVE_CLI_PRINT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "base/guid.h"
#include "cli/cli.h"
#include "envelope.pb-c.h"

/*
 * What the operator sees: text for people, JSON for programs.
 *
 * Names come from hosts and guests: control characters and bytes that are not UTF-8 never reach the
 * terminal or the JSON as they are.
 */

#define PRINT_SIZE_TEXT 32u
#define PRINT_ID_TEXT   9u /* 8 characters: enough to be unique among thousands */

/* ---- pieces ---- */

/* "1.5 GiB", or with --bytes "1610612736". */
void print_size(const struct cli *cli, uint64_t bytes, char out[PRINT_SIZE_TEXT]);
/* "2026-11-22T10:15:30Z"; "-" for 0. */
void print_time(int64_t us, char out[32]);
/* "0.8 s", "2 min 5 s". */
void print_seconds(double seconds, char out[32]);
/* The first characters of a 16-byte id; "-" when there is none. */
void print_short_id(const ProtobufCBinaryData *id, char out[PRINT_ID_TEXT]);
/* A copy that is safe to show; NULL only when memory is out. */
char *print_clean(const char *text);
/* printf for people; arguments that are strings must be clean. NULL-safe cleaning of one string: */
void print_text(FILE *out, const char *text);

/* ---- tables ---- */

/* Columns aligned, two spaces between; a header that begins with '>' is aligned to the right. */
struct print_table;
struct print_table *print_table_new(const char *const *headers, size_t columns);
/* Copies and cleans; a NULL cell shows "-".  Runs out of memory silently: print() then says so. */
void print_table_cell(struct print_table *t, const char *text);
VARVE_CHECK enum varve_err print_table_print(const struct print_table *t, FILE *out,
                                             struct varve_error *err);
void print_table_free(struct print_table *t);

/* "name:   value" */
void print_field(const struct cli *cli, const char *name, const char *value);

/* ---- JSON ---- */

/* Takes a reference of object, prints it as one line. NULL object: out of memory. */
VARVE_CHECK enum varve_err print_json_line(FILE *out, json_t *object, struct varve_error *err);
json_t *json_text(const char *text);
json_t *json_bytes(uint64_t n);
json_t *json_time(int64_t us);                  /* null for 0 */
json_t *json_id(const ProtobufCBinaryData *id); /* GUID text; null for none */
json_t *json_error(const struct varve_error *e);

json_t *json_host(const Varve__V1__HostInfo *h);
json_t *json_vm(const Varve__V1__VmInfo *v);
json_t *json_point(const Varve__V1__PointInfo *p);
json_t *json_run(const Varve__V1__RunInfo *r);
json_t *json_problem(const Varve__V1__VerifyProblem *p);
json_t *json_patrol(const Varve__V1__PatrolInfo *p); /* null for NULL */
json_t *json_status(const Varve__V1__StatusReply *s);

/* ---- progress ---- */

/* One line on a terminal, redrawn at most ten times a second; nothing anywhere else. */
struct progress {
    const struct cli *cli;
    uint64_t drawn_at;
    size_t width; /* of what stands there */
};
void progress_init(struct progress *p, const struct cli *cli);
void progress_draw(struct progress *p, bool now, const char *fmt, ...) VARVE_PRINTF(3, 4);
/* Wipes the line, before anything else is printed. */
void progress_clear(struct progress *p);

#endif
