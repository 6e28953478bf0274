/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>

#include "index/index_pages.h"
#include "os/file_mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The file of an index; no page of it can be taken for two. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct index_pages *p = NULL;
    struct mem_fs *mem = NULL;
    struct varve_error err;
    struct file *f = NULL;
    uint64_t pages = 0;

    if (mem_fs_new(&mem, &err) != VARVE_OK ||
        file_open(mem_fs(mem), &f, "/index.mdb", FILE_CREATE_NEW, &err) != VARVE_OK ||
        file_write(f, data, size, 0, &err) != VARVE_OK) {
        abort();
    }
    if (index_pages_open(&p, f, UINT64_MAX, &err) == VARVE_OK &&
        index_pages_finish(p, &pages, &err) == VARVE_OK && pages * 4096 > size) {
        abort();
    }
    index_pages_close(p);
    file_close(f);
    mem_fs_free(mem);
    return 0;
}
