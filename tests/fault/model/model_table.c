/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/model/model.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* The table, and how the store is compared with it. */

void
violation(struct model *m, const char *format, ...)
{
    char text[300];
    va_list args;

    va_start(args, format);
    (void)vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (!m->bad) {
        m->counts->violations++;
        (void)snprintf(m->first, sizeof(m->first), "seed %" PRIu64 ", step %u: %s", m->seq->seed,
                       m->step, text);
    }
    m->bad = true;
}

unsigned
below(struct model *m, unsigned limit)
{
    return (unsigned)test_random_below(&m->random, limit);
}

void
saw(struct model *m, uint64_t what)
{
    m->digest = (m->digest ^ what) * 0x100000001b3ull;
}

/* What rot may answer. */
static bool
unreadable(enum varve_err code)
{
    return code == VARVE_ERR_CORRUPT || code == VARVE_ERR_NOT_FOUND;
}

void
failed(struct model *m, const char *what, const struct varve_error *err)
{
    saw(m, (uint64_t)err->code);
    if (fault_fs_hits(m->ff) == 0 && !(m->rotten && unreadable(err->code))) {
        violation(m, "%s failed: %s", what, err->msg);
    }
}

void
doubt_narrow(struct doubt *d, unsigned is)
{
    d->later |= d->may & ~is;
    d->may = is;
}

static void
look_at(struct model *m, struct point **list, size_t count, enum where where,
        uint8_t seen[MODEL_VMS][MODEL_RUNS])
{
    for (size_t i = 0; i < count; i++) {
        unsigned number = 0;
        unsigned vm = 0;

        lab_identify(list[i], &vm, &number);
        if (vm >= MODEL_VMS || number >= MODEL_RUNS || (m->table[vm][number].d.may & where) == 0) {
            violation(m, "run %u of vm %u is %s", number, vm,
                      where == LISTED ? "listed and must not be" : "among the deleted");
            continue;
        }
        seen[vm][number] = (uint8_t)where;
        saw(m, vm * 1000u + number * 10u + (unsigned)where);
    }
}

static void
read_back(struct model *m, struct point **list, size_t count, bool all)
{
    size_t only = count == 0 || all ? 0 : below(m, (unsigned)count);
    struct varve_error err;

    for (size_t i = all ? 0 : only; i < (all || count == 0 ? count : only + 1); i++) {
        enum varve_err rc = lab_verify(&m->l, list[i], &err);

        if (rc != VARVE_OK && !(m->rotten && unreadable(rc)) &&
            (rc == VARVE_ERR_INTERNAL || fault_fs_hits(m->ff) == 0)) {
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
narrow(struct model *m, uint8_t seen[MODEL_VMS][MODEL_RUNS])
{
    for (unsigned vm = 0; vm < MODEL_VMS; vm++) {
        for (unsigned n = 0; n < MODEL_RUNS; n++) {
            unsigned is = seen[vm][n] == 0 ? (unsigned)NOWHERE : seen[vm][n];
            struct entry *e = &m->table[vm][n];

            if ((e->d.may & is) == 0) {
                violation(m, "run %u of vm %u is lost", n, vm);
            }
            doubt_narrow(&e->d, is);
        }
    }
}

void
compare(struct model *m, bool all)
{
    uint8_t seen[MODEL_VMS][MODEL_RUNS] = {{0}};
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

void
full_mark(struct model *m)
{
    struct account_check check;
    struct varve_error err;

    if (m->rotten) {
        return; /* what cannot be read cannot be counted */
    }
    if (gc_check(m->l.gc, NULL, &check, &err) != VARVE_OK) {
        violation(m, "full mark: %s", err.msg);
    } else if (check.missing != 0 || (check.extra != 0) != (check.unread != 0)) {
        violation(m, "counts: %" PRIu64 " too low, %" PRIu64 " too high, %" PRIu64 " nodes unread",
                  check.missing, check.extra, check.unread);
    } else if (check.unread != 0 && m->hit_count == 0 && !m->older) {
        violation(m, "%" PRIu64 " nodes cannot be read where nothing is damaged", check.unread);
    }
    m->counts->marks++;
}

struct point *
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
