/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_RSVD_RSVD_FAKE_H
#define VARVE_SOURCE_RSVD_RSVD_FAKE_H

#include "smb/smb_fake.h"

/*
 * For tests: what smb_fake answers when it is to be a server of shared disks.  Whole replies from the
 * parts that matter; what the parts say is the test's.
 */

/* A CREATE that succeeded, with these contexts behind it as they are. */
void rsvd_fake_created(struct smb_fake_reply *r, const void *contexts, size_t len);
/* An IOCTL that succeeded, to the request q: an operation's header with that status, and a body.  The
 * question for support has no header. */
void rsvd_fake_told(const struct smb_fake_request *q, struct smb_fake_reply *r, uint32_t status,
                    const void *body, size_t len);
/* A READ's data are r->body + RSVD_FAKE_DATA; *want of them at the offset given back. */
#define RSVD_FAKE_DATA 16u
uint64_t rsvd_fake_read(const struct smb_fake_request *q, struct smb_fake_reply *r, uint32_t *want);

/* A set with one snapshot whose bytes are these; lives longer than the connection. */
struct rsvd_fake {
    const uint8_t *bytes;
    uint64_t size;
};

extern const uint8_t rsvd_fake_snapshot[16]; /* bytes of a struct guid */

/* For smb_fake.answer; arg is a struct rsvd_fake. */
bool rsvd_fake_answer(void *arg, const struct smb_fake_request *q, struct smb_fake_reply *r);

#endif
