#include "hash.h"
int ps_hash_bytes(int kind, const uint8_t *data, size_t n, uint8_t *out, size_t *out_len) {
    (void)kind, (void)data, (void)n, (void)out;
    *out_len = 0;
    return PS_FAIL;
}
