/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_HOST_FILES_H
#define HVSIM_HOST_FILES_H

#include "hvsim/port_script.h"
#include "os/file.h"

/*
 * The files of a host as the agent may use them: it reads them, and what it opens and closes stands in the log of
 * calls ("file open .vmcx").  Anything that would change one is noted in script->violation and refused.
 */
struct host_files {
    struct fs base;
    struct port_script *script;
};

void host_files_init(struct host_files *f, struct port_script *script);

#endif
