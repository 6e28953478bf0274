/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_DISPATCH_H
#define HVSIM_DISPATCH_H

#include <jansson.h>

#include "hvsim/engine.h"

/* One request line to one reply line, faults included: the protocol without sockets. */

enum dispatch_action {
    DISPATCH_REPLY = 1,   /* *reply is the line, without its end; the caller frees */
    DISPATCH_DROP = 2,    /* close this connection without an answer; *reply is NULL */
    DISPATCH_WAIT = 3,    /* wait.idle: ask again by dispatch_wait_reply(); *wait is filled */
    DISPATCH_RESTART = 4, /* as REPLY, then close all other connections */
};

struct dispatch_wait {
    json_int_t request_id;
    bool any_vm;
    struct guid vm;
    uint64_t deadline_ms; /* sim_clock_ms() */
};

enum dispatch_action dispatch_line(struct sim_host *h, const char *line, size_t len, char **reply,
                                   struct dispatch_wait *wait);
/* The answer to a wait.idle that is over; NULL: not yet. */
char *dispatch_wait_reply(struct sim_host *h, const struct dispatch_wait *wait);

#endif
