/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/sweep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/testing.h"
#include "os/file_fault.h"
#include "os/file_mem.h"

#define CHANGES_MAX 3000u

enum kind { KIND_CUT, KIND_FAIL, KIND_FAIL_AFTER, KIND_FULL, KINDS };

static const char *const kind_names[KINDS] = {"cut", "EIO", "EIO though done", "disk full"};

struct outcome {
    uint64_t places;
    uint64_t openings;
    uint64_t broken;
    char first[400];
};

static void
set_fault(struct fault_fs *ff, enum kind kind, uint64_t n)
{
    struct fault_rule rule = {.ops = FAULT_CHANGES, .nth = n, .times = 1, .errnum = EIO};
    struct varve_error err;

    if (kind == KIND_CUT) {
        fault_fs_cut_at(ff, n);
        return;
    }
    rule.action = kind == KIND_FAIL_AFTER ? FAULT_FAIL_AFTER : FAULT_FAIL;
    if (kind == KIND_FULL) {
        rule.ops = FAULT_CREATE | FAULT_WRITE | FAULT_MKDIR;
        rule.times = 3;
        rule.errnum = ENOSPC;
    }
    assert_ok(fault_fs_set(ff, &rule, &err), &err);
}

/* False when the operation has fewer than n changes. */
static bool
once(const struct sweep_case *c, enum kind kind, uint64_t n, uint64_t seed, struct outcome *out)
{
    struct fault_fs *ff = NULL;
    struct mem_fs *mem = NULL;
    struct varve_error err;
    void *table = NULL;
    bool hit;

    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/data", &err), &err);
    assert_ok(fs_sync_dir(mem_fs(mem), "/", &err), &err);
    table = c->prepare(mem_fs(mem));
    assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
    set_fault(ff, kind, n);
    c->run(table, fault_fs(ff));
    hit = fault_fs_hits(ff) > 0;
    mem_fs_power_cut(mem, seed);
    if (c->check(table, mem_fs(mem), &err) != VARVE_OK && out->broken++ == 0) {
        (void)snprintf(out->first, sizeof(out->first), "%s, %s at change %llu, seed %llu: %s",
                       c->name, kind_names[kind], (unsigned long long)n, (unsigned long long)seed,
                       err.msg);
    }
    out->openings++;
    free(table);
    fault_fs_free(ff);
    mem_fs_free(mem);
    return hit;
}

void
sweep(const struct sweep_case *c)
{
    const char *text = getenv("VARVE_FAULT_SEEDS");
    unsigned long seeds = text == NULL ? 0 : strtoul(text, NULL, 10);
    /* Places are all alike to a sanitizer, and dear. */
    unsigned step = (c->step == 0 ? 1 : c->step) * (VARVE_SANITIZED ? 5 : 1);
    struct outcome out;

    memset(&out, 0, sizeof(out));
    seeds = seeds == 0 || seeds > 100000 ? 2 : seeds;
    for (int kind = 0; kind < KINDS; kind++) {
        bool hit = true;
        uint64_t n = 1;

        for (; hit && n < CHANGES_MAX; n += step) {
            uint64_t turn = n / step % 3;

            for (uint64_t i = 0; i < (kind == KIND_CUT ? seeds : 1); i++) {
                /* By turns all lost, all kept, and a mixture; then more mixtures (file_mem.h). */
                uint64_t mixed = (n * seeds + i) * 16 + 1 + i % 8;

                hit = once(c, (enum kind)kind, n, i == 0 && turn < 2 ? turn * 8 : mixed, &out);
            }
            out.places++;
        }
        assert_false(hit); /* all of it was swept */
    }
    print_message("%s: %llu places, %llu openings, %llu broken promises\n", c->name,
                  (unsigned long long)out.places, (unsigned long long)out.openings,
                  (unsigned long long)out.broken);
    if (out.broken > 0) {
        fail_msg("%s", out.first);
    }
    assert_true(out.places > 10);
}
