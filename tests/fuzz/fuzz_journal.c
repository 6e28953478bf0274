/* SPDX-License-Identifier: Apache-2.0 */

/* What an agent finds in its state folder: journals of runs and lists of kept points.  The sum at the
 * end is put right first, so that the lines are read, too. */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hash/crc32c.h"
#include "job/journal.h"

#define END_LEN 13u /* "end 00000000\n" */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct capture_marks marks;
    struct journal_entry e;
    struct varve_error err;
    uint8_t *text;

    if (size > JOURNAL_FILE_MAX) {
        return 0;
    }
    text = malloc(size + END_LEN + 1);
    if (text == NULL) {
        abort();
    }
    memcpy(text, data, size);
    if (journal_parse(&e, text, size, &err) == VARVE_OK) {
        journal_entry_release(&e);
    }
    if (size >= END_LEN && memcmp(text + size - END_LEN, "end ", 4) == 0) {
        size -= END_LEN;
    }
    (void)snprintf((char *)text + size, END_LEN + 1, "end %08" PRIX32 "\n", crc32c(text, size));
    size += END_LEN;
    if (journal_parse(&e, text, size, &err) == VARVE_OK) {
        if (e.state < JOURNAL_FREEZING || e.state > JOURNAL_UNDOING ||
            e.failure >= VARVE_ERR_COUNT || e.disk_count > CAPTURE_DISKS_MAX) {
            abort();
        }
        journal_entry_release(&e);
    }
    if (kept_parse(&marks, text, size, &err) == VARVE_OK) {
        capture_marks_release(&marks);
    }
    free(text);
    return 0;
}
