/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_STREAM_OUT_H
#define VARVE_CLI_STREAM_OUT_H

#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "os/thread.h"

/*
 * Bulk data to standard output, past the buffer of stdio.  A pipe whose reader does not read is waited
 * for, but not beyond an interrupt.
 *
 * Threads: one call at a time.
 */
struct stream_out {
    FILE *out;
    struct cancel *cancel;
    int fd;    /* -1: out has none (a test); then through stdio */
    int owned; /* a descriptor of our own to the same pipe, which does not block; or -1 */
};

/* Refuses a terminal (VARVE_ERR_INVALID). */
VARVE_CHECK enum varve_err stream_out_open(struct stream_out *s, FILE *out, struct cancel *cancel,
                                           struct varve_error *err);
VARVE_CHECK enum varve_err stream_out_write(struct stream_out *s, const void *buf, size_t len,
                                            struct varve_error *err);
void stream_out_close(struct stream_out *s);

#endif
