/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_CODEC_ZERO_H
#define VARVE_CODEC_ZERO_H

#include <stdbool.h>
#include <stddef.h>

/* Every byte is zero.  Runs at memory speed and stops at the first byte that is not. */
bool codec_is_zero(const void *data, size_t len);

#endif
