/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_CAPTURE_FAKE_INTERNAL_H
#define VARVE_CAPTURE_CAPTURE_FAKE_INTERNAL_H

#include "capture/capture_fake.h"

/* capture_fake_host.c is the host and what tests do to it, capture_fake.c the capture on it. */
#define FAKE_POINTS  64u
#define FAKE_GRANULE 4096u

enum point_kind { POINT_FREE = 0, POINT_CHECKPOINT, POINT_REFPOINT };

/* A moment of the vm: a checkpoint first, then perhaps a reference point.  Change ids are
 * "<moment>.<disk>"; what changed since is found by comparing, so the bytes are kept. */
struct fake_point {
    enum point_kind kind;
    bool foreign;
    unsigned moment;
    char tag[64];
    uint8_t *bytes[FAKE_DISKS];
    int64_t at_us;
};

struct fake_host {
    struct mutex lock;
    struct guid vm;
    struct guid disks[FAKE_DISKS];
    uint8_t *bytes[FAKE_DISKS];
    struct fake_point points[FAKE_POINTS];
    unsigned next_moment;
    unsigned lost_below; /* change ids of earlier moments are dead */
    size_t guest_state;
    bool guest_state_packs;
    bool refuse_keep;
    bool foreign_while_keeping;
    bool merging;
    bool foreign_touched;
    unsigned node; /* where the vm is */
};

/* A moment as the vm is now. */
struct fake_point *fake_point_new(struct fake_host *h, enum point_kind kind, const char *tag);
void fake_point_drop(struct fake_host *h, struct fake_point *p);
void fake_point_id(const struct fake_point *p, enum point_kind kind, char out[CAPTURE_ID_MAX]);
struct fake_point *fake_point_find(struct fake_host *h, enum point_kind kind, const char *id);
/* "<a><between><b>" */
bool fake_numbers(const char *text, char between, unsigned long *a, unsigned long *b);

#endif
