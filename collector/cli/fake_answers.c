/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fake_internal.h"

#include <stdio.h>
#include <string.h>

static uint8_t id_bytes[16] = {0x3f, 0x2a, 0x91, 0xc4, 0x01, 0x02, 0x43, 0x04,
                               0x85, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c};
static uint8_t other_bytes[16] = {0x77, 0x2a, 0x91, 0xc4, 0x01, 0x02, 0x43, 0x04,
                                  0x85, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0d};
static char web[] = "web";
static char db[] = "db";

static ProtobufCBinaryData
bytes16(uint8_t *p)
{
    ProtobufCBinaryData data;

    data.len = 16;
    data.data = p;
    return data;
}

static void
on_hello(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HelloReply reply = VARVE__V1__HELLO_REPLY__INIT;

    if (t->request->hello->role != VARVE__V1__ROLE__ROLE_OPERATOR) {
        fake_die("hello", "not an operator");
    }
    reply.major = t->f->script.lie == FAKE_NEW_MAJOR ? 2 : 1;
    reply.minor = t->f->script.minor;
    a.hello_reply = &reply;
    fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_HELLO_REPLY, false);
}

static void
on_host_invite(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostInviteReply reply = VARVE__V1__HOST_INVITE_REPLY__INIT;
    char token[] = "varve1.TOKEN";

    if (strcmp(t->request->host_invite->name, "taken") == 0) {
        fake_send_error(t, VARVE_ERR_EXISTS, "host 'taken' exists");
        return;
    }
    reply.token = token;
    reply.expires_at_us = (int64_t)t->request->host_invite->ttl_seconds * 1000000;
    a.host_invite_reply = &reply;
    fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_HOST_INVITE_REPLY, false);
}

/* Two hosts in two replies. */
static void
on_host_list(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    char enrolled[] = "enrolled";
    char *names[] = {web, db};

    for (size_t i = 0; i < 2; i++) {
        Varve__V1__HostListReply reply = VARVE__V1__HOST_LIST_REPLY__INIT;
        Varve__V1__HostInfo host = VARVE__V1__HOST_INFO__INIT;
        Varve__V1__HostInfo *hosts[] = {&host};

        host.name = names[i];
        host.id = bytes16(i == 0 ? id_bytes : other_bytes);
        host.state = enrolled;
        host.connected = i == 0;
        reply.hosts = hosts;
        reply.n_hosts = 1;
        a.host_list_reply = &reply;
        fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_HOST_LIST_REPLY, i == 0);
    }
}

static void
on_vm_list(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__VmListReply reply = VARVE__V1__VM_LIST_REPLY__INIT;
    Varve__V1__VmInfo info = VARVE__V1__VM_INFO__INIT;
    Varve__V1__InventoryVm vm = VARVE__V1__INVENTORY_VM__INIT;
    Varve__V1__InventoryDisk disk = VARVE__V1__INVENTORY_DISK__INIT;
    Varve__V1__InventoryDisk *disks[] = {&disk};
    Varve__V1__VmInfo *vms[] = {&info};
    char running[] = "running";

    info.vm = &vm;
    info.host_name = db;
    info.host_connected = 1;
    vm.id = bytes16(id_bytes);
    vm.name = web;
    vm.state = running;
    vm.disks = disks;
    vm.n_disks = 1;
    disk.size = 4096;
    reply.vms = vms;
    reply.n_vms = t->request->vm_list->vm[0] == '\0' || strcmp(t->request->vm_list->vm, web) == 0;
    a.vm_list_reply = &reply;
    fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_VM_LIST_REPLY, false);
}

static void
send_run(struct turn *t, const char *phase, uint8_t *id, char *vm, Varve__V1__Error *error,
         bool more)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__BackupRunReply reply = VARVE__V1__BACKUP_RUN_REPLY__INIT;
    Varve__V1__RunInfo run = VARVE__V1__RUN_INFO__INIT;
    Varve__V1__RunInfo *runs[] = {&run};
    char text[16];

    (void)snprintf(text, sizeof(text), "%s", phase);
    run.run_id = bytes16(id);
    run.vm_name = vm;
    run.phase = text;
    run.read_bytes = 2048;
    run.sent_bytes = 1024;
    run.planned_bytes = 4096;
    run.new_bytes = 1536;
    run.incremental = 1;
    run.point_id = bytes16(id_bytes);
    run.started_at_us = 1000000;
    run.ended_at_us = 3500000;
    run.error = error;
    reply.runs = runs;
    reply.n_runs = 1;
    a.backup_run_reply = &reply;
    fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_BACKUP_RUN_REPLY, more);
}

static void
on_backup_run(struct turn *t)
{
    Varve__V1__Error error = VARVE__V1__ERROR__INIT;
    char message[] = "the store is full";

    if (t->request->backup_run->n_vms > 0 &&
        strcmp(t->request->backup_run->vms[0], "nosuch") == 0) {
        fake_send_error(t, VARVE_ERR_NOT_FOUND, "there is no vm 'nosuch'");
        return;
    }
    error.code = VARVE_ERR_NOSPACE;
    error.message = message;
    send_run(t, "read", id_bytes, web, NULL, true);
    send_run(t, "read", other_bytes, db, NULL, true);
    send_run(t, "done", id_bytes, web, NULL, true);
    send_run(t, t->f->script.backup_fails ? "failed" : "done", other_bytes, db,
             t->f->script.backup_fails ? &error : NULL, false);
}

void
fake_fill_point(Varve__V1__PointInfo *p)
{
    p->id = bytes16(id_bytes);
    p->seq = 3;
    p->vm_name = web;
    p->frozen_at_us = 1763806530000000;
}

static void
on_point_list(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PointListReply reply = VARVE__V1__POINT_LIST_REPLY__INIT;
    Varve__V1__PointInfo point = VARVE__V1__POINT_INFO__INIT;
    Varve__V1__PointInfo *points[] = {&point};

    fake_fill_point(&point);
    reply.points = points;
    reply.n_points = 1;
    a.point_list_reply = &reply;
    fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_POINT_LIST_REPLY, false);
}

static void
on_point_show(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PointShowReply reply = VARVE__V1__POINT_SHOW_REPLY__INIT;
    Varve__V1__PointInfo point = VARVE__V1__POINT_INFO__INIT;

    if (strcmp(t->request->point_show->point, "deadbeef") == 0) {
        fake_send_error(t, VARVE_ERR_NOT_FOUND, "there is no point 'deadbeef'");
        return;
    }
    if (strcmp(t->request->point_show->point, "3f2a") == 0) {
        fake_send_error(t, VARVE_ERR_INVALID, "'3f2a' could be 3f2a91c4 or 3f2a0000");
        return;
    }
    fake_fill_point(&point);
    reply.point = &point;
    a.point_show_reply = &reply;
    fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_POINT_SHOW_REPLY, false);
}

static void
on_verify(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__VerifyReply reply = VARVE__V1__VERIFY_REPLY__INIT;
    Varve__V1__VerifyProblem problem = VARVE__V1__VERIFY_PROBLEM__INIT;
    Varve__V1__VerifyProblem *problems[] = {&problem, &problem};
    Varve__V1__Error error = VARVE__V1__ERROR__INIT;
    char message[] = "record damaged";

    error.code = VARVE_ERR_CORRUPT;
    error.message = message;
    problem.point_id = bytes16(id_bytes);
    problem.vm_name = web;
    problem.point_seq = 3;
    problem.disk = db;
    problem.offset = 65536;
    problem.length = 65536;
    problem.error = &error;
    reply.points_total = 5;
    a.verify_reply = &reply;
    fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_VERIFY_REPLY, true);
    reply.points_done = 5;
    reply.bytes_done = 1048576;
    reply.problems = problems;
    reply.n_problems = t->f->script.verify_finds ? 2 : 0;
    fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_VERIFY_REPLY, false);
}

void
fake_status(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StatusReply reply = VARVE__V1__STATUS_REPLY__INIT;
    char listen[] = "tcp://127.0.0.1:1";

    reply.listen = listen;
    reply.points = 2;
    reply.logical_bytes = 8192;
    reply.stored_bytes = 1024;
    a.status_reply = &reply;
    fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_STATUS_REPLY, false);
}

static void
note_text(struct fake_collector *f, const char *text)
{
    mutex_lock(&f->lock);
    (void)snprintf(f->text, sizeof(f->text), "%s", text);
    mutex_unlock(&f->lock);
}

void
fake_answer(struct turn *t)
{
    const Varve__V1__Envelope *q = t->request;

    if (t->f->script.silent && q->body_case != VARVE__V1__ENVELOPE__BODY_HELLO) {
        return;
    }
    switch (q->body_case) {
    case VARVE__V1__ENVELOPE__BODY_HELLO:
        on_hello(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_HOST_INVITE:
        note_text(t->f, q->host_invite->address);
        on_host_invite(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_HOST_LIST:
        on_host_list(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_VM_LIST:
        on_vm_list(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_BACKUP_RUN:
        note_text(t->f, q->backup_run->full ? "full" : "not full");
        if (q->backup_run->method[0] != '\0') {
            note_text(t->f, q->backup_run->method);
        }
        on_backup_run(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_POINT_LIST:
        note_text(t->f, q->point_list->vm);
        on_point_list(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_POINT_SHOW:
        on_point_show(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_VERIFY:
        note_text(t->f, q->verify->n_points > 0 ? q->verify->points[0] : "all");
        on_verify(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_STATUS:
        fake_status(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_RESTORE_OPEN:
        note_text(t->f, q->restore_open->base_point);
        fake_restore_open(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_RESTORE_MAP:
        fake_restore_map(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_RESTORE_READ:
        fake_restore_read(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_RESTORE_CLOSE:
        fake_restore_close(t);
        break;
    default:
        fake_send_error(t, VARVE_ERR_UNSUPPORTED, "not in the script");
        break;
    }
}
