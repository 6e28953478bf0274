/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fake_internal.h"

#include <stdlib.h>
#include <string.h>

#include "codec/zero.h"

#define HOLE_UNIT 4096u

/* Two replies: the first file, then the others. */
void
fake_restore_open(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    const struct fake_script *s = &t->f->script;
    Varve__V1__PointInfo point = VARVE__V1__POINT_INFO__INIT;
    char note[] = "disk 'a' was resized";
    char *notes[] = {note};
    size_t from = 0;

    fake_fill_point(&point);
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
        fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_RESTORE_OPEN_REPLY, from < s->file_count);
    } while (from < s->file_count);
}

static const struct fake_file *
file_of(struct turn *t, uint32_t restore, uint32_t file)
{
    if (restore != 7 || file >= t->f->script.file_count) {
        fake_die("restore", "no such file");
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
void
fake_restore_map(struct turn *t)
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
    fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_RESTORE_MAP_REPLY, false);
}

static void
send_pieces(struct turn *t)
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
        fake_die("restore", "a read that makes no sense");
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
    fake_send_bulk(t, &a, VARVE__V1__ENVELOPE__BODY_RESTORE_READ_REPLY, false, bulk, used);
    free(bulk);
}

void
fake_restore_read(struct turn *t)
{
    t->f->reads++;
    if (t->f->reads == t->f->script.hang_up_read) {
        t->alive = false;
    } else if (t->f->reads == t->f->script.fail_read) {
        fake_send_error(t, t->f->script.fail_code, "chunk is damaged");
    } else if (t->f->script.lie == FAKE_WRONG_BODY) {
        fake_status(t);
    } else {
        send_pieces(t);
    }
}

void
fake_restore_close(struct turn *t)
{
    Varve__V1__Envelope a = VARVE__V1__ENVELOPE__INIT;
    Varve__V1__RestoreCloseReply reply = VARVE__V1__RESTORE_CLOSE_REPLY__INIT;

    a.restore_close_reply = &reply;
    fake_send(t, &a, VARVE__V1__ENVELOPE__BODY_RESTORE_CLOSE_REPLY, false);
}
