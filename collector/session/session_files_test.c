/* SPDX-License-Identifier: Apache-2.0 */
#include "session/session_testing.h"

#include <stdlib.h>
#include <string.h>

#include "codec/lz4.h"

/* A vm's configuration files: in the message, as agents of before minor 4 send them, or packed in its bulk. */
#define STATE_SIZE (4u * 1024 * 1024 + 512) /* of a .vmgs */

static const struct test_vm mail = {{{0x11, 1, 2, 3}}, "mail", 1};

struct run_of_host {
    struct stage *st;
    struct identity *id;
    struct image im;
    struct peer agent;
    struct peer op;
    struct guid run;
    uint64_t backup;
};

/* As far as a Commit. */
static void
begin(struct run_of_host *h, struct stage *st)
{
    bool committed = false;

    memset(h, 0, sizeof(*h));
    h->st = st;
    h->im = image_new(5 * CHUNK + 7, 4);
    (void)stage_host(st, "node-1", &h->id);
    peer_agent(&h->agent, st, h->id);
    assert_ok(agent_inventory(&h->agent, &mail, 1), &err);
    peer_operator(&h->op, st);
    assert_ok(operator_backup(&h->op, "mail", false, &h->backup), &err);
    assert_ok(agent_accept_run(&h->agent, &h->run, NULL), &err);
    assert_ok(agent_send_all(&h->agent, &h->run, &h->im, &committed), &err);
    assert_false(committed);
}

static void
end(struct run_of_host *h)
{
    peer_close(&h->agent);
    peer_close(&h->op);
    identity_free(h->id);
    free(h->im.data);
}

static uint8_t *
guest_state(void)
{
    uint8_t *bytes = calloc(1, STATE_SIZE);

    assert_non_null(bytes);
    for (size_t i = 0; i < STATE_SIZE; i += 1000) {
        bytes[i] = (uint8_t)(i / 1000);
    }
    return bytes;
}

static Varve__V1__ConfigFile
file_of(const char *name, uint32_t stored_len, uint64_t size)
{
    Varve__V1__ConfigFile f = VARVE__V1__CONFIG_FILE__INIT;

    f.name = (char *)(uintptr_t)name;
    f.stored_len = stored_len;
    f.size = size;
    return f;
}

static void
a_guest_state_of_four_mib_is_kept_and_read_back(void **state)
{
    static const char config[] = "bytes of the configuration";
    struct stage *st = *state;
    uint8_t *raw = guest_state();
    uint8_t *bulk = malloc(STATE_SIZE);
    size_t packed = codec_lz4_pack(raw, STATE_SIZE, bulk, STATE_SIZE);
    Varve__V1__ConfigFile files[3];
    Varve__V1__ConfigFile *list[3] = {&files[0], &files[1], &files[2]};
    struct point *latest = NULL;
    struct point *p = NULL;
    struct guid point;
    struct run_of_host h;

    assert_in_range(packed, 1, 1024 * 1024);
    memcpy(bulk + packed, config, sizeof(config));
    files[0] = file_of("a.vmgs", (uint32_t)packed, STATE_SIZE);
    files[1] = file_of("a.vmcx", sizeof(config), sizeof(config));
    files[2] = file_of("a.vmrs", 0, 0);
    files[2].data.data = (uint8_t *)(uintptr_t)config;
    files[2].data.len = 5;
    begin(&h, st);
    assert_ok(
        agent_commit_files(&h.agent, &h.run, 1, list, 3, bulk, packed + sizeof(config), &point),
        &err);
    assert_ok(agent_end(&h.agent, &h.run, NULL), &err);
    catalog_latest(st->c.catalog, &mail.id, &latest);
    assert_ok(catalog_load(st->c.catalog, latest, &p, &err), &err);
    assert_int_equal(p->file_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct point_file *f = &p->files[i];
        const char *kind = strrchr(f->name, '.');

        if (strcmp(kind, ".vmgs") == 0) {
            assert_int_equal(f->len, STATE_SIZE);
            assert_memory_equal(f->data, raw, STATE_SIZE);
        } else {
            assert_int_equal(f->len, strcmp(kind, ".vmcx") == 0 ? sizeof(config) : 5);
            assert_memory_equal(f->data, config, f->len);
        }
    }
    point_unref(latest);
    point_unref(p);
    end(&h);
    free(raw);
    free(bulk);
}

/* Each is an error of the run by name; nothing becomes a point, and the collector goes on. */
static void
files_that_are_not_as_they_say_end_the_run(void **state)
{
    static const struct {
        uint32_t stored; /* 0: all that was packed */
        uint64_t size;
        size_t more; /* bytes of the bulk that are of no file */
        bool both;   /* data in the message besides */
        enum varve_err code;
    } cases[] = {{0, STATE_SIZE + 1, 0, false, VARVE_ERR_CORRUPT},
                 {0, STATE_SIZE - 1, 0, false, VARVE_ERR_CORRUPT},
                 {0, POINT_FILE_MAX + 1u, 0, false, VARVE_ERR_LIMIT},
                 {0, UINT64_MAX, 0, false, VARVE_ERR_LIMIT},
                 {0, 10, 0, false, VARVE_ERR_PROTOCOL},
                 {UINT32_MAX, UINT64_MAX, 0, false, VARVE_ERR_PROTOCOL},
                 {0, STATE_SIZE, 1, false, VARVE_ERR_PROTOCOL},
                 {0, STATE_SIZE, 0, true, VARVE_ERR_PROTOCOL}};
    uint8_t *raw = guest_state();
    uint8_t *bulk = malloc(STATE_SIZE);
    size_t packed = codec_lz4_pack(raw, STATE_SIZE, bulk, STATE_SIZE);

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct stage *st = stage_new();
        Varve__V1__ConfigFile file = file_of(
            "a.vmgs", cases[i].stored != 0 ? cases[i].stored : (uint32_t)packed, cases[i].size);
        Varve__V1__ConfigFile *list[1] = {&file};
        struct point *latest = NULL;
        struct guid point;
        struct run_of_host h;

        stage_open(st);
        if (cases[i].both) {
            file.data.data = raw;
            file.data.len = 1;
        }
        begin(&h, st);
        assert_err(
            agent_commit_files(&h.agent, &h.run, 1, list, 1, bulk, packed + cases[i].more, &point),
            cases[i].code, &err);
        catalog_latest(st->c.catalog, &mail.id, &latest);
        assert_null(latest);
        end(&h);
        stage_free(st);
    }
    free(raw);
    free(bulk);
}

/* Three of 8 MiB are more than a point takes, however well they pack. */
static void
files_that_are_too_many_bytes_together_end_the_run(void **state)
{
    struct stage *st = *state;
    uint8_t *raw = calloc(1, POINT_FILE_MAX);
    uint8_t *bulk = malloc(POINT_FILE_MAX);
    size_t packed = codec_lz4_pack(raw, POINT_FILE_MAX, bulk, POINT_FILE_MAX);
    Varve__V1__ConfigFile files[3];
    Varve__V1__ConfigFile *list[3] = {&files[0], &files[1], &files[2]};
    struct guid point;
    struct run_of_host h;

    for (size_t i = 0; i < 3; i++) {
        files[i] = file_of(i == 0 ? "a" : i == 1 ? "b" : "c", (uint32_t)packed, POINT_FILE_MAX);
        memmove(bulk + i * packed, bulk, packed);
    }
    begin(&h, st);
    assert_err(agent_commit_files(&h.agent, &h.run, 1, list, 3, bulk, 3 * packed, &point),
               VARVE_ERR_LIMIT, &err);
    end(&h);
    free(raw);
    free(bulk);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        STAGE_CASE(a_guest_state_of_four_mib_is_kept_and_read_back),
        cmocka_unit_test(files_that_are_not_as_they_say_end_the_run),
        STAGE_CASE(files_that_are_too_many_bytes_together_end_the_run),
    };

    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
