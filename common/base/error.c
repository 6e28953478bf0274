/* SPDX-License-Identifier: Apache-2.0 */
#define VARVE_ERROR_IMPLEMENTATION
#include "base/error.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/error_internal.h"

static const char *const names[VARVE_ERR_COUNT] = {
    [VARVE_OK] = "ok",
    [VARVE_ERR_NOMEM] = "no memory",
    [VARVE_ERR_INVALID] = "invalid",
    [VARVE_ERR_NOT_FOUND] = "not found",
    [VARVE_ERR_EXISTS] = "exists",
    [VARVE_ERR_BUSY] = "busy",
    [VARVE_ERR_DENIED] = "denied",
    [VARVE_ERR_AUTH] = "auth",
    [VARVE_ERR_TIMEOUT] = "timeout",
    [VARVE_ERR_CANCELLED] = "cancelled",
    [VARVE_ERR_NOSPACE] = "no space",
    [VARVE_ERR_IO] = "io",
    [VARVE_ERR_CORRUPT] = "corrupt",
    [VARVE_ERR_PROTOCOL] = "protocol",
    [VARVE_ERR_UNSUPPORTED] = "unsupported",
    [VARVE_ERR_STALE] = "stale",
    [VARVE_ERR_LIMIT] = "limit",
    [VARVE_ERR_INTERNAL] = "internal",
    [VARVE_ERR_CLOSED] = "closed",
};

struct code_map {
    int64_t native;
    enum varve_err code;
};

static const struct code_map errno_map[] = {
    {ENOMEM, VARVE_ERR_NOMEM},         {EINVAL, VARVE_ERR_INVALID},
    {ENAMETOOLONG, VARVE_ERR_INVALID}, {ENOTDIR, VARVE_ERR_INVALID},
    {EISDIR, VARVE_ERR_INVALID},       {ELOOP, VARVE_ERR_INVALID},
    {ENOENT, VARVE_ERR_NOT_FOUND},     {ENXIO, VARVE_ERR_NOT_FOUND},
    {ENODEV, VARVE_ERR_NOT_FOUND},     {EEXIST, VARVE_ERR_EXISTS},
    {ENOTEMPTY, VARVE_ERR_EXISTS},     {EBUSY, VARVE_ERR_BUSY},
    {EAGAIN, VARVE_ERR_BUSY},          {EADDRINUSE, VARVE_ERR_BUSY},
    {ETXTBSY, VARVE_ERR_BUSY},         {EACCES, VARVE_ERR_DENIED},
    {EPERM, VARVE_ERR_DENIED},         {EROFS, VARVE_ERR_DENIED},
    {ETIMEDOUT, VARVE_ERR_TIMEOUT},    {ECANCELED, VARVE_ERR_CANCELLED},
    {ENOSPC, VARVE_ERR_NOSPACE},
#ifdef EDQUOT
    {EDQUOT, VARVE_ERR_NOSPACE},
#endif
    {EFBIG, VARVE_ERR_LIMIT},          {EMFILE, VARVE_ERR_LIMIT},
    {ENFILE, VARVE_ERR_LIMIT},         {EMLINK, VARVE_ERR_LIMIT},
    {ENOSYS, VARVE_ERR_UNSUPPORTED},   {EOPNOTSUPP, VARVE_ERR_UNSUPPORTED},
    {EXDEV, VARVE_ERR_UNSUPPORTED},    {EBADF, VARVE_ERR_INTERNAL},
    {EFAULT, VARVE_ERR_INTERNAL},
};

/* Numbers of MS-ERREF section 2.2. */
static const struct code_map win32_map[] = {
    {2, VARVE_ERR_NOT_FOUND},    /* ERROR_FILE_NOT_FOUND */
    {3, VARVE_ERR_NOT_FOUND},    /* ERROR_PATH_NOT_FOUND */
    {4, VARVE_ERR_LIMIT},        /* ERROR_TOO_MANY_OPEN_FILES */
    {5, VARVE_ERR_DENIED},       /* ERROR_ACCESS_DENIED */
    {8, VARVE_ERR_NOMEM},        /* ERROR_NOT_ENOUGH_MEMORY */
    {14, VARVE_ERR_NOMEM},       /* ERROR_OUTOFMEMORY */
    {19, VARVE_ERR_DENIED},      /* ERROR_WRITE_PROTECT */
    {32, VARVE_ERR_BUSY},        /* ERROR_SHARING_VIOLATION */
    {33, VARVE_ERR_BUSY},        /* ERROR_LOCK_VIOLATION */
    {39, VARVE_ERR_NOSPACE},     /* ERROR_HANDLE_DISK_FULL */
    {50, VARVE_ERR_UNSUPPORTED}, /* ERROR_NOT_SUPPORTED */
    {80, VARVE_ERR_EXISTS},      /* ERROR_FILE_EXISTS */
    {87, VARVE_ERR_INVALID},     /* ERROR_INVALID_PARAMETER */
    {112, VARVE_ERR_NOSPACE},    /* ERROR_DISK_FULL */
    {121, VARVE_ERR_TIMEOUT},    /* ERROR_SEM_TIMEOUT */
    {123, VARVE_ERR_INVALID},    /* ERROR_INVALID_NAME */
    {145, VARVE_ERR_EXISTS},     /* ERROR_DIR_NOT_EMPTY */
    {170, VARVE_ERR_BUSY},       /* ERROR_BUSY */
    {183, VARVE_ERR_EXISTS},     /* ERROR_ALREADY_EXISTS */
    {258, VARVE_ERR_TIMEOUT},    /* WAIT_TIMEOUT */
    {995, VARVE_ERR_CANCELLED},  /* ERROR_OPERATION_ABORTED */
    {1168, VARVE_ERR_NOT_FOUND}, /* ERROR_NOT_FOUND */
    {1223, VARVE_ERR_CANCELLED}, /* ERROR_CANCELLED */
    {1295, VARVE_ERR_NOSPACE},   /* ERROR_DISK_QUOTA_EXCEEDED */
    {1300, VARVE_ERR_DENIED},    /* ERROR_NOT_ALL_ASSIGNED: a privilege is not held */
    {1392, VARVE_ERR_CORRUPT},   /* ERROR_FILE_CORRUPT */
    {1393, VARVE_ERR_CORRUPT},   /* ERROR_DISK_CORRUPT */
    {1450, VARVE_ERR_NOMEM},     /* ERROR_NO_SYSTEM_RESOURCES */
    {1460, VARVE_ERR_TIMEOUT},   /* ERROR_TIMEOUT */
};

/* Numbers of nng.h, enum nng_errno_enum, which are part of nng's ABI. */
static const struct code_map nng_map[] = {
    {2, VARVE_ERR_NOMEM},       /* NNG_ENOMEM */
    {3, VARVE_ERR_INVALID},     /* NNG_EINVAL */
    {4, VARVE_ERR_BUSY},        /* NNG_EBUSY */
    {5, VARVE_ERR_TIMEOUT},     /* NNG_ETIMEDOUT */
    {8, VARVE_ERR_BUSY},        /* NNG_EAGAIN */
    {9, VARVE_ERR_UNSUPPORTED}, /* NNG_ENOTSUP */
    {10, VARVE_ERR_BUSY},       /* NNG_EADDRINUSE */
    {11, VARVE_ERR_INTERNAL},   /* NNG_ESTATE */
    {12, VARVE_ERR_NOT_FOUND},  /* NNG_ENOENT */
    {13, VARVE_ERR_PROTOCOL},   /* NNG_EPROTO */
    {15, VARVE_ERR_INVALID},    /* NNG_EADDRINVAL */
    {16, VARVE_ERR_DENIED},     /* NNG_EPERM */
    {17, VARVE_ERR_LIMIT},      /* NNG_EMSGSIZE */
    {20, VARVE_ERR_CANCELLED},  /* NNG_ECANCELED */
    {21, VARVE_ERR_LIMIT},      /* NNG_ENOFILES */
    {22, VARVE_ERR_NOSPACE},    /* NNG_ENOSPC */
    {23, VARVE_ERR_EXISTS},     /* NNG_EEXIST */
    {1000, VARVE_ERR_INTERNAL}, /* NNG_EINTERNAL */
};

static enum varve_err
map_code(const struct code_map *map, size_t count, int64_t native, enum varve_err otherwise)
{
    for (size_t i = 0; i < count; i++) {
        if (map[i].native == native) {
            return map[i].code;
        }
    }
    return otherwise;
}

const char *
varve_err_name(enum varve_err code)
{
    unsigned n = (unsigned)code;

    return n < VARVE_ERR_COUNT ? names[n] : names[VARVE_ERR_INTERNAL];
}

/* Room for one message; what does not fit is cut at a character and ends in "...". */
struct text {
    char s[sizeof(((struct varve_error *)0)->msg)];
};

static void
text_cut(struct text *t)
{
    size_t end = sizeof(t->s) - 4;

    while (end > 0 && ((unsigned char)t->s[end] & 0xC0u) == 0x80u) {
        end--; /* not inside a UTF-8 sequence */
    }
    memcpy(t->s + end, "...", 4);
}

static void text_vprint(struct text *t, const char *fmt, va_list ap) VARVE_PRINTF(2, 0);

static void
text_vprint(struct text *t, const char *fmt, va_list ap)
{
    int n = vsnprintf(t->s, sizeof(t->s), fmt, ap);

    if (n < 0) {
        (void)snprintf(t->s, sizeof(t->s), "(message could not be formatted)");
    } else if ((size_t)n >= sizeof(t->s)) {
        text_cut(t);
    }
}

static void
text_join(struct text *t, const char *head, const char *tail)
{
    int n = snprintf(t->s, sizeof(t->s), "%s: %s", head, tail);

    if (n >= 0 && (size_t)n >= sizeof(t->s)) {
        text_cut(t);
    }
}

static enum varve_err
fill(struct varve_error *err, enum varve_err code, enum varve_err_source source, int64_t native,
     const struct text *t)
{
    err->code = code;
    err->source = source;
    err->native = native;
    memcpy(err->msg, t->s, sizeof(err->msg));
    return code;
}

enum varve_err
varve_error_vset(struct varve_error *err, enum varve_err code, const char *fmt, va_list ap)
{
    struct text t;

    text_vprint(&t, fmt, ap); /* the arguments may point into err->msg */
    return fill(err, code, VARVE_SRC_NONE, 0, &t);
}

enum varve_err
varve_error_set(struct varve_error *err, enum varve_err code, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)varve_error_vset(err, code, fmt, ap);
    va_end(ap);
    return code;
}

/* "<head>: <reason>"; a long head is cut so that the reason is always there. */
static enum varve_err
fill_foreign(struct varve_error *err, enum varve_err code, enum varve_err_source source,
             int64_t native, struct text *head, const char *reason)
{
    size_t room = sizeof(head->s) - 1;
    size_t need = strlen(reason) + 2;
    struct text t;

    if (need < room / 2 && strlen(head->s) > room - need) {
        size_t keep = room - need - 3;

        while (keep > 0 && ((unsigned char)head->s[keep] & 0xC0u) == 0x80u) {
            keep--;
        }
        memcpy(head->s + keep, "...", 4);
    }
    text_join(&t, head->s, reason);
    return fill(err, code, source, native, &t);
}

enum varve_err
varve_error_errno(struct varve_error *err, int errnum, const char *fmt, ...)
{
    enum varve_err code;
    struct text head;
    char reason[96];
    va_list ap;

    va_start(ap, fmt);
    text_vprint(&head, fmt, ap);
    va_end(ap);
    varve_errno_text(errnum, reason, sizeof(reason));
    code = map_code(errno_map, sizeof(errno_map) / sizeof(errno_map[0]), errnum, VARVE_ERR_IO);
    return fill_foreign(err, code, VARVE_SRC_ERRNO, errnum, &head, reason);
}

enum varve_err
varve_error_win32(struct varve_error *err, uint32_t code, const char *fmt, ...)
{
    enum varve_err mapped;
    struct text head;
    char reason[48];
    va_list ap;

    va_start(ap, fmt);
    text_vprint(&head, fmt, ap);
    va_end(ap);
    (void)snprintf(reason, sizeof(reason), "Windows error %u (0x%08X)", (unsigned)code,
                   (unsigned)code);
    mapped = map_code(win32_map, sizeof(win32_map) / sizeof(win32_map[0]), code, VARVE_ERR_IO);
    return fill_foreign(err, mapped, VARVE_SRC_WIN32, code, &head, reason);
}

enum varve_err
varve_error_nng(struct varve_error *err, int nng_code, const char *text, const char *fmt, ...)
{
    enum varve_err code;
    struct text head;
    va_list ap;

    va_start(ap, fmt);
    text_vprint(&head, fmt, ap);
    va_end(ap);
    code = map_code(nng_map, sizeof(nng_map) / sizeof(nng_map[0]), nng_code, VARVE_ERR_IO);
    return fill_foreign(err, code, VARVE_SRC_NNG, nng_code, &head, text);
}

enum varve_err
varve_error_nomem(struct varve_error *err)
{
    return varve_error_set(err, VARVE_ERR_NOMEM, "out of memory");
}

enum varve_err
varve_error_prefix(struct varve_error *err, const char *fmt, ...)
{
    struct text head;
    struct text t;
    va_list ap;

    va_start(ap, fmt);
    text_vprint(&head, fmt, ap);
    va_end(ap);
    text_join(&t, head.s, err->msg);
    return fill(err, err->code, err->source, err->native, &t);
}
