/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_HASH_API_H
#define PS_HASH_API_H
/* Small calls for tests and for control code; bulk users are in C. */
int ps_hash_bytes(int kind, const uint8_t *data, size_t n, uint8_t *out /* 64 */, size_t *out_len);
#endif
