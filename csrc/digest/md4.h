/* MD4 (RFC 1320), which libcrypto no longer offers without its legacy provider. */
#ifndef PS_HASH_MD4_H
#define PS_HASH_MD4_H
#include "core/bytes.h"

typedef struct ps_md4 {
    u32 state[4];
    u64 length; /* bytes taken so far */
    u8 block[64];
} ps_md4;

void md4_begin(ps_md4 *m);
void md4_update(ps_md4 *m, const u8 *data, size_t n);
void md4_final(ps_md4 *m, u8 out[16]);
#endif
