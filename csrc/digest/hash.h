/* Weak and strong sums, whole-file checksums, digests with pieces. */
#ifndef PS_HASH_H
#define PS_HASH_H
#include "core/context.h"
#include "api/hash_api.h"

/* ---- weak sum, checksum.c:get_checksum1: signed bytes, s1 | s2 << 16 ---- */
u32 weak_sum(const u8 *data, size_t n);

/* ---- streaming checksum of any PS_SUM_* ---- */
typedef struct ps_sum ps_sum; /* opaque; reusable */
ps_sum *sum_new(void);
void sum_free(ps_sum *s);
size_t sum_length(int kind);        /* bytes; 1 for NONE as rsync has it */
bool sum_init(ps_sum *s, int kind);
/* checksum.c:sum_init for a transferred file: of all kinds only MD4_SEEDED takes the seed in. */
bool sum_init_transfer(ps_sum *s, int kind, i32 seed);
void sum_update(ps_sum *s, const void *data, size_t n);
size_t sum_final(ps_sum *s, u8 out[PS_LIMIT_CHECKSUM]); /* rsync's byte order for xxh* */
/* Takes in the next part of an open file's *left bytes. PS_OK: call again; PS_DONE: that was all, or what can be read; PS_FAIL: memory. */
int sum_read(ps_sum *s, int fd, i64 *left);

/* ---- strong sum of one block, checksum.c:get_checksum2 ---- */
typedef struct ps_block_hasher { int kind; i32 seed; bool seed_first; ps_sum *scratch; } ps_block_hasher;
bool block_hasher_init(ps_block_hasher *h, int kind, i32 seed, bool proper_seed_order);
void block_hasher_free(ps_block_hasher *h);
void block_sum(ps_block_hasher *h, const u8 *data, size_t n, u8 out[PS_LIMIT_CHECKSUM]);

/* ---- generator.c:sum_sizes_sqroot ---- */
typedef struct ps_sum_head { i32 count, block_length, strong_length, remainder; i64 file_length; } ps_sum_head;
i32 block_length_limit(int protocol); /* the longest block that a request may have */
void sum_head_for(i64 file_length, i32 block_size_option, int protocol, int kind, bool longest_strong, ps_sum_head *out);

/* -c: after so many bytes of files read, what there is for the remote goes out, and what has come is looked at. */
#define PS_HASH_STEP ((i64)16 * 1024 * 1024)

/* Sums of every block of an open file, appended to out as they go on the wire: u32 weak, strong[strong_length].
 * What lies beyond the end of a file that has shrunk counts as zeros, as in rsync. Returns PS_OK, PS_FAIL with errno set
 * (a read error; the caller says which file). */
int block_sums_of_fd(ps_block_hasher *h, int fd, const ps_sum_head *head, ps_buf *out);
/* The same for `count` blocks from block `first` on, to do a large file in steps. */
int block_sums_range(ps_block_hasher *h, int fd, const ps_sum_head *head, i32 first, i32 count, ps_buf *out);

/* ---- search: blocks of `sums` within new data (match.c:hash_search) ---- */
typedef struct ps_sums ps_sums; /* received block sums with their hash table; reusable */
ps_sums *sums_new(void);
void sums_free(ps_sums *s);
/* wire: head->count × (4 + strong_length) bytes, copied and indexed. false: memory. */
bool sums_load(ps_sums *s, const ps_sum_head *head, const u8 *wire);
const ps_sum_head *sums_head(const ps_sums *s);

/* The searcher reads an open file front to back with bounded memory and reports runs in order: literal data
 * (pointer valid during the call) followed by a block index. Emulates match.c's choice of blocks (prefers the next adjacent
 * block, then the last with that sum; honours the short last block). */
typedef int (*ps_match_fn)(void *owner, const u8 *literal, size_t literal_len, i32 block); /* block -1: literal only */

/* file_sum (may be NULL) is updated with every byte of the file. Returns PS_OK, PS_FAIL (errno: read error, 0 when the file
 * ended early), or what fn returned when that was not PS_OK. i64 *matched: bytes covered by blocks. */
int match_fd(ps_sums *s, ps_block_hasher *h, int fd, i64 size, ps_sum *file_sum, ps_match_fn fn, void *owner, i64 *matched);

/* The same in steps, for the sender, whose output is bounded (match_fd may be a loop over it). in_place: the basis is being
 * overwritten (match.c:updating_basis_file): only blocks at or after the current offset, or identical at the same offset. */
typedef struct ps_match ps_match; /* reusable: one per session */
ps_match *match_new(void);
void match_free(ps_match *m);
bool match_begin(ps_match *m, ps_sums *s, ps_block_hasher *h, int fd, i64 size, bool in_place, ps_sum *file_sum, ps_match_fn fn,
                 void *owner); /* false: memory */
/* Goes on over about 256 KiB of the file. PS_OK: call again; PS_DONE: the end, everything was reported; PS_FAIL: read error
 * (errno; 0 when the file ended early); else what fn returned: that run counts as taken, so after PS_FULL go on with another
 * call. Literal data is handed on in runs of at most PS_MATCH_RUN bytes. */
#define PS_MATCH_RUN (256u * 1024u)
int match_step(ps_match *m);
typedef struct ps_match_counts { /* over all files */
    i64 matches, hash_hits, false_alarms;
} ps_match_counts;
const ps_match_counts *match_counts(const ps_match *m);
i64 match_matched(const ps_match *m); /* bytes covered by blocks so far */

/* ---- BLAKE3, digests and pieces: design.md section 8 ---- */
typedef struct ps_blake3 ps_blake3;
u32 piece_log2(u64 size);                 /* piece length is 1 << this: 2^k KiB, smallest >= max(256 KiB, size/2048), <= 16 MiB */
u64 piece_count(u64 size);                /* 1 for an empty file */
/* Digest of one whole buffer. */
void blake3_hash(const u8 *data, size_t n, u8 out[32]);
/* Chaining value of piece `index` of a file of `size` bytes; a file of one piece has its root as that piece's digest. */
void piece_digest(const u8 *data, size_t n, u64 index, u64 size, u8 out[32]);
/* The same fed in parts: begin for piece `index`, update in order, final. */
ps_blake3 *blake3_new(void);
void blake3_free(ps_blake3 *b);
void blake3_begin(ps_blake3 *b);                            /* whole input, no pieces */
void blake3_begin_piece(ps_blake3 *b, u64 index, u64 size);
void blake3_update(ps_blake3 *b, const void *data, size_t n);
void blake3_final(ps_blake3 *b, u8 out[32]);
/* Root from the piece digests of a file of `size` bytes: equals b3sum's of the file. */
void pieces_root(const u8 *digests, u64 size, u8 out[32]);
/* All piece digests of an open file (pieces: piece_count × 32 bytes) and its root. PS_FAIL: errno, or the file ended early (errno 0). */
int digest_fd(int fd, u64 size, u8 *pieces, u8 root[32]);

#endif
