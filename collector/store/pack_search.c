/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "store/pack.h"

/* The next place at or behind `at` where the whole header of a record stands that fits; len: there is none. */
static size_t
next_record(const uint8_t *pack, size_t len, size_t at, uint32_t least, struct pack_record *out)
{
    struct varve_error ignored;

    for (; len - at >= PACK_RECORD_HEADER; at++) {
        const uint8_t *p = memchr(pack + at, 'V', len - at - PACK_RECORD_HEADER + 1);

        if (p == NULL) {
            return len;
        }
        at = (size_t)(p - pack);
        if (memcmp(p, "VREC", 4) == 0 && pack_record_decode(out, p, &ignored) == VARVE_OK &&
            out->number >= least && out->entry.stored_len <= len - at - PACK_RECORD_HEADER) {
            out->entry.offset = (uint32_t)at;
            return at;
        }
    }
    return len;
}

void
pack_search(const uint8_t *pack, size_t len, bool (*cb)(void *arg, const struct pack_record *r),
            void (*gap)(void *arg, const struct pack_gap *g), void *arg)
{
    struct pack_gap g = {.from = PACK_HEADER_SIZE, .next = 0};
    struct pack_record r = {0};

    while (g.from < len) {
        size_t at = next_record(pack, len, g.from, g.next, &r);

        g.to = at;
        g.records = at < len ? r.number - g.next : 0;
        /* A pack ends with the footer of its records and the tail. */
        if (at > g.from &&
            (at < len || len - g.from != pack_footer_size(g.next) + PACK_TAIL_SIZE)) {
            gap(arg, &g);
        }
        if (at == len || !cb(arg, &r)) {
            return;
        }
        g.next = r.number + 1;
        g.from = at + PACK_RECORD_HEADER + r.entry.stored_len;
    }
}
