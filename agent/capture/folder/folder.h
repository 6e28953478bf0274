/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CAPTURE_FOLDER_FOLDER_H
#define VARVE_CAPTURE_FOLDER_FOLDER_H

#include "capture/capture.h"
#include "os/file.h"

/*
 * A folder of disk images as a host: each image that lies in the folder is a vm with one disk, each
 * subfolder with images is a vm with a disk for each of them.  Images are files that end in .vhdx,
 * .avhdx, .vhd, .avhd, .raw or .img; names that begin with a dot are not looked at.
 *
 * Nothing is frozen: the images are taken to be at rest (consistency "offline"), and a file that is
 * written to, replaced or resized while it is read fails its run (VARVE_ERR_BUSY).  There is no
 * change tracking: every run reads what the image's map calls data, only new chunks travel.
 *
 * Ids are made from `seed` (the host's public key) and the path inside the folder: they stay the
 * same as long as nothing is renamed, and two hosts never give the same.
 */
VARVE_CHECK enum varve_err capture_folder_open(struct capture **out, struct fs *fs,
                                               const char *folder, const void *seed,
                                               size_t seed_len, struct varve_error *err);

#endif
