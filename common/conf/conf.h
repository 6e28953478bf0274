/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CONF_CONF_H
#define VARVE_CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "os/file.h"

/*
 * Options of a program: one table describes each once, and the configuration file, the command
 * line, --help, --dump-config and the list in the manual come from it.
 *
 *     struct agent_conf { char *collector; uint64_t pool; bool once; };
 *
 *     static const struct conf_option options[] = {
 *         {.name = "collector", .type = CONF_STRING, .value = "URL", .required = true,
 *          .at = offsetof(struct agent_conf, collector), .help = "Where the collector listens."},
 *         {.name = "pump.pool", .type = CONF_SIZE, .initial = "32MiB", .min = 4 << 20,
 *          .max = 1 << 30, .at = offsetof(struct agent_conf, pool), .help = "Memory for ..."},
 *     };
 *
 * A value comes from the command line, else from the file, else from the table.  The file is
 * "name = value" by line; "[pump]" before "pool = 8MiB" is the same as "pump.pool = 8MiB"; '#' and
 * ';' begin comments, at the start of a line or after white space.  On the command line: --pump.pool 8MiB or --pump.pool=8MiB; a switch (CONF_BOOL)
 * is --once or --once=no.  "--" ends the options; everything else is positional.
 *
 * Types, what is written and the field that receives it:
 *
 *     CONF_STRING    text of min to max bytes (max 0: CONF_VALUE_MAX), no control       char *
 *                    characters, no space at either end, nothing that
 *                    begins a comment; unset without initial: NULL
 *     CONF_BOOL      yes no true false on off                                           bool
 *     CONF_SIZE      bytes, or with a unit KiB MiB GiB TiB                              uint64_t
 *     CONF_DURATION  with a unit ms s m h d, or 0; in milliseconds                      uint64_t
 *     CONF_INTEGER   a number                                                           int64_t
 *     CONF_ENUM      one of choices; its position in the list                           unsigned
 *
 * For the other types max 0 means: no upper bound.
 *
 * Every error is one line that names the place ("/etc/varve/agent.conf:12", "command line"), the
 * option and the way out; an unknown name comes with the nearest known one.  They are
 * VARVE_ERR_INVALID, but for a file that cannot be read.
 *
 * Threads: none of this is shared; the filled struct is constant after conf_load().
 */
enum conf_type { CONF_STRING, CONF_BOOL, CONF_SIZE, CONF_DURATION, CONF_INTEGER, CONF_ENUM };

#define CONF_VALUE_MAX   4095u
#define CONF_FILE_MAX    (256u * 1024)
#define CONF_OPTIONS_MAX 128u

struct conf_option {
    const char *name; /* [a-z0-9-], with one '.' between section and key where there is a section */
    enum conf_type type;
    const char *value;   /* what stands for the value in --help; NULL: from the type */
    const char *initial; /* as it would be written; NULL: unset (0, no, first choice, NULL) */
    int64_t min;         /* bounds of number, size, duration (ms) or text length */
    int64_t max;         /* 0: see above */
    const char *const *choices; /* CONF_ENUM: ends with NULL */
    const char *unit;           /* CONF_INTEGER: "threads"; for people */
    const char *help;           /* one or more sentences */
    size_t at;                  /* offsetof() the field */
    bool required;              /* must be given by file or command line */
    bool only_command_line;     /* a switch of one call ("once"), refused in a file */
};

struct conf_program {
    const char *name;    /* "varve-agent" */
    const char *version; /* "0.1.0" */
    const char *summary; /* one line */
    const char *usage;   /* behind the name: "[OPTION...] [enroll TOKEN]" */
    const char *file;    /* default configuration file; may be missing.  NULL: reads none */
    const struct conf_option *options;
    size_t option_count; /* at most CONF_OPTIONS_MAX */
};

struct conf_args {
    /* Not NULL: print this on standard output and end with success; nothing else is filled.
     * For --help, --version, --dump-config and --dump-manual. */
    char *print;
    const char **positional; /* pointers into argv */
    size_t positional_count;
};

/*
 * Fills *values (a struct as described by the table; its old content is overwritten) and *args.  argv[0]
 * is skipped.  fs reads the configuration file: the one of --config FILE, which must then be there,
 * else the default.  After success release with conf_release() and conf_args_release().
 */
VARVE_CHECK enum varve_err conf_load(const struct conf_program *program, void *values,
                                     struct conf_args *args, int argc, char **argv, struct fs *fs,
                                     struct varve_error *err);
void conf_release(const struct conf_program *program, void *values);
void conf_args_release(struct conf_args *args);

/* Only a file's text, over the table's initial values; for fuzzing and tests.  `required` is not
 * checked. */
VARVE_CHECK enum varve_err conf_parse_text(const struct conf_program *program, void *values,
                                           const char *file_name, const char *text, size_t len,
                                           struct varve_error *err);

/* ---- what the table can be turned into ---- */

VARVE_CHECK enum varve_err conf_write_help(const struct conf_program *program, struct buf *out,
                                           struct varve_error *err);
/* A configuration file that gives these values again. */
VARVE_CHECK enum varve_err conf_write_dump(const struct conf_program *program, const void *values,
                                           struct buf *out, struct varve_error *err);
/* The list of options as scdoc(5). */
VARVE_CHECK enum varve_err conf_write_manual(const struct conf_program *program, struct buf *out,
                                             struct varve_error *err);

#endif
