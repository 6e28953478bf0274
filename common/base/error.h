/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VARVE_BASE_ERROR_H
#define VARVE_BASE_ERROR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * One error type for the whole product.
 *
 * A function that can fail returns an enum varve_err and takes a struct varve_error * as its last
 * parameter, which is never NULL and is meaningful only after a failed call.  The code is what a
 * caller can act on; the message is for people: lower case, no full stop, what failed first,
 * subjects in 'single quotes', sizes with units, outermost context first.
 *
 * The struct is also what travels on the wire (proto/error.proto has the same numbers), so that
 * an operator sees the number that a host saw.
 *
 * Threads: a struct varve_error belongs to one thread at a time; there is no global state.
 */

#if defined(__GNUC__) || defined(__clang__)
#define VARVE_CHECK __attribute__((warn_unused_result))
#if defined(__MINGW32__) /* its own printf(), as told by __USE_MINGW_ANSI_STDIO */
#define VARVE_PRINTF(f, a) __attribute__((format(gnu_printf, f, a)))
#else
#define VARVE_PRINTF(f, a) __attribute__((format(printf, f, a)))
#endif
#define VARVE_NORETURN __attribute__((noreturn))
#else
#define VARVE_CHECK
#define VARVE_PRINTF(f, a)
#define VARVE_NORETURN
#endif

/* Frozen: numbers are on the wire and in exit codes' documentation.  Add only at the end. */
enum varve_err {
    VARVE_OK = 0,
    VARVE_ERR_NOMEM = 1,
    VARVE_ERR_INVALID = 2, /* the caller, operator or config said something impossible */
    VARVE_ERR_NOT_FOUND = 3,
    VARVE_ERR_EXISTS = 4,
    VARVE_ERR_BUSY = 5,   /* somebody else holds it; try again later */
    VARVE_ERR_DENIED = 6, /* known, but not allowed */
    VARVE_ERR_AUTH = 7,   /* who you are could not be shown */
    VARVE_ERR_TIMEOUT = 8,
    VARVE_ERR_CANCELLED = 9,
    VARVE_ERR_NOSPACE = 10,
    VARVE_ERR_IO = 11,
    VARVE_ERR_CORRUPT = 12,  /* stored or received bytes are not what they must be */
    VARVE_ERR_PROTOCOL = 13, /* the peer broke the protocol */
    VARVE_ERR_UNSUPPORTED = 14,
    VARVE_ERR_STALE = 15,    /* change tracking lost: take a full copy */
    VARVE_ERR_LIMIT = 16,    /* a named limit would be passed */
    VARVE_ERR_INTERNAL = 17, /* our own mistake */
    VARVE_ERR_CLOSED = 18,   /* the peer ended the conversation */
    VARVE_ERR_COUNT
};

/* Whose number varve_error.native is. */
enum varve_err_source {
    VARVE_SRC_NONE = 0,
    VARVE_SRC_ERRNO = 1,
    VARVE_SRC_WIN32 = 2,
    VARVE_SRC_HRESULT = 3,
    VARVE_SRC_NNG = 4,
    VARVE_SRC_LMDB = 5,
    VARVE_SRC_SQLITE = 6,
    VARVE_SRC_NTSTATUS = 7, /* of a file server, or of Windows */
    VARVE_SRC_COUNT
};

struct varve_error {
    enum varve_err code;
    enum varve_err_source source;
    int64_t native;
    char msg[240];
};

/* "not found", "corrupt", ...: stable words, also used in --json. Unknown numbers give "internal". */
const char *varve_err_name(enum varve_err code);

/* All of these fill *err and return the code, so that "return varve_error_set(...)" reads well. */
enum varve_err varve_error_set(struct varve_error *err, enum varve_err code, const char *fmt, ...)
    VARVE_PRINTF(3, 4);
enum varve_err varve_error_vset(struct varve_error *err, enum varve_err code, const char *fmt,
                                va_list ap) VARVE_PRINTF(3, 0);
/* The code follows from errnum by a table (ENOSPC, EDQUOT -> NOSPACE, ENOENT -> NOT_FOUND, ...);
 * ": <text of errnum>" is appended. */
enum varve_err varve_error_errno(struct varve_error *err, int errnum, const char *fmt, ...)
    VARVE_PRINTF(3, 4);
enum varve_err varve_error_win32(struct varve_error *err, uint32_t code, const char *fmt, ...)
    VARVE_PRINTF(3, 4);
enum varve_err varve_error_nng(struct varve_error *err, int nng_code, const char *text,
                               const char *fmt, ...) VARVE_PRINTF(4, 5);
enum varve_err varve_error_nomem(struct varve_error *err);

/* Puts "<fmt>: " in front of the message, keeps code, source and native, returns err->code. */
enum varve_err varve_error_prefix(struct varve_error *err, const char *fmt, ...) VARVE_PRINTF(2, 3);

#if defined(__clang_analyzer__) && !defined(VARVE_ERROR_IMPLEMENTATION)
/*
 * For clang's analyzer only, which looks at one file at a time and would otherwise follow paths on
 * which one of these returns VARVE_OK.
 */
void varve_analyzer_use(const char *fmt, ...);
#define varve_error_set(err, code_, ...) (varve_analyzer_use(__VA_ARGS__), (err)->code = (code_))
#define varve_error_errno(err, number, ...)                                                        \
    (varve_analyzer_use(__VA_ARGS__, number), (err)->code = VARVE_ERR_IO)
#define varve_error_win32(err, number, ...)                                                        \
    (varve_analyzer_use(__VA_ARGS__, number), (err)->code = VARVE_ERR_IO)
#define varve_error_nng(err, number, text, ...)                                                    \
    (varve_analyzer_use(__VA_ARGS__, number, text), (err)->code = VARVE_ERR_IO)
#define varve_error_nomem(err)       ((err)->code = VARVE_ERR_NOMEM)
#define varve_error_prefix(err, ...) (varve_analyzer_use(__VA_ARGS__), (err)->code)
#endif

#endif
