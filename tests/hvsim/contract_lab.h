/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_CONTRACT_LAB_H
#define HVSIM_CONTRACT_LAB_H

#include "base/testing.h"

#include "capture/capture_fake.h"
#include "hvsim/refpoint_lab.h"

/*
 * One vm under each member of capture.h.  For MEMBER_SIM the simulated host is the real program, started
 * here and driven by its own control command.  Trouble fails the test.
 */
enum member {
    MEMBER_FAKE,
    MEMBER_FAULT,
    MEMBER_FOLDER,
    MEMBER_SIM,
    MEMBER_REFPOINT,
    MEMBER_VSS,
    MEMBER_EXPORT,
    MEMBER_COLLECTION,
    MEMBER_CHOICE,
    MEMBER_CHOICE_VSS,
    MEMBER_COUNT
};

struct contract_lab {
    enum member member;
    struct capture *capture;
    struct guid vm;
    struct fake_host *host;
    struct refpoint_lab *hv;
    struct vss_port *vss;
    bool hashes;   /* changes are found by names */
    bool prepares; /* in a folder */
    char dir[64];
    char hvsim[512];
    char socket[128];
    char disk[GUID_TEXT_SIZE];
};

void contract_lab_open(struct contract_lab *l, enum member member);
void contract_lab_close(struct contract_lab *l);
/* The guest writes 4 KiB. */
void contract_lab_write(struct contract_lab *l, uint64_t off);
/* A teardown: ends the simulated host if it still runs. */
int contract_lab_stop(void **state);
/* A command of the shell that must succeed. */
void contract_lab_shell(const char *fmt, ...) VARVE_PRINTF(1, 2);

#endif
