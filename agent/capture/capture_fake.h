/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_CAPTURE_FAKE_H
#define VARVE_CAPTURE_CAPTURE_FAKE_H

#include "capture/capture.h"

/*
 * A host in memory, for tests: one vm with disks of a few chunks, checkpoints, reference points and
 * change ids.  It outlives any number of captures opened on it, as a host outlives its agent.
 */
struct fake_host;

#define FAKE_DISKS     2u
#define FAKE_DISK_SIZE ((uint64_t)1024 * 1024 + 4096)

struct fake_host *fake_host_new(void);
void fake_host_free(struct fake_host *h);
struct capture *fake_host_capture(struct fake_host *h); /* close it before the host is freed */
/* A cluster: the vm is on node 0 at first, with all that it has on whichever node it is. */
struct capture *fake_host_capture_at(struct fake_host *h, unsigned node);
void fake_host_move(struct fake_host *h, unsigned node);

const struct guid *fake_host_vm(const struct fake_host *h);
const struct guid *fake_host_disk(const struct fake_host *h, size_t disk);

/* The guest writes. */
void fake_host_write(struct fake_host *h, size_t disk, uint64_t off, const void *data, size_t len);
/* The bytes of a frozen disk by its path; NULL: not frozen any more. */
const uint8_t *fake_host_frozen(struct fake_host *h, const char *path);
/* What the disk holds now. */
const uint8_t *fake_host_content(struct fake_host *h, size_t disk);

size_t fake_host_checkpoints(struct fake_host *h);
size_t fake_host_refpoints(struct fake_host *h);
bool fake_host_has_refpoint(struct fake_host *h, const char *id);

/* Somebody else's. */
void fake_host_foreign_checkpoint(struct fake_host *h);
void fake_host_foreign_refpoint(struct fake_host *h);
bool fake_host_foreign_touched(struct fake_host *h);

/* The vm has a file "fake.vmgs" of so many bytes, which pack or do not; 0: none. */
void fake_host_guest_state(struct fake_host *h, size_t len, bool packs);

/* keep() answers by an error and does nothing. */
void fake_host_refuse_keep(struct fake_host *h, bool refuse);
/* The next keep() that is refused: meanwhile somebody else makes a reference point. */
void fake_host_foreign_while_keeping(struct fake_host *h);
/* All change ids given out so far die. */
void fake_host_lose_tracking(struct fake_host *h);
/* wait_merged() times out. */
void fake_host_merge_for_ever(struct fake_host *h, bool merging);

#endif
