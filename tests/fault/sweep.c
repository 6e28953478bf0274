/* SPDX-License-Identifier: Apache-2.0 */
#include "fault/sweep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/testing.h"
#include "os/file_fault.h"
#include "os/file_mem.h"

#define CHANGES_MAX 3000u
#define FULL        ((unsigned)FAULT_CREATE | FAULT_WRITE | FAULT_TRUNCATE | FAULT_MKDIR)

static const struct kind {
    const char *name;
    unsigned ops;
    enum fault_action action;
    int errnum;
    uint64_t times;
} kinds[] = {
    {"cut", FAULT_CHANGES, FAULT_CUT, EIO, 0},
    {"EIO", FAULT_CHANGES, FAULT_FAIL, EIO, 1},
    {"EIO though done", FAULT_CHANGES, FAULT_FAIL_AFTER, EIO, 1},
    {"disk full", FULL, FAULT_FAIL, ENOSPC, 3},
    {"short write", FAULT_WRITE, FAULT_FAIL_AFTER, ENOSPC, 3},
};

struct outcome {
    uint64_t places;
    uint64_t left_out;
    uint64_t openings;
    uint64_t broken;
    char first[400];
};

static unsigned long
number_from(const char *variable, unsigned long otherwise)
{
    const char *text = getenv(variable);
    unsigned long n = text == NULL ? otherwise : strtoul(text, NULL, 10);

    return n > 100000 ? otherwise : n;
}

struct sweep_places
sweep_places(uint64_t total)
{
    uint64_t most =
        number_from("VARVE_FAULT_PLACES", VARVE_SANITIZED ? SWEEP_PLACES_SANITIZED : SWEEP_PLACES);
    struct sweep_places p = {.first = 1, .step = 1};

    if (most > 0 && total > most) {
        p.step = (total + most - 1) / most;
        p.first = 1 + (uint64_t)time(NULL) / 86400u % p.step;
    }
    return p;
}

static void
drop_line(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

void
sweep_no_log(void)
{
    log_set_sink(drop_line);
}

/* One place.  Answers the changes of this kind that there were; *hit: the n-th was among them. */
static uint64_t
once(const struct sweep_case *c, struct fs *(*wrap)(struct fs *), const struct kind *kind,
     uint64_t n, uint64_t seed, struct outcome *out, bool *hit)
{
    const struct fault_rule rule = {.ops = kind->ops,
                                    .nth = n,
                                    .times = kind->times,
                                    .action = kind->action,
                                    .errnum = kind->errnum};
    struct fault_fs *ff = NULL;
    struct mem_fs *mem = NULL;
    struct varve_error err;
    void *table = NULL;
    uint64_t changes;

    assert_ok(mem_fs_new(&mem, &err), &err);
    assert_ok(fs_mkdir(mem_fs(mem), "/data", &err), &err);
    assert_ok(fs_sync_dir(mem_fs(mem), "/", &err), &err);
    table = c->prepare(mem_fs(mem));
    assert_ok(fault_fs_new(&ff, mem_fs(mem), &err), &err);
    assert_ok(fault_fs_set(ff, &rule, &err), &err);
    c->run(table, wrap == NULL ? fault_fs(ff) : wrap(fault_fs(ff)));
    *hit = fault_fs_hits(ff) > 0;
    changes = fault_fs_calls(ff, kind->ops);
    mem_fs_power_cut(mem, seed);
    if (c->check(table, mem_fs(mem), &err) != VARVE_OK && out->broken++ == 0) {
        (void)snprintf(out->first, sizeof(out->first), "%s, %s at change %llu, seed %llu: %s",
                       c->name, kind->name, (unsigned long long)n, (unsigned long long)seed,
                       err.msg);
    }
    out->openings++;
    if (c->end != NULL) {
        c->end(table);
    }
    free(table);
    fault_fs_free(ff);
    mem_fs_free(mem);
    return changes;
}

/* first_only: ends at the first broken promise. */
static void
sweep_kind(const struct sweep_case *c, struct fs *(*wrap)(struct fs *), const struct kind *kind,
           bool first_only, struct outcome *out)
{
    unsigned long seeds = number_from("VARVE_FAULT_SEEDS", c->seeds);
    uint64_t total;
    uint64_t taken = 0;
    struct sweep_places p;
    bool hit = false;

    seeds = kind->action != FAULT_CUT ? 1 : seeds == 0 ? 2 : seeds;
    total = once(c, wrap, kind, UINT32_MAX, 8, out, &hit); /* without a fault, all kept */
    p = first_only ? (struct sweep_places){.first = 1, .step = VARVE_SANITIZED ? 3 : 1}
                   : sweep_places(total);
    hit = true;
    for (uint64_t n = p.first; hit && n < CHANGES_MAX; n += p.step) {
        for (uint64_t i = 0; i < seeds; i++) {
            /* By turns all lost, all kept, and a mixture; then more mixtures (file_mem.h). */
            uint64_t turn = n / p.step % 3;
            uint64_t mixed = (n * seeds + i) * 16 + 1 + i % 8;

            (void)once(c, wrap, kind, n, i == 0 && turn < 2 ? turn * 8 : mixed, out, &hit);
            if (first_only && out->broken > 0) {
                return;
            }
        }
        taken += hit ? 1 : 0;
    }
    assert_false(hit); /* all of it was swept */
    out->places += taken;
    out->left_out += p.step > 1 && total > taken ? total - taken : 0;
}

void
sweep(const struct sweep_case *c)
{
    struct outcome out;

    memset(&out, 0, sizeof(out));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        sweep_kind(c, NULL, &kinds[i], false, &out);
    }
    print_message("%s: %llu places, %llu left out, %llu openings, %llu broken promises\n", c->name,
                  (unsigned long long)out.places, (unsigned long long)out.left_out,
                  (unsigned long long)out.openings, (unsigned long long)out.broken);
    if (out.broken > 0) {
        fail_msg("%s", out.first);
    }
    assert_true(out.places > 10);
}

void
sweep_must_break(const struct sweep_case *c, struct fs *(*wrap)(struct fs *))
{
    struct outcome out;

    memset(&out, 0, sizeof(out));
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && out.broken == 0; i++) {
        sweep_kind(c, wrap, &kinds[i], true, &out);
    }
    print_message("%s: broken after %llu openings, as it must be: %s\n", c->name,
                  (unsigned long long)out.openings, out.first);
    assert_true(out.broken > 0);
}
