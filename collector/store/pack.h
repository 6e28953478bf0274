/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_PACK_H
#define VARVE_STORE_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/guid.h"
#include "crypto/aead.h"
#include "store/chunk_store.h"
#include "store/store_keys.h"

/*
 * Packs: many chunks or many manifest nodes in one immutable object.  Every byte is stated in
 * docs/format/store.md section 5.
 *
 * Decoders take any bytes and answer VARVE_ERR_CORRUPT naming structure and offset, or
 * VARVE_ERR_UNSUPPORTED for a newer format; they allocate nothing.
 */
#define PACK_HEADER_SIZE   64u
#define PACK_RECORD_HEADER 64u
#define PACK_ENTRY_SIZE    48u
#define PACK_FOOTER_HEADER 24u
#define PACK_TAIL_SIZE     48u
#define PACK_RECORDS_MAX   65536u
#define PACK_FOOTER_MAX    (PACK_FOOTER_HEADER + PACK_RECORDS_MAX * PACK_ENTRY_SIZE)

/* What the builder makes: not more than this in one pack. */
#define PACK_BUILD_SIZE    (16u * 1024 * 1024)
#define PACK_BUILD_RECORDS 16384u

#define PACK_OBJECT_NAME_SIZE 41 /* "pack/xx/<32 hex>" and the NUL */

enum pack_codec { PACK_CODEC_RAW = 0, PACK_CODEC_LZ4 = 1 }; /* numbers are on disk */

struct pack_header {
    struct pack_id id;
    enum chunk_kind kind;
    enum aead_cipher cipher;
    struct guid domain; /* zero: the default */
};

/* One record as its header or the footer tells it. */
struct pack_entry {
    struct record_name name;
    uint32_t offset;     /* of the record's header in the pack */
    uint32_t stored_len; /* with the tag, without the header */
    uint32_t raw_len;
    uint8_t kind;  /* enum chunk_kind */
    uint8_t codec; /* enum pack_codec */
};

struct pack_record {
    struct pack_entry entry; /* offset is not in the header: 0 */
    uint32_t number;
    uint32_t crc; /* of the stored bytes */
};

struct pack_tail {
    uint32_t footer_offset;
    uint32_t footer_len;
    uint8_t mac[FOOTER_MAC_SIZE];
    uint32_t footer_crc;
};

void pack_object_name(const struct pack_id *id, char out[PACK_OBJECT_NAME_SIZE]);
bool pack_object_name_parse(struct pack_id *out, const char *name);

void pack_header_encode(const struct pack_header *h, uint8_t out[PACK_HEADER_SIZE]);
VARVE_CHECK enum varve_err pack_header_decode(struct pack_header *out,
                                              const uint8_t in[PACK_HEADER_SIZE],
                                              struct varve_error *err);

/* Bytes 0 to 51 of a record header are the associated data of its AEAD. */
#define PACK_RECORD_AD 52u
/* Writes all but the two checksums. */
void pack_record_encode(const struct pack_entry *e, uint32_t number,
                        uint8_t out[PACK_RECORD_HEADER]);
/* Adds the checksums when the stored bytes are known. */
void pack_record_seal(uint8_t header[PACK_RECORD_HEADER], const void *stored, size_t stored_len);
VARVE_CHECK enum varve_err pack_record_decode(struct pack_record *out,
                                              const uint8_t in[PACK_RECORD_HEADER],
                                              struct varve_error *err);

/* Size of the footer for count records. */
static inline size_t
pack_footer_size(size_t count)
{
    return PACK_FOOTER_HEADER + count * PACK_ENTRY_SIZE;
}
void pack_footer_encode(const struct pack_id *id, const struct pack_entry *entries, size_t count,
                        uint8_t *out);
/* keys NULL: the MAC is left zero (no key at hand; for tests of the parser only). */
void pack_tail_encode(const struct store_keys *keys, const struct pack_id *id, uint32_t offset,
                      const void *footer, size_t footer_len, uint8_t out[PACK_TAIL_SIZE]);
/* pack_size: of the whole object; offset and length must fit it. */
VARVE_CHECK enum varve_err pack_tail_decode(struct pack_tail *out, const uint8_t in[PACK_TAIL_SIZE],
                                            uint64_t pack_size, struct varve_error *err);
/*
 * Checks footer (tail->footer_len bytes) against the tail: checksum, MAC (keys NULL: not), pack id,
 * every entry, and that the records lie without gap from the header to the footer.  cb gets each entry,
 * after all were found right.
 */
VARVE_CHECK enum varve_err pack_footer_decode(const struct pack_tail *tail, const void *footer,
                                              const struct pack_id *id,
                                              const struct store_keys *keys,
                                              void (*cb)(void *arg, const struct pack_entry *e),
                                              void *arg, struct varve_error *err);

/*
 * A scrub of one whole pack in memory, without a key: header, every record's checksums, footer,
 * tail.  id NULL: any.  bad, which may be NULL, gets every record whose stored bytes are wrong; the result is
 * VARVE_OK only when nothing was found, else an error that names the last thing.  *records: how many are
 * whole.
 */
VARVE_CHECK enum varve_err
pack_scrub(const uint8_t *pack, size_t len, const struct pack_id *id, size_t *records,
           void (*bad)(void *arg, uint32_t offset, const struct varve_error *why), void *arg,
           struct varve_error *err);

/*
 * Finds records without footer: walks from the header as long as record headers are whole.  What
 * stands in the stored bytes is not looked at.
 */
VARVE_CHECK enum varve_err pack_walk(const uint8_t *pack, size_t len,
                                     bool (*cb)(void *arg, const struct pack_record *r), void *arg,
                                     struct varve_error *err);

/* What pack_search() steps over. */
struct pack_gap {
    size_t from;
    size_t to;        /* the end of the pack, or where the next record stands */
    uint32_t next;    /* number of the first record that is missing */
    uint32_t records; /* how many are, when another one follows; 0: nobody knows */
};
/*
 * For a pack whose structures cannot be believed: as pack_walk(), without its header, and where no whole header
 * of a record stands the search goes on behind it, byte by byte.  A record is a claim until its tag was
 * checked.  len at most STORE_OBJECT_MAX; less than a pack's frame gives nothing.
 */
void pack_search(const uint8_t *pack, size_t len,
                 bool (*cb)(void *arg, const struct pack_record *r),
                 void (*gap)(void *arg, const struct pack_gap *g), void *arg);

/* ---- building ---- */

/*
 * One pack growing in memory; all zero at first.  pack_builder_reserve() and pack_builder_finish() need the caller's
 * lock; pack_builder_fill() touches only the slot it was given, so several threads may fill different
 * slots of one pack at once.
 */
struct pack_builder {
    struct pack_header header;
    uint8_t *buf;               /* PACK_BUILD_SIZE */
    struct pack_entry *entries; /* PACK_BUILD_RECORDS */
    size_t used;
    uint32_t count;
    uint64_t raw_bytes;
};

struct pack_slot {
    struct pack_entry entry;
    uint32_t number;
};

/* Empty, with a fresh random id.  The memory is taken at the first start: an idle store, or one that is only read, has none. */
VARVE_CHECK enum varve_err pack_builder_start(struct pack_builder *b, enum chunk_kind kind,
                                              enum aead_cipher cipher, const struct guid *domain,
                                              struct varve_error *err);
/* As it was at first: all zero. */
void pack_builder_release(struct pack_builder *b);
/* False when it does not fit any more. */
bool pack_builder_reserve(struct pack_builder *b, const struct record_name *name,
                          enum pack_codec codec, size_t plain_len, size_t raw_len,
                          struct pack_slot *out);
/* aead has the key of this pack. plain: the LZ4 block or raw bytes, as reserved. */
VARVE_CHECK enum varve_err pack_builder_fill(struct pack_builder *b, const struct pack_slot *slot,
                                             struct aead *aead, const void *plain, size_t plain_len,
                                             struct varve_error *err);
/* Adds footer and tail; the pack is then buf[0, used).  count > 0. */
void pack_builder_finish(struct pack_builder *b, const struct store_keys *keys);

/* ---- reading one record ---- */

/*
 * record: header and stored bytes, PACK_RECORD_HEADER + want->stored_len of them; changed in place.
 * Checks all of it against want and opens it; *plain then points into record.  aead has the pack's
 * key.  The number that counts as nonce is the header's (the tag authenticates it).
 */
VARVE_CHECK enum varve_err pack_record_open(uint8_t *record, const struct pack_entry *want,
                                            struct aead *aead, const uint8_t **plain,
                                            size_t *plain_len, struct varve_error *err);

#endif
