/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_LISTING_H
#define VARVE_CLI_LISTING_H

#include "cli/cli.h"
#include "cli/print.h"

/*
 * A list comes in one reply or in several: JSON is printed as it comes, a line an item, a table when all is there, because
 * only then its columns are known.
 */
struct listing {
    struct cli *cli;
    struct print_table *table; /* NULL without headers; not printed with --json */
    void *arg;                 /* the command's own */
};

/* One reply; head is borrowed for the call. */
typedef enum varve_err (*listing_take)(struct listing *l, const Varve__V1__Envelope *head,
                                       struct varve_error *err);

/* Sends request, gives take() every reply, then prints the table.  headers NULL: there is none. */
VARVE_CHECK enum varve_err listing_run(struct cli *cli, Varve__V1__Envelope *request,
                                       Varve__V1__Envelope__BodyCase reply,
                                       const char *const *headers, size_t columns,
                                       listing_take take, void *arg, struct varve_error *err);

#endif
