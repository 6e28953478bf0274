/* SPDX-License-Identifier: Apache-2.0 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "wire/address.h"

static nng_sockaddr
ipv6(const char *text, uint16_t port)
{
    nng_sockaddr sa;

    memset(&sa, 0, sizeof(sa));
    sa.s_in6.sa_family = NNG_AF_INET6;
    sa.s_in6.sa_port = htons(port);
    assert_int_equal(inet_pton(AF_INET6, text, sa.s_in6.sa_addr), 1);
    return sa;
}

static nng_sockaddr
ipv4(const char *text, uint16_t port)
{
    nng_sockaddr sa;

    memset(&sa, 0, sizeof(sa));
    sa.s_in.sa_family = NNG_AF_INET;
    sa.s_in.sa_port = htons(port);
    assert_int_equal(inet_pton(AF_INET, text, &sa.s_in.sa_addr), 1);
    return sa;
}

static void
addresses_read_as_people_write_them(void **state)
{
    static const char *const same[] = {"::1",
                                       "::",
                                       "fe80::1",
                                       "2001:db8::1:0:0:1",
                                       "1:2:3:4:5:6:7:8",
                                       "1::8",
                                       "2001:db8:0:1:1:1:1:1",
                                       "1:0:0:2::3",
                                       "1:2:3:4:5:6::"};
    char out[ADDRESS_TEXT_SIZE];
    nng_sockaddr sa = ipv4("10.200.0.1", 50422);

    (void)state;
    address_format(&sa, "", out);
    assert_string_equal(out, "tcp://10.200.0.1:50422");
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        char want[ADDRESS_TEXT_SIZE];

        sa = ipv6(same[i], 7);
        address_format(&sa, "", out);
        (void)snprintf(want, sizeof(want), "tcp://[%s]:7", same[i]);
        assert_string_equal(out, want);
    }
    sa = ipv6("::ffff:192.0.2.7", 80);
    address_format(&sa, "", out);
    assert_string_equal(out, "tcp://192.0.2.7:80");
    memset(&sa, 0, sizeof(sa));
    sa.s_family = NNG_AF_IPC;
    address_format(&sa, "ipc:///run/x", out);
    assert_string_equal(out, "ipc:///run/x");
}

static void
a_group_is_an_ipv4_address_or_an_ipv6_network(void **state)
{
    uint8_t a[8];
    uint8_t b[8];
    nng_sockaddr sa = ipv4("192.0.2.7", 1);

    (void)state;
    assert_true(address_group(&sa, a));
    sa = ipv6("::ffff:192.0.2.7", 2);
    assert_true(address_group(&sa, b));
    assert_memory_equal(a, b, 8);
    sa = ipv4("192.0.2.8", 1);
    assert_true(address_group(&sa, b));
    assert_memory_not_equal(a, b, 8);
    sa = ipv6("2001:db8:1:2::3", 1);
    assert_true(address_group(&sa, a));
    sa = ipv6("2001:db8:1:2:ffff::", 1);
    assert_true(address_group(&sa, b));
    assert_memory_equal(a, b, 8);
    sa = ipv6("2001:db8:1:3::3", 1);
    assert_true(address_group(&sa, b));
    assert_memory_not_equal(a, b, 8);
    memset(&sa, 0, sizeof(sa));
    sa.s_family = NNG_AF_IPC;
    assert_false(address_group(&sa, a));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_read_as_people_write_them),
        cmocka_unit_test(a_group_is_an_ipv4_address_or_an_ipv6_network),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
