/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_TESTING_H
#define VARVE_BASE_TESTING_H

/* First include of every *_test.c: cmocka needs these headers in front of it, in this order. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <setjmp.h>

#include <cmocka.h>

#include "base/error.h"

/* A call that must succeed; prints the error when it does not. */
#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        enum varve_err rc_ = (call);                                                               \
        if (rc_ != VARVE_OK) {                                                                     \
            fail_msg("%s: %s: %s", #call, varve_err_name(rc_), (err)->msg);                        \
        }                                                                                          \
    } while (0)

/* A call that must fail with this code and say so in the error as well. */
#define assert_err(call, code_, err)                                                               \
    do {                                                                                           \
        enum varve_err rc_ = (call);                                                               \
        if (rc_ != (code_)) {                                                                      \
            fail_msg("%s: %s, expected %s", #call, varve_err_name(rc_), varve_err_name(code_));    \
        }                                                                                          \
        assert_int_equal((err)->code, (code_));                                                    \
    } while (0)

#endif
