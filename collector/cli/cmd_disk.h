/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CLI_CMD_DISK_H
#define VARVE_CLI_CMD_DISK_H

#include "cli/cli.h"
#include "vhdx/image.h"

/*
 * "varve disk": commands on virtual disk files that ask no collector.  One file per verb.
 */
const char *disk_format_name(enum image_format format); /* "raw", "vhd", "vhdx" */
const char *disk_type_name(enum image_type type);       /* "fixed", "dynamic", "differencing" */

#endif
