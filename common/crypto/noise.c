/* SPDX-License-Identifier: Apache-2.0 */
#include "crypto/noise.h"

#include <string.h>

#include <sodium.h>

#include "crypto/noise_internal.h"
#include "crypto/secret_pool.h"

/* Sections are those of the Noise Protocol Framework, revision 34. */

enum noise_step { STEP_MESSAGE1, STEP_MESSAGE2, STEP_SPLIT, STEP_DONE, STEP_DEAD };

/* The whole object lives in secret_alloc() memory and is wiped with it. */
struct noise {
    enum noise_role role;
    enum noise_pattern pattern;
    enum aead_cipher cipher;
    enum noise_step step;
    const struct identity *own;

    uint8_t h[NOISE_HASH_SIZE]; /* SymmetricState, section 5.2 */
    uint8_t ck[NOISE_HASH_SIZE];
    struct aead *aead; /* CipherState, section 5.1; NULL while k is empty */
    uint64_t n;

    uint8_t e_secret[NOISE_KEY_SIZE];
    uint8_t e_public[NOISE_KEY_SIZE];
    uint8_t re[NOISE_KEY_SIZE];
    uint8_t rs[NOISE_KEY_SIZE];
    uint8_t psk[NOISE_KEY_SIZE];
    bool has_psk;
    bool ephemeral_fixed;
};

/* ---- section 4.3 ---- */

static void
hash2(uint8_t out[NOISE_HASH_SIZE], const void *a, size_t a_len, const void *b, size_t b_len)
{
    crypto_hash_sha256_state st;

    (void)crypto_hash_sha256_init(&st);
    (void)crypto_hash_sha256_update(&st, a, a_len);
    if (b_len > 0) {
        (void)crypto_hash_sha256_update(&st, b, b_len);
    }
    (void)crypto_hash_sha256_final(&st, out);
}

static void
hmac2(uint8_t out[NOISE_HASH_SIZE], const uint8_t key[NOISE_HASH_SIZE], const void *a, size_t a_len,
      uint8_t last)
{
    crypto_auth_hmacsha256_state st;

    (void)crypto_auth_hmacsha256_init(&st, key, NOISE_HASH_SIZE);
    if (a_len > 0) {
        (void)crypto_auth_hmacsha256_update(&st, a, a_len);
    }
    if (last != 0) {
        (void)crypto_auth_hmacsha256_update(&st, &last, 1);
    }
    (void)crypto_auth_hmacsha256_final(&st, out);
    sodium_memzero(&st, sizeof(st));
}

/* HKDF with up to three outputs: out[i] may be NULL from the third on. */
static void
hkdf(const uint8_t ck[NOISE_HASH_SIZE], const void *ikm, size_t ikm_len,
     uint8_t out1[NOISE_HASH_SIZE], uint8_t out2[NOISE_HASH_SIZE], uint8_t *out3)
{
    uint8_t temp[NOISE_HASH_SIZE];
    uint8_t o1[NOISE_HASH_SIZE];

    hmac2(temp, ck, ikm, ikm_len, 0);
    hmac2(o1, temp, NULL, 0, 1);
    hmac2(out2, temp, o1, sizeof(o1), 2);
    if (out3 != NULL) {
        hmac2(out3, temp, out2, NOISE_HASH_SIZE, 3);
    }
    memcpy(out1, o1, sizeof(o1));
    sodium_memzero(temp, sizeof(temp));
    sodium_memzero(o1, sizeof(o1));
}

/* ---- section 5.2 ---- */

static void
mix_hash(struct noise *n, const void *data, size_t len)
{
    hash2(n->h, n->h, sizeof(n->h), data, len);
}

static enum varve_err
initialize_key(struct noise *n, const uint8_t key[NOISE_KEY_SIZE], struct varve_error *err)
{
    n->n = 0;
    if (n->aead == NULL) {
        return aead_new(&n->aead, n->cipher, key, err);
    }
    return aead_rekey(n->aead, key, err);
}

static enum varve_err
mix_key(struct noise *n, const uint8_t ikm[NOISE_KEY_SIZE], struct varve_error *err)
{
    uint8_t key[NOISE_HASH_SIZE];
    enum varve_err rc;

    hkdf(n->ck, ikm, NOISE_KEY_SIZE, n->ck, key, NULL);
    rc = initialize_key(n, key, err);
    sodium_memzero(key, sizeof(key));
    return rc;
}

static enum varve_err
mix_key_and_hash(struct noise *n, const uint8_t psk[NOISE_KEY_SIZE], struct varve_error *err)
{
    uint8_t temp[NOISE_HASH_SIZE];
    uint8_t key[NOISE_HASH_SIZE];
    enum varve_err rc;

    hkdf(n->ck, psk, NOISE_KEY_SIZE, n->ck, temp, key);
    mix_hash(n, temp, sizeof(temp));
    rc = initialize_key(n, key, err);
    sodium_memzero(temp, sizeof(temp));
    sodium_memzero(key, sizeof(key));
    return rc;
}

/* A key is always there: in IK the first thing encrypted comes after "es". */
static enum varve_err
encrypt_and_hash(struct noise *n, const void *in, size_t len, uint8_t *out, struct varve_error *err)
{
    enum varve_err rc = aead_seal(n->aead, n->n, n->h, sizeof(n->h), in, len, out, err);

    if (rc == VARVE_OK) {
        n->n++;
        mix_hash(n, out, len + AEAD_TAG_SIZE);
    }
    return rc;
}

/* len counts the tag. */
static enum varve_err
decrypt_and_hash(struct noise *n, const uint8_t *in, size_t len, uint8_t *out,
                 struct varve_error *err)
{
    uint8_t h[NOISE_HASH_SIZE];
    enum varve_err rc;

    hash2(h, n->h, sizeof(n->h), in, len);
    rc = aead_open(n->aead, n->n, n->h, sizeof(n->h), in, len, out, err);
    if (rc == VARVE_OK) {
        n->n++;
        memcpy(n->h, h, sizeof(h));
    }
    return rc;
}

/* ---- tokens, section 5.3 ---- */

static enum varve_err
mix_dh(struct noise *n, const uint8_t secret[NOISE_KEY_SIZE], const uint8_t public[NOISE_KEY_SIZE],
       struct varve_error *err)
{
    uint8_t shared[NOISE_KEY_SIZE];
    enum varve_err rc;

    if (crypto_scalarmult(shared, secret, public) != 0) {
        rc = varve_error_set(err, VARVE_ERR_AUTH, "the peer's key is not a proper point");
    } else {
        rc = mix_key(n, shared, err);
    }
    sodium_memzero(shared, sizeof(shared));
    return rc;
}

/* "es" and "se" name the initiator's key first, so each end uses its own half of them. */
static enum varve_err
token_es(struct noise *n, struct varve_error *err)
{
    return n->role == NOISE_INITIATOR ? mix_dh(n, n->e_secret, n->rs, err)
                                      : mix_dh(n, identity_secret(n->own), n->re, err);
}

static enum varve_err
token_se(struct noise *n, struct varve_error *err)
{
    return n->role == NOISE_INITIATOR ? mix_dh(n, identity_secret(n->own), n->re, err)
                                      : mix_dh(n, n->e_secret, n->rs, err);
}

static enum varve_err
write_e(struct noise *n, uint8_t out[NOISE_KEY_SIZE], struct varve_error *err)
{
    if (!n->ephemeral_fixed) {
        crypto_random(n->e_secret, sizeof(n->e_secret));
    }
    (void)crypto_scalarmult_base(n->e_public, n->e_secret);
    memcpy(out, n->e_public, NOISE_KEY_SIZE);
    mix_hash(n, n->e_public, NOISE_KEY_SIZE);
    return n->pattern == NOISE_IKPSK2 ? mix_key(n, n->e_public, err) : VARVE_OK; /* section 9.2 */
}

static enum varve_err
read_e(struct noise *n, const uint8_t in[NOISE_KEY_SIZE], struct varve_error *err)
{
    memcpy(n->re, in, NOISE_KEY_SIZE);
    mix_hash(n, n->re, NOISE_KEY_SIZE);
    return n->pattern == NOISE_IKPSK2 ? mix_key(n, n->re, err) : VARVE_OK;
}

/* ---- messages ---- */

/* -> e, es, s, ss */
static enum varve_err
write_message1(struct noise *n, const void *payload, size_t len, uint8_t *out,
               struct varve_error *err)
{
    enum varve_err rc = write_e(n, out, err);

    if (rc == VARVE_OK) {
        rc = token_es(n, err);
    }
    if (rc == VARVE_OK) {
        rc = encrypt_and_hash(n, identity_public(n->own), NOISE_KEY_SIZE, out + 32, err);
    }
    if (rc == VARVE_OK) {
        rc = mix_dh(n, identity_secret(n->own), n->rs, err);
    }
    if (rc == VARVE_OK) {
        rc = encrypt_and_hash(n, payload, len, out + 32 + 48, err);
    }
    return rc;
}

static enum varve_err
read_message1(struct noise *n, const uint8_t *msg, size_t len, uint8_t *out,
              struct varve_error *err)
{
    enum varve_err rc = read_e(n, msg, err);

    if (rc == VARVE_OK) {
        rc = token_es(n, err);
    }
    if (rc == VARVE_OK) {
        rc = decrypt_and_hash(n, msg + 32, 48, n->rs, err);
    }
    if (rc == VARVE_OK) {
        rc = mix_dh(n, identity_secret(n->own), n->rs, err);
    }
    if (rc == VARVE_OK) {
        rc = decrypt_and_hash(n, msg + 32 + 48, len - 32 - 48, out, err);
    }
    return rc;
}

/* ee, se and, with a secret, psk: the same calls at both ends. */
static enum varve_err
mix_message2(struct noise *n, struct varve_error *err)
{
    enum varve_err rc = mix_dh(n, n->e_secret, n->re, err);

    if (rc == VARVE_OK) {
        rc = token_se(n, err);
    }
    if (rc == VARVE_OK && n->pattern == NOISE_IKPSK2) {
        rc = n->has_psk ? mix_key_and_hash(n, n->psk, err)
                        : varve_error_set(err, VARVE_ERR_INTERNAL,
                                          "handshake: no one-time secret was given");
    }
    return rc;
}

/* <- e, ee, se (, psk) */
static enum varve_err
write_message2(struct noise *n, const void *payload, size_t len, uint8_t *out,
               struct varve_error *err)
{
    enum varve_err rc = write_e(n, out, err);

    if (rc == VARVE_OK) {
        rc = mix_message2(n, err);
    }
    if (rc == VARVE_OK) {
        rc = encrypt_and_hash(n, payload, len, out + 32, err);
    }
    return rc;
}

static enum varve_err
read_message2(struct noise *n, const uint8_t *msg, size_t len, uint8_t *out,
              struct varve_error *err)
{
    enum varve_err rc = read_e(n, msg, err);

    if (rc == VARVE_OK) {
        rc = mix_message2(n, err);
    }
    if (rc == VARVE_OK) {
        rc = decrypt_and_hash(n, msg + 32, len - 32, out, err);
    }
    return rc;
}

/* ---- the object ---- */

/* The name becomes the first h and ck: as it is when it has exactly HASHLEN bytes, else hashed. */
static void
initialize_symmetric(struct noise *n)
{
    static const char *const names[2][2] = {
        {"Noise_IK_25519_AESGCM_SHA256", "Noise_IK_25519_ChaChaPoly_SHA256"},
        {"Noise_IKpsk2_25519_AESGCM_SHA256", "Noise_IKpsk2_25519_ChaChaPoly_SHA256"},
    };
    const char *name = names[n->pattern == NOISE_IKPSK2][n->cipher == AEAD_CHACHA20POLY1305];
    size_t len = strlen(name);

    if (len <= NOISE_HASH_SIZE) {
        memset(n->h, 0, sizeof(n->h));
        memcpy(n->h, name, len);
    } else {
        hash2(n->h, name, len, NULL, 0);
    }
    memcpy(n->ck, n->h, sizeof(n->ck));
}

enum varve_err
noise_new(struct noise **out, const struct noise_params *params, struct varve_error *err)
{
    struct noise *n = NULL;

    if ((params->pattern != NOISE_IK && params->pattern != NOISE_IKPSK2) ||
        !aead_available(params->cipher)) {
        return varve_error_set(err, VARVE_ERR_UNSUPPORTED,
                               "handshake pattern %d with cipher %d is not available here",
                               (int)params->pattern, (int)params->cipher);
    }
    if ((params->role == NOISE_INITIATOR) != (params->peer_public != NULL)) {
        return varve_error_set(err, VARVE_ERR_INTERNAL,
                               "handshake: the initiator alone knows the peer's key");
    }
    n = secret_alloc(sizeof(*n));
    if (n == NULL) {
        return varve_error_nomem(err);
    }
    n->role = params->role;
    n->pattern = params->pattern;
    n->cipher = params->cipher;
    n->own = params->own;
    n->step = STEP_MESSAGE1;
    initialize_symmetric(n);
    mix_hash(n, params->prologue, params->prologue_len);
    /* Pre-message: <- s */
    if (params->role == NOISE_INITIATOR) {
        memcpy(n->rs, params->peer_public, NOISE_KEY_SIZE);
        mix_hash(n, n->rs, NOISE_KEY_SIZE);
    } else {
        mix_hash(n, identity_public(n->own), NOISE_KEY_SIZE);
    }
    *out = n;
    return VARVE_OK;
}

void
noise_free(struct noise *n)
{
    if (n != NULL) {
        aead_free(n->aead);
        secret_free(n, sizeof(*n)); /* wipes */
    }
}

void
noise_set_psk(struct noise *n, const uint8_t psk[NOISE_KEY_SIZE])
{
    memcpy(n->psk, psk, NOISE_KEY_SIZE);
    n->has_psk = true;
}

void
noise_fix_ephemeral(struct noise *n, const uint8_t secret[NOISE_KEY_SIZE])
{
    memcpy(n->e_secret, secret, NOISE_KEY_SIZE);
    n->ephemeral_fixed = true;
}

/* The initiator writes message 1 and reads message 2. */
static bool
may(const struct noise *n, enum noise_role writer_of_1)
{
    return (n->step == STEP_MESSAGE1 && n->role == writer_of_1) ||
           (n->step == STEP_MESSAGE2 && n->role != writer_of_1);
}

static enum varve_err
out_of_order(struct noise *n, struct varve_error *err)
{
    n->step = STEP_DEAD;
    return varve_error_set(err, VARVE_ERR_INTERNAL, "handshake: step out of order");
}

static enum varve_err
step_done(struct noise *n, enum varve_err rc)
{
    if (rc != VARVE_OK) {
        n->step = STEP_DEAD;
    } else {
        n->step = n->step == STEP_MESSAGE1 ? STEP_MESSAGE2 : STEP_SPLIT;
    }
    return rc;
}

enum varve_err
noise_write(struct noise *n, const void *payload, size_t len, uint8_t *out, size_t *out_len,
            struct varve_error *err)
{
    bool first = n->step == STEP_MESSAGE1;
    size_t overhead = first ? NOISE_MESSAGE1_OVERHEAD : NOISE_MESSAGE2_OVERHEAD;
    enum varve_err rc;

    if (!may(n, NOISE_INITIATOR)) {
        return out_of_order(n, err);
    }
    if (len > NOISE_MESSAGE_MAX - overhead) {
        return varve_error_set(err, VARVE_ERR_LIMIT, "handshake payload of %zu bytes", len);
    }
    rc = first ? write_message1(n, payload, len, out, err)
               : write_message2(n, payload, len, out, err);
    if (rc == VARVE_OK) {
        *out_len = len + overhead;
    }
    return step_done(n, rc);
}

enum varve_err
noise_read(struct noise *n, const uint8_t *msg, size_t len, uint8_t *out, size_t *out_len,
           struct varve_error *err)
{
    bool first = n->step == STEP_MESSAGE1;
    size_t overhead = first ? NOISE_MESSAGE1_OVERHEAD : NOISE_MESSAGE2_OVERHEAD;
    enum varve_err rc;

    if (!may(n, NOISE_RESPONDER)) {
        return out_of_order(n, err);
    }
    if (len < overhead || len > NOISE_MESSAGE_MAX) {
        return step_done(
            n, varve_error_set(err, VARVE_ERR_AUTH, "handshake message of %zu bytes", len));
    }
    rc = first ? read_message1(n, msg, len, out, err) : read_message2(n, msg, len, out, err);
    if (rc == VARVE_OK) {
        *out_len = len - overhead;
    }
    return step_done(n, rc);
}

const uint8_t *
noise_peer_key(const struct noise *n)
{
    return n->rs;
}

const uint8_t *
noise_hash(const struct noise *n)
{
    return n->h;
}

enum varve_err
noise_split(struct noise *n, struct aead **send, struct aead **recv, struct varve_error *err)
{
    uint8_t k1[NOISE_HASH_SIZE];
    uint8_t k2[NOISE_HASH_SIZE];
    struct aead *first = NULL;
    struct aead *second = NULL;
    enum varve_err rc;

    if (n->step != STEP_SPLIT) {
        return out_of_order(n, err);
    }
    hkdf(n->ck, NULL, 0, k1, k2, NULL);
    rc = aead_new(&first, n->cipher, k1, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    rc = aead_new(&second, n->cipher, k2, err);
    if (rc != VARVE_OK) {
        goto out;
    }
    n->step = STEP_DONE;
    *send = n->role == NOISE_INITIATOR ? first : second;
    *recv = n->role == NOISE_INITIATOR ? second : first;
    first = NULL;
    second = NULL;
out:
    sodium_memzero(k1, sizeof(k1));
    sodium_memzero(k2, sizeof(k2));
    aead_free(first);
    aead_free(second);
    return rc;
}
