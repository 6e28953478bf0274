/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "names/names.h"
#include "pump/pump_internal.h"

_Static_assert(PUMP_UNIT_CHUNKS <= NAMES_BATCH, "a unit is one batch");

/* Where the chunks of an item stand on the disk. */
static void
item_places(const struct item *item, uint64_t place[PUMP_UNIT_CHUNKS])
{
    uint64_t at = item->first_chunk;
    uint32_t gap = 0;
    uint64_t i;

    for (i = 0; i < item->count; i++) {
        if (gap < item->gap_count && item->unit->gaps[gap].at == i) {
            at += item->unit->gaps[gap++].chunks;
        }
        place[i] = at++;
    }
}

/* Tells and asks about one stretch of neighbours: chunks from to from + count of the item. */
static void
compare_stretch(const struct pump_request *req, const struct item *item, uint64_t first,
                uint64_t from, uint64_t count, uint32_t name, bool *same)
{
    uint8_t present[PUMP_BITMAP_BYTES] = {0};
    uint64_t i;

    for (i = 0; i < count; i++) {
        if (bit_get(item->present, from + i)) {
            bit_set(present, i);
        }
    }
    if (req->fresh != NULL) {
        names_put(req->fresh, first, (size_t)count, present, item->unit->names + name);
    }
    if (req->known != NULL) {
        names_same(req->known, first, (size_t)count, present, item->unit->names + name,
                   same + from);
    }
}

/* Leaves in the item only what is not the same. */
static void
drop_same(struct item *item, uint32_t chunk_size, const uint64_t *place, const bool *same)
{
    uint8_t present[PUMP_BITMAP_BYTES] = {0};
    uint64_t last = 0;
    uint64_t kept = 0;
    uint64_t i;
    size_t bytes = 0;
    uint32_t named = 0;
    uint32_t kept_named = 0;
    uint32_t gaps = 0;

    for (i = 0; i < item->count; i++) {
        size_t len = item_chunk_len(item, chunk_size, i);
        bool has_name = bit_get(item->present, i);

        if (!same[i]) {
            if (kept == 0) {
                item->first_chunk = place[i];
            } else if (place[i] != last + 1) {
                item->unit->gaps[gaps].at = (uint32_t)kept;
                item->unit->gaps[gaps++].chunks = place[i] - last - 1;
            }
            if (kept != i) {
                memmove(item->unit->data + kept * chunk_size, item->unit->data + i * chunk_size,
                        len);
            }
            if (has_name) {
                bit_set(present, kept);
                item->unit->names[kept_named++] = item->unit->names[named];
            }
            last = place[i];
            bytes += len;
            kept++;
        }
        named += has_name ? 1 : 0;
    }
    memcpy(item->present, present, sizeof(present));
    item->count = kept;
    item->bytes = bytes;
    item->named = kept_named;
    item->gap_count = gaps;
}

void
pump_compare_names(const struct stream *s, struct item *item)
{
    const struct pump_request *req = s->request;
    uint64_t place[PUMP_UNIT_CHUNKS];
    bool same[PUMP_UNIT_CHUNKS] = {false};
    uint64_t same_count = 0;
    uint64_t from = 0;
    uint64_t i;
    uint32_t name = 0;
    uint32_t from_name = 0;

    if (req->fresh == NULL && req->known == NULL) {
        return;
    }
    item_places(item, place);
    for (i = 0; i < item->count; i++) {
        name += bit_get(item->present, i) ? 1 : 0;
        if (i + 1 == item->count || place[i + 1] != place[i] + 1) {
            compare_stretch(req, item, place[from], from, i + 1 - from, from_name, same);
            from = i + 1;
            from_name = name;
        }
    }
    for (i = 0; i < item->count; i++) {
        same_count += same[i] ? 1 : 0;
    }
    if (same_count == item->count || (same_count > 0 && s->takes_gaps)) {
        drop_same(item, req->chunk_size, place, same);
    }
}
