/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"
#include "fault/store_lab.h"
#include "fault/store_late_remove.h"
#include "os/file_fault.h"
#include "os/file_mem.h"
#include "store/store_testing.h"

/*
 * The store against a plain table of what it must hold.  A sequence is a few dozen steps chosen by its
 * seed: runs of two vms that are open beside everything else, deletions, undeletions, holds, locks, hours
 * that pass, collections, scrubs, rotten bits and their healing, calls that fail, power cuts, reopening.
 * What an image holds is a function of vm and run (store_lab.h), so the table has only to say which points may
 * be there.  After an operation that failed several answers are right, until the store was opened and has
 * given one of them.
 *
 * A violation is printed with seed and step.  VARVE_MODEL_SEED=n runs that sequence alone and tells its
 * steps; ids of packs are random all the same, so that what depends on their order may differ.
 * VARVE_MODEL_SEQUENCES=n runs that many, for long runs.
 */
#define SEQUENCES 160u
#define STEPS     50u
#define RUNS      64u /* of one vm in one sequence, fewer than steps and checks can make */
#define HOUR_US   3600000000ll

enum where { NOWHERE = 1, LISTED = 2, GONE = 4 };

struct entry {
    unsigned may;        /* enum where flags */
    unsigned later;      /* what a call that failed may have left for after a power cut: what is
                            undone without a sync may be there again (store.md section 8) */
    unsigned may_held;   /* 1: may be free of holds, 2: may be held */
    int64_t locked_us;   /* certainly locked until then */
    int64_t may_lock_us; /* perhaps */
    int64_t until_us;    /* undelete window, where GONE */
};

struct counts {
    uint64_t sequences;
    uint64_t steps;
    uint64_t cuts;
    uint64_t failures; /* calls that were made to fail */
    uint64_t states;   /* comparisons of store and table */
    uint64_t points;   /* read back whole */
    uint64_t marks;    /* full marks */
    uint64_t healed;
    uint64_t packs_removed;
    uint64_t across; /* collections beside open runs */
    uint64_t violations;
    char first[400];
};

/* How the store is broken on purpose. */
enum broken { NOT_BROKEN, USE_ENDS_EARLY, LATE_REMOVE };

struct model {
    struct test_random random;
    uint64_t seed;
    unsigned step;
    bool tell;
    enum broken broken;
    struct mem_fs *mem;
    struct fault_fs *ff;
    struct lab l;
    struct lab_run runs[LAB_VMS];
    bool running[LAB_VMS];
    unsigned next[LAB_VMS];
    struct entry table[LAB_VMS][RUNS];
    int64_t now_us;
    bool armed;   /* a fault waits */
    bool scarred; /* a pack has a record with a flipped bit, beside its healed copy */
    bool bad;
    struct counts *counts;
};

static void violation(struct model *m, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void
violation(struct model *m, const char *format, ...)
{
    char text[300];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!m->bad && m->counts->violations++ == 0) {
        (void)snprintf(m->counts->first, sizeof(m->counts->first), "seed %" PRIu64 ", step %u: %s",
                       m->seed, m->step, text);
    }
    m->bad = true;
}

static unsigned
below(struct model *m, unsigned limit)
{
    return (unsigned)test_random_below(&m->random, limit);
}

/* An operation failed.  Without a fault that struck that is a violation. */
static void
failed(struct model *m, const char *what, const struct varve_error *err)
{
    if (fault_fs_hits(m->ff) == 0) {
        violation(m, "%s failed: %s", what, err->msg);
    }
}

/* ---- the store and the table ---- */

static void
look_at(struct model *m, struct point **list, size_t count, enum where where,
        uint8_t seen[LAB_VMS][RUNS])
{
    for (size_t i = 0; i < count; i++) {
        unsigned number = 0;
        unsigned vm = 0;

        lab_identify(list[i], &vm, &number);
        if (vm >= LAB_VMS || number >= RUNS || (m->table[vm][number].may & where) == 0) {
            violation(m, "run %u of vm %u is %s", number, vm,
                      where == LISTED ? "listed and must not be" : "among the deleted");
            continue;
        }
        seen[vm][number] = (uint8_t)where;
    }
}

static void
read_back(struct model *m, struct point **list, size_t count, bool all)
{
    size_t only = count == 0 || all ? 0 : below(m, (unsigned)count);
    struct varve_error err;

    for (size_t i = all ? 0 : only; i < (all || count == 0 ? count : only + 1); i++) {
        if (lab_verify(&m->l, list[i], &err) != VARVE_OK) {
            unsigned vm = 0;
            unsigned number = 0;

            lab_identify(list[i], &vm, &number);
            violation(m, "run %u of vm %u: %s", number, vm, err.msg);
        }
        m->counts->points++;
    }
}

/* Narrows what may be to what is. */
static void
narrow(struct model *m, uint8_t seen[LAB_VMS][RUNS])
{
    for (unsigned vm = 0; vm < LAB_VMS; vm++) {
        for (unsigned n = 0; n < RUNS; n++) {
            unsigned is = seen[vm][n] == 0 ? (unsigned)NOWHERE : seen[vm][n];

            struct entry *e = &m->table[vm][n];

            if ((e->may & is) == 0) {
                violation(m, "run %u of vm %u is lost", n, vm);
            }
            e->later |= e->may & ~is;
            e->may = is;
        }
    }
}

static void
compare(struct model *m, bool all)
{
    uint8_t seen[LAB_VMS][RUNS] = {{0}};
    struct point **listed = NULL;
    struct point **gone = NULL;
    size_t listed_count = 0;
    size_t gone_count = 0;
    struct varve_error err;

    m->counts->states++;
    if (catalog_list(m->l.catalog, NULL, &listed, &listed_count, &err) != VARVE_OK ||
        catalog_list_gone(m->l.catalog, NULL, &gone, &gone_count, &err) != VARVE_OK) {
        violation(m, "listing: %s", err.msg);
        return;
    }
    look_at(m, listed, listed_count, LISTED, seen);
    look_at(m, gone, gone_count, GONE, seen);
    narrow(m, seen);
    if (!m->bad) {
        read_back(m, listed, listed_count, all);
    }
    if (!m->bad && all) {
        read_back(m, gone, gone_count, true); /* they may be undeleted */
    }
    catalog_list_free(listed, listed_count);
    catalog_list_free(gone, gone_count);
}

static void
full_mark(struct model *m)
{
    struct account_check check;
    struct varve_error err;

    if (gc_check(m->l.gc, &check, &err) != VARVE_OK) {
        violation(m, "full mark: %s", err.msg);
    } else if (check.missing != 0 || check.extra != 0) {
        violation(m, "counts: %" PRIu64 " too low, %" PRIu64 " too high", check.missing,
                  check.extra);
    }
    m->counts->marks++;
}

/* ---- opening, closing, cutting ---- */

static void
end_runs(struct model *m)
{
    for (unsigned vm = 0; vm < LAB_VMS; vm++) {
        if (m->running[vm]) {
            lab_run_end(&m->runs[vm]);
        }
        m->running[vm] = false;
    }
}

static void
open_store(struct model *m)
{
    struct varve_error err;

    if (lab_open(&m->l, fault_fs(m->ff), "/data", NULL,
                 m->broken == LATE_REMOVE ? late_remove_store : NULL, &err) != VARVE_OK) {
        violation(m, "open: %s", err.msg);
        lab_close(&m->l);
    }
}

/* The end of this process, by a power cut or in peace, and the next one. */
static void
reopen(struct model *m, bool cut)
{
    struct varve_error err;

    end_runs(m);
    if (cut) {
        fault_fs_cut_at(m->ff, 1); /* not even the close gets through */
    }
    lab_close(&m->l);
    if (cut) {
        mem_fs_power_cut(m->mem, test_random_next(&m->random));
        m->counts->cuts++;
    }
    if (fault_fs_set(m->ff, NULL, &err) != VARVE_OK) {
        violation(m, "%s", err.msg);
    }
    m->armed = false;
    for (unsigned vm = 0; vm < LAB_VMS && cut; vm++) {
        for (unsigned n = 0; n < RUNS; n++) {
            m->table[vm][n].may |= m->table[vm][n].later;
        }
    }
    open_store(m);
    if (!m->bad) {
        compare(m, true);
    }
    for (unsigned vm = 0; vm < LAB_VMS && cut; vm++) { /* what is there now is on the disk */
        for (unsigned n = 0; n < RUNS; n++) {
            m->table[vm][n].later = 0;
        }
    }
}

/* ---- steps ---- */

static struct point *
pick(struct model *m, enum where where, unsigned *vm, unsigned *number)
{
    struct point **list = NULL;
    struct point *p = NULL;
    struct varve_error err;
    size_t count = 0;
    enum varve_err rc;

    rc = where == LISTED ? catalog_list(m->l.catalog, NULL, &list, &count, &err)
                         : catalog_list_gone(m->l.catalog, NULL, &list, &count, &err);
    if (rc == VARVE_OK && count > 0) {
        p = list[below(m, (unsigned)count)];
        point_ref(p);
        lab_identify(p, vm, number);
    }
    if (rc == VARVE_OK) {
        catalog_list_free(list, count);
    }
    return p;
}

static void
step_run(struct model *m)
{
    unsigned vm = below(m, LAB_VMS);
    struct lab_run *r = &m->runs[vm];
    struct varve_error err;
    unsigned number;
    unsigned act = below(m, 8);

    if (!m->running[vm]) {
        if (m->next[vm] >= RUNS) {
            return;
        }
        number = m->next[vm]++;
        m->running[vm] = true;
        if (lab_run_begin(&m->l, r, vm, number, &err) != VARVE_OK) {
            failed(m, "begin", &err);
            lab_run_end(r);
            m->running[vm] = false;
        } else if (m->broken == USE_ENDS_EARLY) {
            chunk_use_end(m->l.cs, &r->use);
        }
        return;
    }
    if (act == 0) { /* gives up */
        lab_run_end(r);
        m->running[vm] = false;
        return;
    }
    if (lab_run_step(&m->l, r, act < 5 ? 50 : UINT64_MAX, &err) != VARVE_OK) {
        failed(m, "step of a run", &err);
        lab_run_end(r);
        m->running[vm] = false;
        return;
    }
    if (act >= 5) {
        number = r->number;
        m->table[vm][number].may = NOWHERE | LISTED;
        if (lab_run_publish(&m->l, r, &err) == VARVE_OK) {
            m->table[vm][number].may = LISTED;
        } else {
            failed(m, "publish", &err);
        }
        lab_run_end(r);
        m->running[vm] = false;
    }
}

static void
step_delete(struct model *m)
{
    int64_t until = m->now_us + (int64_t)below(m, 3) * HOUR_US;
    struct varve_error err;
    unsigned number = 0;
    unsigned vm = 0;
    struct point *p = pick(m, LISTED, &vm, &number);
    struct entry *e = &m->table[vm][number];
    enum varve_err rc;

    if (p == NULL) {
        return;
    }
    rc = gc_delete_point(m->l.gc, p, m->now_us, until, "model", "", &err);
    if (rc == VARVE_OK) {
        if ((e->may_held & 1) == 0 || m->now_us < e->locked_us) {
            violation(m, "run %u of vm %u was deleted though held or locked", number, vm);
        }
        e->may = GONE;
        e->until_us = until;
    } else if (rc == VARVE_ERR_DENIED) {
        if ((e->may_held & 2) == 0 && m->now_us >= e->may_lock_us) {
            violation(m, "run %u of vm %u is neither held nor locked: %s", number, vm, err.msg);
        }
    } else {
        e->may |= GONE;
        e->until_us = until;
        failed(m, "delete", &err);
    }
    point_unref(p);
}

static void
step_undelete(struct model *m)
{
    struct varve_error err;
    unsigned number = 0;
    unsigned vm = 0;
    struct point *p = pick(m, GONE, &vm, &number);

    if (p == NULL) {
        return;
    }
    if (catalog_undelete(m->l.catalog, p, &err) == VARVE_OK) {
        m->table[vm][number].may = LISTED;
    } else {
        m->table[vm][number].may |= LISTED;
        failed(m, "undelete", &err);
    }
    point_unref(p);
}

static void
step_protect(struct model *m)
{
    int64_t until = m->now_us + (int64_t)(1 + below(m, 4)) * HOUR_US;
    struct varve_error err;
    unsigned number = 0;
    unsigned vm = 0;
    struct point *p = pick(m, LISTED, &vm, &number);
    struct entry *e = &m->table[vm][number];
    size_t released = 0;
    unsigned act = below(m, 3);
    enum varve_err rc = VARVE_OK;

    if (p == NULL) {
        return;
    }
    if (act == 0) {
        rc = catalog_hold(m->l.catalog, p, m->now_us, "model", "why", &err);
        e->may_held = rc == VARVE_OK ? 2 : e->may_held | 2;
    } else if (act == 1) {
        rc = catalog_release_holds(m->l.catalog, p, &released, &err);
        e->may_held = rc == VARVE_OK ? 1 : e->may_held | 1;
    } else if (until > e->may_lock_us) {
        rc = catalog_lock(m->l.catalog, p, m->now_us, until, "model", "why", &err);
        e->may_lock_us = until;
        e->locked_us = rc == VARVE_OK ? until : e->locked_us;
    }
    if (rc != VARVE_OK) {
        failed(m, "hold, release or lock", &err);
    }
    point_unref(p);
}

/* Points whose window is over may go, also when the collection then fails. */
static void
purged(struct model *m)
{
    for (unsigned vm = 0; vm < LAB_VMS; vm++) {
        for (unsigned n = 0; n < RUNS; n++) {
            struct entry *e = &m->table[vm][n];

            if ((e->may & GONE) != 0 && e->until_us <= m->now_us) {
                e->may |= NOWHERE;
            }
        }
    }
}

static bool
collect(struct model *m, unsigned move_percent, struct gc_result *r)
{
    struct gc_options options = {.now_us = m->now_us, .move_percent = move_percent};
    struct varve_error err;

    purged(m);
    if (gc_collect(m->l.gc, &options, r, &err) != VARVE_OK) {
        failed(m, "collect", &err);
        return false;
    }
    m->counts->packs_removed += r->packs_removed;
    m->counts->across += m->running[0] || m->running[1];
    return true;
}

static void
step_collect(struct model *m)
{
    static const unsigned percents[] = {0, 50, 101};
    struct gc_result r;

    if (collect(m, percents[below(m, 3)], &r) && !m->armed) {
        full_mark(m);
        compare(m, true);
    }
}

/* ---- scrub, rot, healing ---- */

struct packs {
    struct model *m;
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
scrub(struct model *m, struct packs *p)
{
    uint64_t problems = 0;
    struct varve_error err;

    p->count = 0;
    if (chunk_store_list_packs(m->l.cs, note_pack, p, &err) != VARVE_OK) {
        failed(m, "listing packs", &err);
        return 0;
    }
    for (unsigned i = 0; i < p->count; i++) {
        struct chunk_check check;

        if (chunk_store_check_pack(m->l.cs, &p->list[i], p->size[i], &check, &err) != VARVE_OK) {
            failed(m, "scrub", &err);
        } else {
            problems += check.problems;
        }
    }
    return problems;
}

static bool
flip_a_bit(struct model *m, const struct pack_id *id, uint64_t offset)
{
    char object[PACK_OBJECT_NAME_SIZE];
    struct file *file = NULL;
    struct varve_error err;
    char path[128];
    uint8_t byte = 0;
    bool ok;

    pack_object_name(id, object);
    (void)snprintf(path, sizeof(path), "/data/store/%s", object);
    if (file_open(mem_fs(m->mem), &file, path, FILE_READ_WRITE, &err) != VARVE_OK) {
        return false;
    }
    ok = file_read_exact(file, &byte, 1, offset, &err) == VARVE_OK;
    byte ^= (uint8_t)(1u << below(m, 8));
    ok = ok && file_write(file, &byte, 1, offset, &err) == VARVE_OK &&
         file_sync(file, &err) == VARVE_OK;
    file_close(file);
    return ok;
}

/* Offers again what all points hold, and what open runs may have been told is there. */
static void
heal(struct model *m)
{
    struct varve_error err;

    for (unsigned vm = 0; vm < LAB_VMS; vm++) {
        for (unsigned n = 0; n < RUNS; n++) {
            bool open = m->running[vm] && m->runs[vm].number == n;

            if ((open || (m->table[vm][n].may & ((unsigned)LISTED | GONE)) != 0) &&
                lab_offer_all(&m->l, vm, n, &err) != VARVE_OK) {
                failed(m, "offering again", &err);
            }
        }
    }
    if (chunk_store_barrier(m->l.cs, &err) != VARVE_OK) {
        failed(m, "barrier", &err);
    }
}

static void
step_rot(struct model *m)
{
    static struct packs p;
    struct pack_header header;
    uint8_t bytes[PACK_HEADER_SIZE];
    char object[PACK_OBJECT_NAME_SIZE];
    struct varve_error err;
    unsigned which;

    if (scrub(m, &p) != 0 && !m->scarred) {
        violation(m, "the scrub finds damage where nothing was damaged");
    }
    if (p.count == 0 || below(m, 2) == 0) {
        return;
    }
    which = below(m, p.count);
    pack_object_name(&p.list[which], object);
    if (store_get(m->l.store, object, 0, bytes, sizeof(bytes), &err) != VARVE_OK ||
        pack_header_decode(&header, bytes, &err) != VARVE_OK || header.kind != CHUNK_DATA) {
        return;
    }
    /* Anywhere in the stored bytes of the first record: what is offered again heals it. */
    if (!flip_a_bit(m, &p.list[which], PACK_HEADER_SIZE + PACK_RECORD_HEADER + below(m, 17))) {
        violation(m, "the test cannot damage a pack");
        return;
    }
    m->scarred = true;
    if (scrub(m, &p) == 0) {
        violation(m, "a flipped bit in a record was not found");
    }
    heal(m);
    compare(m, true);
    m->counts->healed++;
}

static void
arm(struct model *m)
{
    struct fault_rule rule = {.ops = FAULT_CHANGES, .nth = 1 + below(m, 25), .times = 1};
    struct varve_error err;

    rule.action = below(m, 2) == 0 ? FAULT_FAIL : FAULT_FAIL_AFTER;
    rule.errnum = below(m, 2) == 0 ? EIO : ENOSPC;
    if (below(m, 2) == 0) {
        rule.action = FAULT_CUT;
        rule.nth = 1 + below(m, 60);
    }
    if (fault_fs_set(m->ff, &rule, &err) == VARVE_OK) {
        m->armed = true;
    }
}

static void
one_step(struct model *m)
{
    unsigned what = below(m, 100);

    if (m->tell) {
        print_message("  step %u: %u\n", m->step, what);
    }
    if (what < 50) {
        step_run(m);
    } else if (what < 60) {
        step_delete(m);
    } else if (what < 64) {
        step_undelete(m);
    } else if (what < 69) {
        step_protect(m);
    } else if (what < 74) {
        m->now_us += (int64_t)(1 + below(m, 3)) * HOUR_US;
    } else if (what < 86) {
        step_collect(m);
    } else if (what < 88 && !m->armed) {
        step_rot(m);
    } else if (what < 92 && !m->armed) {
        arm(m);
    } else if (what < 96) {
        reopen(m, what < 94);
    }
    if (m->armed && fault_fs_hits(m->ff) > 0) {
        m->counts->failures++;
        reopen(m, fault_fs_is_cut(m->ff) || below(m, 2) == 0);
    } else if (!m->armed && !m->bad) {
        compare(m, false);
    }
}

/* ---- the end of a sequence ---- */

static void
pack_is_needed(struct model *m, const struct index_pack *pack)
{
    struct pack_look look;
    struct collect_cost cost = {0};
    struct varve_error err;

    if (pack_look_at(m->l.cs, pack, &look, &cost, &err) != VARVE_OK) {
        violation(m, "a pack cannot be looked at: %s", err.msg);
        return;
    }
    if (look.live_count == 0) {
        violation(m, "a pack without a live record is left after a collection");
    }
    pack_look_release(&look);
}

struct index_packs {
    struct index_pack list[512];
    unsigned count;
};

static bool
copy_pack(void *arg, const struct index_pack *pack)
{
    struct index_packs *p = arg;

    if (p->count < 512) {
        p->list[p->count++] = *pack;
    }
    return true;
}

/* Space comes back: what nobody needs now, and in the end all of it. */
static void
space_comes_back(struct model *m)
{
    static struct index_packs packs;
    struct chunk_store_stats stats;
    struct varve_error err;
    struct gc_result r;

    (void)collect(m, 101, &r);
    (void)collect(m, 101, &r);
    packs.count = 0;
    if (index_list_packs(chunk_store_index(m->l.cs), copy_pack, &packs, &err) != VARVE_OK) {
        violation(m, "listing packs: %s", err.msg);
    }
    for (unsigned i = 0; i < packs.count && !m->bad; i++) {
        pack_is_needed(m, &packs.list[i]);
    }
    compare(m, true);
    m->now_us += 100 * HOUR_US;
    for (unsigned vm = 0; vm < LAB_VMS; vm++) {
        for (unsigned n = 0; n < RUNS && !m->bad; n++) {
            m->table[vm][n].may_held = 1;
        }
    }
    for (;;) {
        unsigned number = 0;
        unsigned vm = 0;
        struct point *p = pick(m, LISTED, &vm, &number);
        size_t released = 0;

        if (p == NULL || m->bad) {
            point_unref(p);
            break;
        }
        if (catalog_release_holds(m->l.catalog, p, &released, &err) != VARVE_OK ||
            gc_delete_point(m->l.gc, p, m->now_us, m->now_us, "", "", &err) != VARVE_OK) {
            violation(m, "deleting the rest: %s", err.msg);
        }
        m->table[vm][number].may = GONE;
        m->table[vm][number].until_us = m->now_us;
        point_unref(p);
    }
    (void)collect(m, 0, &r);
    (void)collect(m, 0, &r);
    if (!m->bad &&
        (chunk_store_get_stats(m->l.cs, &stats, &err) != VARVE_OK || stats.stored_bytes != 0)) {
        violation(m, "%" PRIu64 " bytes are left when no point is", stats.stored_bytes);
    }
}

static void
sequence(uint64_t seed, enum broken broken, bool tell, struct counts *counts)
{
    struct model *m = calloc(1, sizeof(*m));
    struct varve_error err;

    assert_non_null(m);
    m->random.state = seed * 77 + 5;
    m->seed = seed;
    m->tell = tell;
    m->broken = broken;
    m->counts = counts;
    m->now_us = 1000 * HOUR_US;
    for (unsigned vm = 0; vm < LAB_VMS; vm++) {
        m->next[vm] = 1;
        for (unsigned n = 0; n < RUNS; n++) {
            m->table[vm][n].may = NOWHERE;
            m->table[vm][n].may_held = 1;
        }
    }
    assert_ok(mem_fs_new(&m->mem, &err), &err);
    assert_ok(fault_fs_new(&m->ff, mem_fs(m->mem), &err), &err);
    assert_ok(fs_mkdir(mem_fs(m->mem), "/data", &err), &err);
    assert_ok(fs_sync_dir(mem_fs(m->mem), "/", &err), &err);
    open_store(m);
    for (m->step = 1; m->step <= STEPS && !m->bad; m->step++) {
        one_step(m);
        counts->steps++;
    }
    if (!m->bad) {
        reopen(m, false);
    }
    if (!m->bad) {
        space_comes_back(m);
    }
    end_runs(m);
    lab_close(&m->l);
    fault_fs_free(m->ff);
    mem_fs_free(m->mem);
    free(m);
    counts->sequences++;
}

static uint64_t
number_of(const char *variable, uint64_t otherwise)
{
    const char *text = getenv(variable);
    uint64_t n = text == NULL ? 0 : strtoull(text, NULL, 10);

    return n > 0 ? n : otherwise;
}

static void
the_store_and_the_table_agree_at_every_step(void **state)
{
    uint64_t only = number_of("VARVE_MODEL_SEED", 0);
    uint64_t sequences = number_of("VARVE_MODEL_SEQUENCES", SEQUENCES);
    struct counts c = {0};

    (void)state;
    for (uint64_t seed = only > 0 ? only : 1; seed <= (only > 0 ? only : sequences); seed++) {
        sequence(seed, NOT_BROKEN, only > 0, &c);
    }
    print_message("%" PRIu64 " sequences, %" PRIu64 " steps, %" PRIu64 " power cuts, %" PRIu64
                  " failed calls, %" PRIu64 " states compared, %" PRIu64
                  " points read back, %" PRIu64 " full marks, %" PRIu64 " bits healed, %" PRIu64
                  " packs removed, %" PRIu64 " collections beside open runs, %" PRIu64
                  " violations\n",
                  c.sequences, c.steps, c.cuts, c.failures, c.states, c.points, c.marks, c.healed,
                  c.packs_removed, c.across, c.violations);
    if (c.violations > 0) {
        print_message("%s\n", c.first);
        fail_msg("%s", c.first);
    }
    if (only == 0) {
        assert_true(c.cuts > 100 && c.failures > 50 && c.packs_removed > 100 && c.healed > 10 &&
                    c.across > 100);
    }
}

static void
must_be_noticed(enum broken broken)
{
    struct counts c = {0};

    for (uint64_t seed = 1; seed <= 60 && c.violations == 0; seed++) {
        sequence(seed, broken, false, &c);
    }
    print_message("noticed after %" PRIu64 " sequences: %s\n", c.sequences, c.first);
    assert_true(c.violations > 0);
}

static void
packs_that_go_while_a_run_relies_on_them_are_noticed(void **state)
{
    (void)state;
    must_be_noticed(USE_ENDS_EARLY);
}

static void
points_that_go_after_their_packs_are_noticed(void **state)
{
    (void)state;
    must_be_noticed(LATE_REMOVE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_store_and_the_table_agree_at_every_step),
        cmocka_unit_test(packs_that_go_while_a_run_relies_on_them_are_noticed),
        cmocka_unit_test(points_that_go_after_their_packs_are_noticed),
    };
    struct varve_error err;

    /* Failures by the hundred are the point of this test; their lines are not. */
    if (freopen("/dev/null", "w", stderr) == NULL || crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
