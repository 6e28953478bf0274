/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_STORE_OPEN_FILES_H
#define VARVE_STORE_OPEN_FILES_H

/*
 * Lets this process have as many files open as the system allows it, OPEN_FILES_MAX at most.  Programs start with
 * 1024, for the sake of select(), which nobody here calls; a collector has a file for each agent and keeps packs open.
 * To be called before a store is opened; when it does not work, less is kept open.
 */
#define OPEN_FILES_MAX 65536u

void open_files_raise(void);

#endif
