/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "jobs/verify_job.h"
#include "restore/restore_lab.h"

#define MIB          (1024u * 1024)
#define CHUNK        (64u * 1024)
#define PROBLEMS_MAX 4096u
#define SEEDS        (VARVE_SANITIZED ? 3u : 12u)

/* What a run said. */
struct report {
    struct verify_progress progress;
    struct verify_problem problems[PROBLEMS_MAX];
    size_t problem_count;
    unsigned progress_calls;
    unsigned stop_after; /* progress calls; 0: never */
};

static bool
on_progress(void *arg, const struct verify_progress *p)
{
    struct report *r = arg;

    assert_true(p->points_done >= r->progress.points_done);
    assert_true(p->bytes_done >= r->progress.bytes_done);
    r->progress = *p;
    r->progress_calls++;
    return r->stop_after == 0 || r->progress_calls < r->stop_after;
}

static bool
on_problem(void *arg, const struct verify_problem *p)
{
    struct report *r = arg;

    assert_true(r->problem_count < PROBLEMS_MAX);
    r->problems[r->problem_count++] = *p;
    return true;
}

static enum varve_err
verify(struct lab *l, struct report *r, struct varve_error *err)
{
    const struct verify_sink sink = {.arg = r, .progress = on_progress, .problem = on_problem};
    struct point *points[LAB_POINTS_MAX];

    for (size_t i = 0; i < l->point_count; i++) {
        points[i] = l->points[i].point;
    }
    return verify_job_run(l->cs, l->catalog, points, l->point_count, 2, &sink, err);
}

static struct report *
new_report(void)
{
    struct report *r = calloc(1, sizeof(*r));

    assert_non_null(r);
    return r;
}

static void
build(struct lab *l, uint64_t seed)
{
    lab_open(l, seed, CHUNK);
    (void)lab_add_disk(l, "a.vhdx", 20 * MIB, 512);
    (void)lab_add_disk(l, "b.vhdx", 9 * MIB + 5 * 512, 512); /* its last chunk is short */
    for (unsigned i = 0; i < 4; i++) {
        lab_write(l, 0, i == 0 ? 60 : 4);
        lab_write(l, 1, i == 0 ? 30 : 2);
        memset(l->disks[1].bytes + l->disks[1].size - 512, (int)('a' + i % 2), 512);
        (void)lab_take_point(l);
    }
}

/* ---- damage: one object of the store is replaced by a copy with one byte changed ---- */

struct pick {
    char names[256][STORE_NAME_MAX + 1];
    uint64_t sizes[256];
    size_t count;
};

static bool
collect_pack(void *arg, const char *name, uint64_t size)
{
    struct pick *p = arg;

    (void)snprintf(p->names[p->count], sizeof(p->names[0]), "%s", name);
    p->sizes[p->count] = size;
    p->count++;
    return p->count < 256;
}

static void
damage_a_byte(struct lab *l)
{
    struct pick *p = calloc(1, sizeof(*p));
    struct store_part part;
    struct varve_error err;
    uint8_t *bytes;
    size_t which;
    uint64_t at;

    assert_non_null(p);
    assert_ok(store_list(l->mem, "pack/", collect_pack, p, &err), &err);
    which = (size_t)test_random_below(&l->random, p->count);
    at = test_random_below(&l->random, p->sizes[which]);
    bytes = malloc((size_t)p->sizes[which]);
    assert_non_null(bytes);
    assert_ok(store_get(l->mem, p->names[which], 0, bytes, (size_t)p->sizes[which], &err), &err);
    bytes[at] ^= 0x10;
    part.data = bytes;
    part.len = (size_t)p->sizes[which];
    assert_ok(store_remove(l->mem, p->names[which], &err), &err);
    assert_ok(store_put(l->mem, p->names[which], &part, 1, &err), &err);
    free(bytes);
    free(p);
}

/* Which chunks of a disk cannot be read, by reading each of them. */
static void
find_bad_chunks(struct lab *l, const struct point_disk *d, uint8_t *bad, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        struct manifest_reader *r = NULL;
        struct chunk_id id;
        struct varve_error err;
        uint8_t *buf = malloc(CHUNK);
        size_t len = 0;

        assert_non_null(buf);
        bad[i] = 1;
        if (manifest_reader_new(&r, chunk_store_default(l->cs), &d->root, &err) == VARVE_OK &&
            manifest_read(r, i, 1, &id, &err) == VARVE_OK &&
            (chunk_id_is_hole(&id) || chunk_store_get(chunk_store_default(l->cs), &id, buf, CHUNK,
                                                      &len, &err) == VARVE_OK)) {
            bad[i] = 0;
        }
        manifest_reader_free(r);
        free(buf);
    }
}

/* A damaged node hides which of its chunks are holes: problems cover at least the bad chunks and, by
 * whole nodes only, more. */
static unsigned
check_disk(struct lab *l, const struct report *r, const struct point *p, const struct point_disk *d)
{
    uint64_t count = div_round_up_u64(d->size, CHUNK);
    uint8_t *bad = calloc(1, (size_t)count);
    uint8_t *said = calloc(1, (size_t)count);
    unsigned total = 0;

    if (bad == NULL || said == NULL) {
        abort();
    }
    for (size_t i = 0; i < r->problem_count; i++) {
        const struct verify_problem *problem = &r->problems[i];

        if (problem->point == p && strcmp(problem->disk, d->name) == 0) {
            assert_int_equal(problem->offset % CHUNK, 0);
            assert_true(problem->length > 0 && problem->offset + problem->length <= d->size);
            assert_true(problem->error.code != VARVE_OK && problem->error.msg[0] != '\0');
            memset(said + problem->offset / CHUNK, 1,
                   (size_t)div_round_up_u64(problem->length, CHUNK));
        }
    }
    find_bad_chunks(l, d, bad, count);
    assert_memory_equal(said, bad, count);
    for (uint64_t i = 0; i < count; i++) {
        total += bad[i];
    }
    free(bad);
    free(said);
    return total;
}

static void
a_sound_store_has_no_problems_and_each_byte_is_read_once(void **state)
{
    struct chunk_store_stats stats;
    struct varve_error err;
    struct report *r = new_report();
    struct lab l;

    (void)state;
    build(&l, 1);
    assert_ok(verify(&l, r, &err), &err);
    assert_int_equal(r->problem_count, 0);
    assert_int_equal(r->progress.points_done, 4);
    assert_int_equal(r->progress.points_total, 4);
    assert_ok(chunk_store_get_stats(l.cs, &stats, &err), &err);
    /* Short chunks at the end of a disk are read for each point that has them: six at most. */
    assert_true(r->progress.bytes_done >= stats.raw_bytes);
    assert_true(r->progress.bytes_done <= stats.raw_bytes + 6 * 5 * 512);
    lab_close(&l);
    free(r);
}

static void
damage_is_named_in_every_point_it_hits(void **state)
{
    unsigned hit = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct varve_error err;
        struct report *r = new_report();
        struct lab l;

        print_message("seed %llu\n", (unsigned long long)seed);
        build(&l, seed);
        damage_a_byte(&l);
        damage_a_byte(&l);
        assert_ok(verify(&l, r, &err), &err);
        for (size_t i = 0; i < l.point_count; i++) {
            const struct point *p = l.points[i].point;

            for (size_t k = 0; k < p->disk_count; k++) {
                hit += check_disk(&l, r, p, &p->disks[k]) > 0 ? 1 : 0;
            }
        }
        lab_close(&l);
        free(r);
    }
    assert_true(hit > SEEDS); /* the seeds do damage something */
}

static void
a_chunk_of_the_wrong_length_is_a_problem(void **state)
{
    struct manifest_builder *b = NULL;
    struct varve_error err;
    struct report *r = new_report();
    struct lab_point *lp;
    struct chunk_id id;
    uint8_t bytes[512];
    struct lab l;

    (void)state;
    lab_open(&l, 9, CHUNK);
    (void)lab_add_disk(&l, "a.vhdx", 4 * MIB, 512);
    lp = lab_take_point(&l);
    memset(bytes, 'x', sizeof(bytes));
    chunk_id_of(&id, bytes, sizeof(bytes));
    assert_ok(chunk_store_put(chunk_store_default(l.cs), CHUNK_DATA, &id, bytes, 512, 512, &err),
              &err);
    assert_ok(manifest_builder_new(&b, chunk_store_default(l.cs), 64, NULL, &err), &err);
    assert_ok(manifest_builder_set(b, 7, &id, &err), &err);
    assert_ok(manifest_builder_finish(b, &lp->point->disks[0].root, &err), &err);
    manifest_builder_free(b);
    assert_ok(verify(&l, r, &err), &err);
    assert_int_equal(r->problem_count, 1);
    assert_int_equal(r->problems[0].offset, 7 * CHUNK);
    assert_int_equal(r->problems[0].length, CHUNK);
    assert_int_equal(r->problems[0].error.code, VARVE_ERR_CORRUPT);
    lab_close(&l);
    free(r);
}

static void
a_point_with_the_wrong_number_of_chunks_is_a_problem(void **state)
{
    struct varve_error err;
    struct report *r = new_report();
    struct lab_point *lp;
    struct lab l;

    (void)state;
    lab_open(&l, 9, CHUNK);
    (void)lab_add_disk(&l, "a.vhdx", 4 * MIB, 512);
    lp = lab_take_point(&l);
    lp->point->disks[0].root.chunk_count--;
    assert_ok(verify(&l, r, &err), &err);
    assert_int_equal(r->problem_count, 1);
    assert_int_equal(r->problems[0].length, 4 * MIB);
    lab_close(&l);
    free(r);
}

static bool
keep_name(void *arg, const char *name, uint64_t size)
{
    (void)size;
    (void)snprintf(arg, STORE_NAME_MAX + 1, "%s", name);
    return true;
}

static void
a_lost_record_of_a_point_is_a_problem(void **state)
{
    char name[STORE_NAME_MAX + 1] = "";
    struct varve_error err;
    struct report *r = new_report();
    struct lab l;

    (void)state;
    build(&l, 3);
    assert_ok(store_list(l.mem, "point/", keep_name, name, &err), &err);
    assert_ok(store_remove(l.mem, name, &err), &err); /* the last in name order: the newest */
    assert_ok(verify(&l, r, &err), &err);
    assert_int_equal(r->problem_count, 1);
    assert_ptr_equal(r->problems[0].point, l.points[3].point);
    assert_string_equal(r->problems[0].disk, "");
    lab_close(&l);
    free(r);
}

static void
a_sink_can_stop_the_job(void **state)
{
    struct varve_error err;
    struct report *r = new_report();
    struct lab l;

    (void)state;
    build(&l, 2);
    r->stop_after = 2;
    assert_err(verify(&l, r, &err), VARVE_ERR_CANCELLED, &err);
    assert_int_equal(r->progress_calls, 2);
    lab_close(&l);
    free(r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sound_store_has_no_problems_and_each_byte_is_read_once),
        cmocka_unit_test(damage_is_named_in_every_point_it_hits),
        cmocka_unit_test(a_chunk_of_the_wrong_length_is_a_problem),
        cmocka_unit_test(a_point_with_the_wrong_number_of_chunks_is_a_problem),
        cmocka_unit_test(a_lost_record_of_a_point_is_a_problem),
        cmocka_unit_test(a_sink_can_stop_the_job),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
