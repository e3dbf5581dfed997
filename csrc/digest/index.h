/* The digest index (design.md section 6): an LMDB file per module. */
#ifndef PS_INDEX_H
#define PS_INDEX_H
#include "digest/hash.h"
#include "fs/root.h"
#include "api/index_api.h"

#define PS_INDEX_KEY 32
#define PS_INDEX_SUM 12 /* bytes of one block's sums: weak, 8 of xxh128 */

/* One record; pointers into the map, valid until index_end. */
typedef struct ps_index_entry {
    u32 kind;
    u64 size, inode;
    i64 mtime, ctime;
    u32 mtime_ns, ctime_ns;
    const u8 *root, *pieces, *sums; /* pieces: `piece_count` × 32, the root itself where there is one piece */
    u32 piece_count, blocks;        /* blocks: 0 where no sums are recorded */
    const char *path;
    u32 path_length;
} ps_index_entry;

/* A consistent view; look-ups only between index_begin and index_end. Keep it short: it holds old pages. */
int index_begin(ps_index *x);
void index_end(ps_index *x);
/* PS_OK, PS_AGAIN (not recorded, or st is given and differs), PS_FAIL (index_error). */
int index_lookup(ps_index *x, const char *path, size_t len, const struct stat *st, ps_index_entry *out);
/* Queues a record. sums may be NULL. The path must be the file's that st describes, after its last rename. */
int index_put(ps_index *x, const char *path, size_t len, const struct stat *st, const u8 root[32], const u8 *pieces, u32 piece_count,
              const u8 *sums, u32 blocks);
int index_delete(ps_index *x, const char *path, size_t len);
int index_commit(ps_index *x);

/* For the parts of the index only. */
#define PS_INDEX_DATABASE 1 /* LMDB's handle of its unnamed database */
struct MDB_env;
struct MDB_txn;
struct ps_index {
    struct MDB_env *env;
    struct MDB_txn *view; /* read transaction: renewed by index_begin, reset by index_end */
    bool viewing, writer;
    volatile bool cancelled;
    ps_buf queue;        /* records to be written: key, u32 length (UINT32_MAX: delete), value */
    ps_buf data;         /* what the answers of the last call refer to */
    u8 next[PS_INDEX_KEY]; /* prune and list: where to go on */
    u8 next_length;        /* 0: from the first key */
    ps_ctx *ctx;         /* for ps_root */
    ps_blake3 *blake3;
    ps_block_hasher blocks;
    u8 *buffer;
    char error[PS_INDEX_TEXT];
};
int index_fail(ps_index *x, int code, const char *what);
bool index_same(const ps_index_entry *e, const struct stat *st);
bool index_decode(const u8 *value, size_t n, ps_index_entry *out);
#endif
