/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/catalog.h"
#include "catalog/point_record.h"
#include "crypto/identity.h"
#include "os/file.h"
#include "os/thread.h"
#include "store/store_fault.h"
#include "store/store_testing.h"

struct fixture {
    char *folder;
    char *key_path;
    struct store *mem;
    struct store *store; /* wrapper that can fail */
    struct chunk_store *cs;
    struct catalog *c;
};

static void
open_all(struct fixture *f)
{
    struct chunk_store_options options = {.key_path = f->key_path};
    struct varve_error err;

    assert_ok(chunk_store_open(&f->cs, f->store, fs_system(), &options, &err), &err);
    assert_ok(catalog_open(&f->c, f->cs, &err), &err);
}

static void
close_all(struct fixture *f)
{
    catalog_close(f->c);
    chunk_store_close(f->cs);
    f->c = NULL;
    f->cs = NULL;
}

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct varve_error err;

    f->folder = test_folder_make();
    f->key_path = test_path(f->folder, "key");
    assert_ok(store_mem_open(&f->mem, &err), &err);
    assert_ok(store_fault_open(&f->store, f->mem, &err), &err);
    open_all(f);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    close_all(f);
    store_close(f->store);
    store_close(f->mem);
    test_folder_remove(f->folder);
    free(f->key_path);
    free(f);
    return 0;
}

static char *
text(const char *s)
{
    char *copy = malloc(strlen(s) + 1);

    memcpy(copy, s, strlen(s) + 1);
    return copy;
}

static struct guid
id_of(uint8_t first, unsigned n)
{
    struct guid g = {{0}};

    g.bytes[0] = first;
    g.bytes[1] = 0xab;
    g.bytes[14] = (uint8_t)(n >> 8);
    g.bytes[15] = (uint8_t)n;
    return g;
}

/* A point of vm number `vm`, run number `run`, with two disks and a file. */
static struct point *
make_point(unsigned vm, const char *vm_name, unsigned run)
{
    struct point *p = point_new();

    p->vm = id_of(0x11, vm);
    p->run = id_of(0x22, run);
    p->host = id_of(0x33, 1);
    p->id = id_of((uint8_t)(0x40 + run), run);
    p->vm_name = text(vm_name);
    p->host_name = text("node-1");
    p->frozen_at_us = 1700000000000000 + run;
    p->consistency = POINT_APPLICATION;
    p->capture = text("sim");
    p->source = text("file");
    p->reason = text("no reference point");
    p->reference_point = text("ref-1");
    p->generation = 2;
    p->disk_count = 2;
    p->disks = calloc(2, sizeof(p->disks[0]));
    for (unsigned i = 0; i < 2; i++) {
        struct point_disk *d = &p->disks[i];

        d->id = id_of(0x55, i);
        d->name = text(i == 0 ? "system.vhdx" : "data.vhdx");
        d->path = text("C:\\vms\\x.vhdx");
        d->size = 100 * 65536 + 512 * i;
        d->logical_sector = 512;
        d->physical_sector = 4096;
        d->block_size = 32u << 20;
        d->page83 = id_of(0x66, i);
        d->root.chunk_count = 100 + i;
        d->root.id.bytes[3] = (uint8_t)(i * 5); /* disk 0 is a hole */
        d->change_id = text("rct:1:2");
        d->incremental = i == 1;
        d->reason = text("");
        d->read_bytes = 1;
        d->sent_bytes = 2;
        d->new_bytes = 3;
        d->tracked_bytes = 4;
    }
    p->file_count = 1;
    p->files = calloc(1, sizeof(p->files[0]));
    p->files[0].name = text("config.vmcx");
    p->files[0].data = (uint8_t *)text("bytes of the configuration");
    p->files[0].len = 26;
    return p;
}

static void
publish(struct fixture *f, unsigned vm, const char *vm_name, unsigned run)
{
    struct point *p = make_point(vm, vm_name, run);
    struct varve_error err;

    assert_ok(catalog_publish(f->c, p, chunk_store_loss_count(f->cs), NULL, &err), &err);
    point_unref(p);
}

static void
same_point(const struct point *a, const struct point *b)
{
    assert_true(guid_equal(&a->id, &b->id));
    assert_true(guid_equal(&a->vm, &b->vm));
    assert_true(guid_equal(&a->host, &b->host));
    assert_true(guid_equal(&a->run, &b->run));
    assert_int_equal(a->seq, b->seq);
    assert_string_equal(a->vm_name, b->vm_name);
    assert_string_equal(a->host_name, b->host_name);
    assert_int_equal(a->frozen_at_us, b->frozen_at_us);
    assert_int_equal(a->published_at_us, b->published_at_us);
    assert_int_equal(a->consistency, b->consistency);
    assert_string_equal(a->capture, b->capture);
    assert_string_equal(a->source, b->source);
    assert_string_equal(a->reason, b->reason);
    assert_string_equal(a->reference_point, b->reference_point);
    assert_int_equal(a->generation, b->generation);
    assert_int_equal(a->disk_count, b->disk_count);
    assert_int_equal(a->file_count, b->file_count);
    for (size_t i = 0; i < a->disk_count; i++) {
        const struct point_disk *d = &a->disks[i];
        const struct point_disk *e = &b->disks[i];

        assert_true(guid_equal(&d->id, &e->id));
        assert_true(guid_equal(&d->page83, &e->page83));
        assert_string_equal(d->name, e->name);
        assert_string_equal(d->path, e->path);
        assert_string_equal(d->change_id, e->change_id);
        assert_string_equal(d->reason, e->reason);
        assert_int_equal(d->size, e->size);
        assert_int_equal(d->logical_sector, e->logical_sector);
        assert_int_equal(d->physical_sector, e->physical_sector);
        assert_int_equal(d->block_size, e->block_size);
        assert_true(chunk_id_equal(&d->root.id, &e->root.id));
        assert_int_equal(d->root.chunk_count, e->root.chunk_count);
        assert_int_equal(d->incremental, e->incremental);
        assert_int_equal(d->read_bytes, e->read_bytes);
        assert_int_equal(d->sent_bytes, e->sent_bytes);
        assert_int_equal(d->new_bytes, e->new_bytes);
        assert_int_equal(d->tracked_bytes, e->tracked_bytes);
    }
}

static void
a_published_point_is_listed_now_and_after_reopening(void **state)
{
    struct fixture *f = *state;
    struct point *p = make_point(1, "mail", 1);
    struct point *whole = NULL;
    struct point **list = NULL;
    struct varve_error err;
    size_t count = 0;

    assert_ok(catalog_publish(f->c, p, 0, NULL, &err), &err);
    assert_int_equal(p->seq, 1);
    assert_true(p->published_at_us > 0);
    for (unsigned round = 0; round < 2; round++) {
        assert_ok(catalog_list(f->c, NULL, &list, &count, &err), &err);
        assert_int_equal(count, 1);
        same_point(list[0], p);
        assert_null(list[0]->files[0].data);
        assert_int_equal(list[0]->files[0].len, 26);
        assert_ok(catalog_load(f->c, list[0], &whole, &err), &err);
        same_point(whole, p);
        assert_string_equal(whole->files[0].name, "config.vmcx");
        assert_memory_equal(whole->files[0].data, p->files[0].data, 26);
        point_unref(whole);
        catalog_list_free(list, count);
        close_all(f);
        open_all(f);
    }
    point_unref(p);
}

/* A million points must fit: what they say alike is there once. */
static void
points_of_a_vm_share_texts_until_one_differs(void **state)
{
    struct fixture *f = *state;
    struct point *told[5]; /* by run, 1 to 4 */
    struct point **list = NULL;
    struct varve_error err;
    size_t count = 0;

    for (unsigned run = 1; run <= 4; run++) {
        told[run] = make_point(1, run == 3 ? "renamed" : "a", run);
        told[run]->disks[1].change_id[4] = (char)('0' + run);
        assert_ok(catalog_publish(f->c, told[run], 0, NULL, &err), &err);
    }
    publish(f, 2, "a", 9); /* another vm; texts are shared within one */
    for (unsigned round = 0; round < 2; round++) {
        struct guid vm = id_of(0x11, 1);

        assert_ok(catalog_list(f->c, &vm, &list, &count, &err), &err);
        assert_int_equal(count, 4);
        for (unsigned i = 0; i < 4; i++) {
            same_point(list[i], told[4 - i]);
            assert_string_equal(list[i]->files[0].name, "config.vmcx");
            assert_null(list[i]->files[0].data);
        }
        assert_ptr_equal(list[3]->vm_name, list[2]->vm_name);
        assert_ptr_equal(list[3]->disks[1].path, list[2]->disks[1].path);
        assert_ptr_not_equal(list[3]->disks[1].change_id, list[2]->disks[1].change_id);
        assert_ptr_not_equal(list[2]->disks[1].path, list[1]->disks[1].path);
        assert_ptr_not_equal(list[1]->disks[1].path, list[0]->disks[1].path);
        point_ref(list[2]);
        told[0] = list[2]; /* outlives the point whose texts it took over, and the catalog */
        catalog_list_free(list, count);
        close_all(f);
        same_point(told[0], told[2]);
        point_unref(told[0]);
        open_all(f);
    }
    for (unsigned run = 1; run <= 4; run++) {
        point_unref(told[run]);
    }
}

static void
points_are_numbered_per_vm_and_listed_newest_first(void **state)
{
    struct fixture *f = *state;
    struct guid vm = id_of(0x11, 1);
    struct guid none = id_of(0x11, 77);
    struct point **list = NULL;
    struct point *p = NULL;
    struct varve_error err;
    size_t count = 0;

    publish(f, 1, "a", 1);
    publish(f, 2, "b", 2);
    publish(f, 1, "a", 3);
    publish(f, 1, "a", 4);
    assert_ok(catalog_list(f->c, &vm, &list, &count, &err), &err);
    assert_int_equal(count, 3);
    assert_int_equal(list[0]->seq, 3);
    assert_int_equal(list[2]->seq, 1);
    catalog_list_free(list, count);
    assert_ok(catalog_list(f->c, NULL, &list, &count, &err), &err);
    assert_int_equal(count, 4);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(list[i]->run.bytes[15], 4 - i);
    }
    catalog_list_free(list, count);
    catalog_latest(f->c, &vm, &p);
    assert_int_equal(p->seq, 3);
    point_unref(p);
    catalog_latest(f->c, &none, &p);
    assert_null(p);
}

static void
a_run_has_one_point_however_often_it_is_published(void **state)
{
    struct fixture *f = *state;
    struct point *again = make_point(1, "a", 1);
    struct point *existing = NULL;
    struct varve_error err;

    publish(f, 1, "a", 1);
    assert_err(catalog_publish(f->c, again, 0, &existing, &err), VARVE_ERR_EXISTS, &err);
    assert_int_equal(existing->seq, 1);
    point_unref(existing);
    close_all(f);
    open_all(f);
    assert_err(catalog_publish(f->c, again, 0, &existing, &err), VARVE_ERR_EXISTS, &err);
    point_unref(existing);
    point_unref(again);
}

static void
a_run_that_lost_a_pack_does_not_publish(void **state)
{
    struct store_fault_plan plan = {
        .kinds = STORE_FAULT_PUT, .fail_at = 1, .fail_code = VARVE_ERR_NOSPACE};
    struct fixture *f = *state;
    struct point *p = make_point(1, "a", 1);
    struct point **list = NULL;
    struct varve_error err;
    struct chunk_id id;
    size_t count = 7;
    uint64_t loss = chunk_store_loss_count(f->cs);

    chunk_id_of(&id, "chunk", 5);
    assert_ok(chunk_store_put(chunk_store_default(f->cs), CHUNK_DATA, &id, "chunk", 5, 5, &err),
              &err);
    store_fault_set(f->store, &plan);
    assert_err(catalog_publish(f->c, p, loss, NULL, &err), VARVE_ERR_NOSPACE, &err);
    /* The disk has room again, but what the run was told is void. */
    assert_err(catalog_publish(f->c, p, loss, NULL, &err), VARVE_ERR_STALE, &err);
    assert_ok(catalog_list(f->c, NULL, &list, &count, &err), &err);
    assert_int_equal(count, 0);
    catalog_list_free(list, count);
    assert_ok(catalog_publish(f->c, p, chunk_store_loss_count(f->cs), NULL, &err), &err);
    point_unref(p);
}

static void
a_point_whose_put_failed_is_not_listed_and_its_number_is_not_used_again(void **state)
{
    struct store_fault_plan plan = {
        .kinds = STORE_FAULT_PUT, .fail_at = 1, .fail_code = VARVE_ERR_IO};
    struct fixture *f = *state;
    struct point *p = make_point(1, "a", 1);
    struct point *latest = NULL;
    struct varve_error err;

    store_fault_set(f->store, &plan);
    assert_err(catalog_publish(f->c, p, 0, NULL, &err), VARVE_ERR_IO, &err);
    catalog_latest(f->c, &p->vm, &latest);
    assert_null(latest);
    assert_ok(catalog_publish(f->c, p, 0, NULL, &err), &err);
    assert_int_equal(p->seq, 2);
    point_unref(p);
}

static void
a_damaged_point_is_reported_and_the_others_are_there(void **state)
{
    struct fixture *f = *state;
    struct store_part part = {"not a point", 11};
    struct catalog_damage *damage = NULL;
    struct point **list = NULL;
    struct varve_error err;
    uint8_t bytes[16384];
    uint64_t size = 0;
    size_t count = 0;
    const char *second = "point/11ab0000-0000-0000-0000-000000000001/0000000000000002";
    const char *moved = "point/11ab0000-0000-0000-0000-000000000009/0000000000000001";

    publish(f, 1, "a", 1);
    publish(f, 1, "a", 2);
    publish(f, 1, "a", 3);
    assert_ok(store_size(f->mem, second, &size, &err), &err);
    assert_ok(store_get(f->mem, second, 0, bytes, (size_t)size, &err), &err);
    assert_ok(store_remove(f->mem, second, &err), &err);
    assert_ok(store_put(f->mem, second, &part, 1, &err), &err);
    part = (struct store_part){bytes, (size_t)size}; /* under the name of another vm */
    assert_ok(store_put(f->mem, moved, &part, 1, &err), &err);
    close_all(f);
    open_all(f);
    assert_ok(catalog_list(f->c, NULL, &list, &count, &err), &err);
    assert_int_equal(count, 2);
    catalog_list_free(list, count);
    assert_ok(catalog_damaged(f->c, &damage, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_string_equal(damage[0].name, second);
    assert_string_equal(damage[1].name, moved);
    free(damage);
    publish(f, 1, "a", 4); /* does not take the damaged one's number */
}

static void
selectors_find_one_point_or_say_why_not(void **state)
{
    static const struct {
        const char *selector;
        enum varve_err code;
        unsigned run; /* when found */
        const char *says;
    } cases[] = {
        {"mail@latest", VARVE_OK, 3, NULL},
        {"MAIL@latest~1", VARVE_OK, 2, NULL},
        {"mail@latest~2", VARVE_OK, 1, NULL},
        {"mail@latest~3", VARVE_ERR_NOT_FOUND, 0, "3 points"},
        {"11ab0000-0000-0000-0000-000000000001@latest", VARVE_OK, 3, NULL},
        {"42ab", VARVE_OK, 2, NULL},
        {"42AB0000-0000-0000-0000-000000000002", VARVE_OK, 2, NULL},
        {"mail@42ab", VARVE_OK, 2, NULL},
        {"odd@name@latest", VARVE_OK, 4, NULL},
        {"mail@44ab", VARVE_ERR_NOT_FOUND, 0, "44ab"},
        {"42ac", VARVE_ERR_NOT_FOUND, 0, "42ac"},
        {"42a", VARVE_ERR_INVALID, 0, "at least 4"},
        {"", VARVE_ERR_INVALID, 0, "at least 4"},
        {"latest", VARVE_ERR_INVALID, 0, "NAME@latest"},
        {"latest~1", VARVE_ERR_INVALID, 0, "NAME@latest~1"},
        {"mail@latest~", VARVE_ERR_INVALID, 0, "selects no point"},
        {"mail@latest~99999999999999999999", VARVE_ERR_INVALID, 0, "selects no point"},
        {"nobody@latest", VARVE_ERR_NOT_FOUND, 0, "nobody"},
        {"twin@latest", VARVE_ERR_INVALID, 0, "11ab0000-0000-0000-0000-000000000003"},
        {"45ab", VARVE_ERR_INVALID, 0, "45ab0000-0000"},
    };
    struct fixture *f = *state;
    struct point *p = NULL;
    struct varve_error err;

    publish(f, 1, "mail", 1);
    publish(f, 1, "mail", 2);
    publish(f, 1, "mail", 3);
    publish(f, 2, "odd@name", 4);
    publish(f, 3, "twin", 5);
    publish(f, 4, "twin", 5 + 256);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        enum varve_err rc = catalog_select(f->c, cases[i].selector, &p, &err);

        if (rc != cases[i].code) {
            fail_msg("'%s': %s", cases[i].selector, varve_err_name(rc));
        }
        if (rc == VARVE_OK) {
            assert_int_equal(p->run.bytes[15], cases[i].run);
            point_unref(p);
        } else if (cases[i].says != NULL) {
            assert_non_null(strstr(err.msg, cases[i].says));
        }
    }
}

static void
impossible_points_are_refused(void **state)
{
    struct fixture *f = *state;
    struct point *p = make_point(1, "a", 1);
    struct varve_error err;

    free(p->disks[0].name);
    p->disks[0].name = text("../../etc/passwd");
    assert_err(catalog_publish(f->c, p, 0, NULL, &err), VARVE_ERR_INVALID, &err);
    point_unref(p);

    p = make_point(1, "a", 1);
    p->disks[1].root.chunk_count++;
    assert_err(catalog_publish(f->c, p, 0, NULL, &err), VARVE_ERR_INVALID, &err);
    point_unref(p);

    p = make_point(1, "a", 1);
    memset(&p->vm, 0, sizeof(p->vm));
    assert_err(catalog_publish(f->c, p, 0, NULL, &err), VARVE_ERR_INVALID, &err);
    point_unref(p);

    p = make_point(1, "a", 1);
    p->files[0].len = POINT_FILE_MAX + 1;
    assert_err(catalog_publish(f->c, p, 0, NULL, &err), VARVE_ERR_INVALID, &err);
    p->files[0].len = 26;
    point_unref(p);
}

/* What packs is packed: the record is small, and what comes back is what went in. */
static void
large_configuration_files_are_packed_in_the_record(void **state)
{
    const size_t size = 4 * 1024 * 1024 + 512;
    struct point *p = make_point(1, "a", 1);
    struct point *back = NULL;
    struct varve_error err;
    struct buf record;

    (void)state;
    p->seq = 1;
    free(p->files[0].name);
    free(p->files[0].data);
    free(p->files);
    p->files = calloc(3, sizeof(p->files[0]));
    p->file_count = 3;
    for (size_t i = 0; i < 3; i++) { /* small; packs; does not */
        struct point_file *f = &p->files[i];

        f->name = text(i == 0 ? "a.vmcx" : i == 1 ? "a.vmgs" : "a.vmrs");
        f->len = i == 0 ? 100 : i == 1 ? size : 100000;
        f->data = calloc(1, f->len);
        for (size_t k = 0; k < f->len; k += i == 1 ? 5000 : 1) {
            f->data[k] = (uint8_t)(k * k / 7 + k);
        }
    }
    crypto_random(p->files[2].data, p->files[2].len);
    buf_init(&record, POINT_RECORD_MAX);
    assert_ok(point_encode(p, &record, &err), &err);
    assert_in_range(record.len, 100000, 200000);
    for (int with = 0; with < 2; with++) {
        assert_ok(point_decode(&back, record.data, record.len, with != 0, &err), &err);
        assert_int_equal(back->file_count, 3);
        for (size_t i = 0; i < 3; i++) {
            const struct point_file *was = &p->files[i == 0 ? 0 : 3 - i]; /* packed ones last */

            assert_string_equal(back->files[i].name, was->name);
            assert_int_equal(back->files[i].len, was->len);
            if (with != 0) {
                assert_memory_equal(back->files[i].data, was->data, was->len);
            } else {
                assert_null(back->files[i].data);
            }
        }
        point_unref(back);
    }
    buf_release(&record);
    point_unref(p);
}

static void
a_record_cut_or_changed_anywhere_is_refused_or_still_a_legal_point(void **state)
{
    struct point *p = make_point(1, "a", 1);
    struct point *back = NULL;
    struct varve_error err;
    struct buf record;

    (void)state;
    p->seq = 1;
    buf_init(&record, POINT_RECORD_MAX);
    assert_ok(point_encode(p, &record, &err), &err);
    for (size_t i = 0; i < record.len; i++) {
        if (point_decode(&back, record.data, i, true, &err) == VARVE_OK) {
            assert_ok(point_check(back, &err), &err);
            point_unref(back);
        }
        record.data[i] ^= 0x81;
        if (point_decode(&back, record.data, record.len, true, &err) == VARVE_OK) {
            assert_ok(point_check(back, &err), &err);
            point_unref(back);
        }
        record.data[i] ^= 0x81;
    }
    assert_ok(point_decode(&back, record.data, record.len, true, &err), &err);
    same_point(back, p);
    point_unref(back);
    buf_release(&record);
    point_unref(p);
}

struct publisher {
    struct fixture *f;
    struct thread thread;
    unsigned number;
    unsigned published;
};

/* All publish the same ten runs of one vm. */
static void
publish_runs(void *arg)
{
    struct publisher *pub = arg;
    struct varve_error err;

    for (unsigned run = 1; run <= 10; run++) {
        struct point *p = make_point(1, "a", run);
        struct point *existing = NULL;
        enum varve_err rc = catalog_publish(pub->f->c, p, 0, &existing, &err);

        if (rc == VARVE_OK) {
            pub->published++;
        } else if (rc != VARVE_ERR_EXISTS || existing == NULL) {
            abort();
        }
        point_unref(existing);
        point_unref(p);
    }
}

static void
racing_publishers_of_a_run_make_one_point(void **state)
{
    struct fixture *f = *state;
    struct publisher pubs[4];
    struct guid vm = id_of(0x11, 1);
    struct point **list = NULL;
    struct varve_error err;
    unsigned published = 0;
    size_t count = 0;

    for (unsigned i = 0; i < 4; i++) {
        pubs[i] = (struct publisher){.f = f, .number = i};
        assert_ok(thread_start(&pubs[i].thread, "publisher", publish_runs, &pubs[i], &err), &err);
    }
    for (unsigned i = 0; i < 4; i++) {
        thread_join(&pubs[i].thread);
        published += pubs[i].published;
    }
    assert_int_equal(published, 10);
    assert_ok(catalog_list(f->c, &vm, &list, &count, &err), &err);
    assert_int_equal(count, 10);
    catalog_list_free(list, count);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_published_point_is_listed_now_and_after_reopening),
        TEST(points_of_a_vm_share_texts_until_one_differs),
        TEST(points_are_numbered_per_vm_and_listed_newest_first),
        TEST(a_run_has_one_point_however_often_it_is_published),
        TEST(a_run_that_lost_a_pack_does_not_publish),
        TEST(a_point_whose_put_failed_is_not_listed_and_its_number_is_not_used_again),
        TEST(a_damaged_point_is_reported_and_the_others_are_there),
        TEST(selectors_find_one_point_or_say_why_not),
        TEST(impossible_points_are_refused),
        cmocka_unit_test(large_configuration_files_are_packed_in_the_record),
        cmocka_unit_test(a_record_cut_or_changed_anywhere_is_refused_or_still_a_legal_point),
        TEST(racing_publishers_of_a_run_make_one_point),
    };
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
