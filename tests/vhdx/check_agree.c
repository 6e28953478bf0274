/* SPDX-License-Identifier: Apache-2.0 */
#include "vhdx/check_agree.h"

#include <stdio.h>
#include <stdlib.h>

struct seen {
    enum image_verdict worst;
    uint64_t count;
};

static void
note(void *arg, const struct image_finding *f)
{
    struct seen *s = arg;

    s->worst = f->weight > s->worst ? f->weight : s->worst;
    s->count++;
    if (f->path == NULL || f->structure == NULL || f->text[0] == '\0') {
        abort();
    }
}

enum image_verdict
check_verdict(struct fs *fs, const char *path, unsigned flags)
{
    struct image_check_result result;
    struct seen seen = {IMAGE_CLEAN, 0};
    struct varve_error err;

    if (image_check(&result, fs, path, flags, note, &seen, &err) != VARVE_OK) {
        (void)fprintf(stderr, "'%s' cannot be checked: %s\n", path, err.msg);
        abort();
    }
    if (seen.worst != result.verdict || (seen.count == 0) != (result.findings == 0)) {
        (void)fprintf(stderr, "'%s': findings and verdict differ\n", path);
        abort();
    }
    return result.verdict;
}

enum varve_err
open_and_check(struct fs *fs, const char *path, unsigned flags, struct varve_error *err)
{
    struct image *img = NULL;
    struct varve_error ignored;
    struct file_stat st;
    enum varve_err rc = image_open(&img, fs, path, flags, err);

    image_close(img);
    if (rc == VARVE_ERR_NOMEM || rc == VARVE_ERR_IO ||
        fs_stat(fs, path, &st, &ignored) != VARVE_OK) {
        return rc;
    }
    if ((check_verdict(fs, path, flags) == IMAGE_BROKEN) != (rc != VARVE_OK)) {
        (void)fprintf(stderr, "'%s': opening and checking do not agree: %s\n", path,
                      rc == VARVE_OK ? "opens" : err->msg);
        abort();
    }
    return rc;
}
