/* SPDX-License-Identifier: Apache-2.0 */
#include "store/chunk_store_internal.h"

#include <string.h>

#include "base/log.h"

/*
 * Names that stand twice.  A name comes to a second place when a damaged record was healed, when a kill came
 * between the copies of a moved pack and its removal, when a lost index let a chunk be sent again.  The index
 * has one place for it, and calls the other one dead; which of the two is whole it may not know, because
 * what it knew of damage went with an earlier index.  So before the pack of the second copy is removed, the
 * copy that stays is read:
 *
 *   whole                          nothing is lost when the pack goes
 *   damaged                        set aside; the next place of the name takes over, and is read in its turn,
 *                                  until that is the pack's own: it stays
 *   damaged, and no other place    the pack's own record is read; if that is whole the pack is told to the
 *                                  index anew, which makes it the name's place; if not there is nothing to lose
 *
 * A name without a count whose place is elsewhere is only looked up in the footer there: where a rotten page gives it
 * a wrong place, it would stay behind when its pack goes, and a backup would be told that it is there.
 *
 * It costs one read of each record of which the pack holds a copy; of a pack whose records were
 * moved, that are the moved ones.
 */
#define PLACES_MAX 64u

struct second {
    struct chunk_store *cs;
    const struct pack_look *look;
    struct collect_cost *cost;
    struct worker *w;
    bool needed; /* the pack stays */
    bool forgot; /* the index has no place that is whole, and the pack has one */
};

static bool
is_damage(enum varve_err rc)
{
    return rc == VARVE_ERR_CORRUPT || rc == VARVE_ERR_IO || rc == VARVE_ERR_NOT_FOUND;
}

static enum varve_err
read_copy(struct second *s, const struct pack_id *pack, const struct pack_entry *e,
          struct varve_error *err)
{
    char object[PACK_OBJECT_NAME_SIZE];
    enum varve_err rc;

    pack_object_name(pack, object);
    if (e->raw_len > s->cs->raw_cap || e->stored_len > s->cs->raw_cap + AEAD_TAG_SIZE ||
        e->stored_len <= AEAD_TAG_SIZE) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%u bytes stored as %u are impossible",
                             e->raw_len, e->stored_len);
    } else {
        rc = store_get(s->cs->store, object, e->offset, s->w->record,
                       (size_t)PACK_RECORD_HEADER + e->stored_len, err);
        s->cost->bytes_read += (uint64_t)PACK_RECORD_HEADER + e->stored_len;
    }
    if (rc == VARVE_OK) {
        rc = record_check(s->look->domain, s->w, pack, e, err);
    }
    return rc == VARVE_OK
               ? rc
               : varve_error_prefix(err, "record at offset %u of '%s'", e->offset, object);
}

/* The index has nothing whole for the name: has the pack? */
static enum varve_err
read_own(struct second *s, const struct pack_entry *e, struct varve_error *err)
{
    enum varve_err rc = read_copy(s, &s->look->pack.id, e, err);

    if (rc == VARVE_OK) {
        s->needed = true;
        s->forgot = true;
    }
    return is_damage(rc) ? VARVE_OK : rc;
}

static enum varve_err
check_one(struct second *s, const struct pack_entry *e, struct varve_error *err)
{
    for (unsigned i = 0; i < PLACES_MAX; i++) {
        struct index_place place;
        struct pack_entry kept;
        uint8_t found = 0;
        enum varve_err rc = index_get(s->cs->index, &e->name, 1, &place, &found, err);

        s->cost->operations++;
        if (rc != VARVE_OK) {
            return rc;
        }
        if (!found || place.damaged) {
            return read_own(s, e, err);
        }
        if (memcmp(place.pack.bytes, s->look->pack.id.bytes, PACK_ID_SIZE) == 0) {
            s->needed = true;
            return VARVE_OK;
        }
        kept = (struct pack_entry){.name = e->name,
                                   .offset = place.offset,
                                   .stored_len = place.stored_len,
                                   .raw_len = place.raw_len,
                                   .kind = place.kind,
                                   .codec = place.codec};
        rc = read_copy(s, &place.pack, &kept, err);
        if (!is_damage(rc)) {
            return rc;
        }
        log_error("store", "damaged, and another copy was about to go: %s", err->msg);
        if (rc == VARVE_ERR_CORRUPT && footer_differs(s->cs, &e->name, &place)) {
            index_doubt(s->cs); /* the place is wrong, not the record: see chunk_get.c */
            s->needed = true;
            return VARVE_OK;
        }
        rc = quarantine_add(s->cs, &e->name, &place, err);
        if (rc != VARVE_OK) {
            return rc;
        }
    }
    s->needed = true; /* somebody makes places faster than they are read */
    return VARVE_OK;
}

static enum varve_err
check_dead(struct second *s, const struct pack_entry *e, struct varve_error *err)
{
    struct index_place place;
    uint8_t found = 0;
    enum varve_err rc = index_get(s->cs->index, &e->name, 1, &place, &found, err);

    s->cost->operations++;
    if (rc == VARVE_OK && found && !place.damaged && footer_differs(s->cs, &e->name, &place)) {
        index_doubt(s->cs);
        s->needed = true;
    }
    return rc;
}

/* A crash between the two leaves a pack that is added at the next open. */
static enum varve_err
tell_index(struct second *s, struct varve_error *err)
{
    const struct pack_look *look = s->look;
    enum varve_err rc = index_drop_entries(s->cs->index, &look->pack.id, look->entries, look->count,
                                           &s->cost->operations, err);

    if (rc == VARVE_OK) {
        s->cost->operations += look->count;
        rc = index_add_pack(s->cs->index, &look->pack, look->entries, err);
    }
    return rc;
}

enum varve_err
second_copies_check(struct chunk_store *cs, const struct pack_look *look, bool *needed,
                    struct collect_cost *cost, struct varve_error *err)
{
    struct second s = {.cs = cs, .look = look, .cost = cost};
    char object[PACK_OBJECT_NAME_SIZE];
    enum varve_err rc = VARVE_OK;

    *needed = false;
    for (size_t i = 0; rc == VARVE_OK && i < look->count; i++) {
        if (look->elsewhere[i] == 2) {
            rc = check_dead(&s, &look->entries[i], err);
        }
        if (look->elsewhere[i] != 1) {
            continue;
        }
        if (look->domain == NULL) { /* in use, and nobody can tell which copy is whole */
            s.needed = true;
            break;
        }
        if (s.w == NULL) {
            rc = worker_take(cs, &s.w, err);
        }
        if (rc == VARVE_OK) {
            rc = check_one(&s, &look->entries[i], err);
        }
    }
    if (s.w != NULL) {
        worker_give(cs, s.w);
    }
    if (rc == VARVE_OK && s.needed) {
        pack_object_name(&look->pack.id, object);
        log_warn(
            "store",
            "'%s' was about to be removed and stays: it holds the only whole copy of something",
            object);
    }
    if (rc == VARVE_OK && s.forgot) {
        rc = tell_index(&s, err);
    }
    *needed = s.needed;
    return rc;
}
