/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/listing.h"

static void
add_row(const struct cli *cli, struct print_table *t, const Varve__V1__VmInfo *v)
{
    char size[PRINT_SIZE_TEXT];
    char id[PRINT_ID_TEXT];
    char number[16];
    char latest[32];
    uint64_t bytes = 0;

    for (size_t i = 0; i < v->vm->n_disks; i++) {
        bytes += v->vm->disks[i]->size;
    }
    print_short_id(&v->vm->id, id);
    print_size(cli, bytes, size);
    print_time(v->latest_point_us, latest);
    print_table_cell(t, v->vm->name);
    print_table_cell(t, id);
    print_table_cell(t, v->host_name);
    print_table_cell(t, v->host_connected ? v->vm->state : "host away");
    (void)snprintf(number, sizeof(number), "%zu", v->vm->n_disks);
    print_table_cell(t, number);
    print_table_cell(t, size);
    (void)snprintf(number, sizeof(number), "%" PRIu32, v->points);
    print_table_cell(t, number);
    print_table_cell(t, latest);
}

static enum varve_err
show_vm(struct cli *cli, const Varve__V1__VmInfo *v, struct varve_error *err)
{
    static const char *const headers[] = {"DISK",    "ID",   ">SIZE",  "FORMAT",
                                          "TRACKED", "PATH", "PROBLEM"};
    struct print_table *t;
    char text[96];
    enum varve_err rc;

    print_field(cli, "name", v->vm->name);
    {
        char id[GUID_TEXT_SIZE] = "-";
        struct guid guid;

        if (v->vm->id.len == sizeof(guid.bytes)) {
            memcpy(guid.bytes, v->vm->id.data, sizeof(guid.bytes));
            guid_format(&guid, id);
        }
        print_field(cli, "id", id);
    }
    (void)snprintf(text, sizeof(text), "%.48s%s", v->host_name,
                   v->host_connected ? "" : " (not connected)");
    print_field(cli, "host", text);
    print_field(cli, "state", v->vm->state);
    (void)snprintf(text, sizeof(text), "%" PRIu32, v->vm->generation);
    print_field(cli, "generation", v->vm->generation == 0 ? "-" : text);
    print_field(cli, "capture", v->vm->capture);
    print_field(cli, "source", v->vm->source);
    print_field(cli, "why so", v->vm->reason);
    (void)snprintf(text, sizeof(text), "%" PRIu32, v->points);
    print_field(cli, "points", text);
    print_time(v->latest_point_us, text);
    print_field(cli, "latest", text);
    (void)fputc('\n', cli->env->out);

    t = print_table_new(headers, sizeof(headers) / sizeof(headers[0]));
    for (size_t i = 0; i < v->vm->n_disks; i++) {
        const Varve__V1__InventoryDisk *d = v->vm->disks[i];
        char size[PRINT_SIZE_TEXT];
        char id[PRINT_ID_TEXT];

        print_short_id(&d->id, id);
        print_size(cli, d->size, size);
        print_table_cell(t, d->name);
        print_table_cell(t, id);
        print_table_cell(t, size);
        print_table_cell(t, d->format);
        print_table_cell(t, d->tracked ? "yes" : "no");
        print_table_cell(t, d->path);
        print_table_cell(t, d->problem);
    }
    rc = print_table_print(t, cli->env->out, err);
    print_table_free(t);
    return rc;
}

struct asked {
    const char *vm; /* "": all as a table; else each that matches, in full */
    size_t shown;
};

static enum varve_err
take_vms(struct listing *l, const Varve__V1__Envelope *head, struct varve_error *err)
{
    const Varve__V1__VmListReply *reply = head->vm_list_reply;
    struct asked *a = l->arg;
    enum varve_err rc = VARVE_OK;

    for (size_t i = 0; rc == VARVE_OK && i < reply->n_vms; i++) {
        const Varve__V1__VmInfo *v = reply->vms[i];

        if (l->cli->json) {
            rc = print_json_line(l->cli->env->out, json_vm(v), err);
        } else if (v->vm != NULL && a->vm[0] != '\0') {
            rc = show_vm(l->cli, v, err);
        } else if (v->vm != NULL) {
            add_row(l->cli, l->table, v);
        }
        a->shown++;
    }
    return rc;
}

static enum varve_err
list(struct cli *cli, char *vm, struct varve_error *err)
{
    static const char *const headers[] = {"VM",     "ID",    "HOST",    "STATE",
                                          ">DISKS", ">SIZE", ">POINTS", "LATEST"};
    Varve__V1__Envelope request = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__VmList vm_list = VARVE__V1__VM_LIST__INIT;
    struct asked asked = {.vm = vm};
    enum varve_err rc;

    vm_list.vm = vm;
    request.body_case = VARVE__V1__ENVELOPE__BODY_VM_LIST;
    request.vm_list = &vm_list;
    rc = listing_run(cli, &request, VARVE__V1__ENVELOPE__BODY_VM_LIST_REPLY,
                     vm[0] == '\0' ? headers : NULL, sizeof(headers) / sizeof(headers[0]), take_vms,
                     &asked, err);
    if (rc == VARVE_OK && asked.shown == 0 && vm[0] != '\0') {
        rc = varve_error_set(err, VARVE_ERR_NOT_FOUND,
                             "there is no vm '%.64s': see 'varve vm list'", vm);
    }
    return rc;
}

enum varve_err
cmd_vm_list(struct cli *cli, struct varve_error *err)
{
    char all[] = "";

    return list(cli, all, err);
}

enum varve_err
cmd_vm_show(struct cli *cli, struct varve_error *err)
{
    return list(cli, cli->args[0], err);
}
