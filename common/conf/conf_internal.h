/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CONF_CONF_INTERNAL_H
#define VARVE_CONF_CONF_INTERNAL_H

#include <stddef.h>

#include "conf/conf.h"

/* Names every program has; the table must not use them. */
#define CONF_COMMON_NAMES "help", "version", "config", "dump-config", "dump-manual"

/* ---- conf_value.c ---- */

/* "URL", "SIZE", ...: what stands for the value. */
const char *conf_value_word(const struct conf_option *o);
/* Reads text into the field of o.  The message does not say where text came from. */
enum varve_err conf_value_set(const struct conf_option *o, void *values, const char *text,
                              struct varve_error *err);
/* The field of o as it would be written.  Unset text gives "". */
enum varve_err conf_value_write(const struct conf_option *o, const void *values, struct buf *out,
                                struct varve_error *err);
/* "4 MiB to 1 GiB", "one of a, b", ...: nothing when there is nothing to say. */
enum varve_err conf_value_bounds(const struct conf_option *o, struct buf *out,
                                 struct varve_error *err);
/* Fields to zero, then to the table's initial values. */
enum varve_err conf_values_init(const struct conf_program *program, void *values,
                                struct varve_error *err);

/* ---- conf_name.c ---- */

const struct conf_option *conf_find(const struct conf_program *program, const char *name);
/* The known name (an option or, with_common, --help and so on) that is nearest to name; NULL when
 * none is near. */
const char *conf_nearest(const struct conf_program *program, const char *name, bool with_common);

/* ---- conf_file.c ---- */

/* seen[i] is set for each option that the text sets. */
enum varve_err conf_file_apply(const struct conf_program *program, void *values, bool *seen,
                               const char *file_name, const char *text, size_t len,
                               struct varve_error *err);

#endif
