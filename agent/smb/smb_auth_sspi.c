/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_auth.h"

#include <stdlib.h>
#include <string.h>
#include <windows.h>

#define SECURITY_WIN32
#include <security.h>

#include "crypto/identity.h"
#include "os/wide_win32.h"

struct auth_sspi {
    struct smb_auth base;
    wchar_t *target; /* "cifs/server" */
    CredHandle cred;
    CtxtHandle ctx;
    bool has_cred;
    bool has_ctx;
};

/* Those that an operator can do something about. */
static const char *
sspi_words(SECURITY_STATUS status)
{
    switch (status) {
    case SEC_E_LOGON_DENIED:
        return "the user name or the password is wrong";
    case SEC_E_NO_CREDENTIALS:
        return "there are no credentials to log on with";
    case SEC_E_TARGET_UNKNOWN:
        return "the domain does not know this server's name";
    case SEC_E_NO_AUTHENTICATING_AUTHORITY:
        return "no domain controller answers";
    case SEC_E_TIME_SKEW:
        return "the clocks of the two machines differ too much";
    default:
        return "Windows refused";
    }
}

static enum varve_err
sspi_error(struct varve_error *err, SECURITY_STATUS status, const char *what)
{
    (void)varve_error_set(err, VARVE_ERR_AUTH, "%s: %s (0x%08x)", what, sspi_words(status),
                          (unsigned)status);
    err->source = VARVE_SRC_HRESULT;
    err->native = (int64_t)(uint32_t)status;
    return err->code;
}

static void
sspi_close(struct smb_auth *base)
{
    struct auth_sspi *a = (struct auth_sspi *)base;

    if (a->has_ctx) {
        (void)DeleteSecurityContext(&a->ctx);
    }
    if (a->has_cred) {
        (void)FreeCredentialsHandle(&a->cred);
    }
    free(a->target);
    free(a);
}

static enum varve_err
sspi_step(struct smb_auth *base, const void *in, size_t in_len, struct buf *out, bool *done,
          struct varve_error *err)
{
    struct auth_sspi *a = (struct auth_sspi *)base;
    SecBuffer in_buffer = {(unsigned long)in_len, SECBUFFER_TOKEN, (void *)(uintptr_t)in};
    SecBufferDesc in_desc = {SECBUFFER_VERSION, 1, &in_buffer};
    SecBuffer out_buffer = {0, SECBUFFER_TOKEN, NULL};
    SecBufferDesc out_desc = {SECBUFFER_VERSION, 1, &out_buffer};
    ULONG flags = ISC_REQ_ALLOCATE_MEMORY | ISC_REQ_MUTUAL_AUTH | ISC_REQ_INTEGRITY |
                  ISC_REQ_CONFIDENTIALITY | ISC_REQ_REPLAY_DETECT | ISC_REQ_SEQUENCE_DETECT;
    ULONG got = 0;
    SECURITY_STATUS s;
    enum varve_err rc = VARVE_OK;

    s = InitializeSecurityContextW(&a->cred, a->has_ctx ? &a->ctx : NULL, a->target, flags, 0,
                                   SECURITY_NATIVE_DREP, in_len > 0 ? &in_desc : NULL, 0, &a->ctx,
                                   &out_desc, &got, NULL);
    a->has_ctx = a->has_ctx || s >= 0;
    if (s == SEC_I_COMPLETE_NEEDED || s == SEC_I_COMPLETE_AND_CONTINUE) {
        SECURITY_STATUS completed = CompleteAuthToken(&a->ctx, &out_desc);

        s = completed != SEC_E_OK ? completed
                                  : (s == SEC_I_COMPLETE_NEEDED ? SEC_E_OK : SEC_I_CONTINUE_NEEDED);
    }
    if (s != SEC_E_OK && s != SEC_I_CONTINUE_NEEDED) {
        rc = sspi_error(err, s, "logging on");
    } else if (out_buffer.cbBuffer > 0) {
        rc = buf_append(out, out_buffer.pvBuffer, out_buffer.cbBuffer, err);
    }
    *done = s == SEC_E_OK;
    if (out_buffer.pvBuffer != NULL) {
        (void)FreeContextBuffer(out_buffer.pvBuffer);
    }
    return rc;
}

static enum varve_err
sspi_session_key(struct smb_auth *base, uint8_t key[SMB_KEY_SIZE], struct varve_error *err)
{
    struct auth_sspi *a = (struct auth_sspi *)base;
    SecPkgContext_SessionKey found = {0, NULL};
    SECURITY_STATUS s = QueryContextAttributesW(&a->ctx, SECPKG_ATTR_SESSION_KEY, &found);

    if (s != SEC_E_OK || found.SessionKeyLength == 0) {
        return sspi_error(err, s, "the session key");
    }
    memset(key, 0, SMB_KEY_SIZE);
    memcpy(key, found.SessionKey,
           found.SessionKeyLength < SMB_KEY_SIZE ? found.SessionKeyLength : SMB_KEY_SIZE);
    crypto_wipe(found.SessionKey, found.SessionKeyLength);
    (void)FreeContextBuffer(found.SessionKey);
    return VARVE_OK;
}

static const struct smb_auth_ops sspi_ops = {
    .close = sspi_close,
    .step = sspi_step,
    .session_key = sspi_session_key,
};

struct identity_words {
    wchar_t *user;
    wchar_t *domain;
    wchar_t *password;
};

static enum varve_err
acquire(struct auth_sspi *a, const struct smb_credentials *c, const struct identity_words *w,
        struct varve_error *err)
{
    SEC_WINNT_AUTH_IDENTITY_W id = {0};
    TimeStamp expires;
    wchar_t package[] = L"Negotiate";
    wchar_t ntlm[] = L"NTLM";
    SECURITY_STATUS s;

    if (c != NULL) {
        id.User = (unsigned short *)w->user;
        id.UserLength = (unsigned long)wcslen(w->user);
        id.Domain = (unsigned short *)w->domain;
        id.DomainLength = (unsigned long)wcslen(w->domain);
        id.Password = (unsigned short *)w->password;
        id.PasswordLength = (unsigned long)wcslen(w->password);
        id.Flags = SEC_WINNT_AUTH_IDENTITY_UNICODE;
    }
    s = AcquireCredentialsHandleW(NULL, c != NULL && c->method == SMB_NTLM ? ntlm : package,
                                  SECPKG_CRED_OUTBOUND, NULL, c != NULL ? &id : NULL, NULL, NULL,
                                  &a->cred, &expires);
    if (s != SEC_E_OK) {
        return sspi_error(err, s, "preparing a logon");
    }
    a->has_cred = true;
    return VARVE_OK;
}

static void
words_free(struct identity_words *w)
{
    if (w->password != NULL) {
        crypto_wipe(w->password, wcslen(w->password) * sizeof(*w->password));
    }
    free(w->user);
    free(w->domain);
    free(w->password);
}

static enum varve_err
take_credentials(struct auth_sspi *a, const struct smb_credentials *c, struct varve_error *err)
{
    struct identity_words w = {NULL, NULL, NULL};
    enum varve_err rc = VARVE_OK;

    if (c != NULL && c->keytab[0] != 0) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "a keytab is of no use on Windows: give a password, or no file at "
                               "all for the service's own account");
    }
    if (c != NULL) {
        rc = wide_from_utf8(&w.user, c->user, err);
    }
    if (rc == VARVE_OK && c != NULL) {
        rc = wide_from_utf8(&w.domain, c->domain, err);
    }
    if (rc == VARVE_OK && c != NULL) {
        rc = wide_from_utf8(&w.password, c->password, err);
    }
    if (rc == VARVE_OK) {
        rc = acquire(a, c, &w, err);
    }
    words_free(&w);
    return rc;
}

enum varve_err
smb_auth_open(struct smb_auth **out, const char *server, const struct smb_credentials *credentials,
              struct varve_error *err)
{
    struct auth_sspi *a = calloc(1, sizeof(*a));
    struct buf name;
    enum varve_err rc;

    if (a == NULL) {
        return varve_error_nomem(err);
    }
    a->base.ops = &sspi_ops;
    buf_init(&name, 1024);
    rc = buf_printf(&name, err, "cifs/%s", server);
    if (rc == VARVE_OK) {
        rc = wide_from_utf8(&a->target, (const char *)name.data, err);
    }
    if (rc == VARVE_OK) {
        rc = take_credentials(a, credentials, err);
    }
    buf_release(&name);
    if (rc != VARVE_OK) {
        sspi_close(&a->base);
        return rc;
    }
    *out = &a->base;
    return VARVE_OK;
}
