/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_HASH_CHUNK_ID_H
#define VARVE_HASH_CHUNK_ID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The name of a chunk or of a manifest node: SHA-256 of its bytes.  A struct of its own so that it
 * cannot be mixed up with keys and other 32-byte things.
 *
 * The all-zero value is no name: it stands for a hole (an all-zero chunk, an empty subtree).
 *
 * SHA-256 comes from libcrypto where it was found at configure time (it uses the processor's SHA
 * instructions), else from libsodium.  Threads: any.
 */
#define CHUNK_ID_SIZE 32

struct chunk_id {
    uint8_t bytes[CHUNK_ID_SIZE];
};

void chunk_id_of(struct chunk_id *out, const void *data, size_t len);

bool chunk_id_equal(const struct chunk_id *a, const struct chunk_id *b);
bool chunk_id_is_hole(const struct chunk_id *id);
int chunk_id_compare(const struct chunk_id *a, const struct chunk_id *b);

#define CHUNK_ID_TEXT_SIZE 65
void chunk_id_format(const struct chunk_id *id, char out[CHUNK_ID_TEXT_SIZE]);

#endif
