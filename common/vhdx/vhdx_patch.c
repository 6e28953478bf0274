/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "vhdx/vhdx_internal.h"

/*
 * Two sorted lists without overlap become one; where they overlap, newer wins.  n intervals have 2n
 * ends, so all of them together never become more than 2n - 1 pieces.
 */
static size_t
merge_patches(struct vhdx_patch *out, const struct vhdx_patch *older, size_t older_count,
              const struct vhdx_patch *newer, size_t newer_count)
{
    size_t n = 0;
    size_t o = 0;
    size_t w = 0;
    uint64_t at = 0; /* what is before has been decided */

    while (o < older_count || w < newer_count) {
        uint64_t start;
        uint64_t end;

        if (o < older_count && older[o].offset + older[o].length <= at) {
            o++;
            continue;
        }
        if (o == older_count || (w < newer_count && newer[w].offset <= at) ||
            (w < newer_count && newer[w].offset <= older[o].offset)) {
            out[n++] = newer[w];
            at = newer[w].offset + newer[w].length;
            w++;
            continue;
        }
        start = older[o].offset > at ? older[o].offset : at;
        end = older[o].offset + older[o].length;
        if (w < newer_count && newer[w].offset < end) {
            end = newer[w].offset;
        }
        out[n].offset = start;
        out[n].length = end - start;
        out[n].data = older[o].data == NULL ? NULL : older[o].data + (start - older[o].offset);
        n++;
        at = end;
    }
    return n;
}

size_t
vhdx_patches_sort(struct vhdx_patch *list, struct vhdx_patch *spare, size_t count)
{
    size_t half = count / 2;
    size_t a;
    size_t b;
    size_t n;

    if (count < 2) {
        return count;
    }
    /* The newer half moves up, so that the older one has room for its 2 * half pieces. */
    memmove(list + 2 * half, list + half, (count - half) * sizeof(*list));
    a = vhdx_patches_sort(list, spare, half);
    b = vhdx_patches_sort(list + 2 * half, spare + 2 * half, count - half);
    n = merge_patches(spare, list, a, list + 2 * half, b);
    memcpy(list, spare, n * sizeof(*list));
    return n;
}

void
vhdx_patches_apply(const struct vhdx_log *log, uint8_t *buf, size_t len, uint64_t off)
{
    size_t lo = 0;
    size_t hi = log->patch_count;

    while (lo < hi) { /* first patch that ends after off */
        size_t mid = lo + (hi - lo) / 2;

        if (log->patches[mid].offset + log->patches[mid].length > off) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    for (; lo < log->patch_count && log->patches[lo].offset < off + len; lo++) {
        const struct vhdx_patch *p = &log->patches[lo];
        uint64_t start = p->offset > off ? p->offset : off;
        uint64_t end = p->offset + p->length < off + len ? p->offset + p->length : off + len;
        size_t n = (size_t)(end - start);

        if (p->data == NULL) {
            memset(buf + (start - off), 0, n);
        } else {
            memcpy(buf + (start - off), p->data + (start - p->offset), n);
        }
    }
}
