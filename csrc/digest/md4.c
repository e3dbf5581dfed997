/* MD4, written from RFC 1320. */
#include "digest/md4.h"

static inline u32 load_le(const u8 *p) { return (u32)p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24; }
static inline void store_le(u8 *p, u32 v) {
    for (int i = 0; i < 4; i++) p[i] = (u8)(v >> (8 * i));
}
static inline u32 rotate(u32 v, int by) { return v << by | v >> (32 - by); }

#define CHOOSE(x, y, z) ((z) ^ ((x) & ((y) ^ (z))))
#define MAJORITY(x, y, z) (((x) & (y)) | ((z) & ((x) | (y))))
#define PARITY(x, y, z) ((x) ^ (y) ^ (z))
#define STEP(f, a, b, c, d, word, constant, by) a = rotate(a + f(b, c, d) + (word) + (constant), by)
#define FOUR(f, k, w0, w1, w2, w3, r0, r1, r2, r3) \
    STEP(f, a, b, c, d, x[w0], k, r0);             \
    STEP(f, d, a, b, c, x[w1], k, r1);             \
    STEP(f, c, d, a, b, x[w2], k, r2);             \
    STEP(f, b, c, d, a, x[w3], k, r3)

static void md4_blocks(u32 state[4], const u8 *data, size_t blocks) {
    u32 a = state[0], b = state[1], c = state[2], d = state[3], x[16];
    for (; blocks; blocks--, data += 64) {
        u32 a0 = a, b0 = b, c0 = c, d0 = d;
        for (int i = 0; i < 16; i++) x[i] = load_le(data + 4 * i);
        FOUR(CHOOSE, 0u, 0, 1, 2, 3, 3, 7, 11, 19);
        FOUR(CHOOSE, 0u, 4, 5, 6, 7, 3, 7, 11, 19);
        FOUR(CHOOSE, 0u, 8, 9, 10, 11, 3, 7, 11, 19);
        FOUR(CHOOSE, 0u, 12, 13, 14, 15, 3, 7, 11, 19);
        FOUR(MAJORITY, 0x5a827999u, 0, 4, 8, 12, 3, 5, 9, 13);
        FOUR(MAJORITY, 0x5a827999u, 1, 5, 9, 13, 3, 5, 9, 13);
        FOUR(MAJORITY, 0x5a827999u, 2, 6, 10, 14, 3, 5, 9, 13);
        FOUR(MAJORITY, 0x5a827999u, 3, 7, 11, 15, 3, 5, 9, 13);
        FOUR(PARITY, 0x6ed9eba1u, 0, 8, 4, 12, 3, 9, 11, 15);
        FOUR(PARITY, 0x6ed9eba1u, 2, 10, 6, 14, 3, 9, 11, 15);
        FOUR(PARITY, 0x6ed9eba1u, 1, 9, 5, 13, 3, 9, 11, 15);
        FOUR(PARITY, 0x6ed9eba1u, 3, 11, 7, 15, 3, 9, 11, 15);
        a += a0, b += b0, c += c0, d += d0;
    }
    state[0] = a, state[1] = b, state[2] = c, state[3] = d;
}

void md4_begin(ps_md4 *m) {
    m->state[0] = 0x67452301u, m->state[1] = 0xefcdab89u, m->state[2] = 0x98badcfeu, m->state[3] = 0x10325476u;
    m->length = 0;
}

void md4_update(ps_md4 *m, const u8 *data, size_t n) {
    size_t held = (size_t)(m->length & 63);
    m->length += n;
    if (held) {
        size_t take = 64 - held < n ? 64 - held : n;
        memcpy(m->block + held, data, take);
        data += take, n -= take;
        if (held + take < 64) return;
        md4_blocks(m->state, m->block, 1);
    }
    md4_blocks(m->state, data, n / 64);
    if (n & 63) memcpy(m->block, data + (n & ~(size_t)63), n & 63);
}

void md4_final(ps_md4 *m, u8 out[16]) {
    u64 bits = m->length * 8;
    size_t held = (size_t)(m->length & 63);
    u8 tail[128] = {0};
    memcpy(tail, m->block, held);
    tail[held] = 0x80;
    size_t end = held < 56 ? 64 : 128;
    store_le(tail + end - 8, (u32)bits);
    store_le(tail + end - 4, (u32)(bits >> 32));
    md4_blocks(m->state, tail, end / 64);
    for (int i = 0; i < 4; i++) store_le(out + 4 * i, m->state[i]);
}
