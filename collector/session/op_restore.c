/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "os/thread.h"
#include "restore/assembly.h"
#include "session/op_modules.h"

/*
 * Restores of one session: RestoreOpen plans an assembly and gives it a number, the others use it by
 * that number.  Reads and maps of one restore run in parallel on the worker pool; an assembly is
 * freed by whoever lets go of it last.
 */
#define RESTORES_MAX    8u
#define FILES_PER_REPLY 1024u

struct open_restore {
    struct assembly *assembly;
    uint32_t id;
    unsigned users; /* calls in progress, and one while it is open */
};

struct restores {
    struct mutex lock; /* everything below; held for no other call */
    struct open_restore *open[RESTORES_MAX];
    unsigned planning; /* places promised to RestoreOpen calls in progress */
    uint32_t last_id;
};

static enum varve_err
session_begin(const struct collector *c, void **slot, struct varve_error *err)
{
    struct restores *r = calloc(1, sizeof(*r));

    (void)c;
    if (r == NULL) {
        return varve_error_nomem(err);
    }
    mutex_init(&r->lock);
    *slot = r;
    return VARVE_OK;
}

static void
session_end(const struct collector *c, void *slot)
{
    struct restores *r = slot;

    (void)c;
    for (size_t i = 0; i < RESTORES_MAX; i++) {
        if (r->open[i] != NULL) {
            assembly_close(r->open[i]->assembly);
            free(r->open[i]);
        }
    }
    mutex_destroy(&r->lock);
    free(r);
}

static enum varve_err
take(struct restores *r, uint32_t id, struct open_restore **out, struct varve_error *err)
{
    struct open_restore *found = NULL;

    mutex_lock(&r->lock);
    for (size_t i = 0; i < RESTORES_MAX; i++) {
        if (r->open[i] != NULL && r->open[i]->id == id) {
            found = r->open[i];
            found->users++;
        }
    }
    mutex_unlock(&r->lock);
    if (found == NULL) {
        return varve_error_set(err, VARVE_ERR_NOT_FOUND, "there is no open restore %" PRIu32, id);
    }
    *out = found;
    return VARVE_OK;
}

static void
give_back(struct restores *r, struct open_restore *o)
{
    bool last;

    mutex_lock(&r->lock);
    last = --o->users == 0;
    mutex_unlock(&r->lock);
    if (last) {
        assembly_close(o->assembly);
        free(o);
    }
}

/* ---- open ---- */

static enum varve_err
reserve(struct restores *r, struct varve_error *err)
{
    unsigned used = 0;
    bool room;

    mutex_lock(&r->lock);
    for (size_t i = 0; i < RESTORES_MAX; i++) {
        used += r->open[i] != NULL ? 1 : 0;
    }
    room = used + r->planning < RESTORES_MAX;
    r->planning += room ? 1 : 0;
    mutex_unlock(&r->lock);
    return room ? VARVE_OK
                : varve_error_set(err, VARVE_ERR_LIMIT,
                                  "this session has %u restores open already: close one first",
                                  RESTORES_MAX);
}

/* Uses up a reserved place; o NULL: it is not needed. */
static void
settle(struct restores *r, struct open_restore *o)
{
    mutex_lock(&r->lock);
    r->planning--;
    for (size_t i = 0; o != NULL && i < RESTORES_MAX; i++) {
        if (r->open[i] == NULL) {
            o->id = ++r->last_id;
            o->users = 2; /* open, and still being answered */
            r->open[i] = o;
            break;
        }
    }
    mutex_unlock(&r->lock);
}

static enum varve_err
plan(const struct collector *c, const Varve__V1__RestoreOpen *req, struct assembly **out,
     struct point **point, struct varve_error *err)
{
    struct point *base = NULL;
    enum assembly_format format;
    enum varve_err rc;

    switch (req->format) {
    case VARVE__V1__RESTORE_FORMAT__RESTORE_VHDX:
        format = ASSEMBLY_VHDX;
        break;
    case VARVE__V1__RESTORE_FORMAT__RESTORE_RAW:
        format = ASSEMBLY_RAW;
        break;
    case VARVE__V1__RESTORE_FORMAT__RESTORE_CHAIN:
        format = ASSEMBLY_CHAIN;
        break;
    case VARVE__V1__RESTORE_FORMAT__RESTORE_VHDX_FIXED:
        format = ASSEMBLY_VHDX_FIXED;
        break;
    case VARVE__V1__RESTORE_FORMAT__RESTORE_VHD:
        format = ASSEMBLY_VHD;
        break;
    default:
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED, "restore format %d is not known here",
                               (int)req->format);
    }
    rc = catalog_select(c->catalog, req->point, point, err);
    if (rc == VARVE_OK && req->base_point[0] != '\0') {
        rc = catalog_select(c->catalog, req->base_point, &base, err);
    }
    if (rc == VARVE_OK) {
        rc = assembly_open(out, c->chunks, c->catalog, *point, format, base, err);
    }
    point_unref(base);
    return rc;
}

/* One reply with the files from `first` on; the first one also tells the point and the notes. */
static enum varve_err
reply_files(const struct assembly *a, uint32_t id, const Varve__V1__PointInfo *point, size_t first,
            struct op_sink *sink, struct varve_error *err)
{
    Varve__V1__Envelope head = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreOpenReply reply = VARVE__V1__RESTORE_OPEN_REPLY__INIT;
    Varve__V1__PointInfo info = *point;
    size_t count = assembly_file_count(a) - first;
    size_t note_count = first == 0 ? assembly_note_count(a) : 0;
    Varve__V1__RestoreFile *files = NULL;
    Varve__V1__RestoreFile **list = NULL;
    char **notes = NULL;
    enum varve_err rc;

    if (count > FILES_PER_REPLY) {
        count = FILES_PER_REPLY;
    }
    files = calloc(count + 1, sizeof(*files));
    list = calloc(count + 1, sizeof(*list));
    notes = calloc(note_count + 1, sizeof(*notes));
    if (files == NULL || list == NULL || notes == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        const struct assembly_file *f = assembly_get_file(a, first + i);

        varve__v1__restore_file__init(&files[i]);
        files[i].name = (char *)(uintptr_t)f->name; /* only read by the packer */
        files[i].size = f->size;
        files[i].data_bytes = f->data_bytes;
        if (f->disk != NULL) {
            files[i].disk_id.data = (uint8_t *)(uintptr_t)f->disk->id.bytes;
            files[i].disk_id.len = sizeof(f->disk->id.bytes);
        }
        files[i].point_id.data = (uint8_t *)(uintptr_t)f->point->id.bytes;
        files[i].point_id.len = sizeof(f->point->id.bytes);
        list[i] = &files[i];
    }
    for (size_t i = 0; i < note_count; i++) {
        notes[i] = (char *)(uintptr_t)assembly_get_note(a, i);
    }
    reply.restore = id;
    reply.point = first == 0 ? &info : NULL;
    reply.files = list;
    reply.n_files = count;
    reply.notes = notes;
    reply.n_notes = note_count;
    head.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_OPEN_REPLY;
    head.restore_open_reply = &reply;
    rc = op_reply(sink, &head, NULL, 0, first + count < assembly_file_count(a), err);
out:
    free(files);
    free(list);
    free(notes);
    return rc;
}

static enum varve_err
handle_open(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
            struct op_sink *sink, struct varve_error *err)
{
    struct restores *r = slot;
    struct open_restore *o = NULL;
    struct point *point = NULL;
    Varve__V1__PointInfo info = VARVE__V1__POINT_INFO__INIT;
    size_t sent = 0;
    enum varve_err rc;

    rc = reserve(r, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    o = calloc(1, sizeof(*o));
    if (o == NULL) {
        settle(r, NULL);
        return varve_error_nomem(err);
    }
    rc = plan(c, head->restore_open, &o->assembly, &point, err);
    if (rc == VARVE_OK) {
        rc = op_point_info(&info, point, err);
    }
    if (rc != VARVE_OK) {
        settle(r, NULL);
        assembly_close(o->assembly);
        free(o);
        goto out;
    }
    settle(r, o);
    do {
        rc = reply_files(o->assembly, o->id, &info, sent, sink, err);
        sent += FILES_PER_REPLY;
    } while (rc == VARVE_OK && sent < assembly_file_count(o->assembly));
    give_back(r, o);
out:
    op_point_info_release(&info);
    point_unref(point);
    return rc;
}

/* ---- read ---- */

struct read_answer {
    struct assembly_data data;
    Varve__V1__RestorePiece pieces[ASSEMBLY_PIECES_MAX];
    Varve__V1__RestorePiece *list[ASSEMBLY_PIECES_MAX];
};

static enum varve_err
handle_read(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
            struct op_sink *sink, struct varve_error *err)
{
    const Varve__V1__RestoreRead *req = head->restore_read;
    Varve__V1__Envelope answer = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreReadReply reply = VARVE__V1__RESTORE_READ_REPLY__INIT;
    struct read_answer *buf = NULL;
    struct open_restore *o = NULL;
    struct aead_part part;
    enum varve_err rc;

    (void)c;
    if (req->length == 0 || req->length > ASSEMBLY_READ_MAX) {
        return varve_error_set(err, VARVE_ERR_INVALID, "a read is 1 to %u bytes long, not %" PRIu32,
                               ASSEMBLY_READ_MAX, req->length);
    }
    rc = take(slot, req->restore, &o, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    buf = malloc(sizeof(*buf));
    if (buf == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    buf->data.buf = malloc(req->length);
    if (buf->data.buf == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    rc = assembly_read(o->assembly, req->file, req->offset, req->length, &buf->data, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    for (size_t i = 0; i < buf->data.piece_count; i++) {
        varve__v1__restore_piece__init(&buf->pieces[i]);
        buf->pieces[i].length = buf->data.pieces[i].length;
        buf->pieces[i].hole = buf->data.pieces[i].hole;
        buf->list[i] = &buf->pieces[i];
    }
    reply.pieces = buf->list;
    reply.n_pieces = buf->data.piece_count;
    answer.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_READ_REPLY;
    answer.restore_read_reply = &reply;
    part.data = buf->data.buf;
    part.len = buf->data.buf_len;
    rc = op_reply(sink, &answer, &part, part.len > 0 ? 1 : 0, false, err);
out:
    if (buf != NULL) {
        free(buf->data.buf);
    }
    free(buf);
    give_back(slot, o);
    return rc;
}

/* ---- map ---- */

struct map_answer {
    struct assembly_stretch items[ASSEMBLY_STRETCH_MAX];
    Varve__V1__RestoreStretch stretches[ASSEMBLY_STRETCH_MAX];
    Varve__V1__RestoreStretch *list[ASSEMBLY_STRETCH_MAX];
};

static enum varve_err
handle_map(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
           struct op_sink *sink, struct varve_error *err)
{
    const Varve__V1__RestoreMap *req = head->restore_map;
    Varve__V1__Envelope answer = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreMapReply reply = VARVE__V1__RESTORE_MAP_REPLY__INIT;
    struct map_answer *buf = NULL;
    struct open_restore *o = NULL;
    size_t count = 0;
    enum varve_err rc;

    (void)c;
    rc = take(slot, req->restore, &o, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    buf = malloc(sizeof(*buf));
    if (buf == NULL) {
        rc = varve_error_nomem(err);
        goto out;
    }
    rc = assembly_map(o->assembly, req->file, req->offset, buf->items, ASSEMBLY_STRETCH_MAX, &count,
                      &reply.next_offset, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    for (size_t i = 0; i < count; i++) {
        varve__v1__restore_stretch__init(&buf->stretches[i]);
        buf->stretches[i].offset = buf->items[i].offset;
        buf->stretches[i].length = buf->items[i].length;
        buf->list[i] = &buf->stretches[i];
    }
    reply.stretches = buf->list;
    reply.n_stretches = count;
    answer.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_MAP_REPLY;
    answer.restore_map_reply = &reply;
    rc = op_reply(sink, &answer, NULL, 0, false, err);
out:
    free(buf);
    give_back(slot, o);
    return rc;
}

/* ---- close ---- */

static enum varve_err
handle_close(const struct collector *c, void *slot, const Varve__V1__Envelope *head,
             struct op_sink *sink, struct varve_error *err)
{
    Varve__V1__Envelope answer = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreCloseReply reply = VARVE__V1__RESTORE_CLOSE_REPLY__INIT;
    struct restores *r = slot;
    struct open_restore *found = NULL;

    (void)c;
    mutex_lock(&r->lock);
    for (size_t i = 0; i < RESTORES_MAX; i++) {
        if (r->open[i] != NULL && r->open[i]->id == head->restore_close->restore) {
            found = r->open[i];
            r->open[i] = NULL;
        }
    }
    mutex_unlock(&r->lock);
    if (found != NULL) { /* closing twice is fine */
        give_back(r, found);
    }
    answer.body_case = VARVE__V1__ENVELOPE__BODY_RESTORE_CLOSE_REPLY;
    answer.restore_close_reply = &reply;
    return op_reply(sink, &answer, NULL, 0, false, err);
}

static const struct op_handler handlers[] = {
    {VARVE__V1__ENVELOPE__BODY_RESTORE_OPEN, OP_THREAD, handle_open},
    {VARVE__V1__ENVELOPE__BODY_RESTORE_READ, OP_POOL, handle_read},
    {VARVE__V1__ENVELOPE__BODY_RESTORE_MAP, OP_POOL, handle_map},
    {VARVE__V1__ENVELOPE__BODY_RESTORE_CLOSE, OP_INLINE, handle_close},
};

const struct op_module op_restore_module = {
    .name = "restore",
    .handlers = handlers,
    .handler_count = sizeof(handlers) / sizeof(handlers[0]),
    .session_begin = session_begin,
    .session_end = session_end,
};
