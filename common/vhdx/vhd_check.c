/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>

#include "vhdx/check_internal.h"
#include "vhdx/vhd_internal.h"
#include "vhdx/vhd_set.h"

static enum varve_err
check_footers(struct checker *c, const struct vhd_layer *v, struct varve_error *err)
{
    uint64_t size = v->base.f.size;
    bool sparse = v->footer.type != VHD_FIXED;
    struct vhd_footer end;
    struct vhd_footer copy;
    bool has_end = false;
    bool has_copy = false;
    enum varve_err rc;

    rc = vhd_footer_read_one(&end, &has_end, v->base.f.file, size, true, err);
    if (rc == VARVE_OK && sparse) {
        rc = vhd_footer_read_one(&copy, &has_copy, v->base.f.file, size, false, err);
    }
    if (rc != VARVE_OK) {
        return rc;
    }
    if (!has_end) {
        checker_find(c, "footer", size, IMAGE_REPAIRABLE,
                     "none at the end of the file; its copy at offset 0 is good");
    } else if (!end.checksum_right) {
        checker_find(c, "footer", end.data_end, IMAGE_REPAIRABLE, "checksum is wrong");
    }
    if (sparse && (!has_copy || !copy.checksum_right)) {
        checker_find(c, "footer copy", 0, IMAGE_REPAIRABLE, "%s",
                     has_copy ? "checksum is wrong" : "there is none at offset 0");
    } else if (sparse && has_end && !guid_equal(&end.id, &copy.id)) {
        checker_find(c, "footer copy", 0, IMAGE_REPAIRABLE, "has another id than the footer");
    }
    if (size % VHD_SECTOR != 0) {
        checker_find(c, "file", size, IMAGE_CLEAN, "its length is not whole sectors of 512 bytes");
    }
    if (v->base.has_parent && v->base.parent.path_count == 0) {
        checker_find(c, "dynamic header", v->footer.header_offset, IMAGE_REPAIRABLE,
                     "no path to the parent, only its id");
    }
    return VARVE_OK;
}

enum varve_err
vhd_check(struct checker *c, struct layer **out, struct layer_file *f, struct table_counts *counts,
          struct varve_error *err)
{
    struct table_check check = {checker_table_fault, c, counts};
    struct vhd_layer *v = NULL;
    struct layer_step step = {"footer", 0};
    enum varve_err rc;

    c->table = "block table";
    rc = vhd_layer_make(&v, f, &check, &step, err);
    if (rc != VARVE_OK) {
        return checker_refusal(c, &step, err);
    }
    rc = check_footers(c, v, err);
    *out = &v->base;
    return rc;
}

/* The set itself; that its backing file can be opened is seen when it is looked at. */
enum varve_err
vhd_set_check(struct checker *c, struct fs *fs, const char *path, struct varve_error *err)
{
    static const char *const names[2] = {"set header 1", "set header 2"};
    struct file *f = NULL;
    struct vhd_set_header h;
    bool valid[2] = {false, false};
    enum varve_err rc;
    unsigned i;

    rc = file_open(fs, &f, path, FILE_READ, err);
    for (i = 0; i < 2 && rc == VARVE_OK; i++) {
        rc = vhd_set_header_read(&h, &valid[i], i, f, err);
    }
    for (i = 0; i < 2 && rc == VARVE_OK; i++) {
        if (!valid[i] && valid[1 - i]) {
            checker_find(c, names[i], UINT64_C(0x10000) * (i + 1), IMAGE_REPAIRABLE,
                         "signature or checksum is wrong; the other header is good");
        }
    }
    file_close(f);
    return rc;
}
