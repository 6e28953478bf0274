/* SPDX-License-Identifier: Apache-2.0 */
#include "wine/standin_wmi.h"

#include <stdlib.h>
#include <string.h>
#include <wchar.h>

static standin_slot security_table[sizeof(IClientSecurityVtbl) / sizeof(standin_slot)];

bool
standin_may_call(const struct standin_com *c)
{
    return !c->remote || c->sealed;
}

char *
standin_server(const wchar_t *where, const wchar_t **rest)
{
    const wchar_t *end = wcsncmp(where, L"\\\\", 2) == 0 ? wcschr(where + 2, L'\\') : NULL;
    wchar_t name[256] = L"";

    if (end == NULL || end - (where + 2) > 255) {
        return NULL;
    }
    (void)wcsncpy(name, where + 2, (size_t)(end - (where + 2)));
    *rest = end + 1;
    return standin_utf8(name);
}

/* Sealed, and with an identity that VMMS may take on; one that only the process's user has is not sent. */
static HRESULT STDMETHODCALLTYPE
set_blanket(struct standin_com *self, IUnknown *proxy, DWORD authentication, DWORD authorization,
            OLECHAR *principal, DWORD level, DWORD impersonation, void *identity, DWORD flags)
{
    (void)authorization;
    (void)principal;
    (void)flags;
    if ((void *)proxy != (void *)self->whose || identity != NULL ||
        authentication == RPC_C_AUTHN_NONE) {
        return E_INVALIDARG;
    }
    self->whose->sealed =
        level == RPC_C_AUTHN_LEVEL_PKT_PRIVACY && impersonation >= RPC_C_IMP_LEVEL_IMPERSONATE;
    return S_OK;
}

const standin_slot *
standin_security_table(void)
{
    if (security_table[0] == NULL) {
        standin_table(security_table, sizeof(security_table) / sizeof(standin_slot));
        security_table[STANDIN_AT(IClientSecurityVtbl, SetBlanket)] = (standin_slot)set_blanket;
    }
    return security_table;
}
