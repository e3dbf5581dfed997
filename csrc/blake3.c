#include "hash.h"
#include <stdlib.h>
struct ps_blake3 { int unused; };
ps_blake3 *blake3_new(void) { return calloc(1, sizeof(ps_blake3)); }
void blake3_free(ps_blake3 *b) { free(b); }
void blake3_begin(ps_blake3 *b) { (void)b; }
void blake3_update(ps_blake3 *b, const void *data, size_t n) { (void)b, (void)data, (void)n; }
void blake3_final(ps_blake3 *b, u8 out[32]) { (void)b, memset(out, 0, 32); }
void blake3_hash(const u8 *data, size_t n, u8 out[32]) { (void)data, (void)n, memset(out, 0, 32); }
