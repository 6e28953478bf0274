/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/aead_internal.h"

const struct aead_backend *
aead_libcrypto(void)
{
    return NULL;
}
