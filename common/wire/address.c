/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/address.h"

#include <stdio.h>
#include <string.h>

#include "base/endian.h"

static bool
is_mapped_ipv4(const uint8_t a[16])
{
    static const uint8_t prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

    return memcmp(a, prefix, sizeof(prefix)) == 0;
}

/* The longest run of at least two zero groups; *start is 8 when there is none (RFC 5952). */
static void
longest_zeros(const uint8_t a[16], unsigned *start, unsigned *len)
{
    unsigned run = 0;

    *start = 8;
    *len = 1;
    for (unsigned i = 0; i < 8; i++) {
        run = get_be16(a + 2 * i) == 0 ? run + 1 : 0;
        if (run > *len) {
            *len = run;
            *start = i + 1 - run;
        }
    }
}

static void
format_ipv6(const uint8_t a[16], unsigned port, char out[ADDRESS_TEXT_SIZE])
{
    char text[64];
    size_t used = 0;
    unsigned start;
    unsigned len;

    longest_zeros(a, &start, &len);
    for (unsigned i = 0; i < 8; i++) {
        int n;

        if (i == start) {
            n = snprintf(text + used, sizeof(text) - used, "::");
            i += len - 1;
        } else {
            n = snprintf(text + used, sizeof(text) - used, "%s%x",
                         used == 0 || text[used - 1] == ':' ? "" : ":",
                         (unsigned)get_be16(a + 2 * i));
        }
        used += n > 0 ? (size_t)n : 0;
    }
    (void)snprintf(out, ADDRESS_TEXT_SIZE, "tcp://[%s]:%u", text, port);
}

static void
format_ipv4(const uint8_t a[4], unsigned port, char out[ADDRESS_TEXT_SIZE])
{
    (void)snprintf(out, ADDRESS_TEXT_SIZE, "tcp://%u.%u.%u.%u:%u", (unsigned)a[0], (unsigned)a[1],
                   (unsigned)a[2], (unsigned)a[3], port);
}

/* The bytes of an address are in network order in memory, whatever the type around them. */
void
address_format(const nng_sockaddr *sa, const char *otherwise, char out[ADDRESS_TEXT_SIZE])
{
    uint8_t port[2];

    switch (sa->s_family) {
    case NNG_AF_INET: {
        uint8_t a[4];

        memcpy(a, &sa->s_in.sa_addr, sizeof(a));
        memcpy(port, &sa->s_in.sa_port, sizeof(port));
        format_ipv4(a, get_be16(port), out);
        return;
    }
    case NNG_AF_INET6:
        memcpy(port, &sa->s_in6.sa_port, sizeof(port));
        if (is_mapped_ipv4(sa->s_in6.sa_addr)) {
            format_ipv4(sa->s_in6.sa_addr + 12, get_be16(port), out);
        } else {
            format_ipv6(sa->s_in6.sa_addr, get_be16(port), out);
        }
        return;
    default:
        (void)snprintf(out, ADDRESS_TEXT_SIZE, "%s", otherwise);
        return;
    }
}

bool
address_group(const nng_sockaddr *sa, uint8_t out[8])
{
    memset(out, 0, 8);
    switch (sa->s_family) {
    case NNG_AF_INET:
        memcpy(out, &sa->s_in.sa_addr, 4);
        return true;
    case NNG_AF_INET6:
        if (is_mapped_ipv4(sa->s_in6.sa_addr)) {
            memcpy(out, sa->s_in6.sa_addr + 12, 4);
        } else {
            memcpy(out, sa->s_in6.sa_addr, 8);
        }
        return true;
    default:
        return false;
    }
}
