/* SPDX-License-Identifier: Apache-2.0 */
#include "store/pack.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/checked.h"
#include "base/endian.h"
#include "hash/crc32c.h"
#include "store/store.h"

#define HEADER_MAGIC "VARVEPK1"
#define RECORD_MAGIC "VREC"
#define FOOTER_MAGIC "VFTR"
#define TAIL_MAGIC   "VARVEPKE"
#define PACK_VERSION 1u
/* Incompatible feature: the header names a domain. */
#define PACK_HAS_DOMAIN 1u

static bool
all_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (p[i] != 0) {
            return false;
        }
    }
    return true;
}

void
pack_object_name(const struct pack_id *id, char out[PACK_OBJECT_NAME_SIZE])
{
    char hex[2 * PACK_ID_SIZE + 1];

    sodium_bin2hex(hex, sizeof(hex), id->bytes, sizeof(id->bytes));
    snprintf(out, PACK_OBJECT_NAME_SIZE, "pack/%.2s/%s", hex, hex);
}

bool
pack_object_name_parse(struct pack_id *out, const char *name)
{
    char again[PACK_OBJECT_NAME_SIZE];
    struct pack_id id;
    size_t got = 0;

    if (strlen(name) != PACK_OBJECT_NAME_SIZE - 1 ||
        sodium_hex2bin(id.bytes, sizeof(id.bytes), name + 8, 2 * PACK_ID_SIZE, NULL, &got, NULL) !=
            0 ||
        got != sizeof(id.bytes)) {
        return false;
    }
    pack_object_name(&id, again); /* one spelling only */
    if (strcmp(again, name) != 0) {
        return false;
    }
    *out = id;
    return true;
}

/* ---- header ---- */

void
pack_header_encode(const struct pack_header *h, uint8_t out[PACK_HEADER_SIZE])
{
    memset(out, 0, PACK_HEADER_SIZE);
    memcpy(out, HEADER_MAGIC, 8);
    put_le16(out + 8, PACK_VERSION);
    out[10] = (uint8_t)h->kind;
    out[11] = (uint8_t)h->cipher;
    memcpy(out + 16, h->id.bytes, PACK_ID_SIZE);
    if (!guid_is_zero(&h->domain)) {
        put_le32(out + 12, PACK_HAS_DOMAIN);
        memcpy(out + 32, h->domain.bytes, sizeof(h->domain.bytes));
    }
    put_le32(out + 60, crc32c(out, 60));
}

enum varve_err
pack_header_decode(struct pack_header *out, const uint8_t in[PACK_HEADER_SIZE],
                   struct varve_error *err)
{
    if (memcmp(in, HEADER_MAGIC, 8) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "not a pack");
    }
    if (get_le32(in + 60) != crc32c(in, 60)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the pack's header is damaged (checksum)");
    }
    if (get_le16(in + 8) != PACK_VERSION || (get_le32(in + 12) & ~PACK_HAS_DOMAIN) != 0 ||
        !all_zero(in + 48, 12) ||
        all_zero(in + 32, 16) != ((get_le32(in + 12) & PACK_HAS_DOMAIN) == 0) ||
        (in[10] != CHUNK_DATA && in[10] != CHUNK_NODE) ||
        (in[11] != AEAD_AES256GCM && in[11] != AEAD_CHACHA20POLY1305)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the pack has version %u, kind %u, cipher %u, features 0x%x: use a "
                               "newer program",
                               get_le16(in + 8), in[10], in[11], get_le32(in + 12));
    }
    out->kind = (enum chunk_kind)in[10];
    out->cipher = (enum aead_cipher)in[11];
    memcpy(out->id.bytes, in + 16, PACK_ID_SIZE);
    memcpy(out->domain.bytes, in + 32, sizeof(out->domain.bytes));
    return VARVE_OK;
}

/* ---- records ---- */

/* The rules of section 5.2 that a record header and a footer entry share. */
static bool
entry_possible(const struct pack_entry *e)
{
    if (e->kind != CHUNK_DATA && e->kind != CHUNK_NODE) {
        return false;
    }
    if (e->raw_len == 0 || e->raw_len > CHUNK_SIZE_MAX) {
        return false;
    }
    if (e->codec == PACK_CODEC_RAW) {
        return e->stored_len == e->raw_len + AEAD_TAG_SIZE;
    }
    return e->codec == PACK_CODEC_LZ4 && e->stored_len > AEAD_TAG_SIZE &&
           e->stored_len < e->raw_len + AEAD_TAG_SIZE;
}

void
pack_record_encode(const struct pack_entry *e, uint32_t number, uint8_t out[PACK_RECORD_HEADER])
{
    memset(out, 0, PACK_RECORD_HEADER);
    memcpy(out, RECORD_MAGIC, 4);
    out[4] = e->kind;
    out[5] = e->codec;
    memcpy(out + 8, e->name.bytes, RECORD_NAME_SIZE);
    put_le32(out + 40, e->raw_len);
    put_le32(out + 44, e->stored_len);
    put_le32(out + 48, number);
}

void
pack_record_seal(uint8_t header[PACK_RECORD_HEADER], const void *stored, size_t stored_len)
{
    put_le32(header + 52, crc32c(stored, stored_len));
    put_le32(header + 60, crc32c(header, 60));
}

enum varve_err
pack_record_decode(struct pack_record *out, const uint8_t in[PACK_RECORD_HEADER],
                   struct varve_error *err)
{
    struct pack_record r = {0};

    if (memcmp(in, RECORD_MAGIC, 4) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "no record stands here");
    }
    if (get_le32(in + 60) != crc32c(in, 60)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the record's header is damaged (checksum)");
    }
    r.entry.kind = in[4];
    r.entry.codec = in[5];
    memcpy(r.entry.name.bytes, in + 8, RECORD_NAME_SIZE);
    r.entry.raw_len = get_le32(in + 40);
    r.entry.stored_len = get_le32(in + 44);
    r.number = get_le32(in + 48);
    r.crc = get_le32(in + 52);
    if (get_le16(in + 6) != 0 || get_le32(in + 56) != 0) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the record has fields that this program does not know: use a newer "
                               "program");
    }
    if (!entry_possible(&r.entry) || r.number >= PACK_RECORDS_MAX) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "the record's header is impossible (kind %u, codec %u, raw %u, "
                               "stored %u, number %u)",
                               r.entry.kind, r.entry.codec, r.entry.raw_len, r.entry.stored_len,
                               r.number);
    }
    *out = r;
    return VARVE_OK;
}

enum varve_err
pack_record_open(uint8_t *record, const struct pack_entry *want, struct aead *aead,
                 const uint8_t **plain, size_t *plain_len, struct varve_error *err)
{
    uint8_t *stored = record + PACK_RECORD_HEADER;
    struct pack_record r = {0};
    enum varve_err rc;

    rc = pack_record_decode(&r, record, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (memcmp(r.entry.name.bytes, want->name.bytes, RECORD_NAME_SIZE) != 0 ||
        r.entry.stored_len != want->stored_len || r.entry.raw_len != want->raw_len ||
        r.entry.codec != want->codec || r.entry.kind != want->kind) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "another record stands here");
    }
    if (crc32c(stored, r.entry.stored_len) != r.crc) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the record's bytes are damaged (checksum)");
    }
    rc = aead_open(aead, r.number, record, PACK_RECORD_AD, stored, r.entry.stored_len, stored, err);
    if (rc == VARVE_ERR_AUTH) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "the record's bytes were changed (authentication tag)");
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    *plain = stored;
    *plain_len = r.entry.stored_len - AEAD_TAG_SIZE;
    return VARVE_OK;
}

/* ---- footer and tail ---- */

void
pack_footer_encode(const struct pack_id *id, const struct pack_entry *entries, size_t count,
                   uint8_t *out)
{
    uint8_t *p = out + PACK_FOOTER_HEADER;

    memset(out, 0, pack_footer_size(count));
    memcpy(out, FOOTER_MAGIC, 4);
    put_le32(out + 4, (uint32_t)count);
    memcpy(out + 8, id->bytes, PACK_ID_SIZE);
    for (size_t i = 0; i < count; i++, p += PACK_ENTRY_SIZE) {
        memcpy(p, entries[i].name.bytes, RECORD_NAME_SIZE);
        put_le32(p + 32, entries[i].offset);
        put_le32(p + 36, entries[i].stored_len);
        put_le32(p + 40, entries[i].raw_len);
        p[44] = entries[i].kind;
        p[45] = entries[i].codec;
    }
}

void
pack_tail_encode(const struct store_keys *keys, const struct pack_id *id, uint32_t offset,
                 const void *footer, size_t footer_len, uint8_t out[PACK_TAIL_SIZE])
{
    memset(out, 0, PACK_TAIL_SIZE);
    memcpy(out, TAIL_MAGIC, 8);
    put_le32(out + 8, offset);
    put_le32(out + 12, (uint32_t)footer_len);
    if (keys != NULL) {
        store_keys_footer_mac(keys, id, footer, footer_len, out + 16);
    }
    put_le32(out + 32, crc32c(footer, footer_len));
    put_le32(out + 44, crc32c(out, 44));
}

enum varve_err
pack_tail_decode(struct pack_tail *out, const uint8_t in[PACK_TAIL_SIZE], uint64_t pack_size,
                 struct varve_error *err)
{
    uint32_t offset = get_le32(in + 8);
    uint32_t len = get_le32(in + 12);

    if (memcmp(in, TAIL_MAGIC, 8) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the pack has no tail: it is cut short");
    }
    if (get_le32(in + 44) != crc32c(in, 44)) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the pack's tail is damaged (checksum)");
    }
    if (!all_zero(in + 36, 8)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "the pack's tail has fields that this program does not know: use a "
                               "newer program");
    }
    if (offset < PACK_HEADER_SIZE || len > PACK_FOOTER_MAX || len <= PACK_FOOTER_HEADER ||
        (len - PACK_FOOTER_HEADER) % PACK_ENTRY_SIZE != 0 ||
        (uint64_t)offset + len + PACK_TAIL_SIZE != pack_size) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "the pack's tail is impossible (footer of %u bytes at %u in a pack "
                               "of %" PRIu64 ")",
                               len, offset, pack_size);
    }
    out->footer_offset = offset;
    out->footer_len = len;
    memcpy(out->mac, in + 16, FOOTER_MAC_SIZE);
    out->footer_crc = get_le32(in + 32);
    return VARVE_OK;
}

static void
entry_decode(struct pack_entry *e, const uint8_t *p)
{
    memcpy(e->name.bytes, p, RECORD_NAME_SIZE);
    e->offset = get_le32(p + 32);
    e->stored_len = get_le32(p + 36);
    e->raw_len = get_le32(p + 40);
    e->kind = p[44];
    e->codec = p[45];
}

enum varve_err
pack_footer_decode(const struct pack_tail *tail, const void *footer, const struct pack_id *id,
                   const struct store_keys *keys, void (*cb)(void *arg, const struct pack_entry *e),
                   void *arg, struct varve_error *err)
{
    const uint8_t *p = footer;
    uint8_t mac[FOOTER_MAC_SIZE];
    uint64_t next = PACK_HEADER_SIZE;
    struct pack_entry e = {0};
    uint32_t count;

    if (crc32c(p, tail->footer_len) != tail->footer_crc) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the pack's footer is damaged (checksum)");
    }
    if (keys != NULL) {
        store_keys_footer_mac(keys, id, p, tail->footer_len, mac);
        if (sodium_memcmp(mac, tail->mac, sizeof(mac)) != 0) {
            return varve_error_set(err, VARVE_ERR_CORRUPT,
                                   "the pack's footer was not written by this store");
        }
    }
    count = get_le32(p + 4);
    if (memcmp(p, FOOTER_MAGIC, 4) != 0 || count == 0 || count > PACK_RECORDS_MAX ||
        tail->footer_len != pack_footer_size(count) ||
        memcmp(p + 8, id->bytes, PACK_ID_SIZE) != 0) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "the pack's footer is impossible");
    }
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *q = p + PACK_FOOTER_HEADER + (size_t)i * PACK_ENTRY_SIZE;

        entry_decode(&e, q);
        if (get_le16(q + 46) != 0) {
            return varve_error_set(
                err, VARVE_ERR_UNSUPPORTED,
                "entry %u of the pack's footer has fields that this program does "
                "not know: use a newer program",
                i);
        }
        if (!entry_possible(&e) || e.offset != next) {
            return varve_error_set(err, VARVE_ERR_CORRUPT,
                                   "entry %u of the pack's footer is impossible", i);
        }
        next += (uint64_t)PACK_RECORD_HEADER + e.stored_len;
    }
    if (next != tail->footer_offset) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "the records of the pack end at %" PRIu64 ", not at the footer",
                               next);
    }
    for (uint32_t i = 0; i < count; i++) {
        entry_decode(&e, p + PACK_FOOTER_HEADER + (size_t)i * PACK_ENTRY_SIZE);
        cb(arg, &e);
    }
    return VARVE_OK;
}

/* ---- whole packs ---- */

enum varve_err
pack_walk(const uint8_t *pack, size_t len, bool (*cb)(void *arg, const struct pack_record *r),
          void *arg, struct varve_error *err)
{
    struct pack_header header = {0};
    struct pack_record r = {0};
    size_t off = PACK_HEADER_SIZE;
    uint32_t number = 0;
    enum varve_err rc;

    if (len < PACK_HEADER_SIZE) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%zu bytes are no pack", len);
    }
    rc = pack_header_decode(&header, pack, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    while (len - off >= PACK_RECORD_HEADER && memcmp(pack + off, RECORD_MAGIC, 4) == 0) {
        rc = pack_record_decode(&r, pack + off, err);
        if (rc != VARVE_OK) {
            return varve_error_prefix(err, "record %u at offset %zu", number, off);
        }
        if (r.number != number || r.entry.kind != (uint8_t)header.kind ||
            r.entry.stored_len > len - off - PACK_RECORD_HEADER) {
            return varve_error_set(err, VARVE_ERR_CORRUPT,
                                   "record %u at offset %zu is out of place", number, off);
        }
        r.entry.offset = (uint32_t)off;
        if (!cb(arg, &r)) {
            return VARVE_OK;
        }
        number++;
        off += PACK_RECORD_HEADER + r.entry.stored_len;
    }
    return VARVE_OK;
}

struct scrub {
    const uint8_t *pack;
    size_t whole;
    uint32_t seen;
    uint64_t end;
    void (*bad)(void *arg, uint32_t offset, const struct varve_error *why);
    void *arg;
};

static bool
scrub_record(void *arg, const struct pack_record *r)
{
    struct scrub *s = arg;
    const uint8_t *stored = s->pack + r->entry.offset + PACK_RECORD_HEADER;

    s->seen++;
    s->end = (uint64_t)r->entry.offset + PACK_RECORD_HEADER + r->entry.stored_len;
    if (crc32c(stored, r->entry.stored_len) == r->crc) {
        s->whole++;
    } else if (s->bad != NULL) {
        struct varve_error why;

        (void)varve_error_set(&why, VARVE_ERR_CORRUPT, "the stored bytes are damaged (checksum)");
        s->bad(s->arg, r->entry.offset, &why);
    }
    return true;
}

struct scrub_footer {
    const uint8_t *pack;
    bool differs;
};

static void
scrub_entry(void *arg, const struct pack_entry *e)
{
    struct scrub_footer *f = arg;

    /* pack_walk() found a whole header at every place up to the footer. */
    if (memcmp(f->pack + e->offset + 8, e->name.bytes, RECORD_NAME_SIZE) != 0 ||
        get_le32(f->pack + e->offset + 40) != e->raw_len ||
        get_le32(f->pack + e->offset + 44) != e->stored_len) {
        f->differs = true;
    }
}

enum varve_err
pack_scrub(const uint8_t *pack, size_t len, const struct pack_id *id, size_t *records,
           void (*bad)(void *arg, uint32_t offset, const struct varve_error *why), void *arg,
           struct varve_error *err)
{
    struct scrub s = {.pack = pack, .end = PACK_HEADER_SIZE, .bad = bad, .arg = arg};
    struct scrub_footer f = {.pack = pack};
    struct pack_header header = {0};
    struct pack_tail tail = {0};
    enum varve_err rc;

    *records = 0;
    if (len < PACK_HEADER_SIZE + PACK_TAIL_SIZE) {
        return varve_error_set(err, VARVE_ERR_CORRUPT, "%zu bytes are no pack", len);
    }
    rc = pack_header_decode(&header, pack, err);
    if (rc == VARVE_OK && id != NULL && memcmp(id->bytes, header.id.bytes, PACK_ID_SIZE) != 0) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "the pack has another pack's name");
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = pack_walk(pack, len - PACK_TAIL_SIZE, scrub_record, &s, err);
    *records = s.whole;
    if (rc != VARVE_OK) {
        return rc;
    }
    rc = pack_tail_decode(&tail, pack + len - PACK_TAIL_SIZE, len, err);
    if (rc != VARVE_OK) {
        return rc;
    }
    if (tail.footer_offset != s.end) {
        return varve_error_set(err, VARVE_ERR_CORRUPT,
                               "the records end at %" PRIu64 ", the footer begins at %u", s.end,
                               tail.footer_offset);
    }
    rc = pack_footer_decode(&tail, pack + tail.footer_offset, &header.id, NULL, scrub_entry, &f,
                            err);
    if (rc == VARVE_OK && f.differs) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "footer and records of the pack differ");
    }
    if (rc == VARVE_OK && s.whole != s.seen) {
        rc = varve_error_set(err, VARVE_ERR_CORRUPT, "%" PRIu64 " of %u records are damaged",
                             (uint64_t)s.seen - s.whole, s.seen);
    }
    return rc;
}
