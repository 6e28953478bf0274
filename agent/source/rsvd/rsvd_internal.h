/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_SOURCE_RSVD_RSVD_INTERNAL_H
#define VARVE_SOURCE_RSVD_RSVD_INTERNAL_H

#include "os/thread.h"
#include "smb/smb_status.h"
#include "source/rsvd/rsvd_disk.h"

struct rsvd_disk {
    struct smb *smb; /* borrowed */
    struct smb_file_id file;
    bool opened;
    struct rsvd_info info;
    struct mutex lock;
    uint64_t request_id; /* of the last tunnelled operation */
};

/* One tunnelled operation, both statuses looked at.  out holds what *body points into. */
VARVE_CHECK enum varve_err rsvd_operate(struct rsvd_disk *d, uint32_t fsctl, uint32_t code,
                                        const void *request, size_t request_len,
                                        uint32_t max_output, struct buf *out,
                                        struct smb_bytes *body, struct varve_error *err);

#endif
