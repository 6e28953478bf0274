/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "hash/crc32c.h"
#include "store/pack.h"
#include "store/store_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INPUT_MAX (1u << 20)

static bool
take_record(void *arg, const struct pack_record *r)
{
    if (r->entry.stored_len > *(size_t *)arg) {
        abort();
    }
    return true;
}

static void
take_entry(void *arg, const struct pack_entry *e)
{
    if ((uint64_t)e->offset + PACK_RECORD_HEADER + e->stored_len > *(size_t *)arg) {
        abort();
    }
}

static void
take_gap(void *arg, const struct pack_gap *g)
{
    if (g->from >= g->to || g->to > *(size_t *)arg) {
        abort();
    }
}

static void
parse_all(const uint8_t *p, size_t size)
{
    struct pack_header header;
    struct store_config config;
    struct pack_tail tail;
    struct varve_error err;
    size_t records = 0;

    (void)!pack_scrub(p, size, NULL, &records, NULL, NULL, &err);
    (void)!pack_walk(p, size, take_record, &size, &err);
    pack_search(p, size, take_record, take_gap, &size);
    (void)!store_config_decode(&config, p, size, &err);
    if (size >= PACK_HEADER_SIZE + PACK_TAIL_SIZE &&
        pack_header_decode(&header, p, &err) == VARVE_OK &&
        pack_tail_decode(&tail, p + size - PACK_TAIL_SIZE, size, &err) == VARVE_OK) {
        (void)!pack_footer_decode(&tail, p + tail.footer_offset, &header.id, NULL, take_entry,
                                  &size, &err);
    }
}

/* Makes the checksums right, so that what stands behind them is reached. */
static void
repair(uint8_t *p, size_t size)
{
    size_t off = PACK_HEADER_SIZE;

    if (size == STORE_CONFIG_SIZE) {
        put_le32(p + 124, crc32c(p, 124));
    }
    if (size < PACK_HEADER_SIZE + PACK_TAIL_SIZE) {
        return;
    }
    put_le32(p + 60, crc32c(p, 60));
    while (size - off > PACK_RECORD_HEADER && memcmp(p + off, "VREC", 4) == 0) {
        uint32_t len = get_le32(p + off + 44);

        if (len > size - off - PACK_RECORD_HEADER) {
            put_le32(p + off + 60, crc32c(p + off, 60));
            break;
        }
        pack_record_seal(p + off, p + off + PACK_RECORD_HEADER, len);
        off += PACK_RECORD_HEADER + len;
    }
    p += size - PACK_TAIL_SIZE;
    if ((uint64_t)get_le32(p + 8) + get_le32(p + 12) + PACK_TAIL_SIZE == size) {
        put_le32(p + 32, crc32c(p - get_le32(p + 12), get_le32(p + 12)));
    }
    put_le32(p + 44, crc32c(p, 44));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *copy = NULL;

    if (size > INPUT_MAX) {
        return 0;
    }
    parse_all(data, size);
    copy = malloc(size + 1);
    if (copy != NULL) {
        memcpy(copy, data, size);
        repair(copy, size);
        parse_all(copy, size);
        free(copy);
    }
    return 0;
}
