/* SPDX-License-Identifier: Apache-2.0 */
#include "store/store_dir_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An open file description lock: it ends with the process, whatever way that ends, and unlike a
 * classic record lock it is not lost when some other part of the program closes the file. */
enum varve_err
dir_lock_take(int *out_fd, const char *root, struct varve_error *err)
{
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    char *path = NULL;
    enum varve_err rc = VARVE_OK;
    int fd = -1;

    path = malloc(strlen(root) + sizeof("/.lock"));
    if (path == NULL) {
        return varve_error_nomem(err);
    }
    sprintf(path, "%s/.lock", root);
    fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        rc = varve_error_errno(err, errno, "opening '%s'", path);
        goto out;
    }
    if (fcntl(fd, F_OFD_SETLK, &lock) != 0) {
        if (errno == EAGAIN || errno == EACCES) {
            rc =
                varve_error_set(err, VARVE_ERR_BUSY,
                                "store '%s' is open in another process: stop that one first", root);
        } else {
            rc = varve_error_errno(err, errno, "locking '%s'", path);
        }
        goto out;
    }
    *out_fd = fd;
    fd = -1;
out:
    if (fd >= 0) {
        (void)close(fd);
    }
    free(path);
    return rc;
}

void
dir_lock_drop(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}
