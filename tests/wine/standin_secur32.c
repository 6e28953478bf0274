/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secur32.dll (SSPI) for the client of file servers: Wine's logs on, but does not give the session key.  Each call goes
 * to sspi_testd.py, where MIT Kerberos and gss-ntlmssp answer it; what it insists on is what Windows documents.
 */
#include "wine/standin_link.h"

#define SECURITY_WIN32
#include <security.h>

#include <stdlib.h>
#include <string.h>

#define TOKEN_MAX 65536u

SECURITY_STATUS WINAPI standin_acquire(LPWSTR principal, LPWSTR package, ULONG use, void *logon,
                                       void *identity, SEC_GET_KEY_FN get_key, void *argument,
                                       PCredHandle out, PTimeStamp expiry);
SECURITY_STATUS WINAPI standin_complete(PCtxtHandle context, PSecBufferDesc token);
SECURITY_STATUS WINAPI standin_delete(PCtxtHandle context);
SECURITY_STATUS WINAPI standin_free(void *buffer);
SECURITY_STATUS WINAPI standin_forget(PCredHandle credentials);
SECURITY_STATUS WINAPI standin_step(PCredHandle credentials, PCtxtHandle context, LPWSTR target,
                                    ULONG flags, ULONG reserved, ULONG representation,
                                    PSecBufferDesc in, ULONG reserved_too, PCtxtHandle out,
                                    PSecBufferDesc token, PULONG attributes, PTimeStamp expiry);
SECURITY_STATUS WINAPI standin_query(PCtxtHandle context, ULONG attribute, void *out);

static json_t *
ask(json_t *request, void *payload, size_t room, SECURITY_STATUS *status)
{
    uint32_t number = 0;
    json_t *reply = standin_ask(request, payload, room, &number);

    *status = (SECURITY_STATUS)number;
    return reply;
}

/* A handle is the number by which the other end knows it. */
static void
set_handle(PSecHandle h, const json_t *reply)
{
    h->dwLower = (ULONG_PTR)json_integer_value(json_object_get(reply, "id"));
    h->dwUpper = 0;
}

static json_int_t
number_of(const SecHandle *h)
{
    return h != NULL ? (json_int_t)h->dwLower : 0;
}

static char *
words_of(const unsigned short *text, unsigned long units)
{
    wchar_t *copy = calloc((size_t)units + 1, sizeof(*copy));
    char *out;

    if (copy == NULL) {
        return NULL;
    }
    if (units > 0) {
        memcpy(copy, text, units * sizeof(*copy));
    }
    out = standin_utf8(copy);
    free(copy);
    return out;
}

SECURITY_STATUS WINAPI
standin_acquire(LPWSTR principal, LPWSTR package, ULONG use, void *logon, void *identity,
                SEC_GET_KEY_FN get_key, void *argument, PCredHandle out, PTimeStamp expiry)
{
    const SEC_WINNT_AUTH_IDENTITY_W *id = identity;
    char *name = standin_utf8(package);
    const char *krb5 = getenv("KRB5_CONFIG");
    json_t *request = json_pack("{s:s,s:s,s:s}", "op", "acquire", "package", name, "krb5",
                                krb5 != NULL ? krb5 : "");
    SECURITY_STATUS s;
    json_t *reply;

    free(name);
    if (principal != NULL || use != SECPKG_CRED_OUTBOUND || logon != NULL || get_key != NULL ||
        argument != NULL) {
        json_decref(request);
        return SEC_E_UNSUPPORTED_FUNCTION;
    }
    if (id != NULL) {
        char *user = words_of(id->User, id->UserLength);
        char *domain = words_of(id->Domain, id->DomainLength);
        char *password = words_of(id->Password, id->PasswordLength);

        (void)json_object_set_new(request, "user", json_string(user));
        (void)json_object_set_new(request, "domain", json_string(domain));
        (void)json_object_set_new(request, "password", json_string(password));
        free(user);
        free(domain);
        free(password);
        if (id->Flags != SEC_WINNT_AUTH_IDENTITY_UNICODE) {
            json_decref(request);
            return SEC_E_UNKNOWN_CREDENTIALS;
        }
    }
    reply = ask(request, NULL, 0, &s);
    if (reply == NULL) {
        return s;
    }
    set_handle(out, reply);
    memset(expiry, 0xff, sizeof(*expiry));
    json_decref(reply);
    return SEC_E_OK;
}

/* The token that came, in hexadecimal digits; "" when there is none.  The caller frees. */
static char *
token_text(const SecBufferDesc *in)
{
    static const char digits[] = "0123456789abcdef";
    const SecBuffer *b = in != NULL && in->cBuffers == 1 ? in->pBuffers : NULL;
    size_t len = b != NULL && b->BufferType == SECBUFFER_TOKEN ? b->cbBuffer : 0;
    const uint8_t *bytes = b != NULL ? b->pvBuffer : NULL;
    char *text = calloc(2, len + 1);
    size_t i;

    for (i = 0; text != NULL && i < len; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    return text;
}

/* What a client of SMB must ask for: it signs and seals with the key, and lets the caller free the token. */
static bool
asks_enough(ULONG flags)
{
    ULONG must = ISC_REQ_ALLOCATE_MEMORY | ISC_REQ_MUTUAL_AUTH | ISC_REQ_INTEGRITY;

    return (flags & must) == must;
}

SECURITY_STATUS WINAPI
standin_step(PCredHandle credentials, PCtxtHandle context, LPWSTR target, ULONG flags,
             ULONG reserved, ULONG representation, PSecBufferDesc in, ULONG reserved_too,
             PCtxtHandle out, PSecBufferDesc token, PULONG attributes, PTimeStamp expiry)
{
    SecBuffer *b = token->cBuffers == 1 ? token->pBuffers : NULL;
    uint8_t *bytes = calloc(1, TOKEN_MAX);
    char *name = standin_utf8(target);
    char *text = token_text(in);
    SECURITY_STATUS s;
    json_t *reply;

    (void)expiry;
    if (b == NULL || b->BufferType != SECBUFFER_TOKEN || !asks_enough(flags) || reserved != 0 ||
        reserved_too != 0 || representation != SECURITY_NATIVE_DREP) {
        free(bytes);
        free(name);
        free(text);
        return SEC_E_INVALID_TOKEN;
    }
    reply =
        ask(json_pack("{s:s,s:I,s:I,s:s,s:s}", "op", "step", "credentials", number_of(credentials),
                      "context", number_of(context), "target", name, "token", text),
            bytes, TOKEN_MAX, &s);
    free(name);
    free(text);
    if (reply == NULL) {
        free(bytes);
        return s;
    }
    set_handle(out, reply);
    *attributes = flags;
    b->cbBuffer = (unsigned long)json_integer_value(json_object_get(reply, "bytes"));
    b->pvBuffer = bytes;
    s = json_is_true(json_object_get(reply, "done")) ? SEC_E_OK : SEC_I_CONTINUE_NEEDED;
    json_decref(reply);
    return s;
}

SECURITY_STATUS WINAPI
standin_complete(PCtxtHandle context, PSecBufferDesc token)
{
    (void)context;
    (void)token;
    return SEC_E_UNSUPPORTED_FUNCTION; /* no step asks for it */
}

SECURITY_STATUS WINAPI
standin_query(PCtxtHandle context, ULONG attribute, void *out)
{
    SecPkgContext_SessionKey *key = out;
    uint8_t *bytes = calloc(1, TOKEN_MAX);
    SECURITY_STATUS s = SEC_E_UNSUPPORTED_FUNCTION;
    json_t *reply = NULL;

    if (attribute == SECPKG_ATTR_SESSION_KEY) {
        reply = ask(json_pack("{s:s,s:I}", "op", "key", "context", number_of(context)), bytes,
                    TOKEN_MAX, &s);
    }
    if (reply == NULL) {
        free(bytes);
        return s;
    }
    key->SessionKeyLength = (unsigned long)json_integer_value(json_object_get(reply, "bytes"));
    key->SessionKey = bytes;
    json_decref(reply);
    return SEC_E_OK;
}

static SECURITY_STATUS
let_go(const char *op, const SecHandle *h)
{
    SECURITY_STATUS s;
    json_t *reply = ask(json_pack("{s:s,s:I}", "op", op, "id", number_of(h)), NULL, 0, &s);

    json_decref(reply);
    return s;
}

SECURITY_STATUS WINAPI
standin_delete(PCtxtHandle context)
{
    return let_go("delete", context);
}

SECURITY_STATUS WINAPI
standin_forget(PCredHandle credentials)
{
    return let_go("forget", credentials);
}

SECURITY_STATUS WINAPI
standin_free(void *buffer)
{
    free(buffer);
    return SEC_E_OK;
}
