/* SPDX-License-Identifier: Apache-2.0 */
#include "os/private_win32.h"

#include <aclapi.h>
#include <sddl.h>
#include <stdio.h>

struct own_user {
    union {
        TOKEN_USER user;
        BYTE room[sizeof(TOKEN_USER) + SECURITY_MAX_SID_SIZE];
    } u;
};

/* The SID of the user who runs this, inside buf; NULL: it cannot be found out. */
static PSID
own_sid(struct own_user *buf)
{
    HANDLE token = NULL;
    DWORD n = 0;
    BOOL ok = OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token) &&
              GetTokenInformation(token, TokenUser, &buf->u, sizeof(buf->u), &n);

    if (token != NULL) {
        (void)CloseHandle(token);
    }
    return ok ? buf->u.user.User.Sid : NULL;
}

enum varve_err
private_attributes(SECURITY_ATTRIBUTES *out, bool is_dir, PSECURITY_DESCRIPTOR *sd,
                   struct varve_error *err)
{
    const char *inherit = is_dir ? "OICI" : "";
    struct own_user user;
    PSID sid = own_sid(&user);
    char *sid_text = NULL;
    char text[512];
    BOOL ok;

    if (sid == NULL || !ConvertSidToStringSidA(sid, &sid_text)) {
        return varve_error_win32(err, GetLastError(), "asking who runs this");
    }
    (void)snprintf(text, sizeof(text), "D:P(A;%s;FA;;;SY)(A;%s;FA;;;BA)(A;%s;FA;;;%s)", inherit,
                   inherit, inherit, sid_text);
    (void)LocalFree(sid_text);
    ok = ConvertStringSecurityDescriptorToSecurityDescriptorA(text, SDDL_REVISION_1, sd, NULL);
    if (!ok) {
        return varve_error_win32(err, GetLastError(), "making an access list");
    }
    out->nLength = sizeof(*out);
    out->lpSecurityDescriptor = *sd;
    out->bInheritHandle = FALSE;
    return VARVE_OK;
}

static bool
is_one_of_us(PSID sid, PSID owner, PSID own)
{
    return IsWellKnownSid(sid, WinLocalSystemSid) ||
           IsWellKnownSid(sid, WinBuiltinAdministratorsSid) ||
           IsWellKnownSid(sid, WinCreatorOwnerRightsSid) ||
           (owner != NULL && EqualSid(sid, owner)) || (own != NULL && EqualSid(sid, own));
}

bool
private_is(HANDLE file)
{
    PSECURITY_DESCRIPTOR sd = NULL;
    struct own_user user;
    PSID own = own_sid(&user);
    PSID owner = NULL;
    PACL dacl = NULL;
    bool is_private;
    DWORD i;

    if (GetSecurityInfo(file, SE_FILE_OBJECT,
                        OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION, &owner, NULL, &dacl,
                        NULL, &sd) != ERROR_SUCCESS) {
        return false;
    }
    is_private = dacl != NULL; /* none: everybody may do everything */
    for (i = 0; is_private && i < dacl->AceCount; i++) {
        ACE_HEADER *ace = NULL;

        if (!GetAce(dacl, i, (void **)&ace)) {
            is_private = false;
        } else if (ace->AceType == ACCESS_ALLOWED_ACE_TYPE &&
                   (ace->AceFlags & INHERIT_ONLY_ACE) == 0) {
            ACCESS_ALLOWED_ACE *allowed = (ACCESS_ALLOWED_ACE *)(void *)ace;

            is_private = is_one_of_us(&allowed->SidStart, owner, own) || allowed->Mask == 0;
        } else if (ace->AceType != ACCESS_DENIED_ACE_TYPE &&
                   ace->AceType != ACCESS_ALLOWED_ACE_TYPE) {
            is_private = false; /* conditional and object entries: nothing we would have made */
        }
    }
    (void)LocalFree(sd);
    return is_private;
}
