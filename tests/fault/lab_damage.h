/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_TESTS_FAULT_LAB_DAMAGE_H
#define VARVE_TESTS_FAULT_LAB_DAMAGE_H

#include "os/file.h"
#include "store/chunk_store.h"

/* Damage in the store "/data/store", which nobody has open; durable. */

/* One bit of an object. */
void lab_flip(struct fs *fs, const char *object, uint64_t offset);
/* One bit of every so-manieth record of the packs of one kind; answers how many. */
unsigned lab_damage_records(struct fs *fs, enum chunk_kind kind, unsigned every);
/* A copy of all its objects as they are now, in a folder that is made. */
void lab_copy_store(struct fs *fs, const char *folder);

#endif
