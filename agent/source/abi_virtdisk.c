/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled on every system, so that the assertions of the header are checked by every compiler. */
#include "source/abi_virtdisk.h"
