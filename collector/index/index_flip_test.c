/* SPDX-License-Identifier: Apache-2.0 */
#include "index/index_testing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/endian.h"
#include "base/log.h"
#include "crypto/identity.h"
#include "index/index_lmdb_internal.h"
#include "store/store_testing.h"

/*
 * One bit after the other of an index's file, in place of samples: the check that an open does finds it, or a process of its own
 * opens the index, gets the answer that the whole one gives to every question there is, writes to it, and leaves a file that
 * is whole.
 *
 * Pages of which there are few kinds are flipped bit by bit (both meta pages, the tables' tree, the free pages,
 * branches), but where nothing stands; of the others some bits, other ones of each page; and not each bit that the check does
 * not show has such a process.  VARVE_FLIPS_ALL=1: every bit of every page that is in use; VARVE_SEED: other names, numbers and
 * orders; VARVE_KEEP=1: the folder of the first failure stays.
 */
#define PAGE           4096u
#define PAGE_HEAD      16u
#define PAGE_BRANCH    0x01u
#define PAGE_OVERFLOW  0x04u
#define PAGE_LEAF2     0x20u
#define META_FREE_ROOT 80u /* MDB_meta, with the header of its page */
#define META_MAIN_ROOT 128u
#define META_TXN       144u
#define META_END       152u

#define SPARSE 61u /* of so many bits one, where pages are alike */
#define LIFE                                                                                       \
    (VARVE_SANITIZED ? 67u : 11u) /* of so many bits that the check does not show, one has a life */
#define PACKS    24u
#define NAMES    12u /* of a pack */
#define TWICE    150u /* packs that hold name 0 besides: more places than a page within a page takes */
#define ABSENT   200u
#define PATIENCE 60
#define BROKEN   10
#define THROWN   11

static struct varve_error err;
static uint64_t seed;

/* ---- an index with something in every table ---- */

static uint64_t
name_number(uint64_t n)
{
    return seed * 1000003 + n;
}

static void
change(struct index *ix, uint64_t row, size_t len, bool remove, unsigned names, int8_t delta)
{
    uint8_t value[4000];
    uint8_t key[9] = {'q'};
    struct test_random r = {.state = row};
    struct index_row one = {
        .key = key, .key_len = sizeof(key), .value = value, .value_len = len, .remove = remove};
    struct index_delta *deltas = calloc(names + 1, sizeof(*deltas));
    struct index_change c = {.deltas = deltas, .delta_count = names, .rows = &one, .row_count = 1};

    put_le64(key + 1, row);
    test_random_fill(&r, value, sizeof(value));
    for (unsigned i = 0; i < names; i++) {
        deltas[i] = (struct index_delta){
            .name = name_of(name_number(i)), .kind = (uint8_t)(1 + i % 2), .delta = delta};
    }
    assert_ok(index_apply(ix, &c, &err), &err);
    free(deltas);
}

static void
fill(struct index *ix)
{
    struct record_name name = name_of(name_number(30));
    struct index_place place;
    uint8_t found = 0;

    for (uint64_t n = 1; n <= PACKS; n++) {
        add(ix, seed * 7919 + n, name_number((n - 1) * NAMES), NAMES);
    }
    for (uint64_t n = 1; n <= TWICE; n++) {
        add(ix, seed * 7919 + 1000 + n, name_number(0), n % 9 == 0 ? 3 : 1);
    }
    for (uint64_t n = 1; n <= 4; n++) {
        change(ix, n, 3000, false, PACKS * NAMES, 1);
        change(ix, 100 + n, 20, false, 40, 1);
    }
    change(ix, 2, 0, true, 40, -1); /* pages become free */
    for (uint64_t n = 1; n <= 20; n++) {
        drop(ix, seed * 7919 + 1000 + n * 3);
    }
    assert_ok(index_get(ix, &name, 1, &place, &found, &err), &err);
    assert_int_equal(found, 1);
    assert_ok(index_mark_damaged(ix, &name, &place, &err), &err);
}

/* ---- everything it answers, as one long text ---- */

struct answers {
    uint8_t *bytes;
    size_t len;
    size_t cap;
};

static void
note(struct answers *a, const void *bytes, size_t len)
{
    if (a->cap - a->len < len) {
        a->cap = (a->cap + len) * 2;
        a->bytes = realloc(a->bytes, a->cap);
        if (a->bytes == NULL) {
            abort();
        }
    }
    memcpy(a->bytes + a->len, bytes, len);
    a->len += len;
}

static bool
note_pack(void *arg, const struct index_pack *p)
{
    char text[256];
    int n = snprintf(text, sizeof(text), "pack %d %u %llu %llu %llu %d %d ", (int)p->kind,
                     p->records, (unsigned long long)p->size, (unsigned long long)p->raw_bytes,
                     (unsigned long long)p->live_bytes, p->candidate, p->condemned);

    note(arg, p->id.bytes, PACK_ID_SIZE);
    note(arg, text, (size_t)n);
    return true;
}

static bool
note_count(void *arg, const uint8_t *key, size_t key_len, uint32_t count)
{
    note(arg, key, key_len);
    note(arg, &count, sizeof(count));
    return true;
}

static bool
note_row(void *arg, const void *key, size_t key_len, const void *value, size_t value_len)
{
    note(arg, key, key_len);
    note(arg, value, value_len);
    return true;
}

static void
note_names(struct answers *a, struct index *ix, unsigned from, unsigned to)
{
    for (unsigned n = from; n < to; n++) {
        struct record_name name = name_of(name_number(n));
        struct index_place p = {.offset = 0};
        uint8_t found[3] = {0};
        uint32_t count[2] = {0};
        char text[128];
        int len;

        assert_ok(index_get(ix, &name, 1, &p, &found[0], &err), &err);
        assert_ok(index_get(ix, &name, 1, NULL, &found[1], &err), &err);
        assert_ok(index_ref_get(ix, CHUNK_NODE, &name, 1, &count[0], &err), &err);
        assert_ok(index_ref_get(ix, CHUNK_DATA, &name, 1, &count[1], &err), &err);
        note(a, p.pack.bytes, found[0] ? PACK_ID_SIZE : 0);
        len = snprintf(text, sizeof(text), "name %u %d %d %u %u ", n, found[0], found[1], count[0],
                       count[1]);
        note(a, text, (size_t)len);
        len = snprintf(text, sizeof(text), "%u %u %u %d %d %d ", p.offset, p.stored_len, p.raw_len,
                       p.kind, p.codec, p.damaged);
        note(a, text, found[0] ? (size_t)len : 0);
    }
}

static void
ask(struct answers *a, struct index *ix)
{
    struct index_stats stats;

    a->len = 0;
    index_get_stats(ix, &stats);
    note(a, &stats.names, sizeof(stats.names));
    note(a, &stats.packs, sizeof(stats.packs));
    note_names(a, ix, 0, PACKS * NAMES + ABSENT);
    assert_ok(index_list_packs(ix, note_pack, a, &err), &err);
    assert_ok(index_list_marked(ix, note_pack, a, &err), &err);
    assert_ok(index_ref_scan(ix, CHUNK_NODE, note_count, a, &err), &err);
    assert_ok(index_ref_scan(ix, CHUNK_DATA, note_count, a, &err), &err);
    assert_ok(index_row_scan(ix, "q", 1, false, note_row, a, &err), &err);
    assert_ok(index_row_scan(ix, "q", 1, true, note_row, a, &err), &err);
}

/* ---- a life with a flipped bit; in a child ---- */

struct lab {
    char *folder;  /* of the index, for lives */
    char *checked; /* its file alone, for checks */
    struct file *file;
    uint8_t *bytes;
    size_t len;
    uint8_t *filter;
    size_t filter_len;
    struct answers whole;   /* as it was */
    struct answers written; /* after a life */
    bool large; /* the file is taken for one that is too large for a check of all of it */
    uint64_t flips;
    uint64_t shown;
    uint64_t hidden;
    uint64_t lives;
    uint64_t thrown;
};

static void
write_to(struct index *ix)
{
    add(ix, 5000, name_number(0), NAMES + 5);
    change(ix, 7000, 3500, false, 60, 1);
    drop(ix, seed * 7919 + 2);
    change(ix, 1, 0, true, 20, -1);
    add(ix, 5001, name_number(2 * NAMES), 3);
}

static bool
same(const struct answers *a, const struct answers *b)
{
    return a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

static struct index *
open_it(const struct lab *l, bool *fresh)
{
    const struct index_options options = {
        .store_id = store_id, .boot_id = "boot-1", .check_bytes = l->large ? 1 : 0};
    struct index *ix = NULL;

    assert_ok(index_lmdb_open(&ix, l->folder, &options, fresh, &err), &err);
    return ix;
}

/* 0: all is well; THROWN: the open has thrown it away. */
static int
live(const struct lab *l)
{
    struct answers now = {.bytes = NULL};
    bool fresh = false;
    struct index *ix = open_it(l, &fresh);

    if (fresh) {
        index_close(ix);
        return THROWN;
    }
    ask(&now, ix);
    if (!same(&now, &l->whole)) {
        (void)fprintf(stderr, "    it answers something else\n");
        return BROKEN;
    }
    write_to(ix);
    ask(&now, ix);
    if (!same(&now, &l->written)) {
        (void)fprintf(stderr, "    it answers something else after a change\n");
        return BROKEN;
    }
    index_close(ix);
    if (lmdb_check_file(l->folder, UINT64_MAX, true, NULL, NULL, &err) != VARVE_OK) {
        (void)fprintf(stderr, "    it leaves a file that is not whole: %s\n", err.msg);
        return BROKEN;
    }
    free(now.bytes);
    return 0;
}

static void
put_file(const struct lab *l, const char *name, const void *bytes, size_t len)
{
    char *path = test_path(l->folder, name);
    struct file *f = NULL;

    (void)!fs_remove(fs_system(), path, &err);
    if (bytes != NULL) {
        assert_ok(file_open(fs_system(), &f, path, FILE_CREATE_NEW, &err), &err);
        assert_ok(file_write(f, bytes, len, 0, &err), &err);
        file_close(f);
    }
    free(path);
}

/* As a clean end leaves it; every second time without the filter, which is filled from the table then. */
static void
put_back(const struct lab *l)
{
    static const char clean[] = "varve-index-1\nclean\nboot-1\n";

    put_file(l, "index.mdb", l->bytes, l->len);
    put_file(l, "state", clean, sizeof(clean) - 1);
    put_file(l, "filter", l->lives % 2 == 0 ? l->filter : NULL, l->filter_len);
}

static void
one_life(struct lab *l, uint64_t at, uint8_t bit)
{
    int status = 0;
    pid_t pid;

    put_back(l);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)alarm(PATIENCE);
        _exit(live(l));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    l->lives++;
    if (!WIFEXITED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != THROWN)) {
        if (getenv("VARVE_KEEP") != NULL) {
            put_back(l);
            (void)fprintf(stderr, "    the index is in '%s'\n", l->folder);
            l->folder = NULL;
        }
        fail_msg("byte %llu (page %llu, %llu) bit %02x, seed %llu: ended with %x",
                 (unsigned long long)at, (unsigned long long)(at / PAGE),
                 (unsigned long long)(at % PAGE), bit, (unsigned long long)seed, (unsigned)status);
    }
    l->thrown += WEXITSTATUS(status) == THROWN ? 1 : 0;
}

/* ---- which bits ---- */

struct page {
    bool used;  /* of a tree, or a meta page */
    bool every; /* bit of it */
    size_t gap; /* from here ... */
    size_t end; /* ... to here is nothing */
};

static void
flip(const struct lab *l, uint64_t at, uint8_t bit)
{
    uint8_t b = l->bytes[at] ^ bit;

    assert_ok(file_write(l->file, &b, 1, at, &err), &err);
}

static bool
is_shown(const struct lab *l, uint64_t at, uint8_t bit)
{
    enum varve_err rc;

    flip(l, at, bit);
    rc = lmdb_check_file(l->checked, UINT64_MAX, true, NULL, NULL, &err);
    flip(l, at, 0);
    return rc != VARVE_OK;
}

static struct page
look_at(const struct lab *l, uint64_t number)
{
    const uint8_t *meta = l->bytes;
    const uint8_t *p = l->bytes + number * PAGE;
    uint16_t flags = get_le16(p + 10);
    uint32_t lower = get_le16(p + 12);
    struct page out = {.end = PAGE};

    if (get_le64(meta + PAGE + META_TXN) > get_le64(meta + META_TXN)) {
        meta += PAGE;
    }
    if (number < 2) {
        return (struct page){.used = true, .every = true, .gap = META_END, .end = PAGE};
    }
    out.used = is_shown(l, number * PAGE, 1);
    out.every = (flags & PAGE_BRANCH) != 0 || number == get_le64(meta + META_FREE_ROOT) ||
                number == get_le64(meta + META_MAIN_ROOT);
    if ((flags & PAGE_LEAF2) != 0) {
        out.gap = PAGE_HEAD + (lower - PAGE_HEAD) / 2 * (size_t)get_le16(p + 8);
    } else if ((flags & PAGE_OVERFLOW) != 0) {
        out.gap = PAGE_HEAD; /* what shows is its value, the rest nothing */
    } else {
        out.gap = lower;
        out.end = get_le16(p + 14);
    }
    return out;
}

static void
flip_page(struct lab *l, uint64_t number, bool all)
{
    struct page p = look_at(l, number);
    uint64_t each = all || p.every ? 1 : SPARSE;

    for (uint64_t i = number % each; p.used && i < (uint64_t)PAGE * 8; i += each) {
        uint64_t at = number * PAGE + i / 8;
        uint8_t bit = (uint8_t)(1u << i % 8);
        bool gap = i / 8 >= p.gap && i / 8 < p.end;

        if (gap && !all && i % SPARSE != 0) {
            continue;
        }
        l->flips++;
        if (is_shown(l, at, bit)) {
            l->shown++;
        } else if (l->hidden++ % (gap ? 256 : all ? 1 : LIFE) == 0) {
            l->bytes[at] ^= bit;
            one_life(l, at, bit);
            l->bytes[at] ^= bit;
        }
    }
}

static void
setup_lab(struct lab *l)
{
    struct member m = {.folder = test_folder_make()};
    bool fresh = false;
    char *path;

    l->folder = test_folder_make();
    l->checked = test_folder_make();
    m.path = l->folder;
    assert_ok(open_lmdb(&m, store_id, "boot-1", 0, &fresh, &err), &err);
    fill(m.ix);
    index_close(m.ix);
    path = test_path(l->folder, "index.mdb");
    assert_ok(fs_read_all(fs_system(), path, 64u << 20, &l->bytes, &l->len, &err), &err);
    free(path);
    path = test_path(l->folder, "filter");
    assert_ok(fs_read_all(fs_system(), path, 64u << 20, &l->filter, &l->filter_len, &err), &err);
    free(path);
    path = test_path(l->checked, "index.mdb");
    assert_ok(file_open(fs_system(), &l->file, path, FILE_CREATE_NEW, &err), &err);
    assert_ok(file_write(l->file, l->bytes, l->len, 0, &err), &err);
    free(path);
    put_back(l);
    m.ix = open_it(l, &fresh);
    assert_false(fresh);
    ask(&l->whole, m.ix);
    write_to(m.ix);
    ask(&l->written, m.ix);
    index_close(m.ix);
    test_folder_remove(m.folder);
}

static void
release_lab(struct lab *l)
{
    file_close(l->file);
    test_folder_remove(l->folder);
    test_folder_remove(l->checked);
    free(l->bytes);
    free(l->filter);
    free(l->whole.bytes);
    free(l->written.bytes);
}

static void
any_flipped_bit_is_found_or_changes_no_answer(void **state)
{
    const char *all = getenv("VARVE_FLIPS_ALL");
    struct lab l = {.flips = 0};

    (void)state;
    setup_lab(&l);
    for (uint64_t n = 0; n < l.len / PAGE; n++) {
        flip_page(&l, n, all != NULL && strcmp(all, "1") == 0);
    }
    print_message("seed %llu: %llu bits flipped in %zu pages, %llu shown, %llu lives, %llu of them "
                  "with an index made anew\n",
                  (unsigned long long)seed, (unsigned long long)l.flips, l.len / PAGE,
                  (unsigned long long)l.shown, (unsigned long long)l.lives,
                  (unsigned long long)l.thrown);
    assert_true(l.shown > 0 && l.lives > 0);
    release_lab(&l);
}

/* ---- the records of trees ---- */

/* Of what an open throws away, whatever the size of the file. */
static void
assert_thrown(struct lab *l, uint64_t at, uint8_t bit)
{
    uint64_t thrown = l->thrown;

    assert_true(is_shown(l, at, bit));
    if (VARVE_SANITIZED && l->hidden++ % 5 != 0) { /* a life takes long there */
        return;
    }
    l->bytes[at] ^= bit;
    one_life(l, at, bit);
    l->bytes[at] ^= bit;
    assert_int_equal(l->thrown, thrown + 1);
}

/*
 * How keys compare stands in the record of a tree: with MDB_REVERSEKEY (2) in that of `name` every page was as it should be,
 * and nothing was found.  A table whose name is another one is no table, and an empty one in its place is worse.  The tree
 * of the older meta page is whole too, and may become the newer one's by one bit.
 */
static void
a_wrong_beginning_is_thrown_away_with_a_large_file_too(void **state)
{
    static const char *const tables[] = {"meta",   "name", "pack", "other",
                                         "marked", "node", "ref",  "row"};
    struct lab l = {.large = true};
    const uint8_t *root;
    uint64_t meta;

    (void)state;
    setup_lab(&l);
    meta = get_le64(l.bytes + PAGE + META_TXN) > get_le64(l.bytes + META_TXN) ? PAGE : 0;
    root = l.bytes + get_le64(l.bytes + meta + META_MAIN_ROOT) * PAGE;
    for (unsigned bit = 2; bit <= 0x40; bit *= 2) { /* MDB_REVERSEKEY to MDB_REVERSEDUP */
        assert_thrown(&l, meta + META_FREE_ROOT - 36, (uint8_t)bit);
        assert_thrown(&l, meta + META_MAIN_ROOT - 36, (uint8_t)bit);
    }
    for (unsigned bit = 1; bit <= 0x80; bit *= 2) {
        assert_thrown(&l, META_TXN, (uint8_t)bit);
        assert_thrown(&l, PAGE + META_TXN, (uint8_t)bit);
    }
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        size_t len = strlen(tables[i]);
        size_t at = PAGE_HEAD;

        while (get_le16(root + at + 6) != len || memcmp(root + at + 8, tables[i], len) != 0) {
            at += 2;
            assert_true(at + 8 + len < PAGE);
        }
        at += (size_t)(root - l.bytes) + 8;
        assert_thrown(&l, at, 1);
        for (unsigned bit = 2; bit <= 0x40; bit *= 2) {
            assert_thrown(&l, at + len + 4, (uint8_t)bit);
        }
    }
    print_message("%llu records thrown away\n", (unsigned long long)l.thrown);
    release_lab(&l);
}

static void
drop_line(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_flipped_bit_is_found_or_changes_no_answer),
        cmocka_unit_test(a_wrong_beginning_is_thrown_away_with_a_large_file_too),
    };
    const char *text = getenv("VARVE_SEED");

    seed = text == NULL || *text == '\0' ? 1 : strtoull(text, NULL, 10);
    log_set_sink(drop_line);
    if (crypto_init(&err) != VARVE_OK) {
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
