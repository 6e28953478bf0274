/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/time.h"

/*
 * At open the index is compared with the packs that are there: a process may have ended between
 * storing a pack and committing its names, and an index may be older than the store or empty.
 */
struct known {
    struct pack_id id;
    uint64_t size;
    bool keep;
};

struct reconcile {
    struct chunk_store *cs;
    struct known *known; /* sorted by id */
    size_t known_count;
    size_t known_cap;
    struct known *fresh;
    size_t fresh_count;
    size_t fresh_cap;
    bool nomem;
};

static bool
append(struct known **list, size_t *count, size_t *cap, const struct pack_id *id, uint64_t size)
{
    if (*count == *cap) {
        size_t n = *cap == 0 ? 256 : *cap * 2;
        struct known *p = realloc(*list, n * sizeof(*p));

        if (p == NULL) {
            return false;
        }
        *list = p;
        *cap = n;
    }
    (*list)[(*count)++] = (struct known){.id = *id, .size = size};
    return true;
}

static int
compare_known(const void *a, const void *b)
{
    return memcmp(((const struct known *)a)->id.bytes, ((const struct known *)b)->id.bytes,
                  PACK_ID_SIZE);
}

static bool
note_known(void *arg, const struct index_pack *pack)
{
    struct reconcile *r = arg;

    /* One of which nothing could be read is read again. */
    r->nomem = !append(&r->known, &r->known_count, &r->known_cap, &pack->id,
                       pack->records == 0 ? 0 : pack->size);
    return !r->nomem;
}

static bool
note_object(void *arg, const char *name, uint64_t size)
{
    struct reconcile *r = arg;
    struct known key = {0};
    struct known *k = NULL;

    if (!pack_object_name_parse(&key.id, name)) {
        return true;
    }
    if (r->known_count > 0) {
        k = bsearch(&key, r->known, r->known_count, sizeof(key), compare_known);
    }
    if (k != NULL && k->size == size) {
        k->keep = true;
        return true;
    }
    r->nomem = !append(&r->fresh, &r->fresh_count, &r->fresh_cap, &key.id, size);
    return !r->nomem;
}

static enum varve_err
drop_missing(struct reconcile *r, struct varve_error *err)
{
    struct pack_id *gone = NULL;
    size_t count = 0;
    enum varve_err rc = VARVE_OK;

    if (r->known_count == 0) {
        return VARVE_OK;
    }
    gone = malloc(r->known_count * sizeof(*gone));
    if (gone == NULL) {
        return varve_error_nomem(err);
    }
    for (size_t i = 0; i < r->known_count; i++) {
        if (!r->known[i].keep) {
            gone[count++] = r->known[i].id;
        }
    }
    if (count > 0) {
        log_warn("store", "packs of the index are not in the store, dropping them count=%zu",
                 count);
        rc = index_drop_packs(r->cs->index, gone, count, err);
    }
    free(gone);
    return rc;
}

/* ---- packs that are not in the index yet ---- */

/*
 * Footers are read by several threads at once, because each costs two or three short reads that wait
 * for the disk; the index has one writer, the calling thread, which takes them in the order of their ids: the
 * same packs give the same index.  At most RING packs wait for it.
 */
#define READERS_MIN 8u
#define READERS_MAX 32u
#define RING        64u
#define BUILD_PACKS 16u /* so many are worth a build */
#define PROGRESS_NS ((uint64_t)2 * 1000 * 1000 * 1000)

struct loaded {
    const struct known *pack; /* NULL: not loaded yet */
    struct pack_contents contents;
    enum varve_err rc;
    struct varve_error err;
};

struct loading {
    struct chunk_store *cs;
    const struct known *packs;
    size_t count;
    struct mutex lock; /* everything below */
    struct cond changed;
    size_t next;  /* to be loaded */
    size_t taken; /* by the writer */
    struct loaded ring[RING];
    bool stop;
};

static void
reader_main(void *arg)
{
    struct loading *l = arg;

    mutex_lock(&l->lock);
    while (!l->stop && l->next < l->count) {
        struct loaded one = {.pack = NULL};
        size_t at = l->next;

        if (at - l->taken >= RING) {
            cond_wait(&l->changed, &l->lock);
            continue;
        }
        l->next++;
        mutex_unlock(&l->lock);
        one.rc =
            pack_contents_load(l->cs, &l->packs[at].id, l->packs[at].size, &one.contents, &one.err);
        mutex_lock(&l->lock);
        one.pack = &l->packs[at];
        l->ring[at % RING] = one;
        cond_broadcast(&l->changed);
    }
    mutex_unlock(&l->lock);
}

static void
take_loaded(struct loading *l, struct loaded *out)
{
    struct loaded *one = &l->ring[l->taken % RING];

    mutex_lock(&l->lock);
    while (one->pack == NULL) {
        cond_wait(&l->changed, &l->lock);
    }
    *out = *one;
    *one = (struct loaded){.pack = NULL};
    l->taken++;
    cond_broadcast(&l->changed);
    mutex_unlock(&l->lock);
}

/*
 * All of it was read, and nothing in it is whole: the index has it without a record, so that a collection removes it when no
 * point misses anything (gc/gc.h).  What no key opens and is whole by its checksums was written by
 * somebody else, or its domain's key is missing: it stays.
 */
static bool
is_dead(const struct loaded *one)
{
    return one->rc == VARVE_ERR_CORRUPT && one->contents.walked && one->contents.count == 0 &&
           !one->contents.unreadable && !one->contents.foreign;
}

static enum varve_err
add_dead(struct chunk_store *cs, const struct known *pack, const char *name,
         const struct varve_error *why, struct varve_error *err)
{
    const struct index_pack info = {.id = pack->id, .kind = CHUNK_DATA, .size = pack->size};

    log_error("store",
              "nothing in pack '%s' can be read, it goes when no point misses anything: %s", name,
              why->msg);
    pack_note_footless(cs, &pack->id, true);
    return index_add_pack(cs->index, &info, NULL, err);
}

static enum varve_err
add_pack(struct chunk_store *cs, struct loaded *one, struct varve_error *err)
{
    char name[PACK_OBJECT_NAME_SIZE];
    struct index_pack info = {.id = one->pack->id, .size = one->pack->size};
    enum varve_err rc = one->rc;

    if (rc == VARVE_OK && one->contents.count > 0) {
        info.kind = (enum chunk_kind)one->contents.list[0].kind;
        info.records = (uint32_t)one->contents.count;
        info.raw_bytes = one->contents.raw_bytes;
        if (one->contents.unreadable) {
            info.size = 0; /* no pack has that size: it is read again at the next open */
        }
        return index_add_pack(cs->index, &info, one->contents.list, err);
    }
    pack_object_name(&one->pack->id, name);
    if (is_dead(one)) {
        return add_dead(cs, one->pack, name, &one->err, err);
    }
    if (rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_IO || rc == VARVE_ERR_UNSUPPORTED ||
        rc == VARVE_ERR_NOT_FOUND) {
        /* One bad pack must not keep the others from being used. */
        log_error("store", "pack '%s' cannot be read, what it holds counts as absent reason=%s",
                  name, one->err.msg);
        return VARVE_OK;
    }
    *err = one->err;
    return rc;
}

static enum varve_err
add_packs(struct chunk_store *cs, const struct known *packs, size_t count, struct varve_error *err)
{
    struct thread threads[READERS_MAX];
    struct loading *l = calloc(1, sizeof(*l));
    uint64_t told = time_mono_ns();
    unsigned wanted = 4 * thread_cpu_count();
    unsigned started = 0;
    enum varve_err rc = VARVE_OK;

    if (l == NULL) {
        return varve_error_nomem(err);
    }
    l->cs = cs;
    l->packs = packs;
    l->count = count;
    mutex_init(&l->lock);
    cond_init(&l->changed);
    wanted = wanted < READERS_MIN ? READERS_MIN : wanted > READERS_MAX ? READERS_MAX : wanted;
    wanted = count < wanted ? (unsigned)count : wanted;
    while (rc == VARVE_OK && started < wanted) {
        rc = thread_start(&threads[started], "footers", reader_main, l, err);
        started += rc == VARVE_OK ? 1 : 0;
    }
    rc = started > 0 ? VARVE_OK : rc; /* fewer will do */
    if (rc == VARVE_OK && count >= BUILD_PACKS) {
        rc = index_build_begin(cs->index, count, err);
    }
    for (size_t i = 0; rc == VARVE_OK && i < count; i++) {
        struct loaded one;

        take_loaded(l, &one);
        rc = add_pack(cs, &one, err);
        pack_contents_release(&one.contents);
        if (cs->progress != NULL) {
            cs->progress(cs->progress_arg, i + 1, count);
        } else if (time_mono_ns() - told > PROGRESS_NS) {
            told = time_mono_ns();
            log_info("store", "completing the index packs=%zu of=%zu", i + 1, count);
        }
    }
    if (rc == VARVE_OK && count >= BUILD_PACKS) {
        rc = index_build_end(cs->index, err);
    }
    mutex_lock(&l->lock);
    l->stop = true;
    cond_broadcast(&l->changed);
    mutex_unlock(&l->lock);
    while (started > 0) {
        thread_join(&threads[--started]);
    }
    for (size_t i = 0; i < RING; i++) {
        pack_contents_release(&l->ring[i].contents);
    }
    cond_destroy(&l->changed);
    mutex_destroy(&l->lock);
    free(l);
    return rc;
}

enum varve_err
chunk_store_reconcile(struct chunk_store *cs, struct varve_error *err)
{
    struct reconcile r = {.cs = cs};
    enum varve_err rc;

    rc = index_list_packs(cs->index, note_known, &r, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    if (r.known_count > 0) {
        qsort(r.known, r.known_count, sizeof(r.known[0]), compare_known);
    }
    if (!r.nomem) {
        rc = store_list(cs->store, "pack/", note_object, &r, err);
    }
    if (rc == VARVE_OK && r.nomem) {
        rc = varve_error_nomem(err);
    }
    if (rc == VARVE_OK) {
        rc = drop_missing(&r, err);
    }
    if (rc == VARVE_OK && r.fresh_count > 0) {
        rc = add_packs(cs, r.fresh, r.fresh_count, err);
    }
    if (rc == VARVE_OK && r.fresh_count > 0) {
        log_info("store", "index completed from packs packs=%zu", r.fresh_count);
    }
out:
    free(r.known);
    free(r.fresh);
    return rc;
}
