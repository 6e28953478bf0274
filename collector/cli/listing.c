/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/listing.h"

#include "cli/session.h"

enum varve_err
listing_run(struct cli *cli, Varve__V1__Envelope *request, Varve__V1__Envelope__BodyCase reply,
            const char *const *headers, size_t columns, listing_take take, void *arg,
            struct varve_error *err)
{
    struct listing l = {.cli = cli, .arg = arg};
    struct session *s = NULL;
    uint64_t id = 0;
    bool more = true;
    enum varve_err rc = cli_session(cli, &s, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    l.table = headers != NULL ? print_table_new(headers, columns) : NULL;
    rc = session_send(s, request, &id, err);
    while (rc == VARVE_OK && more) {
        struct envelope_in in;

        rc = session_next(s, id, reply, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        more = in.head->more;
        rc = take(&l, in.head, err);
        envelope_release(&in);
    }
    if (rc == VARVE_OK && headers != NULL && !cli->json) {
        rc = print_table_print(l.table, cli->env->out, err);
    }
    print_table_free(l.table);
    return rc;
}
