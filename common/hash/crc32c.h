/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_HASH_CRC32C_H
#define VARVE_HASH_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/*
 * CRC-32C (Castagnoli; reflected polynomial 0x82F63B78, initial value and final xor all ones), the
 * checksum of VHDX structures.  It finds accidents, not attacks.  The processor's instruction is
 * used where there is one (SSE4.2), else a table.  Threads: any.
 */
uint32_t crc32c(const void *data, size_t len);

/* Of data in pieces: start with 0, hand the last result in. */
uint32_t crc32c_update(uint32_t crc, const void *data, size_t len);

/* The table, on every machine: what the instruction is tested against. */
uint32_t crc32c_update_portable(uint32_t crc, const void *data, size_t len);

#endif
