/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "crypto/identity.h"
#include "gc/store_time.h"
#include "os/file_mem.h"
#include "store/chunk_record.h"
#include "store/chunk_store_internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Sealed records as they lie in a store, what stands in a domain's, and the small files beside the
 * index. */

#define NAME "point/01000000-0000-0000-0000-000000000000/0000000000000001"

static struct chunk_store *cs;

static void
no_log(enum log_level level, const char *line)
{
    (void)level;
    (void)line;
}

static void
start(void)
{
    static const uint8_t key[STORE_KEY_SIZE] = "fuzz";
    struct chunk_store_options options = {.chunk_size = CHUNK_SIZE_MIN, .put_threads = 1};
    struct store_secret *secret = NULL;
    struct store *store = NULL;
    struct varve_error err;

    if (crypto_init(&err) != VARVE_OK || store_mem_open(&store, &err) != VARVE_OK ||
        store_secret_new(&secret, STORE_SECRET_KEY_FILE, key, sizeof(key), "fuzz", &err) !=
            VARVE_OK) {
        abort();
    }
    log_set_sink(no_log);
    options.secret = secret;
    if (chunk_store_open(&cs, store, fs_system(), &options, &err) != VARVE_OK) {
        abort();
    }
    store_secret_free(secret);
}

static void
try_sealed(const uint8_t *data, size_t size)
{
    struct varve_error err;
    uint8_t *plain = NULL;
    size_t len = 0;

    (void)!chunk_record_scrub(data, size, &err);
    if (chunk_store_open_record(cs, NAME, data, size, &plain, &len, NULL, &err) == VARVE_OK) {
        abort(); /* nobody has its key */
    }
}

static void
try_domain(const uint8_t *data, size_t size)
{
    struct varve_error err;
    size_t name = 0;

    if (domain_plain_check(data, size, &name, &err) == VARVE_OK &&
        (name == 0 || name > DOMAIN_NAME_MAX || DOMAIN_PLAIN_HEAD + name != size)) {
        abort();
    }
}

static void
try_quarantine(const uint8_t *data, size_t size)
{
    struct quarantined q;
    char again[QUARANTINE_LINE + 1];

    if (size == QUARANTINE_LINE && quarantine_line_parse((const char *)data, &q)) {
        quarantine_line_format(&q, again);
        if (memcmp(again, data, size) != 0) {
            abort();
        }
    }
}

static int64_t
wall(void *arg)
{
    (void)arg;
    return 1700000000000000;
}

static uint64_t
since_boot(void *arg)
{
    (void)arg;
    return 1000000000;
}

static void
boot(void *arg, char out[64])
{
    (void)arg;
    (void)snprintf(out, 64, "boot");
}

/* Whatever the file says, time does not begin before what is certain. */
static void
try_time(const uint8_t *data, size_t size)
{
    const struct store_clocks clocks = {.wall_us = wall, .boot_ns = since_boot, .boot_id = boot};
    struct store_time *t = NULL;
    struct mem_fs *files = NULL;
    struct varve_error err;

    if (mem_fs_new(&files, &err) != VARVE_OK ||
        fs_write_durable(mem_fs(files), "/time", data, size, false, &err) != VARVE_OK) {
        abort();
    }
    if (store_time_open(&t, mem_fs(files), "/time", &clocks, 1600000000000000, &err) == VARVE_OK) {
        if (store_time_now(t) < 0) {
            abort();
        }
        store_time_close(t);
    }
    mem_fs_free(files);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (cs == NULL) {
        start();
    }
    try_sealed(data, size);
    try_domain(data, size);
    try_quarantine(data, size);
    if (size < 1024) {
        try_time(data, size);
    }
    return 0;
}
