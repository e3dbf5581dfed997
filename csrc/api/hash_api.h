/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_HASH_API_H
#define PS_HASH_API_H
#define PS_LIMIT_DIGEST 64 /* bytes of the longest digest: what `out` must hold */

/* Small calls for tests and for control code; bulk users are in C. */

/* Checksum or digest (PS_SUM_*) of a buffer. PS_FAIL: the kind is unknown or libcrypto refuses it. */
int ps_hash_bytes(int kind, const uint8_t *data, size_t n, uint8_t *out /* 64 */, size_t *out_len);
/* The same of an open file from its start to its end. PS_FAIL: errno in *error, 0 for an unknown kind. */
int ps_hash_fd(int kind, int fd, uint8_t *out /* 64 */, size_t *out_len, int *error);
size_t ps_sum_length(int kind); /* bytes; 0 for an unknown kind */
uint32_t ps_weak_sum(const uint8_t *data, size_t n);
int ps_block_sum(int kind, int32_t seed, bool proper_seed_order, const uint8_t *data, size_t n, uint8_t *out /* 64 */, size_t *out_len);

typedef struct ps_head { int32_t count, block_length, strong_length, remainder; } ps_head;
void ps_head_for(int64_t file_length, int32_t block_size, int protocol, int kind, bool longest_strong, ps_head *out);
/* Wire form of all block sums of an open file; out holds count * (4 + strong_length) bytes. */
int ps_block_sums(int kind, int32_t seed, bool proper_seed_order, int fd, int64_t file_length, const ps_head *head, uint8_t *out,
                  int *error);

/* What a search reports: literal bytes, then a block (-1: none). Literal runs in a row are one. */
typedef struct ps_match_op { int64_t literal; int32_t block; } ps_match_op;
typedef struct ps_search {
    int32_t kind, seed, proper_seed_order; /* of the block sums */
    ps_head head;
    int32_t in_place;
    int32_t sum_kind;                      /* of the file's checksum, made on the way */
    int32_t full_every;                    /* tests: answer PS_FULL at every nth report; 0: never */
    int64_t size;
} ps_search;
/* Searches an open file for the blocks whose sums stand at `sums` in wire form. At most cap operations are stored, *count is
 * how many there are. PS_FAIL: errno in *error (0: the file ended early). */
int ps_search_fd(const ps_search *search, const uint8_t *sums, int fd, ps_match_op *ops, size_t cap, size_t *count,
                 uint8_t *file_sum /* 64 */, int *error);

/* ---- digests and pieces ---- */
uint32_t ps_piece_log2(uint64_t size);
uint64_t ps_piece_count(uint64_t size);
/* Digest of piece `index` (its n bytes) of a file of `size` bytes. */
void ps_piece_digest(const uint8_t *data, size_t n, uint64_t index, uint64_t size, uint8_t *out /* 32 */);
void ps_pieces_root(const uint8_t *digests, uint64_t size, uint8_t *out /* 32 */);
/* PS_FAIL: errno in *error, 0 when the file ended before `size`. */
int ps_digest_fd(int fd, uint64_t size, uint8_t *pieces, uint8_t *root /* 32 */, int *error);
/* Tests: BLAKE3 of a buffer by one build (0 scalar, 1 generic, 2 AVX2, 3 AVX-512); PS_FAIL where it cannot run. `step`: fed in
 * parts of this size. */
int ps_blake3_with(int build, const uint8_t *data, size_t n, size_t step, uint8_t *out /* 32 */);
#endif
