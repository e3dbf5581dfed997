/* The digest index: opening, views, look-ups and batches of writes. */
#include "digest/index.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/fsuid.h>
#endif

#define FORMAT_VERSION 1
#define VERSION_KEY "version"
#define HEADER_LENGTH 88
#define MAP_START ((size_t)16 << 20)
#define READERS_MAX 4096        /* a worker each */
#define QUEUE_LIMIT ((size_t)8 << 20)
#define DELETED UINT32_MAX
#define FLAG_SUMS 1u

int index_fail(ps_index *x, int code, const char *what) {
    snprintf(x->error, sizeof x->error, "digest index: cannot %s: %s", what, mdb_strerror(code));
    errno = code > 0 ? code : EIO;
    return PS_FAIL;
}

/* ---- records ---- */

static i64 mtime_ns(const struct stat *st) { return (i64)st->st_mtim.tv_nsec; }
static i64 ctime_ns(const struct stat *st) { return (i64)st->st_ctim.tv_nsec; }

bool index_same(const ps_index_entry *e, const struct stat *st) {
    return e->size == (u64)st->st_size && e->inode == (u64)st->st_ino && e->mtime == (i64)st->st_mtim.tv_sec &&
           e->ctime == (i64)st->st_ctim.tv_sec && e->mtime_ns == (u32)mtime_ns(st) && e->ctime_ns == (u32)ctime_ns(st);
}

/* Layout, little-endian: version u8, kind u8, flags u8, 0, mtime ns u32, ctime ns u32, path length u32, inode u64, size u64,
 * mtime i64, ctime i64, root 32, pieces u32 (0: one, the root), blocks u32; then path, pieces, block sums. */
bool index_decode(const u8 *value, size_t n, ps_index_entry *out) {
    ps_reader r = rd_make(value, n);
    if (rd_u8(&r) != FORMAT_VERSION) return false;
    out->kind = rd_u8(&r);
    (void)rd_u16(&r);
    out->mtime_ns = rd_u32(&r);
    out->ctime_ns = rd_u32(&r);
    out->path_length = rd_u32(&r);
    out->inode = rd_u64(&r);
    out->size = rd_u64(&r);
    out->mtime = (i64)rd_u64(&r);
    out->ctime = (i64)rd_u64(&r);
    out->root = rd_bytes(&r, 32);
    u32 pieces = rd_u32(&r);
    out->blocks = rd_u32(&r);
    out->path = (const char *)rd_bytes(&r, out->path_length);
    const u8 *list = rd_bytes(&r, (size_t)pieces * 32);
    out->sums = rd_bytes(&r, (size_t)out->blocks * PS_INDEX_SUM);
    out->pieces = pieces ? list : out->root;
    out->piece_count = pieces ? pieces : 1;
    return rd_ok(&r) && rd_left(&r) == 0 && out->kind == PS_DIGEST_BLAKE3 && out->piece_count == piece_count(out->size);
}

static bool encode(ps_buf *b, const char *path, size_t len, const struct stat *st, const u8 root[32], const u8 *pieces, u32 piece_total,
                   const u8 *sums, u32 blocks) {
    u32 stored = piece_total > 1 ? piece_total : 0;
    buf_u8(b, FORMAT_VERSION), buf_u8(b, PS_DIGEST_BLAKE3), buf_u8(b, blocks ? FLAG_SUMS : 0), buf_u8(b, 0);
    buf_u32(b, (u32)mtime_ns(st)), buf_u32(b, (u32)ctime_ns(st)), buf_u32(b, (u32)len);
    buf_u64(b, (u64)st->st_ino), buf_u64(b, (u64)st->st_size);
    buf_u64(b, (u64)(i64)st->st_mtim.tv_sec), buf_u64(b, (u64)(i64)st->st_ctim.tv_sec);
    buf_put(b, root, 32), buf_u32(b, stored), buf_u32(b, blocks);
    buf_put(b, path, len);
    if (stored) buf_put(b, pieces, (size_t)stored * 32);
    if (blocks) buf_put(b, sums, (size_t)blocks * PS_INDEX_SUM);
    return !b->failed;
}

/* ---- opening ---- */

static ps_index *refuse(ps_index *x, char *why, int *error, int code, const char *path, const char *reason) {
    snprintf(why, PS_INDEX_TEXT, "the digest index %.300s %s", path, reason);
    *error = code > 0 ? code : 0;
    ps_index_close(x);
    return NULL;
}

static const char *open_reason(int code) {
    switch (code) {
    case ENOENT: return "does not exist yet: build it with `prsyncctl index`";
    case MDB_INVALID:
    case MDB_VERSION_MISMATCH: return "is not a file that this prsync can read: remove it, it will be built again";
    default: return mdb_strerror(code);
    }
}

/* Finds the format version, or (writer) records it in a new file. 0 or an error code; *version is 0 for an empty file. */
static int check_version(ps_index *x, u32 *version) {
    MDB_txn *txn;
    MDB_dbi dbi;
    MDB_stat stat;
    MDB_val key = {sizeof VERSION_KEY - 1, (void *)(uintptr_t)VERSION_KEY}, value;
    int code = mdb_txn_begin(x->env, NULL, x->writer ? 0 : MDB_RDONLY, &txn);
    if (code) return code;
    code = mdb_dbi_open(txn, NULL, 0, &dbi);
    if (!code) code = mdb_stat(txn, dbi, &stat);
    if (!code) code = mdb_get(txn, dbi, &key, &value);
    *version = 0;
    if (!code && value.mv_size == 4) {
        ps_reader r = rd_make(value.mv_data, 4);
        *version = rd_u32(&r);
    }
    if (code == MDB_NOTFOUND) {
        code = stat.ms_entries ? MDB_INVALID : 0;
        u8 raw[4] = {FORMAT_VERSION, 0, 0, 0};
        value = (MDB_val){sizeof raw, raw};
        if (!code && x->writer) code = mdb_put(txn, dbi, &key, &value, 0);
        *version = FORMAT_VERSION;
    }
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

/* LMDB opens its two files by name, makes and initialises the lock file. Root does that as the owner of their directory: else
 * whoever owns it could point root at any file; and the files shall belong to the indexer, whoever makes them. */
static int open_env(ps_index *x, const char *path, unsigned flags) {
#ifdef __linux__
    char folder[PS_LIMIT_NAME + 1];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) + 1 : 1;
    struct stat st;
    if (n > PS_LIMIT_NAME) return ENAMETOOLONG;
    memcpy(folder, slash ? path : ".", n);
    folder[n] = 0;
    bool change = geteuid() == 0 && stat(folder, &st) == 0 && st.st_uid != 0;
    if (change) {
        setfsgid(st.st_gid);
        setfsuid(st.st_uid);
    }
    int code = mdb_env_open(x->env, path, flags, 0600);
    if (change) {
        setfsuid(geteuid());
        setfsgid(getegid());
    }
    return code;
#else
    return mdb_env_open(x->env, path, flags, 0600);
#endif
}

ps_index *ps_index_open(const char *path, int writer, char *why, int *error) {
    ps_index *x = calloc(1, sizeof *x);
    u32 version = 0;
    int code = ENOMEM;
    if (x) {
        x->writer = writer;
        x->ctx = ps_ctx_new();
        x->blake3 = blake3_new();
        /* Now, because nothing may be loaded after a privilege drop. */
        if (x->ctx && x->blake3 && block_hasher_init(&x->blocks, PS_SUM_XXH128, 0, true)) code = mdb_env_create(&x->env);
    }
    if (!code) code = mdb_env_set_maxreaders(x->env, READERS_MAX);
    if (!code) code = mdb_env_set_mapsize(x->env, MAP_START);
    /* The last commit may be lost in a power failure, never the file's integrity: a lost digest is made again. */
    unsigned flags = MDB_NOSUBDIR | MDB_NOTLS | MDB_NORDAHEAD | (writer ? MDB_NOMETASYNC : MDB_RDONLY);
    if (!code) code = open_env(x, path, flags);
    if (!code) code = check_version(x, &version);
    if (code) return refuse(x, why, error, code, path, open_reason(code));
    if (version != FORMAT_VERSION) {
        char reason[120];
        snprintf(reason, sizeof reason, "has format version %u, this prsync knows %d: remove it, it will be built again", version,
                 FORMAT_VERSION);
        return refuse(x, why, error, 0, path, reason);
    }
    return x;
}

void ps_index_close(ps_index *x) {
    if (!x) return;
    if (x->view) mdb_txn_abort(x->view);
    if (x->env) mdb_env_close(x->env);
    block_hasher_free(&x->blocks);
    blake3_free(x->blake3);
    if (x->ctx) ps_ctx_free(x->ctx);
    buf_free(&x->queue);
    buf_free(&x->data);
    free(x->buffer);
    free(x);
}

/* ---- views ---- */

static int open_view(ps_index *x) {
    return x->view ? mdb_txn_renew(x->view) : mdb_txn_begin(x->env, NULL, MDB_RDONLY, &x->view);
}

int index_begin(ps_index *x) {
    if (x->viewing) return PS_OK;
    int code = open_view(x), dead;
    if (code == MDB_MAP_RESIZED) { /* the writer has enlarged the file */
        code = mdb_env_set_mapsize(x->env, 0);
        if (!code) code = open_view(x);
    }
    if (code == MDB_READERS_FULL) { /* slots of readers that were killed */
        code = mdb_reader_check(x->env, &dead);
        if (!code) code = open_view(x);
    }
    if (code) return index_fail(x, code, "read");
    x->viewing = true;
    return PS_OK;
}

void index_end(ps_index *x) {
    if (x->viewing) mdb_txn_reset(x->view);
    x->viewing = false;
}

int index_lookup(ps_index *x, const char *path, size_t len, const struct stat *st, ps_index_entry *out) {
    u8 digest[PS_INDEX_KEY];
    blake3_hash((const u8 *)path, len, digest);
    MDB_val key = {sizeof digest, digest}, value;
    int code = mdb_get(x->view, PS_INDEX_DATABASE, &key, &value);
    if (code == MDB_NOTFOUND) return PS_AGAIN;
    if (code) return index_fail(x, code, "look up");
    bool valid = index_decode(value.mv_data, value.mv_size, out) && out->path_length == len && memcmp(out->path, path, len) == 0;
    return valid && (!st || index_same(out, st)) ? PS_OK : PS_AGAIN;
}

/* ---- writes ---- */

static int queue_memory(ps_index *x) {
    x->queue.failed = false;
    buf_clear(&x->queue);
    return index_fail(x, ENOMEM, "record");
}

int index_put(ps_index *x, const char *path, size_t len, const struct stat *st, const u8 root[32], const u8 *pieces, u32 count,
              const u8 *sums, u32 blocks) {
    u8 digest[PS_INDEX_KEY];
    size_t length = HEADER_LENGTH + len + (count > 1 ? (size_t)count * 32 : 0) + (size_t)blocks * PS_INDEX_SUM;
    if (len > PS_LIMIT_NAME || length >= DELETED) return index_fail(x, EINVAL, "record");
    blake3_hash((const u8 *)path, len, digest);
    if (!buf_put(&x->queue, digest, sizeof digest) || !buf_u32(&x->queue, (u32)length) ||
        !encode(&x->queue, path, len, st, root, pieces, count, sums, blocks))
        return queue_memory(x);
    return buf_used(&x->queue) > QUEUE_LIMIT ? index_commit(x) : PS_OK;
}

int index_delete(ps_index *x, const char *path, size_t len) {
    u8 digest[PS_INDEX_KEY];
    blake3_hash((const u8 *)path, len, digest);
    if (!buf_put(&x->queue, digest, sizeof digest) || !buf_u32(&x->queue, DELETED)) return queue_memory(x);
    return buf_used(&x->queue) > QUEUE_LIMIT ? index_commit(x) : PS_OK;
}

static int write_queue(ps_index *x) {
    MDB_txn *txn;
    int code = mdb_txn_begin(x->env, NULL, 0, &txn);
    if (code) return code;
    ps_reader r = rd_make(buf_head(&x->queue), buf_used(&x->queue));
    while (!code && rd_left(&r)) {
        const u8 *digest = rd_bytes(&r, PS_INDEX_KEY);
        u32 length = rd_u32(&r);
        MDB_val key = {PS_INDEX_KEY, (void *)(uintptr_t)digest}, value = {length, NULL};
        if (length == DELETED) {
            code = mdb_del(txn, PS_INDEX_DATABASE, &key, NULL);
            if (code == MDB_NOTFOUND) code = 0;
            continue;
        }
        value.mv_data = (void *)(uintptr_t)rd_bytes(&r, length);
        code = mdb_put(txn, PS_INDEX_DATABASE, &key, &value, 0);
    }
    if (code) {
        mdb_txn_abort(txn);
        return code;
    }
    return mdb_txn_commit(txn);
}

static int enlarge(ps_index *x) {
    MDB_envinfo info;
    int code = mdb_env_info(x->env, &info);
    if (code) return code;
    size_t size = info.me_mapsize * 2, needed = info.me_mapsize + 4 * buf_used(&x->queue);
    if (size < needed) size = (needed + 0xfffff) & ~(size_t)0xfffff;
    return mdb_env_set_mapsize(x->env, size);
}

int index_commit(ps_index *x) {
    if (!buf_used(&x->queue)) return PS_OK;
    index_end(x); /* the map may move */
    int code = write_queue(x);
    if (code == MDB_MAP_RESIZED) { /* another writer was at work before */
        code = mdb_env_set_mapsize(x->env, 0);
        if (!code) code = write_queue(x);
    }
    while (code == MDB_MAP_FULL) {
        code = enlarge(x);
        if (!code) code = write_queue(x);
    }
    buf_clear(&x->queue);
    return code ? index_fail(x, code, "write") : PS_OK;
}
