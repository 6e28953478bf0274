/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_FAKE_COLLECTOR_H
#define VARVE_CLI_FAKE_COLLECTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/*
 * A collector for tests of the operator's command: a real channel on a unix socket, one operator at a
 * time, answers from a script.  It lies on request.  Trouble in here ends the program.
 */
#define FAKE_FILES_MAX 4u

enum fake_lie {
    FAKE_HONEST = 0,
    FAKE_LONG_PIECE, /* pieces say more than was asked for */
    FAKE_SHORT_BULK, /* fewer bytes than the pieces say */
    FAKE_WRONG_ID,   /* answers a request that was not made */
    FAKE_WRONG_BODY, /* answers with another message */
    FAKE_MAP_BACK,   /* a stretch in front of where the map was asked for */
    FAKE_MAP_BEYOND, /* a stretch behind the file's end */
    FAKE_MAP_STUCK,  /* a map that does not move on */
    FAKE_NEW_MAJOR   /* another protocol version */
};

struct fake_file {
    const char *name;
    uint64_t size;
    uint64_t data_bytes;
    const uint8_t *bytes;
};

struct fake_script {
    struct fake_file files[FAKE_FILES_MAX];
    size_t file_count;
    enum fake_lie lie;
    unsigned fail_read; /* the n-th RestoreRead is answered by an error */
    enum varve_err fail_code;
    unsigned hang_up_read; /* at the n-th RestoreRead the connection is dropped */
    bool backup_fails;     /* one of two runs */
    bool verify_finds;     /* two problems of one point */
    bool silent;           /* no answer to anything but Hello */
    uint32_t minor;        /* of the protocol */
};

struct fake_collector;

/* access_path() is the access file to be used. */
struct fake_collector *fake_start(const struct fake_script *script);
const char *fake_access_path(const struct fake_collector *f);
const char *fake_folder(const struct fake_collector *f);
/* The text of the last request's first string: what the command asked for. */
const char *fake_last_text(struct fake_collector *f);
void fake_stop(struct fake_collector *f);

#endif
