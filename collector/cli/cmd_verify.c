/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/print.h"
#include "cli/session.h"

static enum varve_err
print_problem(struct cli *cli, const Varve__V1__VerifyProblem *p, struct varve_error *err)
{
    FILE *out = cli->env->out;
    char length[PRINT_SIZE_TEXT];
    char id[PRINT_ID_TEXT];

    if (cli->json) {
        json_t *object = json_pack("{s:o}", "problem", json_problem(p));

        return print_json_line(out, object, err);
    }
    print_short_id(&p->point_id, id);
    print_size(cli, p->length, length);
    if (p->point_id.len == 0) { /* an object that should be one */
        print_text(out, p->disk);
    } else {
        (void)fprintf(out, "point %s (", id);
        print_text(out, p->vm_name);
        (void)fprintf(out, ", seq %" PRIu64 ")", p->point_seq);
    }
    if (p->length > 0) {
        (void)fprintf(out, ", disk '");
        print_text(out, p->disk);
        (void)fprintf(out, "', %s at offset %" PRIu64, length, p->offset);
    }
    (void)fputs(": ", out);
    print_text(out, p->error == NULL ? "damaged" : p->error->message);
    (void)fputc('\n', out);
    return VARVE_OK;
}

/* How many of the problems' points are different ones: problems come point by point. */
struct tally {
    uint64_t problems;
    uint64_t points;
    uint8_t last[16];
    bool any;
};

static void
count_problem(struct tally *t, const Varve__V1__VerifyProblem *p)
{
    t->problems++;
    if (p->point_id.len == 0) {
        t->points++;
    } else if (p->point_id.len == sizeof(t->last) &&
               (!t->any || memcmp(t->last, p->point_id.data, sizeof(t->last)) != 0)) {
        memcpy(t->last, p->point_id.data, sizeof(t->last));
        t->any = true;
        t->points++;
    }
}

static enum varve_err
conclude(struct cli *cli, const struct tally *t, uint64_t points, uint64_t bytes,
         struct varve_error *err)
{
    char size[PRINT_SIZE_TEXT];

    if (cli->json) {
        json_t *object =
            json_pack("{s:o,s:o,s:o,s:o}", "points", json_bytes(points), "bytes", json_bytes(bytes),
                      "problems", json_bytes(t->problems), "points_damaged", json_bytes(t->points));
        enum varve_err rc = print_json_line(cli->env->out, object, err);

        if (rc != VARVE_OK) {
            return rc;
        }
    }
    if (t->problems > 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "%" PRIu64 " of %" PRIu64 " points are damaged: 'varve backup run "
                               "--full VM' heals what the guest still holds",
                               t->points, points);
    }
    if (!cli->json && !cli->quiet) {
        print_size(cli, bytes, size);
        (void)fprintf(cli->env->out, "%" PRIu64 " points are good: %s read and checked\n", points,
                      size);
    }
    return VARVE_OK;
}

enum varve_err
cmd_verify(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Verify verify = VARVE__V1__VERIFY__INIT;
    struct progress progress;
    struct tally tally = {.any = false};
    struct session *s = NULL;
    uint64_t id = 0;
    uint64_t points = 0;
    uint64_t bytes = 0;
    bool more = true;
    enum varve_err rc;

    rc = cli_session(cli, &s, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    progress_init(&progress, cli);
    verify.points = cli->args;
    verify.n_points = cli->arg_count;
    request.body_case = VARVE__V1__ENVELOPE__BODY_VERIFY;
    request.verify = &verify;
    rc = session_send(s, &request, &id, err);
    while (rc == VARVE_OK && more) {
        const Varve__V1__VerifyReply *reply;
        char size[PRINT_SIZE_TEXT];
        struct envelope_in in;

        rc = session_next(s, id, VARVE__V1__ENVELOPE__BODY_VERIFY_REPLY, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        more = in.head->more;
        reply = in.head->verify_reply;
        points = reply->points_total;
        bytes = reply->bytes_done;
        if (reply->n_problems > 0) {
            progress_clear(&progress);
        }
        for (size_t i = 0; rc == VARVE_OK && i < reply->n_problems; i++) {
            count_problem(&tally, reply->problems[i]);
            rc = print_problem(cli, reply->problems[i], err);
        }
        print_size(cli, bytes, size);
        progress_draw(&progress, false, "verify: %" PRIu64 " of %" PRIu64 " points, %s read",
                      reply->points_done, points, size);
        envelope_release(&in);
    }
    progress_clear(&progress);
    return rc == VARVE_OK ? conclude(cli, &tally, points, bytes, err) : rc;
}
