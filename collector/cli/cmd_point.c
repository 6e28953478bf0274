/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/listing.h"
#include "cli/session.h"

struct sums {
    uint64_t size;
    uint64_t read;
    uint64_t sent;
    uint64_t fresh;
    bool incremental;
};

static struct sums
add_up(const Varve__V1__PointInfo *p)
{
    struct sums s = {.incremental = p->n_disks > 0};

    for (size_t i = 0; i < p->n_disks; i++) {
        s.size += p->disks[i]->size;
        s.read += p->disks[i]->read_bytes;
        s.sent += p->disks[i]->sent_bytes;
        s.fresh += p->disks[i]->new_bytes;
        s.incremental = s.incremental && p->disks[i]->incremental;
    }
    return s;
}

static void
size_cell(const struct cli *cli, struct print_table *t, uint64_t bytes)
{
    char text[PRINT_SIZE_TEXT];

    print_size(cli, bytes, text);
    print_table_cell(t, text);
}

static void
add_row(const struct cli *cli, struct print_table *t, const Varve__V1__PointInfo *p)
{
    struct sums s = add_up(p);
    char id[PRINT_ID_TEXT];
    char text[32];

    print_short_id(&p->id, id);
    print_table_cell(t, id);
    print_table_cell(t, p->vm_name);
    (void)snprintf(text, sizeof(text), "%" PRIu64, p->seq);
    print_table_cell(t, text);
    print_time(p->frozen_at_us, text);
    print_table_cell(t, text);
    print_table_cell(t, p->consistency);
    print_table_cell(t, p->capture[0] != '\0' ? p->capture : "-");
    print_table_cell(t, s.incremental ? "incremental" : "full");
    (void)snprintf(text, sizeof(text), "%zu", p->n_disks);
    print_table_cell(t, text);
    size_cell(cli, t, s.size);
    size_cell(cli, t, s.read);
    size_cell(cli, t, s.sent);
    size_cell(cli, t, s.fresh);
}

static enum varve_err
take_points(struct listing *l, const Varve__V1__Envelope *head, struct varve_error *err)
{
    const Varve__V1__PointListReply *reply = head->point_list_reply;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < reply->n_points; i++) {
        if (l->cli->json) {
            rc = print_json_line(l->cli->env->out, json_point(reply->points[i]), err);
        } else {
            add_row(l->cli, l->table, reply->points[i]);
        }
    }
    return rc;
}

enum varve_err
cmd_point_list(struct cli *cli, struct varve_error *err)
{
    static const char *const headers[] = {"POINT",      "VM",     ">SEQ",  "FROZEN",
                                          "CONSISTENT", "METHOD", "KIND",  ">DISKS",
                                          ">SIZE",      ">READ",  ">SENT", ">NEW"};
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PointList point_list = VARVE__V1__POINT_LIST__INIT;

    if (cli->arg_count > 0) {
        point_list.vm = cli->args[0];
    }
    request.body_case = VARVE__V1__ENVELOPE__BODY_POINT_LIST;
    request.point_list = &point_list;
    return listing_run(cli, &request, VARVE__V1__ENVELOPE__BODY_POINT_LIST_REPLY, headers,
                       sizeof(headers) / sizeof(headers[0]), take_points, NULL, err);
}

static void
id_field(const struct cli *cli, const char *name, const ProtobufCBinaryData *id)
{
    char text[GUID_TEXT_SIZE] = "-";
    struct guid guid;

    if (id->len == sizeof(guid.bytes)) {
        memcpy(guid.bytes, id->data, sizeof(guid.bytes));
        guid_format(&guid, text);
    }
    print_field(cli, name, text);
}

static enum varve_err
show_point(struct cli *cli, const Varve__V1__PointInfo *p, struct varve_error *err)
{
    static const char *const headers[] = {"DISK",  ">SIZE", "KIND", ">TRACKED",
                                          ">READ", ">SENT", ">NEW", "REASON"};
    struct print_table *t;
    char text[32];
    enum varve_err rc;

    id_field(cli, "point", &p->id);
    print_field(cli, "vm", p->vm_name);
    id_field(cli, "vm id", &p->vm_id);
    (void)snprintf(text, sizeof(text), "%" PRIu64, p->seq);
    print_field(cli, "sequence", text);
    print_field(cli, "host", p->host_name);
    print_time(p->frozen_at_us, text);
    print_field(cli, "frozen", text);
    print_time(p->published_at_us, text);
    print_field(cli, "published", text);
    print_field(cli, "consistency", p->consistency);
    print_field(cli, "capture", p->capture);
    print_field(cli, "source", p->source);
    print_field(cli, "why so", p->reason);
    id_field(cli, "run", &p->run_id);
    for (size_t i = 0; i < p->n_files; i++) {
        print_field(cli, i == 0 ? "configuration" : "", p->files[i]);
    }
    (void)fputc('\n', cli->env->out);

    t = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    for (size_t i = 0; i < p->n_disks; i++) {
        const Varve__V1__PointDiskInfo *d = p->disks[i];

        print_table_cell(t, d->name);
        size_cell(cli, t, d->size);
        print_table_cell(t, d->incremental ? "incremental" : "full");
        size_cell(cli, t, d->tracked_bytes);
        size_cell(cli, t, d->read_bytes);
        size_cell(cli, t, d->sent_bytes);
        size_cell(cli, t, d->new_bytes);
        print_table_cell(t, d->reason);
    }
    rc = print_table_print(t, cli->env->out, err);
    print_table_free(t);
    return rc;
}

enum varve_err
cmd_point_show(struct cli *cli, struct varve_error *err)
{
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PointShow point_show = VARVE__V1__POINT_SHOW__INIT;
    struct session *s = NULL;
    struct envelope_in in;
    enum varve_err rc;

    rc = cli_session(cli, &s, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    point_show.point = cli->args[0];
    request.body_case = VARVE__V1__ENVELOPE__BODY_POINT_SHOW;
    request.point_show = &point_show;
    rc = session_call(s, &request, VARVE__V1__ENVELOPE__BODY_POINT_SHOW_REPLY, &in, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (in.head->point_show_reply->point == NULL) {
        rc = varve_error_set(err, VARVE_ERR_PROTOCOL, "the collector sent no point");
    } else if (cli->json) {
        rc = print_json_line(cli->env->out, json_point(in.head->point_show_reply->point), err);
    } else {
        rc = show_point(cli, in.head->point_show_reply->point, err);
    }
    envelope_release(&in);
    return rc;
}
