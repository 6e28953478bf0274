/* SPDX-License-Identifier: Apache-2.0 */
#include "smb/smb_auth.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <gssapi/gssapi.h>
#include <gssapi/gssapi_ext.h>

#include "crypto/identity.h"

static uint8_t bytes_ntlm[] = {0x2b, 6, 1, 4, 1, 0x82, 0x37, 2, 2, 0x0a};
static uint8_t bytes_spnego[] = {0x2b, 6, 1, 5, 5, 2};
static uint8_t bytes_krb5[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2};
static uint8_t bytes_session_key[] = {0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 1, 2, 2, 5, 5};

/* 1.3.6.1.4.1.311.2.2.10: NTLMSSP without a wrapper, as servers accept it (MS-NLMP). */
static gss_OID_desc oid_ntlm = {sizeof(bytes_ntlm), bytes_ntlm};
/* 1.3.6.1.5.5.2 */
static gss_OID_desc oid_spnego = {sizeof(bytes_spnego), bytes_spnego};
/* 1.2.840.113554.1.2.2 */
static gss_OID_desc oid_krb5 = {sizeof(bytes_krb5), bytes_krb5};
/* 1.2.840.113554.1.2.2.5.5: the session key, as SSPI has it */
static gss_OID_desc oid_session_key = {sizeof(bytes_session_key), bytes_session_key};

struct auth_gss {
    struct smb_auth base;
    gss_OID mech;
    const struct smb_credentials *credentials; /* borrowed; NULL: our own */
    gss_name_t target;
    gss_cred_id_t cred;
    gss_ctx_id_t ctx;
};

/* The library's words; the mechanism's own are the useful ones. */
static enum varve_err
gss_error(struct varve_error *err, enum varve_err code, OM_uint32 major, OM_uint32 minor,
          gss_OID mech, const char *what)
{
    gss_buffer_desc general = GSS_C_EMPTY_BUFFER;
    gss_buffer_desc own = GSS_C_EMPTY_BUFFER;
    OM_uint32 ignored;
    OM_uint32 more = 0;

    (void)gss_display_status(&ignored, major, GSS_C_GSS_CODE, GSS_C_NO_OID, &more, &general);
    more = 0;
    (void)gss_display_status(&ignored, minor, GSS_C_MECH_CODE, mech, &more, &own);
    (void)varve_error_set(err, code, "%s: %.*s: %.*s", what, (int)general.length,
                          general.length > 0 ? (const char *)general.value : "", (int)own.length,
                          own.length > 0 ? (const char *)own.value : "");
    (void)gss_release_buffer(&ignored, &general);
    (void)gss_release_buffer(&ignored, &own);
    return code;
}

static enum varve_err why_no_kerberos(const struct auth_gss *a, struct varve_error *err);

static void
gss_close(struct smb_auth *base)
{
    struct auth_gss *a = (struct auth_gss *)base;
    OM_uint32 ignored;

    (void)gss_delete_sec_context(&ignored, &a->ctx, GSS_C_NO_BUFFER);
    (void)gss_release_cred(&ignored, &a->cred);
    (void)gss_release_name(&ignored, &a->target);
    free(a);
}

static enum varve_err
gss_step(struct smb_auth *base, const void *in, size_t in_len, struct buf *out, bool *done,
         struct varve_error *err)
{
    struct auth_gss *a = (struct auth_gss *)base;
    gss_buffer_desc input = {in_len, (void *)(uintptr_t)in};
    gss_buffer_desc output = GSS_C_EMPTY_BUFFER;
    OM_uint32 flags = GSS_C_MUTUAL_FLAG | GSS_C_REPLAY_FLAG | GSS_C_SEQUENCE_FLAG |
                      GSS_C_CONF_FLAG | GSS_C_INTEG_FLAG;
    OM_uint32 minor = 0;
    OM_uint32 ignored;
    OM_uint32 major;
    bool first = a->ctx == GSS_C_NO_CONTEXT;
    enum varve_err rc = VARVE_OK;

    major = gss_init_sec_context(&minor, a->cred, &a->ctx, a->target, a->mech, flags, 0,
                                 GSS_C_NO_CHANNEL_BINDINGS, in_len > 0 ? &input : GSS_C_NO_BUFFER,
                                 NULL, &output, NULL, NULL);
    if (GSS_ERROR(major)) {
        rc = gss_error(err, VARVE_ERR_AUTH, major, minor, a->mech, "logging on");
        if (first && a->mech == &oid_spnego) {
            rc = why_no_kerberos(a, err);
        }
    } else if (output.length > 0) {
        rc = buf_append(out, output.value, output.length, err);
    }
    *done = major == GSS_S_COMPLETE;
    (void)gss_release_buffer(&ignored, &output);
    return rc;
}

static enum varve_err
gss_session_key(struct smb_auth *base, uint8_t key[SMB_KEY_SIZE], struct varve_error *err)
{
    struct auth_gss *a = (struct auth_gss *)base;
    gss_buffer_set_t set = GSS_C_NO_BUFFER_SET;
    OM_uint32 minor = 0;
    OM_uint32 ignored;
    OM_uint32 major = gss_inquire_sec_context_by_oid(&minor, a->ctx, &oid_session_key, &set);
    enum varve_err rc = VARVE_OK;

    if (GSS_ERROR(major)) {
        rc = gss_error(err, VARVE_ERR_AUTH, major, minor, a->mech, "the session key");
    } else if (set == GSS_C_NO_BUFFER_SET || set->count == 0 || set->elements[0].length == 0) {
        rc = varve_error_set(err, VARVE_ERR_AUTH, "the logon gave no session key");
    } else {
        size_t len = set->elements[0].length;

        memset(key, 0, SMB_KEY_SIZE);
        memcpy(key, set->elements[0].value, len < SMB_KEY_SIZE ? len : SMB_KEY_SIZE);
        crypto_wipe(set->elements[0].value, len);
    }
    (void)gss_release_buffer_set(&ignored, &set);
    return rc;
}

static const struct smb_auth_ops gss_ops = {
    .close = gss_close,
    .step = gss_step,
    .session_key = gss_session_key,
};

/* ---- credentials ---- */

static enum varve_err
import(gss_name_t *out, const char *text, gss_OID type, struct varve_error *err)
{
    gss_buffer_desc name = {strlen(text), (void *)(uintptr_t)text};
    OM_uint32 minor = 0;
    OM_uint32 major = gss_import_name(&minor, &name, type, out);

    return GSS_ERROR(major) ? gss_error(err, VARVE_ERR_INVALID, major, minor, GSS_C_NO_OID, text)
                            : VARVE_OK;
}

/* Kerberos only, though more may be inside SPNEGO: no silent way down to NTLM. */
static enum varve_err
kerberos_only(struct auth_gss *a, struct varve_error *err)
{
    gss_OID_set_desc mechs = {1, &oid_krb5};
    OM_uint32 minor = 0;
    OM_uint32 major = gss_set_neg_mechs(&minor, a->cred, &mechs);

    return GSS_ERROR(major) ? gss_error(err, VARVE_ERR_AUTH, major, minor, a->mech, "choosing krb5")
                            : VARVE_OK;
}

static OM_uint32
acquire_for(gss_OID mech, const struct smb_credentials *c, gss_name_t user, const void *unique,
            gss_cred_id_t *out, OM_uint32 *minor)
{
    gss_OID_set_desc mechs = {1, mech};
    gss_buffer_desc password = {strlen(c->password), (void *)(uintptr_t)c->password};
    char cache[64];
    gss_key_value_element_desc elements[] = {{"client_keytab", c->keytab}, {"ccache", cache}};
    gss_key_value_set_desc store = {2, elements};

    if (c->keytab[0] == 0) {
        return gss_acquire_cred_with_password(minor, user, &password, GSS_C_INDEFINITE, &mechs,
                                              GSS_C_INITIATE, out, NULL, NULL);
    }
    (void)snprintf(cache, sizeof(cache), "MEMORY:varve-smb-%p", unique);
    return gss_acquire_cred_from(minor, user, GSS_C_INDEFINITE, &mechs, GSS_C_INITIATE, &store, out,
                                 NULL, NULL);
}

static enum varve_err
acquire(struct auth_gss *a, const struct smb_credentials *c, gss_name_t user,
        struct varve_error *err)
{
    OM_uint32 minor = 0;
    OM_uint32 major = acquire_for(a->mech, c, user, a, &a->cred, &minor);

    if (GSS_ERROR(major)) {
        return gss_error(err, VARVE_ERR_AUTH, major, minor, a->mech,
                         c->method == SMB_NTLM ? "preparing an NTLM logon (package gss-ntlmssp)"
                                               : "getting a Kerberos ticket");
    }
    return c->method == SMB_KERBEROS ? kerberos_only(a, err) : VARVE_OK;
}

static enum varve_err
import_user(gss_name_t *out, const struct smb_credentials *c, struct varve_error *err)
{
    char text[2 * SMB_CREDENTIAL_MAX + 2];

    if (c->method == SMB_KERBEROS) {
        (void)snprintf(text, sizeof(text), "%s@%s", c->user, c->domain);
    } else if (c->domain[0] != 0) {
        (void)snprintf(text, sizeof(text), "%s\\%s", c->domain, c->user);
    } else {
        (void)snprintf(text, sizeof(text), "%s", c->user);
    }
    return import(out, text, GSS_C_NT_USER_NAME, err);
}

/* SPNEGO only says that it has nothing to offer; Kerberos itself is asked why. */
static enum varve_err
why_no_kerberos(const struct auth_gss *a, struct varve_error *err)
{
    gss_OID_set_desc mechs = {1, &oid_krb5};
    gss_cred_id_t cred = GSS_C_NO_CREDENTIAL;
    gss_name_t user = GSS_C_NO_NAME;
    OM_uint32 lifetime = 0;
    OM_uint32 minor = 0;
    OM_uint32 ignored;
    OM_uint32 major;

    if (a->credentials == NULL) {
        major = gss_acquire_cred(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &mechs, GSS_C_INITIATE,
                                 &cred, NULL, NULL);
    } else if (import_user(&user, a->credentials, err) != VARVE_OK) {
        return err->code;
    } else {
        major = acquire_for(&oid_krb5, a->credentials, user, &cred, &cred, &minor);
    }
    if (!GSS_ERROR(major)) { /* only now the ticket is asked for */
        major = gss_inquire_cred(&minor, cred, NULL, &lifetime, NULL, NULL);
    }
    if (GSS_ERROR(major)) {
        (void)gss_error(err, VARVE_ERR_AUTH, major, minor, &oid_krb5, "getting a Kerberos ticket");
    }
    (void)gss_release_cred(&ignored, &cred);
    (void)gss_release_name(&ignored, &user);
    return err->code;
}

static enum varve_err
take_credentials(struct auth_gss *a, const struct smb_credentials *c, struct varve_error *err)
{
    gss_name_t user = GSS_C_NO_NAME;
    OM_uint32 ignored;
    enum varve_err rc = import_user(&user, c, err);

    if (rc == VARVE_OK) {
        rc = acquire(a, c, user, err);
    }
    (void)gss_release_name(&ignored, &user);
    return rc;
}

/* Tickets of the program's environment; nothing that a user left for NTLM. */
static enum varve_err
take_own(struct auth_gss *a, struct varve_error *err)
{
    gss_OID_set_desc mechs = {1, a->mech};
    OM_uint32 minor = 0;
    OM_uint32 major = gss_acquire_cred(&minor, GSS_C_NO_NAME, GSS_C_INDEFINITE, &mechs,
                                       GSS_C_INITIATE, &a->cred, NULL, NULL);

    if (GSS_ERROR(major)) {
        (void)gss_error(err, VARVE_ERR_AUTH, major, minor, a->mech, "getting a Kerberos ticket");
        return why_no_kerberos(a, err);
    }
    return kerberos_only(a, err);
}

enum varve_err
smb_auth_open(struct smb_auth **out, const char *server, const struct smb_credentials *credentials,
              struct varve_error *err)
{
    char target[300];
    struct auth_gss *a = calloc(1, sizeof(*a));
    enum varve_err rc;

    if (a == NULL) {
        return varve_error_nomem(err);
    }
    a->base.ops = &gss_ops;
    a->credentials = credentials;
    a->mech = credentials != NULL && credentials->method == SMB_NTLM ? &oid_ntlm : &oid_spnego;
    (void)snprintf(target, sizeof(target), "cifs@%s", server);
    rc = import(&a->target, target, GSS_C_NT_HOSTBASED_SERVICE, err);
    if (rc == VARVE_OK) {
        rc = credentials != NULL ? take_credentials(a, credentials, err) : take_own(a, err);
    }
    if (rc != VARVE_OK) {
        gss_close(&a->base);
        return rc;
    }
    *out = &a->base;
    return VARVE_OK;
}
