/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HVSIM_CALL_CONTRACT_H
#define HVSIM_CALL_CONTRACT_H

#include <stddef.h>

/* Fails the test when the log is not what a file of tests/hvsim/calls says, for a vm of so many disks; says up to which
 * line it is. */
void call_contract_check(const char *path, size_t disks, const char (*log)[96], size_t count);

#endif
