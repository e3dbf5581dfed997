/* Read by cffi as well: declarations and `#define NAME number` only. */
#ifndef PS_INDEX_API_H
#define PS_INDEX_API_H
/* The digest index of one module: digests of files by path, valid as long as a file's inode, size, mtime and ctime are the
 * recorded ones. One process writes, any number read; a reader goes on after chroot and setuid. Names are relative to the
 * module's root, each followed by a NUL. Files are looked at beneath root_fd, without following a symlink at the end. */
typedef struct ps_index ps_index;

#define PS_INDEX_TEXT 512  /* bytes of a line about an error */
#define PS_DIGEST_BLAKE3 1 /* kind of a digest, wherever one is stored or sent */

/* what became of one name */
#define PS_INDEX_HIT 0     /* known and valid */
#define PS_INDEX_MISS 1    /* not known, or recorded for another state of the file */
#define PS_INDEX_GONE 2    /* no such file, or not a regular one */
#define PS_INDEX_ERROR 3   /* errno in `error` */
#define PS_INDEX_STORED 4  /* hashed and recorded */
#define PS_INDEX_CHANGED 5 /* changed while it was read: not recorded */

/* flags */
#define PS_INDEX_SUMS 1    /* block sums are wanted as well */
#define PS_INDEX_NO_STAT 2 /* lookup: whatever is recorded, without a look at the file */

typedef struct ps_index_answer {
    int32_t status, error; /* PS_INDEX_*; the rest for HIT only */
    uint64_t size, inode;
    int64_t mtime, ctime;
    uint32_t mtime_ns, ctime_ns;
    uint32_t kind;         /* PS_DIGEST_* */
    int32_t block_length;  /* of the block sums: rsync's rule from the size */
    uint32_t pieces, blocks;
    uint64_t pieces_at, sums_at, path_at; /* offsets in ps_index_data: pieces × 32 bytes; blocks × (u32 weak, 8 bytes of xxh128, seed 0) */
    uint32_t path_length;
    uint8_t root[32];
} ps_index_answer;

/* writer: 1 makes the index where there is none. NULL: one line in why (PS_INDEX_TEXT bytes), errno (or 0) in *error. */
ps_index *ps_index_open(const char *path, int writer, char *why, int *error);
void ps_index_close(ps_index *x);
const char *ps_index_error(const ps_index *x); /* one line about the last PS_FAIL */
void ps_index_cancel(ps_index *x);             /* from any thread: ends ps_index_hash after the current buffer */

int ps_index_lookup(ps_index *x, int root_fd, const uint8_t *names, size_t names_length, int flags, ps_index_answer *out, uint32_t count);
const uint8_t *ps_index_data(const ps_index *x, size_t *length); /* of the last lookup or list */
/* Hashes the named files where they are not known yet and records them; stops after `budget` bytes were read. *done: names dealt
 * with. PS_OK, PS_FAIL. */
int ps_index_hash(ps_index *x, int root_fd, const uint8_t *names, size_t names_length, int flags, uint64_t budget, ps_index_answer *out,
                  uint32_t count, uint32_t *done);
/* Records a digest made elsewhere (by a receiver, after the final rename): pieces × 32 bytes as the size asks for. */
int ps_index_record(ps_index *x, int root_fd, const char *name, const uint8_t *pieces, uint32_t count, int *status);
int ps_index_remove(ps_index *x, const char *name);
int ps_index_commit(ps_index *x); /* what hash, record and remove left queued; they commit by themselves every few MiB */
/* Looks at up to `most` recorded files and removes those that are gone or differ. PS_OK: call again; PS_DONE: all were seen. */
int ps_index_prune(ps_index *x, int root_fd, uint32_t most, uint64_t *removed);
/* The next recorded entries, in no useful order. restart: from the first on. */
int ps_index_list(ps_index *x, int restart, ps_index_answer *out, uint32_t capacity, uint32_t *count);
/* The next ps_index_list (without restart) and ps_index_prune go on at the first key that is not below this one: 32 bytes. Keys are
 * digests, so a random key picks a random entry. */
void ps_index_seek(ps_index *x, const uint8_t *key);
int ps_index_count(ps_index *x, uint64_t *count);
#endif
