/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_VHDX_IMAGE_COPY_H
#define VARVE_VHDX_IMAGE_COPY_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "os/thread.h"
#include "vhdx/disk_plan.h"
#include "vhdx/disk_writer.h"
#include "vhdx/image.h"

/*
 * Copies the disk of an open image, through its parents, into a file or down a stream.
 *
 * Several pieces of at most IMAGE_COPY_PIECE are under way at once, each on a thread of its own: read,
 * looked through for zeros, written.  Only where a piece goes is decided in the order of the disk, so the
 * same disk always gives the same file.  Holes of the source are not read; what reads as zeros takes
 * no space in a dynamic file.
 *
 * Memory: IMAGE_COPY_THREADS pieces, besides what image and writer hold.  Nothing grows with the disk
 * but their bits and caches.
 */
#define IMAGE_COPY_PIECE   (1024u * 1024)
#define IMAGE_COPY_THREADS 8u

struct image_copy_options {
    unsigned threads;      /* 0: by the number of processors; at most IMAGE_COPY_THREADS */
    struct cancel *cancel; /* NULL: nobody will; else VARVE_ERR_CANCELLED soon after it is set */
    /* On the calling thread, a few times a second; NULL: nobody wants to know.  done of all are bytes
     * of the disk, or with a stream of the file. */
    void (*progress)(void *arg, uint64_t done, uint64_t all);
    void *arg;
};

/* The writer is new and has the size of the disk; disk_writer_finish() is left to the caller. */
VARVE_CHECK enum varve_err image_copy_to_writer(struct image *src, struct disk_writer *w,
                                                const struct image_copy_options *options,
                                                struct varve_error *err);

/* Takes the next bytes of the file; one call at a time, from several threads. */
typedef enum varve_err (*image_copy_sink)(void *arg, const void *buf, size_t len,
                                          struct varve_error *err);

/*
 * One pass forward, never back: the plan is made from the map of the source, so only what the source
 * itself knows to be zeros is left out of a dynamic file.
 */
VARVE_CHECK enum varve_err image_copy_to_stream(struct image *src, const struct disk_params *params,
                                                image_copy_sink sink, void *sink_arg,
                                                const struct image_copy_options *options,
                                                struct varve_error *err);

#endif
