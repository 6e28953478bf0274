/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pack.h"

#include <stdlib.h>
#include <string.h>

#include "crypto/identity.h"

void
pack_builder_release(struct pack_builder *b)
{
    free(b->buf);
    free(b->entries);
    memset(b, 0, sizeof(*b));
}

enum varve_err
pack_builder_start(struct pack_builder *b, enum chunk_kind kind, enum aead_cipher cipher,
                   const struct guid *domain, struct varve_error *err)
{
    if (b->buf == NULL) {
        b->buf = malloc(PACK_BUILD_SIZE);
    }
    if (b->entries == NULL) {
        b->entries = malloc(PACK_BUILD_RECORDS * sizeof(b->entries[0]));
    }
    if (b->buf == NULL || b->entries == NULL) {
        return varve_error_nomem(err);
    }
    crypto_random(b->header.id.bytes, sizeof(b->header.id.bytes));
    b->header.kind = kind;
    b->header.cipher = cipher;
    b->header.domain = *domain;
    pack_header_encode(&b->header, b->buf);
    b->used = PACK_HEADER_SIZE;
    b->count = 0;
    b->raw_bytes = 0;
    return VARVE_OK;
}

bool
pack_builder_reserve(struct pack_builder *b, const struct record_name *name, enum pack_codec codec,
                     size_t plain_len, size_t raw_len, struct pack_slot *out)
{
    size_t need = PACK_RECORD_HEADER + plain_len + AEAD_TAG_SIZE;
    size_t end = pack_footer_size(b->count + 1) + PACK_TAIL_SIZE;
    struct pack_entry *e = NULL;

    if (b->count == PACK_BUILD_RECORDS || b->used + need + end > PACK_BUILD_SIZE) {
        return false;
    }
    e = &b->entries[b->count];
    e->name = *name;
    e->offset = (uint32_t)b->used;
    e->stored_len = (uint32_t)(plain_len + AEAD_TAG_SIZE);
    e->raw_len = (uint32_t)raw_len;
    e->kind = (uint8_t)b->header.kind;
    e->codec = (uint8_t)codec;
    out->entry = *e;
    out->number = b->count;
    b->count++;
    b->used += need;
    b->raw_bytes += raw_len;
    return true;
}

enum varve_err
pack_builder_fill(struct pack_builder *b, const struct pack_slot *slot, struct aead *aead,
                  const void *plain, size_t plain_len, struct varve_error *err)
{
    uint8_t *header = b->buf + slot->entry.offset;
    uint8_t *stored = header + PACK_RECORD_HEADER;
    enum varve_err rc;

    pack_record_encode(&slot->entry, slot->number, header);
    rc = aead_seal(aead, slot->number, header, PACK_RECORD_AD, plain, plain_len, stored, err);
    if (rc == VARVE_OK) {
        pack_record_seal(header, stored, slot->entry.stored_len);
    }
    return rc;
}

void
pack_builder_finish(struct pack_builder *b, const struct store_keys *keys)
{
    size_t len = pack_footer_size(b->count);
    uint8_t *footer = b->buf + b->used;

    pack_footer_encode(&b->header.id, b->entries, b->count, footer);
    pack_tail_encode(keys, &b->header.id, (uint32_t)b->used, footer, len, footer + len);
    b->used += len + PACK_TAIL_SIZE;
}
