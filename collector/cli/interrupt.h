/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_INTERRUPT_H
#define VARVE_CLI_INTERRUPT_H

#include "os/thread.h"

/*
 * The operator wants to stop.  Waits that know a cancel look at it; a wait inside a connection is
 * ended by what is attached.
 *
 * Threads: any; detach waits for a call of fn in progress.
 */
struct interrupt {
    struct cancel cancel;
    struct mutex lock; /* fn, arg; held while fn runs */
    void (*fn)(void *arg);
    void *arg;
};

void interrupt_init(struct interrupt *i);
void interrupt_destroy(struct interrupt *i);
void interrupt_raise(struct interrupt *i);
/* fn runs at once when it was raised already.  One at a time. */
void interrupt_attach(struct interrupt *i, void (*fn)(void *arg), void *arg);
void interrupt_detach(struct interrupt *i);

#endif
