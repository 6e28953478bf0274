/* SPDX-License-Identifier: Apache-2.0 */
#include "base/testing.h"

#include <string.h>

#include <sodium.h>

#include "base/endian.h"
#include "smb/smb_keys.h"
#include "smb/smb_wire.h"

/*
 * Keys, signatures and encryption against the examples that Microsoft has published in its blog on open
 * specifications: "SMB 2 and SMB 3 security in Windows 10: the anatomy of signing and cryptographic
 * keys" (2017), "Encryption in SMB 3.0: A protocol perspective" (2012) and "SMB 3.1.1 Encryption in
 * Windows 10" (2015); AES-CMAC against RFC 4493, section 4.
 */

#define MESSAGE_MAX 1024u

static size_t
unhex(uint8_t *out, size_t max, const char *hex)
{
    size_t len = 0;

    assert_int_equal(sodium_hex2bin(out, max, hex, strlen(hex), NULL, &len, NULL), 0);
    return len;
}

static void
assert_hex(const uint8_t *bytes, size_t len, const char *hex)
{
    uint8_t want[MESSAGE_MAX];

    assert_int_equal(unhex(want, sizeof(want), hex), len);
    assert_memory_equal(bytes, want, len);
}

/* A build without libcrypto has none of it: there is nothing to judge. */
static void
need(enum varve_err rc, const struct varve_error *err)
{
    if (rc == VARVE_ERR_UNSUPPORTED) {
        print_message("%s\n", err->msg);
        skip();
    }
}

static void
cmac_is_that_of_rfc_4493(void **state)
{
    static const struct {
        const char *message;
        const char *mac;
    } cases[] = {
        {"", "bb1d6929e95937287fa37d129b756746"},
        {"6bc1bee22e409f96e93d7e117393172a", "070a16b46b4d4144f79bdd9dd04a287c"},
        {"6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411",
         "dfa66747de9ae63030ca32611497c827"},
    };
    uint8_t key[SMB_KEY_SIZE];
    size_t i;

    (void)state;
    unhex(key, sizeof(key), "2b7e151628aed2a6abf7158809cf4f3c");
    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint8_t message[64];
        uint8_t mac[SMB_MAC_SIZE];
        struct varve_error err;
        size_t len = unhex(message, sizeof(message), cases[i].message);
        enum varve_err rc = smb_aes_cmac(mac, key, message, len, &err);

        need(rc, &err);
        assert_ok(rc, &err);
        assert_hex(mac, sizeof(mac), cases[i].mac);
    }
}

static void
keys_of_3_0_are_those_published(void **state)
{
    uint8_t key[SMB_KEY_SIZE];
    uint8_t none[SMB_HASH_SIZE] = {0};
    struct varve_error err;
    struct smb_keys k;
    enum varve_err rc;

    (void)state;
    unhex(key, sizeof(key), "7CD451825D0450D235424E44BA6E78CC");
    rc = smb_keys_derive(&k, SMB_DIALECT_302, SMB_CIPHER_AES128_CCM, key, none, &err);
    need(rc, &err);
    assert_ok(rc, &err);
    assert_hex(k.signing, SMB_KEY_SIZE, "0B7E9C5CAC36C0F6EA9AB275298CEDCE");
    assert_hex(k.client_out, SMB_KEY_SIZE, "FAD27796665B313EBB578F388632B4F7");
    assert_hex(k.server_out, SMB_KEY_SIZE, "B0F0427F7CEB416D1D9DCC0CD4F99447");
}

/* The messages of a logon with 3.1.1, and the hash after each. */
static const struct {
    const char *message;
    const char *hash;
} logon[] = {
    {"FE534D4240000100000000000000800000000000000000000100000000000000FFFE000000000000"
     "00000000000000000000000000000000000000000000000024000500000000003F000000ECD86F32"
     "6276024F9F7752B89BB33F3A70000000020000000202100200030203110300000100260000000000"
     "010020000100FA49E6578F1F3A9F4CD3E9CC14A67AA884B3D05844E0E5A118225C15887F32FF0000"
     "0200060000000000020002000100",
     "DD94EFC5321BB618A2E208BA8920D2F422992526947A409B5037DE1E0FE8C7362B8C47122594CDE0"
     "CE26AA9DFC8BCDBDE0621957672623351A7540F1E54A0426"},
    {"FE534D4240000100000000000000010001000000000000000100000000000000FFFE000000000000"
     "000000000000000000000000000000000000000000000000410001001103020039CBCAF329714942"
     "BDCE5D60F09AB3FB2F000000000080000000800000008000D8DAE5ADCBAED00109094AB095AED001"
     "80004001C00100006082013C06062B0601050502A08201303082012CA01A3018060A2B0601040182"
     "3702021E060A2B06010401823702020AA282010C048201084E45474F455854530100000000000000"
     "60000000700000007C7CC0FD06D6362D02DDE1CF343BFE292900F49750B4AA97934D9C4296B26E51"
     "FD370471B235E15A50DAE15BD5489C87000000000000000060000000010000000000000000000000"
     "5C33530DEAF90D4DB2EC4AE3786EC3084E45474F4558545303000000010000004000000098000000"
     "7C7CC0FD06D6362D02DDE1CF343BFE295C33530DEAF90D4DB2EC4AE3786EC3084000000058000000"
     "3056A05430523027802530233121301F06035504031318546F6B656E205369676E696E6720507562"
     "6C6963204B65793027802530233121301F06035504031318546F6B656E205369676E696E67205075"
     "626C6963204B6579010026000000000001002000010060A3C3B95C3C7CCD51EC536648D9B3AC74C4"
     "83CA5B65385A251117BEB30712E50000020004000000000001000200",
     "324BFA92A4F3A190E466EBEA08D9C110DC88BFED758D9846ECC6F541CC1D02AE3C94A79F36011E99"
     "7E13F841B91B50957AD07B19C8E2539C0B23FDAE09D2C513"},
    {"FE534D4240000100000000000100800000000000000000000200000000000000FFFE000000000000"
     "00000000000000000000000000000000000000000000000019000001010000000000000058004A00"
     "0000000000000000604806062B0601050502A03E303CA00E300C060A2B06010401823702020AA22A"
     "04284E544C4D5353500001000000978208E200000000000000000000000000000000060380250000"
     "000F",
     "AC0B0F2B9986257700365E416D142A6EDC96DF03594A19E52A15F6BD0D041CD5D432F8ED42C55E33"
     "197A50C9EC00F1462B50C592211B1471A04B56088FDFD5F9"},
    {"FE534D4240000100160000C00100010001000000000000000200000000000000FFFE000000000000"
     "190000000010000000000000000000000000000000000000090000004800B300A181B03081ADA003"
     "0A0101A10C060A2B06010401823702020AA281970481944E544C4D53535000020000000C000C0038"
     "00000015828AE20D1D8BA31179D008000000000000000050005000440000000A0092270000000F53"
     "005500540033003100310002000C0053005500540033003100310001000C00530055005400330031"
     "00310004000C0053005500540033003100310003000C0053005500540033003100310007000800A1"
     "A1F5ADCBAED00100000000",
     "2729E3440DFDDD839E37193F6E8F20C20CEFB3469E453A70CD980EEC06B8835740A7376008563336"
     "4C8989895ECE81BF102DEEB14D4B7D48AFA76901A7A38387"},
    {"FE534D4240000100000000000100800000000000000000000300000000000000FFFE000000000000"
     "1900000000100000000000000000000000000000000000001900000101000000000000005800CF01"
     "0000000000000000A18201CB308201C7A0030A0101A28201AA048201A64E544C4D53535000030000"
     "001800180090000000EE00EE00A80000000C000C00580000001A001A0064000000120012007E0000"
     "001000100096010000158288E2060380250000000FECAC77A5F385A8BF9C38C706EEEDDCD3530055"
     "005400330031003100610064006D0069006E006900730074007200610074006F0072004400520049"
     "0056004500520033003100310000000000000000000000000000000000000000000000000063078E"
     "B639FE03E20A231C3AE3BF23080101000000000000A1A1F5ADCBAED001BC4AD05F223CC90F000000"
     "0002000C0053005500540033003100310001000C0053005500540033003100310004000C00530055"
     "00540033003100310003000C0053005500540033003100310007000800A1A1F5ADCBAED001060004"
     "00020000000800300030000000000000000000000000300000B61FEFCAA857EA57BF1EDCEBF8974B"
     "8E0EBA5A6DFD9D07A31D11B548F8C9D0CC0A00100000000000000000000000000000000000090016"
     "0063006900660073002F005300550054003300310031000000000000000000000000003B9BDFF38F"
     "5EE8F9663F11A0F4C03A78A31204100100000063775A9A5FD97F0600000000",
     "0DD13628CC3ED218EF9DF9772D436D0887AB9814BFAE63A80AA845F36909DB7928622DDDAD522D97"
     "51640A459762C5A9D6BB084CBB3CE6BDADEF5D5BCE3C6C01"},
};

/* The last reply, signed by the server. */
static const char logon_end[] =
    "FE534D4240000100000000000100800009000000000000000300000000000000FFFE000000000000"
    "1900000000100000EBE146DA120BA25FC3376A49DFE31BC10900000048001D00A11B3019A0030A01"
    "00A3120410010000003B453CDC3524164200000000";

static void
keys_and_signature_of_3_1_1_are_those_published(void **state)
{
    uint8_t message[MESSAGE_MAX];
    uint8_t hash[SMB_HASH_SIZE] = {0};
    uint8_t key[SMB_KEY_SIZE];
    struct varve_error err;
    struct smb_keys k;
    size_t len;
    size_t i;
    enum varve_err rc;

    (void)state;
    for (i = 0; i < sizeof(logon) / sizeof(logon[0]); i++) {
        len = unhex(message, sizeof(message), logon[i].message);
        rc = smb_sha512_chain(hash, message, len, &err);
        need(rc, &err);
        assert_ok(rc, &err);
        assert_hex(hash, sizeof(hash), logon[i].hash);
    }
    unhex(key, sizeof(key), "270E1BA896585EEB7AF3472D3B4C75A7");
    assert_ok(smb_keys_derive(&k, SMB_DIALECT_311, SMB_CIPHER_AES128_GCM, key, hash, &err), &err);
    assert_hex(k.signing, SMB_KEY_SIZE, "73FE7A9A77BEF0BDE49C650D8CCB5F76");
    assert_hex(k.client_out, SMB_KEY_SIZE, "629BCBC54422A0F572B97F45989B6073");
    assert_hex(k.server_out, SMB_KEY_SIZE, "E2AF0DCEFAC68DA71A0DFBD0D1350D74");

    len = unhex(message, sizeof(message), logon_end);
    rc = smb_check(&k, message, len, &err);
    need(rc, &err);
    assert_ok(rc, &err);
    assert_hex(message, len, logon_end);
    /* Our own hand gives the same signature. */
    memset(message + SMB_AT_SIGNATURE, 0xAA, SMB_MAC_SIZE);
    assert_ok(smb_sign(&k, message, len, &err), &err);
    assert_hex(message, len, logon_end);
}

static void
a_changed_or_unsigned_reply_is_refused(void **state)
{
    uint8_t message[MESSAGE_MAX];
    struct smb_keys k = {.signing = {1}};
    struct varve_error err;
    size_t len = unhex(message, sizeof(message), logon_end);
    size_t i;
    enum varve_err rc;

    (void)state;
    rc = smb_sign(&k, message, len, &err);
    need(rc, &err);
    assert_ok(rc, &err);
    assert_ok(smb_check(&k, message, len, &err), &err);
    for (i = 0; i < len; i++) {
        message[i] ^= 0x10;
        assert_err(smb_check(&k, message, len, &err), VARVE_ERR_AUTH, &err);
        message[i] ^= 0x10;
    }
    message[SMB_AT_FLAGS] ^= SMB_FLAG_SIGNED;
    assert_err(smb_check(&k, message, len, &err), VARVE_ERR_AUTH, &err);
    assert_non_null(strstr(err.msg, "not signed"));
}

/* A key, a frame as it was on the wire, and the message in it. */
static const struct {
    enum smb_cipher cipher;
    unsigned dialect;
    bool from_client;
    uint64_t session;
    const char *session_key;
    const char *preauth;
    const char *frame;
    const char *message;
} sealed[] = {
    {SMB_CIPHER_AES128_CCM, SMB_DIALECT_302, true, 0x8e40014000011,
     "B4546771B515F766A86735532DD6C4F0", "",
     "FD534D4281A286535415445DAE393921E44FA42E66E69A111892584FB5ED524A"
     "744DA3EE87000000000001001100001400E4080025C8FEE16605A437832D1CD5"
     "2DA9F4645333482A175FE5384563F45FCDAFAEF38BC62BA4D5C62897996625A4"
     "4C29BE5658DE2E6117585779E7B59FFD971278D08580D7FA899E410E910EABF5"
     "AA1DB43050B33B49182637759AC15D84BFCDF5B6B238993C0F4CF4D6012023F6"
     "C627297075D84B7803912D0A9639634453595EF3E33FFE4E7AC2AB",
     "FE534D4240000100000000000900400008000000000000000400000000000000"
     "FFFE0000010000001100001400E4080000000000000000000000000000000000"
     "3100700017000000000000000000000015010000390000020100000039020000"
     "00000000000000007000000000000000536D623320656E6372797074696F6E20"
     "74657374696E67"},
    {SMB_CIPHER_AES128_CCM, SMB_DIALECT_302, false, 0x8e40014000011,
     "B4546771B515F766A86735532DD6C4F0", "",
     "FD534D42ABD518B68C2F04D7879F482B689EB83F870000000000000011000014"
     "00E4080067000000000001001100001400E40800493D6FE2BDBEB435CF5F5469"
     "70C7BB57BF20E713C75A3D045507E0D68E5C0346659D6FFB8AC1504A786CA2BB"
     "89C9E7FE4F313E910A04180D2D0EA7DF636329E5A3285984500EF86FE9D55DA4"
     "FAB9531CFDD4C551D47F3C73124BB4590A45052B694048B991CCF5",
     "FE534D4240000100000000000800210009000000000000000500000000000000"
     "FFFE0000010000001100001400E4080000000000000000000000000000000000"
     "11005000170000000000000000000000536D623320656E6372797074696F6E20"
     "74657374696E67"},
    {SMB_CIPHER_AES128_GCM, SMB_DIALECT_311, true, 0x100000000025,
     "419FDDF34C1E001909D362AE7FB6AF79",
     "B23F3CBFD69487D9832B79B1594A367CDD950909B774C3A4C412B4FCEA9EDDDBA7DB256BA2EA30E9"
     "77F11F9B113247578E0E915C6D2A513B8F2FCA5707DC8770",
     "FD534D42BD73D97D2BC9001BCAFAC0FDFF5FEEBCC7D6822D269CAF48904C664C0000000087000000"
     "0000010025000000001000006ECDD2A7AFC7B47763057A041B8FD4DAFFE990B70C9E09D36C084E02"
     "D14EF247F8BDE38ACF6256F8B1D3B56F77FBDEB312FEA5E92CBCC1ED8FB2EBBFAA75E49A4A394BB4"
     "4576545567C24D4C014D47C9FBDFDAFD2C4F9B72F8D256452620A299F48E29E53D6B61D1C13A19E9"
     "1AF013F00D17E3ABC2FC3D36C8C1B6B93973253852DBD442E46EE8",
     "FE534D4240000100000000000900010008000000000000000500000000000000FFFE000001000000"
     "25000000001000000000000000000000000000000000000031007000170000000000000000000000"
     "0600000004000000010000000400000000000000000000007000000000000000536D623320656E63"
     "72797074696F6E2074657374696E67"},
    {SMB_CIPHER_AES128_GCM, SMB_DIALECT_311, false, 0x100000000025,
     "419FDDF34C1E001909D362AE7FB6AF79",
     "B23F3CBFD69487D9832B79B1594A367CDD950909B774C3A4C412B4FCEA9EDDDBA7DB256BA2EA30E9"
     "77F11F9B113247578E0E915C6D2A513B8F2FCA5707DC8770",
     "FD534D42ACBE1CB7ED343ADF1725EF144D90D4B0E06831DD2E8EB7B4000000000000000050000000"
     "00000100250000000010000026BBBF949983A6C1C796559D0F2C510CB651D1F7B6AC8DED32A2A0B8"
     "F2D793A815C6F6B848D69767A215841A42D400AE6DDB5F0B44173A014973321FDD7950DA6179159B"
     "82E03C9E18A050FF0EA1C967",
     "FE534D4240000100000000000900010001000000000000000500000000000000FFFE000001000000"
     "25000000001000000000000000000000000000000000000011000000170000000000000000000000"},
};

static void
encrypted_messages_open_as_published(void **state)
{
    size_t i;

    (void)state;
    for (i = 0; i < sizeof(sealed) / sizeof(sealed[0]); i++) {
        uint8_t key[SMB_KEY_SIZE];
        uint8_t preauth[SMB_HASH_SIZE];
        uint8_t frame[MESSAGE_MAX];
        uint8_t again[MESSAGE_MAX];
        struct varve_error err;
        struct smb_keys k;
        size_t len;
        enum varve_err rc;

        unhex(key, sizeof(key), sealed[i].session_key);
        (void)unhex(preauth, sizeof(preauth), sealed[i].preauth);
        rc = smb_keys_derive(&k, sealed[i].dialect, sealed[i].cipher, key, preauth, &err);
        need(rc, &err);
        assert_ok(rc, &err);
        len = unhex(frame, sizeof(frame), sealed[i].frame);
        memcpy(again, frame, len);
        rc = smb_unseal(&k, sealed[i].from_client, sealed[i].session, frame, len, &err);
        assert_ok(rc, &err);
        assert_hex(frame + SMB_TRANSFORM_SIZE, len - SMB_TRANSFORM_SIZE, sealed[i].message);

        /* With one bit changed, wherever it is, it does not open. */
        for (size_t bit = 0; bit < len; bit++) {
            memcpy(frame, again, len);
            frame[bit] ^= 1;
            if (bit >= 4 + 16 + SMB_NONCE_CCM && bit < 36) {
                continue; /* the tail of the nonce is in the additional data */
            }
            rc = smb_unseal(&k, sealed[i].from_client, sealed[i].session, frame, len, &err);
            assert_true(rc == VARVE_ERR_AUTH || rc == VARVE_ERR_PROTOCOL);
        }
    }
}

static void
what_is_sealed_opens_again_and_no_nonce_comes_twice(void **state)
{
    static const enum smb_cipher ciphers[] = {SMB_CIPHER_AES128_CCM, SMB_CIPHER_AES128_GCM};
    size_t i;

    (void)state;
    for (i = 0; i < 2; i++) {
        struct smb_keys k = {.cipher = ciphers[i], .client_out = {1}, .server_out = {2}};
        uint8_t frame[2][SMB_TRANSFORM_SIZE + 100];
        struct varve_error err;
        unsigned n;
        enum varve_err rc = VARVE_OK;

        for (n = 0; n < 2 && rc == VARVE_OK; n++) {
            memset(frame[n], 7, sizeof(frame[n]));
            rc = smb_seal(&k, true, 9, frame[n], frame[n] + SMB_TRANSFORM_SIZE, 100, &err);
        }
        need(rc, &err);
        assert_ok(rc, &err);
        assert_memory_not_equal(frame[0] + 20, frame[1] + 20, 16);
        assert_memory_not_equal(frame[0] + SMB_TRANSFORM_SIZE, frame[1] + SMB_TRANSFORM_SIZE, 100);
        assert_err(smb_unseal(&k, false, 9, frame[1], sizeof(frame[1]), &err), VARVE_ERR_AUTH,
                   &err); /* the other direction has another key */
        assert_err(smb_unseal(&k, true, 8, frame[0], sizeof(frame[0]), &err), VARVE_ERR_PROTOCOL,
                   &err);
        assert_ok(smb_unseal(&k, true, 9, frame[0], sizeof(frame[0]), &err), &err);
        for (n = 0; n < 100; n++) {
            assert_int_equal(frame[0][SMB_TRANSFORM_SIZE + n], 7);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cmac_is_that_of_rfc_4493),
        cmocka_unit_test(keys_of_3_0_are_those_published),
        cmocka_unit_test(keys_and_signature_of_3_1_1_are_those_published),
        cmocka_unit_test(a_changed_or_unsigned_reply_is_refused),
        cmocka_unit_test(encrypted_messages_open_as_published),
        cmocka_unit_test(what_is_sealed_opens_again_and_no_nonce_comes_twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
