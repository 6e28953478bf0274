/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/model/model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A sequence, from its first step to its end, and how one that fails is made shorter. */

static void
arm(struct model *m)
{
    struct fault_rule rule = {.ops = FAULT_CHANGES, .nth = 1 + below(m, 25), .times = 1};
    struct varve_error err;

    if (m->armed) {
        return;
    }
    rule.action = below(m, 2) == 0 ? FAULT_FAIL : FAULT_FAIL_AFTER;
    rule.errnum = below(m, 2) == 0 ? EIO : ENOSPC;
    if (below(m, 2) == 0) {
        rule.action = FAULT_CUT;
        rule.nth = 1 + below(m, 60);
    } else if (below(m, 4) == 0) { /* a sector that cannot be read once */
        rule.ops = FAULT_READ;
        rule.action = FAULT_FAIL;
        rule.errnum = EIO;
        rule.nth = 1 + below(m, 200);
    }
    m->armed = fault_fs_set(m->ff, &rule, &err) == VARVE_OK;
}

static void
step_time(struct model *m)
{
    m->now_us += (int64_t)(1 + below(m, below(m, 4) == 0 ? 200 : 3)) * HOUR_US;
}

static void
step_reopen(struct model *m)
{
    reopen(m, (enum end)below(m, 3));
}

static void
step_index(struct model *m)
{
    if (below(m, 3) == 0) {
        step_keep_index(m);
    } else {
        step_other_index(m);
    }
}

/* How often each kind of step comes, in a thousand. */
static const struct {
    const char *name;
    unsigned weight;
    void (*step)(struct model *m);
} kinds[] = {
    {"run", 466, step_run},
    {"delete", 80, step_delete},
    {"undelete", 35, step_undelete},
    {"protect", 45, step_protect},
    {"time", 50, step_time},
    {"collect", 85, step_collect},
    {"rot", 30, step_rot},
    {"heal", 20, step_heal},
    {"verify", 15, step_verify},
    {"fault", 40, arm},
    {"reopen", 40, step_reopen},
    {"index", 15, step_index},
    {"keys", 15, step_keys},
    {"policy", 10, step_policy},
    {"retention", 12, step_retention},
    {"domain", 16, step_domain},
    {"copy", 16, step_copy},
    {"lose points", 10, step_lose_points},
};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void
one_step(struct model *m)
{
    unsigned what = below(m, 1000);
    size_t kind = 0;

    while (what >= kinds[kind].weight) {
        what -= kinds[kind].weight;
        kind++;
    }
    if (m->seq->tell) {
        printf("  step %u: %s\n", m->step, kinds[kind].name);
        (void)fflush(stdout);
    }
    kinds[kind].step(m);
    if (m->armed && fault_fs_hits(m->ff) > 0 && !m->bad) {
        m->counts->failures++;
        m->scarred = true; /* a record may have been set aside */
        reopen(m, fault_fs_is_cut(m->ff) ? (enum end)(1 + below(m, 2)) : (enum end)below(m, 3));
    } else if (!m->armed && !m->bad) {
        compare(m, false);
    }
    m->counts->steps++;
}

static void
start(struct model *m)
{
    struct varve_error err;

    m->now_us = 1000 * HOUR_US;
    m->policy_count = 1;
    for (unsigned i = 0; i < MODEL_DOMAINS; i++) {
        m->domains[i].may = NOWHERE;
    }
    for (unsigned vm = 0; vm < MODEL_VMS; vm++) {
        m->next[vm] = 1;
        for (unsigned n = 0; n < MODEL_RUNS; n++) {
            m->table[vm][n].d.may = NOWHERE;
            m->table[vm][n].may_held = 1;
        }
    }
    if (m->seq->seed % 3 != 0) {
        m->index = test_folder_make();
        m->old_index = test_folder_make();
        m->cut_index = test_folder_make();
    }
    if (mem_fs_new(&m->mem, &err) != VARVE_OK ||
        fault_fs_new(&m->ff, mem_fs(m->mem), &err) != VARVE_OK ||
        fs_mkdir(mem_fs(m->mem), "/data", &err) != VARVE_OK ||
        fs_sync_dir(mem_fs(m->mem), "/", &err) != VARVE_OK) {
        abort();
    }
    fault_fs_on_cut(m->ff, catch_index, m);
    secrets_start(m);
    model_open(m);
}

static void
finish(struct model *m)
{
    end_runs(m);
    lab_close(&m->l);
    fault_fs_free(m->ff);
    mem_fs_free(m->mem);
    secrets_release(m);
    test_folder_remove(m->index);
    test_folder_remove(m->old_index);
    test_folder_remove(m->cut_index);
}

/* Each step and what comes before and after them has numbers of its own. */
static void
reseed(struct model *m, unsigned step)
{
    m->step = step;
    m->random.state = m->seq->seed * 1000003 + step * 77777;
    model_random_seed(m->random.state + 1);
    (void)test_random_next(&m->random);
}

bool
model_run(const struct sequence *seq, struct counts *counts, char *first, uint64_t *digest)
{
    struct model *m = calloc(1, sizeof(*m));
    bool good;

    if (m == NULL) {
        abort();
    }
    m->seq = seq;
    m->counts = counts;
    reseed(m, 0);
    start(m);
    for (unsigned i = 1; i <= seq->steps && !m->bad; i++) {
        if (seq->keep == NULL || seq->keep[i - 1]) {
            reseed(m, i);
            one_step(m);
        }
    }
    reseed(m, seq->steps + 1);
    if (!m->bad) {
        reopen(m, END_PEACE);
    }
    if (!m->bad && m->rotten) {
        heal(m);
    }
    if (!m->bad && !seq->points_only) {
        space_comes_back(m);
    }
    good = !m->bad;
    (void)snprintf(first, sizeof(m->first), "%s", m->first);
    if (digest != NULL) {
        *digest = m->digest;
    }
    finish(m);
    free(m);
    counts->sequences++;
    return good;
}

static unsigned
kept(const uint8_t keep[MODEL_STEPS], unsigned steps)
{
    unsigned n = 0;

    for (unsigned i = 0; i < steps; i++) {
        n += keep[i];
    }
    return n;
}

/* Leaves out pieces, halves first, then smaller and smaller ones, as long as it still fails. */
void
model_shrink(const struct sequence *seq, unsigned tries, uint8_t keep[MODEL_STEPS], char *first)
{
    struct sequence shorter = *seq;
    struct counts ignored = {0};
    uint8_t without[MODEL_STEPS];
    char what[sizeof(((struct model *)0)->first)];
    unsigned piece = kept(keep, seq->steps);

    shorter.tell = false;
    shorter.keep = without;
    for (piece = (piece + 1) / 2; piece > 0 && tries > 0;) {
        bool left_out = false;

        for (unsigned at = 0; at < seq->steps && tries > 0;) {
            unsigned n = 0;

            memcpy(without, keep, sizeof(without));
            for (; at < seq->steps && n < piece; at++) {
                n += without[at];
                without[at] = 0;
            }
            if (n == 0) {
                continue;
            }
            tries--;
            if (!model_run(&shorter, &ignored, what, NULL)) {
                memcpy(keep, without, sizeof(without));
                memcpy(first, what, sizeof(what));
                left_out = true;
            }
        }
        if (!left_out || piece > 1) {
            piece = piece == 1 ? 0 : (piece + 1) / 2;
        }
    }
}
