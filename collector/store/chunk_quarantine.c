/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/log.h"
#include "base/time.h"

/*
 * Places whose bytes were found wrong.  The index flags them; this list outlives the index: a file
 * "quarantine" beside it, one line a place, that an index built anew is flagged from.  It is derived like the
 * index: without it the next scrub finds the damage again.
 *
 * Lines are appended and synced.  A line that is torn or not a line is skipped; a line that a flipped bit
 * made say another place flags nothing, because the index has no such place of that name.
 *
 * Of a name whose places are all damaged the index has but the last one.  The others stay in the list until the name
 * is healed: one of them may be whole again by then (its pack was put back from a copy), and a get tries it.
 */
#define QUARANTINE_MAX 65536u
#define LINE_SIZE      QUARANTINE_LINE

void
quarantine_line_format(const struct quarantined *q, char out[LINE_SIZE + 1])
{
    char pack[2 * PACK_ID_SIZE + 1];
    char name[2 * RECORD_NAME_SIZE + 1];

    (void)sodium_bin2hex(pack, sizeof(pack), q->pack.bytes, PACK_ID_SIZE);
    (void)sodium_bin2hex(name, sizeof(name), q->name.bytes, RECORD_NAME_SIZE);
    (void)snprintf(out, LINE_SIZE + 1, "%s %08" PRIx32 " %s\n", pack, q->offset, name);
}

bool
quarantine_line_parse(const char *line, struct quarantined *out)
{
    char again[LINE_SIZE + 1];
    char offset[9];

    if (sodium_hex2bin(out->pack.bytes, PACK_ID_SIZE, line, 2 * PACK_ID_SIZE, NULL, NULL, NULL) !=
            0 ||
        sodium_hex2bin(out->name.bytes, RECORD_NAME_SIZE, line + 2 * PACK_ID_SIZE + 10,
                       2 * RECORD_NAME_SIZE, NULL, NULL, NULL) != 0) {
        return false;
    }
    memcpy(offset, line + 2 * PACK_ID_SIZE + 1, 8);
    offset[8] = '\0';
    out->offset = (uint32_t)strtoul(offset, NULL, 16);
    quarantine_line_format(out, again);
    return memcmp(again, line, LINE_SIZE) == 0;
}

static bool
append_locked(struct quarantine *q, const struct quarantined *one)
{
    if (q->count == q->cap) {
        size_t cap = q->cap == 0 ? 64 : q->cap * 2;
        struct quarantined *p = realloc(q->list, cap * sizeof(*p));

        if (p == NULL) {
            return false;
        }
        q->list = p;
        q->cap = cap;
    }
    q->list[q->count++] = *one;
    return true;
}

static bool
is_place(const struct quarantined *one, const struct index_place *p)
{
    return p->offset == one->offset && memcmp(p->pack.bytes, one->pack.bytes, PACK_ID_SIZE) == 0;
}

/* Is it what the index has for the name, flagged?  *keep: it is, or another place of the name is flagged. */
static enum varve_err
still_damaged(struct chunk_store *cs, const struct quarantined *one, bool *damaged, bool *keep,
              struct varve_error *err)
{
    struct index_place p;
    uint8_t found = 0;
    enum varve_err rc = index_get(cs->index, &one->name, 1, &p, &found, err);

    found = rc == VARVE_OK ? found : 0;
    *damaged = found && p.damaged && is_place(one, &p);
    *keep = found && (p.damaged || is_place(one, &p));
    return rc;
}

/* ---- the file ---- */

static enum varve_err
sync_folder(const struct quarantine *q, struct varve_error *err)
{
    const char *slash = strrchr(q->path, '/'); /* there is one: chunk_store_open() */
    char *folder = strndup(q->path, (size_t)(slash - q->path));
    enum varve_err rc;

    if (folder == NULL) {
        return varve_error_nomem(err);
    }
    rc = fs_sync_dir(q->fs, folder, err);
    free(folder);
    return rc;
}

static void
append_file(struct quarantine *q, const struct quarantined *one)
{
    struct varve_error err;
    struct file_stat st;
    struct file *f = NULL;
    char line[LINE_SIZE + 1];
    bool made = false;
    enum varve_err rc;

    if (q->path == NULL) {
        return;
    }
    quarantine_line_format(one, line);
    rc = file_open(q->fs, &f, q->path, FILE_READ_WRITE, &err);
    if (rc == VARVE_ERR_NOT_FOUND) {
        rc = file_open(q->fs, &f, q->path, FILE_CREATE_NEW, &err);
        made = rc == VARVE_OK;
    }
    if (rc == VARVE_OK) {
        rc = file_fstat(f, &st, &err);
    }
    if (rc == VARVE_OK) { /* behind a torn line: at the next whole one */
        rc =
            file_write(f, line, LINE_SIZE, (st.size + LINE_SIZE - 1) / LINE_SIZE * LINE_SIZE, &err);
    }
    if (rc == VARVE_OK) {
        rc = file_sync(f, &err);
    }
    file_close(f);
    if (rc == VARVE_OK && made) {
        rc = sync_folder(q, &err);
    }
    if (rc != VARVE_OK) {
        log_warn("store", "damage could not be written down reason=%s", err.msg);
    }
}

static void
save(struct quarantine *q)
{
    struct varve_error err;
    char *text = malloc(q->count * LINE_SIZE + 1);
    enum varve_err rc;

    if (text == NULL) {
        return;
    }
    for (size_t i = 0; i < q->count; i++) {
        quarantine_line_format(&q->list[i], text + i * LINE_SIZE);
    }
    rc = fs_write_durable(q->fs, q->path, text, q->count * LINE_SIZE, false, &err);
    if (rc != VARVE_OK) {
        log_warn("store", "the list of damage could not be written reason=%s", err.msg);
    }
    free(text);
}

/* ---- calls ---- */

void
quarantine_load(struct chunk_store *cs)
{
    struct quarantine *q = &cs->quarantine;
    struct varve_error err;
    uint8_t *text = NULL;
    size_t len = 0;
    size_t lines = 0;

    if (q->path == NULL || fs_read_all(q->fs, q->path, (size_t)QUARANTINE_MAX * LINE_SIZE, &text,
                                       &len, &err) != VARVE_OK) {
        return;
    }
    for (size_t at = 0; at + LINE_SIZE <= len; at += LINE_SIZE, lines++) {
        struct quarantined one;
        struct index_place place;
        uint8_t found = 0;

        if (!quarantine_line_parse((const char *)text + at, &one) ||
            index_get(cs->index, &one.name, 1, &place, &found, &err) != VARVE_OK || !found ||
            (!place.damaged && !is_place(&one, &place))) {
            continue; /* healed, or its pack is gone */
        }
        if (!place.damaged && index_mark_damaged(cs->index, &one.name, &place, &err) != VARVE_OK) {
            log_warn("store", "damage could not be flagged reason=%s", err.msg);
        }
        (void)append_locked(q, &one);
    }
    free(text);
    if (q->count != lines || len % LINE_SIZE != 0) {
        save(q);
    }
    if (q->count > 0) {
        log_warn("store", "damaged records are known from before count=%zu", q->count);
    }
}

void
quarantine_release(struct chunk_store *cs)
{
    free(cs->quarantine.list);
    free(cs->quarantine.path);
    free(cs->quarantine.doubt);
}

enum varve_err
quarantine_add(struct chunk_store *cs, const struct record_name *name,
               const struct index_place *place, struct varve_error *err)
{
    const struct quarantined one = {.pack = place->pack, .offset = place->offset, .name = *name};
    struct quarantine *q = &cs->quarantine;
    bool known = false;
    enum varve_err rc = index_mark_damaged(cs->index, name, place, err);

    if (rc != VARVE_OK) {
        return rc;
    }
    mutex_lock(&q->lock);
    q->found++;
    for (size_t i = 0; i < q->count && !known; i++) {
        known = q->list[i].offset == one.offset &&
                memcmp(q->list[i].pack.bytes, one.pack.bytes, PACK_ID_SIZE) == 0;
    }
    if (!known && q->count < QUARANTINE_MAX && append_locked(q, &one)) {
        append_file(q, &one);
    }
    mutex_unlock(&q->lock);
    return VARVE_OK;
}

size_t
quarantine_others(struct chunk_store *cs, const struct record_name *name,
                  const struct index_place *but, struct pack_id *out, size_t max)
{
    struct quarantine *q = &cs->quarantine;
    size_t n = 0;

    mutex_lock(&q->lock);
    for (size_t i = 0; i < q->count && n < max; i++) {
        if (memcmp(q->list[i].name.bytes, name->bytes, RECORD_NAME_SIZE) == 0 &&
            !is_place(&q->list[i], but)) {
            out[n++] = q->list[i].pack;
        }
    }
    mutex_unlock(&q->lock);
    return n;
}

enum varve_err
chunk_store_count_damaged(struct chunk_store *cs, uint64_t *out, struct varve_error *err)
{
    struct quarantine *q = &cs->quarantine;
    size_t kept = 0;
    enum varve_err rc = VARVE_OK;

    *out = 0;
    mutex_lock(&q->lock);
    for (size_t i = 0; rc == VARVE_OK && i < q->count; i++) {
        bool damaged = false;
        bool keep = false;

        rc = still_damaged(cs, &q->list[i], &damaged, &keep, err);
        *out += damaged ? 1 : 0;
        if (keep || rc != VARVE_OK) {
            q->list[kept++] = q->list[i];
        }
    }
    if (rc == VARVE_OK && kept != q->count) {
        q->count = kept;
        if (q->path != NULL) {
            save(q);
        }
    }
    mutex_unlock(&q->lock);
    return rc;
}

uint64_t
chunk_store_damage_found(struct chunk_store *cs)
{
    uint64_t found;

    mutex_lock(&cs->quarantine.lock);
    found = cs->quarantine.found;
    mutex_unlock(&cs->quarantine.lock);
    return found;
}

/* ---- an index that was found wrong ---- */

void
index_doubt(struct chunk_store *cs)
{
    struct varve_error err;
    enum varve_err rc;

    /* No lock: whoever hears this from the index may hold that of the list. */
    if (cs->quarantine.doubt == NULL || atomic_exchange(&cs->quarantine.doubted, true)) {
        return;
    }
    rc = fs_write_durable(cs->quarantine.fs, cs->quarantine.doubt, "", 0, true, &err);
    if (rc == VARVE_OK) {
        log_error("store",
                  "the index does not agree with the packs: it is built anew when the store is "
                  "opened next; until then reads are slower");
    } else if (rc != VARVE_ERR_EXISTS) {
        atomic_store(&cs->quarantine.doubted, false);
        log_warn("store", "doubt about the index could not be written down reason=%s", err.msg);
    }
}

#define VOUCH_NS (UINT64_C(3600) * 1000000000)

bool
index_is_believed(struct chunk_store *cs)
{
    struct quarantine *q = &cs->quarantine;
    struct varve_error err;
    enum varve_err rc;
    bool believed;

    mutex_lock(&q->vouching);
    believed = !atomic_load(&q->doubted);
    if (believed && (q->vouched_ns == 0 || time_mono_ns() - q->vouched_ns > VOUCH_NS)) {
        rc = index_check(cs->index, NULL, &err); /* which tells index_doubt() */
        believed = rc != VARVE_ERR_CORRUPT && rc != VARVE_ERR_IO;
        if (rc == VARVE_OK) {
            q->vouched_ns = time_mono_ns();
        } else {
            log_warn("store", "a chunk is missing, and the index cannot be checked reason=%s",
                     err.msg);
        }
    }
    mutex_unlock(&q->vouching);
    return believed;
}

static enum varve_err
remove_if_there(struct fs *fs, const char *folder, const char *name, struct varve_error *err)
{
    char path[4096];
    enum varve_err rc;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    rc = fs_remove(fs, path, err);
    return rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
}

/* The index is deleted by the file that says whether it can be trusted going first, durably: a power cut that kept the second removal
 * and not the first would leave an index that is trusted and wrong. */
enum varve_err
index_doubt_settle(struct fs *fs, const char *folder, struct varve_error *err)
{
    struct file_stat st;
    char path[4096];
    enum varve_err rc;

    (void)snprintf(path, sizeof(path), "%s/doubt", folder);
    rc = fs_stat(fs, path, &st, err);
    if (rc != VARVE_OK) {
        return rc == VARVE_ERR_NOT_FOUND ? VARVE_OK : rc;
    }
    log_warn("store", "the index was found wrong before, building it anew folder=%s", folder);
    rc = remove_if_there(fs, folder, "state", err);
    if (rc == VARVE_OK) {
        rc = fs_sync_dir(fs, folder, err);
    }
    return rc == VARVE_OK ? remove_if_there(fs, folder, "doubt", err) : rc;
}
