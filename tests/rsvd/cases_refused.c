/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "base/endian.h"
#include "rsvd/cases.h"
#include "smb/smb_status.h"

/* Requests that a server refuses, and by what status: MS-RSVD 3.2.5.  Microsoft's suite has none of these. */

#define NONE   0xFFFFFFFFu /* of smb: the status is the operation's */
#define WHOLE  65536u
#define PARAM1 0xC00000EFu

static const struct refused {
    const char *what;
    uint32_t code;
    size_t len;    /* of the body */
    uint32_t room; /* for the reply */
    uint32_t smb;  /* status of SMB, or NONE */
    uint32_t own;  /* status of the operation */
    struct {
        size_t at;
        uint32_t value;
    } set[3];     /* what is not zero in the body */
    bool on_disk; /* asked of a disk that is no set */
} table[] = {
    {"an operation of another group",
     0x03001001,
     0,
     WHOLE,
     NT_INVALID_DEVICE_REQUEST,
     0,
     {{0}},
     false},
    {"a version that is not known", 0x02005001, 0, WHOLE, NONE, 0xC05CFF09, {{0}}, false},
    {"an operation that is not known",
     0x02001FFF,
     0,
     WHOLE,
     NONE,
     NT_INVALID_PARAMETER,
     {{0}},
     false},
    {"no room for GET_INITIAL_INFO",
     RSVD_GET_INITIAL_INFO,
     0,
     39,
     NT_BUFFER_TOO_SMALL,
     0,
     {{0}},
     false},
    {"no room for GET_DISK_INFO", RSVD_GET_DISK_INFO, 56, 71, NT_BUFFER_TOO_SMALL, 0, {{0}}, false},
    {"no room for VALIDATE_DISK", RSVD_VALIDATE_DISK, 56, 16, NT_BUFFER_TOO_SMALL, 0, {{0}}, false},
    {"no room for SRB_STATUS", RSVD_SRB_STATUS, 28, 39, NT_INVALID_PARAMETER, 0, {{0}}, false},
    {"no room for SCSI", RSVD_SCSI, 36, 51, NT_INVALID_PARAMETER, 0, {{0}}, false},
    {"a key that nobody has", RSVD_SRB_STATUS, 28, WHOLE, NONE, 0xC05CFF00, {{0, 200}}, false},
    {"SCSI of another length", RSVD_SCSI, 36, WHOLE, NONE, NT_INVALID_PARAMETER, {{0, 35}}, false},
    {"SCSI without its data",
     RSVD_SCSI,
     36,
     WHOLE,
     NONE,
     NT_INVALID_PARAMETER,
     {{0, 36}, {12, 512}},
     false},
    {"a query of another size", RSVD_QUERY_SET, 23, WHOLE, NT_BUFFER_TOO_SMALL, 0, {{0, 2}}, false},
    {"a query of a disk that is no set",
     RSVD_QUERY_SET,
     24,
     WHOLE,
     NONE,
     NT_INVALID_DEVICE_REQUEST,
     {{0, 2}, {4, 1}},
     true},
    {"a list of no type", RSVD_QUERY_SET, 24, WHOLE, NONE, PARAM1, {{0, 2}, {4, 9}}, false},
    {"an entry of no type", RSVD_QUERY_SET, 24, WHOLE, NONE, PARAM1, {{0, 5}, {4, 9}}, false},
    {"information of no type", RSVD_QUERY_SET, 24, WHOLE, NONE, PARAM1, {{0, 77}, {4, 1}}, false},
    {"optimize of a snapshot",
     RSVD_QUERY_SET,
     24,
     WHOLE,
     NONE,
     NT_INVALID_PARAMETER,
     {{0, 8}, {4, 1}},
     false},
    {"changes in too few bytes",
     RSVD_QUERY_CHANGES,
     55,
     WHOLE,
     NT_BUFFER_TOO_SMALL,
     0,
     {{0}},
     false},
    {"changes of another type",
     RSVD_QUERY_CHANGES,
     56,
     WHOLE,
     NONE,
     NT_INVALID_PARAMETER,
     {{32, 3}},
     false},
};

static bool
refusals(struct node *n)
{
    struct how set = {.name = CASE_SET, .version = 2, .who = 1};
    struct how disk = {.name = CASE_DISK, .version = 2, .who = 1};
    size_t i;
    size_t k;

    TRY(node_open(&n[0], &set));
    TRY(node_open(&n[1], &disk));
    for (i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct refused *r = &table[i];
        struct node *node = &n[r->on_disk ? 1 : 0];
        uint8_t body[64] = {0};
        uint32_t smb = NT_SUCCESS;

        for (k = 0; k < 3; k++) {
            if (r->set[k].value != 0) {
                put_le32(body + r->set[k].at, r->set[k].value);
            }
        }
        TRY(node_provoke(node, r->code, body, r->len, r->room, &smb));
        if (smb != (r->smb == NONE ? NT_SUCCESS : r->smb) ||
            (r->smb == NONE && node->status != r->own)) {
            return fail_case("%s: SMB status 0x%08X, the operation's 0x%08X", r->what,
                             (unsigned)smb, (unsigned)node->status);
        }
    }
    return true;
}

const struct test_case case_refused = {"Refusals", 2, refusals};
