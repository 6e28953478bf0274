/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fake_collector.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/zero.h"
#include "os/thread.h"
#include "store/store_testing.h"
#include "wire/access.h"
#include "wire/envelope.h"

#define HOLE_UNIT 4096u

struct fake_collector {
    struct fake_script script;
    char *folder;
    char *access_path;
    struct identity *own;
    uint8_t operator_key[IDENTITY_KEY_SIZE];
    struct channel_listener *listener;
    struct thread thread;
    unsigned reads;

    struct mutex lock; /* text, channel */
    char text[256];
    struct channel *channel; /* in use, to be ended by fake_stop() */
    bool stopping;
};

static uint8_t id_bytes[16] = {0x3f, 0x2a, 0x91, 0xc4, 0x01, 0x02, 0x43, 0x04,
                               0x85, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c};
static uint8_t other_bytes[16] = {0x77, 0x2a, 0x91, 0xc4, 0x01, 0x02, 0x43, 0x04,
                                  0x85, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0d};
static char web[] = "web";
static char db[] = "db";

static void
die(const char *what, const char *why)
{
    (void)fprintf(stderr, "fake_collector: %s: %s\n", what, why);
    abort();
}

static void
must(enum varve_err rc, const struct varve_error *err, const char *what)
{
    if (rc != VARVE_OK) {
        die(what, err->msg);
    }
}

static ProtobufCBinaryData
bytes16(uint8_t *p)
{
    ProtobufCBinaryData data;

    data.len = 16;
    data.data = p;
    return data;
}

/* ---- answering ---- */

/* One request being answered. */
struct turn {
    struct fake_collector *f;
    struct channel *ch;
    const Varve__V1__Envelope *request;
    bool alive;
};

static void
send_bulk(struct turn *t, Varve__V1__Envelope *a, Varve__V1__Envelope__BodyCase body, bool more,
          const void *bulk, size_t len)
{
    struct aead_part part = {.data = bulk, .len = len};
    struct varve_error err;

    a->id = t->request->id + (t->f->script.lie == FAKE_WRONG_ID && t->request->id > 1);
    a->reply = 1;
    a->more = more;
    a->body_case = body;
    if (envelope_send(t->ch, a, &part, len > 0 ? 1 : 0, &err) != VARVE_OK) {
        t->alive = false;
    }
}

static void
send_answer(struct turn *t, Varve__V1__Envelope *a, Varve__V1__Envelope__BodyCase body, bool more)
{
    send_bulk(t, a, body, more, NULL, 0);
}

static void
send_error(struct turn *t, enum varve_err code, const char *message)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__Error error = VARVE__V1__ERROR__INIT;
    char text[240];

    (void)snprintf(text, sizeof(text), "%s", message);
    error.code = (uint32_t)code;
    error.message = text;
    a.error = &error;
    send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_ERROR, false);
}

static void
on_hello(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HelloReply reply = VARVE__V1__HELLO_REPLY__INIT;

    if (t->request->hello->role != VARVE__V1__ROLE__ROLE_OPERATOR) {
        die("hello", "not an operator");
    }
    reply.major = t->f->script.lie == FAKE_NEW_MAJOR ? 2 : 1;
    reply.minor = t->f->script.minor;
    a.hello_reply = &reply;
    send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_HELLO_REPLY, false);
}

static void
on_host_invite(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__HostInviteReply reply = VARVE__V1__HOST_INVITE_REPLY__INIT;
    char token[] = "varve1.TOKEN";

    if (strcmp(t->request->host_invite->name, "taken") == 0) {
        send_error(t, VARVE_ERR_EXISTS, "host 'taken' exists");
        return;
    }
    reply.token = token;
    reply.expires_at_us = (int64_t)t->request->host_invite->ttl_seconds * 1000000;
    a.host_invite_reply = &reply;
    send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_HOST_INVITE_REPLY, false);
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
        send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_HOST_LIST_REPLY, i == 0);
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
    send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_VM_LIST_REPLY, false);
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
    send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_BACKUP_RUN_REPLY, more);
}

static void
on_backup_run(struct turn *t)
{
    Varve__V1__Error error = VARVE__V1__ERROR__INIT;
    char message[] = "the store is full";

    if (t->request->backup_run->n_vms > 0 &&
        strcmp(t->request->backup_run->vms[0], "nosuch") == 0) {
        send_error(t, VARVE_ERR_NOT_FOUND, "there is no vm 'nosuch'");
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

static void
fill_point(Varve__V1__PointInfo *p)
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

    fill_point(&point);
    reply.points = points;
    reply.n_points = 1;
    a.point_list_reply = &reply;
    send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_POINT_LIST_REPLY, false);
}

static void
on_point_show(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__PointShowReply reply = VARVE__V1__POINT_SHOW_REPLY__INIT;
    Varve__V1__PointInfo point = VARVE__V1__POINT_INFO__INIT;

    if (strcmp(t->request->point_show->point, "deadbeef") == 0) {
        send_error(t, VARVE_ERR_NOT_FOUND, "there is no point 'deadbeef'");
        return;
    }
    if (strcmp(t->request->point_show->point, "3f2a") == 0) {
        send_error(t, VARVE_ERR_INVALID, "'3f2a' could be 3f2a91c4 or 3f2a0000");
        return;
    }
    fill_point(&point);
    reply.point = &point;
    a.point_show_reply = &reply;
    send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_POINT_SHOW_REPLY, false);
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
    send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_VERIFY_REPLY, true);
    reply.points_done = 5;
    reply.bytes_done = 1048576;
    reply.problems = problems;
    reply.n_problems = t->f->script.verify_finds ? 2 : 0;
    send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_VERIFY_REPLY, false);
}

static void
on_status(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__StatusReply reply = VARVE__V1__STATUS_REPLY__INIT;
    char listen[] = "tcp://127.0.0.1:1";

    reply.listen = listen;
    reply.points = 2;
    reply.logical_bytes = 8192;
    reply.stored_bytes = 1024;
    a.status_reply = &reply;
    send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_STATUS_REPLY, false);
}

/* ---- restore ---- */

/* Two replies: the first file, then the others. */
static void
on_restore_open(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    const struct fake_script *s = &t->f->script;
    Varve__V1__PointInfo point = VARVE__V1__POINT_INFO__INIT;
    char note[] = "disk 'a' was resized";
    char *notes[] = {note};
    size_t from = 0;

    fill_point(&point);
    do {
        Varve__V1__RestoreOpenReply reply = VARVE__V1__RESTORE_OPEN_REPLY__INIT;
        Varve__V1__RestoreFile files[FAKE_FILES_MAX];
        Varve__V1__RestoreFile *list[FAKE_FILES_MAX];
        size_t to = from == 0 && s->file_count > 1 ? 1 : s->file_count;

        for (size_t i = from; i < to; i++) {
            varve__v1__restore_file__init(&files[i - from]);
            files[i - from].name = (char *)(uintptr_t)s->files[i].name; /* only read */
            files[i - from].size = s->files[i].size;
            files[i - from].data_bytes = s->files[i].data_bytes;
            list[i - from] = &files[i - from];
        }
        reply.restore = 7;
        reply.point = from == 0 ? &point : NULL;
        reply.files = list;
        reply.n_files = to - from;
        reply.notes = notes;
        reply.n_notes = from == 0 ? 1 : 0;
        a.restore_open_reply = &reply;
        from = to;
        send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_RESTORE_OPEN_REPLY, from < s->file_count);
    } while (from < s->file_count);
}

static const struct fake_file *
file_of(struct turn *t, uint32_t restore, uint32_t file)
{
    if (restore != 7 || file >= t->f->script.file_count) {
        die("restore", "no such file");
    }
    return &t->f->script.files[file];
}

static bool
is_hole(const struct fake_file *file, uint64_t off, uint64_t end)
{
    return codec_is_zero(file->bytes + off, (size_t)(end - off));
}

static uint64_t
unit_end(const struct fake_file *file, uint64_t at)
{
    uint64_t end = (at / HOLE_UNIT + 1) * HOLE_UNIT;

    return end < file->size ? end : file->size;
}

/* One stretch a reply: asking on is exercised. */
static void
on_restore_map(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    const Varve__V1__RestoreMap *req = t->request->restore_map;
    const struct fake_file *file = file_of(t, req->restore, req->file);
    Varve__V1__RestoreMapReply reply = VARVE__V1__RESTORE_MAP_REPLY__INIT;
    Varve__V1__RestoreStretch stretch = VARVE__V1__RESTORE_STRETCH__INIT;
    Varve__V1__RestoreStretch *list[] = {&stretch};
    uint64_t at = req->offset;

    while (at < file->size && is_hole(file, at, unit_end(file, at))) {
        at = unit_end(file, at);
    }
    stretch.offset = at;
    while (at < file->size && !is_hole(file, at, unit_end(file, at))) {
        at = unit_end(file, at);
    }
    stretch.length = at - stretch.offset;
    reply.stretches = list;
    reply.n_stretches = stretch.length > 0 ? 1 : 0;
    reply.next_offset = at;
    switch (t->f->script.lie) {
    case FAKE_MAP_BACK:
        reply.n_stretches = req->offset > 0 ? 1 : reply.n_stretches;
        stretch.offset = req->offset > 0 ? 0 : stretch.offset;
        break;
    case FAKE_MAP_BEYOND:
        stretch.length = file->size;
        stretch.offset = 1;
        reply.n_stretches = 1;
        break;
    case FAKE_MAP_STUCK:
        reply.n_stretches = 0;
        reply.next_offset = req->offset;
        break;
    default:
        break;
    }
    a.restore_map_reply = &reply;
    send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_RESTORE_MAP_REPLY, false);
}

static void
on_restore_read(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    const Varve__V1__RestoreRead *req = t->request->restore_read;
    const struct fake_file *file = file_of(t, req->restore, req->file);
    Varve__V1__RestoreReadReply reply = VARVE__V1__RESTORE_READ_REPLY__INIT;
    Varve__V1__RestorePiece pieces[257];
    Varve__V1__RestorePiece *list[257];
    uint8_t *bulk = malloc(req->length + 1);
    uint64_t at = req->offset;
    uint64_t limit = at + req->length;
    size_t used = 0;
    size_t n = 0;

    if (bulk == NULL || limit > file->size || req->length > 1024 * 1024) {
        die("restore", "a read that makes no sense");
    }
    while (at < limit) {
        uint64_t end = (at / HOLE_UNIT + 1) * HOLE_UNIT;

        end = end < limit ? end : limit;
        varve__v1__restore_piece__init(&pieces[n]);
        pieces[n].length = (uint32_t)(end - at);
        pieces[n].hole = is_hole(file, at, end);
        if (!pieces[n].hole) {
            memcpy(bulk + used, file->bytes + at, (size_t)(end - at));
            used += (size_t)(end - at);
        }
        list[n] = &pieces[n];
        n++;
        at = end;
    }
    reply.pieces = list;
    reply.n_pieces = n;
    if (t->f->script.lie == FAKE_LONG_PIECE && n > 0) {
        pieces[n - 1].length += 1;
    }
    if (t->f->script.lie == FAKE_SHORT_BULK && used > 0) {
        used--;
    }
    a.restore_read_reply = &reply;
    send_bulk(t, &a, VARVE__V1__ENVELOPE__BODY_RESTORE_READ_REPLY, false, bulk, used);
    free(bulk);
}

static void
on_read_or_trouble(struct turn *t)
{
    t->f->reads++;
    if (t->f->reads == t->f->script.hang_up_read) {
        t->alive = false;
    } else if (t->f->reads == t->f->script.fail_read) {
        send_error(t, t->f->script.fail_code, "chunk is damaged");
    } else if (t->f->script.lie == FAKE_WRONG_BODY) {
        on_status(t);
    } else {
        on_restore_read(t);
    }
}

static void
on_restore_close(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreCloseReply reply = VARVE__V1__RESTORE_CLOSE_REPLY__INIT;

    a.restore_close_reply = &reply;
    send_answer(t, &a, VARVE__V1__ENVELOPE__BODY_RESTORE_CLOSE_REPLY, false);
}

/* ---- conversations ---- */

static void
note_text(struct fake_collector *f, const char *text)
{
    mutex_lock(&f->lock);
    (void)snprintf(f->text, sizeof(f->text), "%s", text);
    mutex_unlock(&f->lock);
}

static void
answer(struct turn *t)
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
        on_status(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_RESTORE_OPEN:
        note_text(t->f, q->restore_open->base_point);
        on_restore_open(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_RESTORE_MAP:
        on_restore_map(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_RESTORE_READ:
        on_read_or_trouble(t);
        break;
    case VARVE__V1__ENVELOPE__BODY_RESTORE_CLOSE:
        on_restore_close(t);
        break;
    default:
        send_error(t, VARVE_ERR_UNSUPPORTED, "not in the script");
        break;
    }
}

static void
converse(struct fake_collector *f, struct channel *ch)
{
    struct turn t = {.f = f, .ch = ch, .alive = true};
    struct envelope_in in;
    struct varve_error err;

    while (t.alive && envelope_recv(ch, &in, &err) == VARVE_OK) {
        t.request = in.head;
        answer(&t);
        envelope_release(&in);
    }
}

static enum channel_verdict
decide(void *arg, const uint8_t peer_key[IDENTITY_KEY_SIZE], const uint8_t *secret_id,
       uint8_t secret[32])
{
    struct fake_collector *f = arg;

    (void)secret;
    return secret_id == NULL && memcmp(peer_key, f->operator_key, IDENTITY_KEY_SIZE) == 0
               ? CHANNEL_ACCEPT
               : CHANNEL_REFUSE;
}

static void
serve(void *arg)
{
    struct fake_collector *f = arg;
    const struct channel_policy policy = {.decide = decide, .arg = f};
    struct channel_pending *pending = NULL;
    struct varve_error err;

    while (channel_listener_accept(f->listener, &pending, &err) == VARVE_OK) {
        struct channel *ch = NULL;
        bool enrolled = false;
        bool stopping;

        if (channel_pending_finish(pending, &ch, &policy, &enrolled, &err) != VARVE_OK) {
            continue;
        }
        mutex_lock(&f->lock);
        f->channel = ch;
        stopping = f->stopping;
        mutex_unlock(&f->lock);
        if (!stopping) {
            converse(f, ch);
        }
        mutex_lock(&f->lock);
        f->channel = NULL;
        mutex_unlock(&f->lock);
        channel_close(ch);
    }
}

struct fake_collector *
fake_start(const struct fake_script *script)
{
    struct fake_collector *f = calloc(1, sizeof(*f));
    struct access access;
    struct varve_error err;
    char url[256];

    if (f == NULL) {
        die("calloc", "no memory");
    }
    memset(&access, 0, sizeof(access));
    f->script = *script;
    mutex_init(&f->lock);
    must(crypto_init(&err), &err, "crypto");
    f->folder = test_folder_make();
    f->access_path = test_path(f->folder, "operator.access");
    must(identity_generate(&f->own, &err), &err, "identity");
    must(identity_generate(&access.key, &err), &err, "identity");
    memcpy(f->operator_key, identity_public(access.key), IDENTITY_KEY_SIZE);
    (void)snprintf(url, sizeof(url), "ipc://%s/sock", f->folder);
    must(channel_listener_open(&f->listener, url, f->own, &err), &err, "listener");
    (void)snprintf(access.address, sizeof(access.address), "%s", url);
    memcpy(access.collector, identity_public(f->own), IDENTITY_KEY_SIZE);
    must(access_save(&access, fs_system(), f->access_path, &err), &err, "access");
    access_release(&access);
    must(thread_start(&f->thread, "fake", serve, f, &err), &err, "thread");
    return f;
}

const char *
fake_access_path(const struct fake_collector *f)
{
    return f->access_path;
}

const char *
fake_folder(const struct fake_collector *f)
{
    return f->folder;
}

const char *
fake_last_text(struct fake_collector *f)
{
    return f->text;
}

void
fake_stop(struct fake_collector *f)
{
    channel_listener_stop(f->listener);
    mutex_lock(&f->lock);
    f->stopping = true;
    if (f->channel != NULL) {
        channel_abort(f->channel);
    }
    mutex_unlock(&f->lock);
    thread_join(&f->thread);
    channel_listener_close(f->listener);
    identity_free(f->own);
    test_folder_remove(f->folder);
    free(f->access_path);
    mutex_destroy(&f->lock);
    free(f);
}
