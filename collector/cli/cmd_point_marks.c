/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/listing.h"
#include "cli/session.h"

/* Points kept longer or shorter than their policy says: deleted, undeleted, held, locked. */

static json_t *
json_marks(const Varve__V1__PointMarks *m)
{
    json_t *holds = json_array();

    for (size_t i = 0; i < m->n_holds; i++) {
        if (json_array_append_new(holds, json_text(m->holds[i])) != 0) {
            json_decref(holds);
            return NULL;
        }
    }
    return json_pack("{s:b,s:o,s:o,s:o}", "deleted", m->deleted ? 1 : 0, "undelete_until",
                     json_time(m->undelete_until_us), "holds", holds, "locked_until",
                     json_time(m->locked_until_us));
}

static enum varve_err
print_change(struct cli *cli, const Varve__V1__PointInfo *p, const Varve__V1__PointMarks *m,
             struct varve_error *err)
{
    FILE *out = cli->env->out;
    char id[PRINT_ID_TEXT];
    char time[32];

    if (cli->json) {
        return print_json_line(
            out, json_pack("{s:o,s:o}", "point", json_point(p), "marks", json_marks(m)), err);
    }
    if (cli->quiet) {
        return VARVE_OK;
    }
    print_short_id(&p->id, id);
    (void)fprintf(out, "point %s (", id);
    print_text(out, p->vm_name);
    (void)fprintf(out, ", seq %" PRIu64 "): ", p->seq);
    if (m->deleted) {
        print_time(m->undelete_until_us, time);
        (void)fprintf(out, "deleted, can be undeleted until %s\n", time);
        return VARVE_OK;
    }
    (void)fputs("kept", out);
    for (size_t i = 0; i < m->n_holds; i++) {
        (void)fputs(", held: ", out);
        print_text(out, m->holds[i]);
    }
    if (m->locked_until_us != 0) {
        print_time(m->locked_until_us, time);
        (void)fprintf(out, ", locked until %s", time);
    }
    (void)fputc('\n', out);
    return VARVE_OK;
}

static enum varve_err
change_points(struct cli *cli, Varve__V1__PointChange *change, struct varve_error *err)
{
    struct session *s = NULL;
    enum varve_err rc = cli_session(cli, &s, err);

    for (size_t i = 0; rc == VARVE_OK && i < cli->arg_count; i++) {
        Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
        struct envelope_in in;

        change->point = cli->args[i];
        request.body_case = VARVE__V1__ENVELOPE__BODY_POINT_CHANGE;
        request.point_change = change;
        rc = session_call(s, &request, VARVE__V1__ENVELOPE__BODY_POINT_CHANGE_REPLY, &in, err);
        if (rc != VARVE_OK) {
            break;
        }
        if (in.head->point_change_reply->point == NULL ||
            in.head->point_change_reply->marks == NULL) {
            rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the collector sent no point");
        } else {
            rc = print_change(cli, in.head->point_change_reply->point,
                              in.head->point_change_reply->marks, err);
        }
        envelope_release(&in);
    }
    return rc;
}

static enum varve_err
set_reason(struct cli *cli, Varve__V1__PointChange *change, bool wanted, struct varve_error *err)
{
    const char *reason = cli_value(cli, "--reason");

    if (reason == NULL && wanted) {
        return varve_error_set(err, VARVE_ERR_INVALID,
                               "why? say --reason 'TEXT', for whoever finds it later");
    }
    change->reason = (char *)(uintptr_t)(reason == NULL ? "" : reason); /* only read */
    return VARVE_OK;
}

enum varve_err
cmd_point_delete(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PointChange change = VARVE__V1__POINT_CHANGE__INIT;
    const char *window = cli_value(cli, "--undelete-for");
    enum varve_err rc = set_reason(cli, &change, false, err);

    change.action = VARVE__V1__POINT_ACTION__POINT_DELETE;
    change.last = cli_value(cli, "--last") != NULL;
    if (rc == VARVE_OK && window != NULL && strcmp(window, "0") == 0) {
        change.no_window = true;
    } else if (rc == VARVE_OK && window != NULL) {
        rc = cli_seconds(window, "--undelete-for", &change.seconds, err);
    }
    return rc == VARVE_OK ? change_points(cli, &change, err) : rc;
}

enum varve_err
cmd_point_undelete(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PointChange change = VARVE__V1__POINT_CHANGE__INIT;

    change.action = VARVE__V1__POINT_ACTION__POINT_UNDELETE;
    return change_points(cli, &change, err);
}

enum varve_err
cmd_point_hold(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PointChange change = VARVE__V1__POINT_CHANGE__INIT;
    enum varve_err rc = set_reason(cli, &change, true, err);

    change.action = VARVE__V1__POINT_ACTION__POINT_HOLD;
    return rc == VARVE_OK ? change_points(cli, &change, err) : rc;
}

enum varve_err
cmd_point_release(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PointChange change = VARVE__V1__POINT_CHANGE__INIT;

    change.action = VARVE__V1__POINT_ACTION__POINT_RELEASE;
    return change_points(cli, &change, err);
}

enum varve_err
cmd_point_lock(struct cli *cli, struct varve_error *err)
{
    Varve__V1__PointChange change = VARVE__V1__POINT_CHANGE__INIT;
    const char *length = cli_value(cli, "--for");
    enum varve_err rc = set_reason(cli, &change, false, err);

    change.action = VARVE__V1__POINT_ACTION__POINT_LOCK;
    if (rc == VARVE_OK && length == NULL) {
        rc = varve_error_set(err, VARVE_ERR_INVALID,
                             "for how long? say --for 30d; nobody can shorten it");
    }
    if (rc == VARVE_OK) {
        rc = cli_seconds(length, "--for", &change.seconds, err);
    }
    return rc == VARVE_OK ? change_points(cli, &change, err) : rc;
}

static enum varve_err
take_deleted(struct listing *l, const Varve__V1__Envelope *head, struct varve_error *err)
{
    const Varve__V1__PointDeletedListReply *reply = head->point_deleted_list_reply;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < reply->n_points && i < reply->n_marks; i++) {
        char text[32];

        if (l->cli->json) {
            rc = print_json_line(l->cli->env->out,
                                 json_pack("{s:o,s:o}", "point", json_point(reply->points[i]),
                                           "marks", json_marks(reply->marks[i])),
                                 err);
            continue;
        }
        print_short_id(&reply->points[i]->id, text);
        print_table_cell(l->table, text);
        print_table_cell(l->table, reply->points[i]->vm_name);
        (void)snprintf(text, sizeof(text), "%" PRIu64, reply->points[i]->seq);
        print_table_cell(l->table, text);
        print_time(reply->marks[i]->undelete_until_us, text);
        print_table_cell(l->table, text);
    }
    return rc;
}

enum varve_err
cmd_point_deleted(struct cli *cli, struct varve_error *err)
{
    static const char *const headers[] = {"POINT", "VM", ">SEQ", "UNDELETE UNTIL"};
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PointDeletedList list = VARVE__V1__POINT_DELETED_LIST__INIT;

    request.body_case = VARVE__V1__ENVELOPE__BODY_POINT_DELETED_LIST;
    request.point_deleted_list = &list;
    return listing_run(cli, &request, VARVE__V1__ENVELOPE__BODY_POINT_DELETED_LIST_REPLY, headers,
                       sizeof(headers) / sizeof(headers[0]), take_deleted, NULL, err);
}
