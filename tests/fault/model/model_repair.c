/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/model/model.h"

#include <stdio.h>
#include <stdlib.h>

#include "store/twice.h"

/* The second store: a copy of the first one at some moment, and what comes back from it. */

struct copying {
    struct model *m;
    struct store *to;
    bool ok;
};

static bool
copy_object(void *arg, const char *name, uint64_t size)
{
    struct copying *c = arg;
    struct store_part part = {.len = (size_t)size};
    struct varve_error err;
    uint8_t *bytes = malloc(part.len + 1);

    if (bytes == NULL) {
        abort();
    }
    part.data = bytes;
    c->ok = store_get(c->m->l.dir, name, 0, bytes, part.len, &err) == VARVE_OK &&
            store_put(c->to, name, &part, 1, &err) == VARVE_OK;
    free(bytes);
    return c->ok;
}

static void
copy_path(const struct model *m, char out[32])
{
    (void)snprintf(out, 32, "/copy%u", m->copies);
}

void
step_copy(struct model *m)
{
    struct copying c = {.m = m};
    struct varve_error err;
    char path[32];

    if (m->armed || m->rotten || m->copies >= 3) {
        return;
    }
    m->copies++;
    copy_path(m, path);
    if (store_dir_open(&c.to, mem_fs(m->mem), path, &err) != VARVE_OK ||
        store_list(m->l.dir, "", copy_object, &c, &err) != VARVE_OK || !c.ok) {
        violation(m, "the test cannot copy the store");
    }
    store_close(c.to);
    m->copy_secret = a_secret(m);
    for (unsigned vm = 0; vm < MODEL_VMS; vm++) {
        for (unsigned n = 0; n < MODEL_RUNS; n++) {
            struct entry *e = &m->table[vm][n];

            e->in_copy = (e->d.may & ((unsigned)LISTED | GONE)) != 0;
        }
    }
}

/* Everything that the copy has is whole afterwards.  Ends open runs: no collector may run beside it. */
bool
repair(struct model *m)
{
    struct offline_repair_options options = {
        .store = {.fs = fault_fs(m->ff),
                  .folder = "/data/store",
                  .secret = offline_secret_of(a_secret(m))},
        .from = {.fs = mem_fs(m->mem), .secret = offline_secret_of(m->copy_secret)}};
    struct offline_repair_result result;
    struct varve_error err;
    struct point **list = NULL;
    size_t count = 0;
    char path[32];

    copy_path(m, path);
    options.from.folder = path;
    model_close(m);
    if (offline_repair(&options, &result, &err) != VARVE_OK) {
        violation(m, "repair: %s", err.msg);
    }
    m->counts->repairs++;
    saw(m, result.copied * 100 + result.points_copied);
    model_open(m);
    if (m->bad) {
        return false;
    }
    compare(m, true);
    if (!m->bad && catalog_list(m->l.catalog, NULL, &list, &count, &err) != VARVE_OK) {
        violation(m, "listing: %s", err.msg);
    }
    for (size_t i = 0; i < count && !m->bad; i++) {
        unsigned number = 0;
        unsigned vm = 0;

        lab_identify(list[i], &vm, &number);
        if (m->table[vm][number].in_copy && lab_verify(&m->l, list[i], &err) != VARVE_OK) {
            violation(m, "after the repair run %u of vm %u is not whole: %s", number, vm, err.msg);
        }
    }
    catalog_list_free(list, count);
    if (!m->bad && m->index == NULL) {
        rot_is_forgotten(m);
    }
    return !m->bad;
}

static void
lose(struct model *m, const struct point *p)
{
    char object[STORE_NAME_MAX + 1];
    struct varve_error err;
    char vm[GUID_TEXT_SIZE];
    uint64_t size = 0;
    uint64_t one = 0;

    guid_format(&p->vm, vm);
    (void)snprintf(object, sizeof(object), "point/%s/%016llx", vm, (unsigned long long)p->seq);
    if (store_size(m->l.dir, object, &size, &err) == VARVE_OK) {
        one = twice_content(size);
    }
    if (one == 0) {
        violation(m, "the test does not find '%s'", object);
        return;
    }
    flip_a_bit(m, object, 0, one);
    flip_a_bit(m, object, twice_second(one), twice_second(one) + one);
}

/* Both copies of the objects of a few points are damaged: they are not listed any more, nothing else
 * is harmed, nothing that they need is collected, and the second store gives them back. */
void
step_lose_points(struct model *m)
{
    unsigned many = 1 + below(m, 3);
    struct gc_result r;

    if (m->armed || m->rotten || m->copy_secret == NULL) {
        return;
    }
    for (unsigned i = 0; i < many && !m->bad; i++) {
        unsigned number = 0;
        unsigned vm = 0;
        struct point *p = pick(m, LISTED, &vm, &number);
        struct entry *e = &m->table[vm][number];

        if (p != NULL && e->in_copy && !m->lost[vm][number]) {
            lose(m, p);
            m->lost[vm][number] = 1;
            e->d.may = NOWHERE;
        }
        point_unref(p);
    }
    if (!m->bad) {
        reopen(m, below(m, 2) == 0 ? END_PEACE : END_CUT);
    }
    if (!m->bad) {
        (void)collect(m, 50, &r);
    }
    for (unsigned vm = 0; vm < MODEL_VMS; vm++) {
        for (unsigned n = 0; n < MODEL_RUNS; n++) {
            if (m->lost[vm][n]) {
                m->table[vm][n].d = (struct doubt){.may = LISTED};
                m->lost[vm][n] = 0;
            }
        }
    }
    if (!m->bad) {
        (void)repair(m);
    }
    if (!m->bad) {
        full_mark(m);
    }
}
