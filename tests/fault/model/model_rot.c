/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/model/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jobs/verify_job.h"
#include "store/twice.h"

/* Bits that turn over, who finds them, and how what they hit becomes whole again. */

void
flip_a_bit(struct model *m, const char *object, uint64_t from, uint64_t to)
{
    uint64_t offset = from + test_random_below(&m->random, to - from);
    struct file *file = NULL;
    struct varve_error err;
    char path[STORE_NAME_MAX + 20];
    uint8_t byte = 0;
    bool ok;

    (void)snprintf(path, sizeof(path), "/data/store/%s", object);
    ok = file_open(mem_fs(m->mem), &file, path, FILE_READ_WRITE, &err) == VARVE_OK &&
         file_read_exact(file, &byte, 1, offset, &err) == VARVE_OK;
    byte ^= (uint8_t)(1u << below(m, 8));
    ok = ok && file_write(file, &byte, 1, offset, &err) == VARVE_OK &&
         file_sync(file, &err) == VARVE_OK;
    file_close(file);
    if (!ok) {
        violation(m, "the test cannot damage '%s'", object);
    }
    if (m->seq->tell) {
        printf("    a bit of '%s' at %" PRIu64 "\n", object, offset);
    }
    saw(m, offset);
    m->counts->flips++;
}

/* ---- what there is ---- */

struct objects {
    char names[1024][STORE_NAME_MAX + 1];
    uint64_t sizes[1024];
    unsigned count;
};

static bool
note_object(void *arg, const char *name, uint64_t size)
{
    struct objects *o = arg;

    if (o->count < sizeof(o->sizes) / sizeof(o->sizes[0]) && size > 0) {
        (void)snprintf(o->names[o->count], sizeof(o->names[0]), "%s", name);
        o->sizes[o->count++] = size;
    }
    return true;
}

static const char *
pick_object(struct model *m, const char *prefix, uint64_t *size)
{
    static struct objects objects;
    struct varve_error err;
    unsigned which;

    objects.count = 0;
    if (store_list(m->l.dir, prefix, note_object, &objects, &err) != VARVE_OK ||
        objects.count == 0) {
        return NULL;
    }
    which = below(m, objects.count);
    *size = objects.sizes[which];
    return objects.names[which];
}

/* ---- scrub ---- */

struct packs {
    struct pack_id list[512];
    uint64_t size[512];
    unsigned count;
};

static bool
note_pack(void *arg, const struct pack_id *id, uint64_t size)
{
    struct packs *p = arg;

    if (p->count < sizeof(p->size) / sizeof(p->size[0])) {
        p->list[p->count] = *id;
        p->size[p->count++] = size;
    }
    return true;
}

static uint64_t
scrub(struct model *m)
{
    static struct packs p;
    uint64_t problems = 0;
    struct varve_error err;

    p.count = 0;
    if (chunk_store_list_packs(m->l.cs, note_pack, &p, &err) != VARVE_OK) {
        failed(m, "listing packs", &err);
        return 0;
    }
    for (unsigned i = 0; i < p.count; i++) {
        struct chunk_check check;

        if (chunk_store_check_pack(m->l.cs, &p.list[i], p.size[i], &check, &err) != VARVE_OK) {
            failed(m, "scrub", &err);
        } else {
            problems += check.problems;
        }
    }
    saw(m, problems);
    return problems;
}

/* ---- rot ---- */

bool
was_hit(const struct model *m, const struct pack_id *id)
{
    for (size_t i = 0; i < m->hit_count; i++) {
        if (memcmp(m->hit[i].bytes, id->bytes, sizeof(id->bytes)) == 0) {
            return true;
        }
    }
    return false;
}

static bool
note_hit_pack(void *arg, const struct pack_id *id, uint64_t size)
{
    struct model *m = arg;

    (void)size;
    m->rotten = m->rotten || was_hit(m, id);
    return !m->rotten;
}

/* What was known of damage is lost.  What a point needs was healed; what none needed may be relied upon again. */
void
rot_is_forgotten(struct model *m)
{
    struct varve_error err;

    if (chunk_store_list_packs(m->l.cs, note_hit_pack, m, &err) != VARVE_OK) {
        violation(m, "listing packs: %s", err.msg);
    }
}

/* What stands in two copies loses a byte of the first one. */
static void
rot_a_copy(struct model *m, const char *prefix)
{
    uint64_t size = 0;
    const char *object = pick_object(m, prefix, &size);
    uint64_t one = object == NULL ? 0 : twice_content(size);

    if (one > 0) {
        flip_a_bit(m, object, 0, one);
    }
}

void
step_rot(struct model *m)
{
    static const char *const twice[] = {"point/", "hold/",   "lock/",
                                        "gone/",  "policy/", "cfg/keys/"};
    unsigned what = below(m, 20);
    uint64_t size = 0;
    const char *object;

    if (m->armed || m->hit_count == MODEL_HITS) {
        return;
    }
    if (what < 12) {
        if (!m->rotten && scrub(m) != 0 && !m->scarred) {
            violation(m, "the scrub finds damage where nothing was damaged");
        }
        object = pick_object(m, "pack/", &size);
        if (object == NULL) {
            return;
        }
        flip_a_bit(m, object, 0, size);
        if (m->hit_count < MODEL_HITS && pack_object_name_parse(&m->hit[m->hit_count], object)) {
            m->hit_count++;
        }
        m->rotten = true;
        m->scarred = true;
        if (below(m, 2) == 0 && scrub(m) == 0) {
            violation(m, "a flipped bit in '%s' was not found", object);
        }
    } else if (what < 19) {
        rot_a_copy(m, twice[what - 12 < 6 ? what - 12 : 0]);
    } else {
        object = pick_object(m, "cfg/store", &size);
        if (object != NULL) {
            flip_a_bit(m, object, 0, size);
        }
    }
}

/* ---- verify ---- */

struct hits {
    bool hit[MODEL_VMS][MODEL_RUNS];
    char first[200];
};

static bool
go_on(void *arg, const struct verify_progress *p)
{
    (void)arg;
    (void)p;
    return true;
}

static bool
note_problem(void *arg, const struct verify_problem *p)
{
    struct hits *h = arg;
    unsigned number = 0;
    unsigned vm = 0;

    lab_identify(p->point, &vm, &number);
    if (h->first[0] == '\0') {
        (void)snprintf(h->first, sizeof(h->first), "%.190s", p->error.msg);
    }
    if (vm < MODEL_VMS && number < MODEL_RUNS) {
        h->hit[vm][number] = true;
    }
    return true;
}

/* Exactly the points are named that cannot be read. */
void
step_verify(struct model *m)
{
    struct hits hits = {.first = ""};
    const struct verify_sink sink = {.arg = &hits, .progress = go_on, .problem = note_problem};
    struct point **list = NULL;
    struct varve_error err;
    size_t count = 0;

    if (m->armed) {
        return;
    }
    if (catalog_list(m->l.catalog, NULL, &list, &count, &err) != VARVE_OK ||
        verify_job_run(m->l.cs, m->l.catalog, list, count, 1, &sink, &err) != VARVE_OK) {
        violation(m, "verify: %s", err.msg);
    }
    for (size_t i = 0; i < count && !m->bad; i++) {
        unsigned number = 0;
        unsigned vm = 0;
        enum varve_err rc = lab_verify(&m->l, list[i], &err);

        lab_identify(list[i], &vm, &number);
        if (rc == VARVE_ERR_INTERNAL || (rc != VARVE_OK && !m->rotten)) {
            violation(m, "run %u of vm %u: %s", number, vm, err.msg);
        } else if ((rc != VARVE_OK) != hits.hit[vm][number]) {
            violation(m, "run %u of vm %u is %s and verify says %s", number, vm,
                      rc == VARVE_OK ? "whole" : err.msg,
                      hits.hit[vm][number] ? hits.first : "nothing");
        }
        saw(m, rc == VARVE_OK);
    }
    catalog_list_free(list, count);
    m->counts->verifies++;
}

/* ---- healing ---- */

/* Does an open run rely on that moment? */
static bool
in_use(const struct model *m, unsigned vm, unsigned number)
{
    unsigned base_number = 0;
    unsigned base_vm = 0;

    if (!m->running[vm]) {
        return false;
    }
    if (m->runs[vm].base != NULL) {
        lab_identify(m->runs[vm].base, &base_vm, &base_number);
    }
    return m->runs[vm].number == number || base_number == number;
}

/* Offers again what all points hold, and what open runs may have been told is there. */
void
heal(struct model *m)
{
    struct varve_error err;
    bool all = true;

    if (scrub(m) == 0 && m->rotten && !m->scarred && fault_fs_hits(m->ff) == 0) {
        violation(m, "the damage is not found any more");
    }
    for (unsigned vm = 0; vm < MODEL_VMS && all; vm++) {
        for (unsigned n = 0; n < MODEL_RUNS && all; n++) {
            bool is = (m->table[vm][n].d.may & ((unsigned)LISTED | GONE)) != 0;

            if ((is || in_use(m, vm, n)) && lab_heal(&m->l, vm, n, &err) != VARVE_OK) {
                failed(m, "offering again", &err);
                all = false;
            }
        }
    }
    if (all && chunk_store_barrier(m->l.cs, &err) != VARVE_OK) {
        failed(m, "barrier", &err);
        all = false;
    }
    if (all && fault_fs_hits(m->ff) == 0) {
        m->rotten = false;
        m->counts->heals++;
    }
}

void
step_heal(struct model *m)
{
    if (!m->rotten) {
        return;
    }
    if (!m->armed && m->copy_secret != NULL && below(m, 2) == 0 && !repair(m)) {
        return;
    }
    heal(m);
    if (!m->bad && !m->rotten) {
        compare(m, true);
    }
    if (!m->bad && !m->armed && below(m, 2) == 0) {
        reopen(m, below(m, 2) == 0 ? END_KILL : END_CUT);
    }
    if (!m->bad && !m->armed) {
        full_mark(m);
    }
}
