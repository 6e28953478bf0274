/* SPDX-License-Identifier: Apache-2.0 */
#include "os/process.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id" /* random(4) */

enum varve_err
process_boot_id(char out[PROCESS_BOOT_ID_SIZE], struct varve_error *err)
{
    enum varve_err rc = VARVE_OK;
    char text[PROCESS_BOOT_ID_SIZE];
    ssize_t n;
    int fd;

    fd = open(BOOT_ID_FILE, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        (void)varve_error_errno(err, errno, "opening '%s'", BOOT_ID_FILE);
        err->code = VARVE_ERR_UNSUPPORTED;
        return VARVE_ERR_UNSUPPORTED;
    }
    n = read(fd, text, sizeof(text) - 1);
    if (n < 0) {
        rc = varve_error_errno(err, errno, "reading '%s'", BOOT_ID_FILE);
        goto out;
    }
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0';
    if (text[0] == '\0') {
        rc = varve_error_set(err, VARVE_ERR_UNSUPPORTED, "'%s' is empty", BOOT_ID_FILE);
        goto out;
    }
    memcpy(out, text, sizeof(text));
out:
    (void)close(fd);
    return rc;
}

uint32_t
process_id(void)
{
    return (uint32_t)getpid();
}
