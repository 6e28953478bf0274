/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Disk images of any kind, alone or with parents: opened, mapped, read, checked (image_walk.h).
 *
 * An image is megabytes of zeros with a few structures in it, so the input is a recipe (image_recipe.h)
 * for up to three sparse files in memory; a flag asks for right checksums, so that what is behind them
 * is reached.
 */
#include "fuzz/image_recipe.h"
#include "fuzz/image_walk.h"
#include "vhdx/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem_fs *m = mem_fs_new();
    unsigned flags = 0;

    if (m == NULL) {
        return 0;
    }
    if (image_recipe_make(m, &flags, data, size)) {
        const char *leaf = image_recipe_leaf(flags);
        unsigned open_flags = IMAGE_ALLOW_RAW;

        if ((flags & IMAGE_RECIPE_NO_PARENT) != 0) {
            open_flags |= IMAGE_NO_PARENT;
        }
        image_walk(mem_fs_fs(m), leaf, open_flags);
    }
    mem_fs_free(m);
    return 0;
}
