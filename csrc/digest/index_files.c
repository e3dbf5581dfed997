/* The digest index and the module's files: look-ups in batches, hashing, pruning, listing. */
#include "digest/index.h"

#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BUFFER_SIZE ((size_t)512 * 1024)
#define SUMS_LIMIT ((u32)64 << 20) /* bytes of block sums that are worth keeping for one file */
/* A file changed twice within one tick of the file system's clock keeps its times: not hashed before that has passed. */
#define SETTLE_NS 20000000

typedef struct ps_names { /* names, each followed by a NUL */
    const u8 *at, *end;
} ps_names;

static const char *next_name(ps_names *n, size_t *len) {
    const u8 *name = n->at, *stop = name < n->end ? memchr(name, 0, (size_t)(n->end - name)) : NULL;
    if (!stop) return NULL;
    n->at = stop + 1;
    *len = (size_t)(stop - name);
    return (const char *)name;
}

static ps_root *open_root(ps_index *x, int root_fd) {
    int own = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
    ps_root *root = own < 0 ? NULL : root_from_fd(x->ctx, own);
    if (!root) index_fail(x, errno ? errno : ENOMEM, "open the module's root");
    return root;
}

static i32 status_of(int err) {
    return err == ENOENT || err == ENOTDIR || err == ELOOP || err == ENXIO ? PS_INDEX_GONE : PS_INDEX_ERROR;
}

/* PS_INDEX_HIT: a regular file, described in st. */
static i32 stat_name(ps_root *root, const char *name, struct stat *st, i32 *error) {
    const char *base;
    int dir = root_parent(root, name, &base);
    if (dir < 0 || fstatat(dir, base, st, AT_SYMLINK_NOFOLLOW) < 0) {
        *error = errno;
        return status_of(errno);
    }
    return S_ISREG(st->st_mode) ? PS_INDEX_HIT : PS_INDEX_GONE;
}

static i32 block_length_of(u64 size) {
    ps_sum_head head;
    sum_head_for((i64)size, 0, 30, PS_SUM_XXH128, false, &head);
    return head.block_length;
}

/* Whether block sums of a file are few enough to be kept. */
static bool sums_kept(u64 size) { return size / (u64)block_length_of(size) * PS_INDEX_SUM < SUMS_LIMIT; }

static bool answer(ps_index *x, const ps_index_entry *e, bool with_sums, ps_index_answer *out) {
    *out = (ps_index_answer){.status = PS_INDEX_HIT, .size = e->size, .inode = e->inode, .mtime = e->mtime, .ctime = e->ctime,
                             .mtime_ns = e->mtime_ns, .ctime_ns = e->ctime_ns, .kind = e->kind, .pieces = e->piece_count,
                             .path_length = e->path_length};
    memcpy(out->root, e->root, 32);
    out->pieces_at = x->data.len;
    buf_put(&x->data, e->pieces, (size_t)e->piece_count * 32);
    out->path_at = x->data.len;
    buf_put(&x->data, e->path, e->path_length);
    out->sums_at = x->data.len;
    if (with_sums && e->blocks) {
        out->blocks = e->blocks;
        out->block_length = block_length_of(e->size);
        buf_put(&x->data, e->sums, (size_t)e->blocks * PS_INDEX_SUM);
    }
    return !x->data.failed;
}

static void data_reset(ps_index *x) {
    buf_clear(&x->data);
    x->data.failed = false;
}

const uint8_t *ps_index_data(const ps_index *x, size_t *length) {
    *length = x->data.len;
    return x->data.data;
}

const char *ps_index_error(const ps_index *x) { return x->error; }
void ps_index_cancel(ps_index *x) { x->cancelled = true; }

int ps_index_lookup(ps_index *x, int root_fd, const uint8_t *names, size_t names_length, int flags, ps_index_answer *out, uint32_t count) {
    ps_names list = {names, names + names_length};
    bool look = !(flags & PS_INDEX_NO_STAT);
    ps_root *root = look ? open_root(x, root_fd) : NULL;
    int status = look && !root ? PS_FAIL : index_begin(x);
    data_reset(x);
    for (u32 i = 0; i < count && status == PS_OK; i++) {
        size_t len = 0;
        struct stat st;
        ps_index_entry e;
        const char *name = next_name(&list, &len);
        out[i] = (ps_index_answer){.status = PS_INDEX_GONE};
        if (!name) continue;
        out[i].status = look ? stat_name(root, name, &st, &out[i].error) : PS_INDEX_HIT;
        if (out[i].status != PS_INDEX_HIT) continue;
        int found = index_lookup(x, name, len, look ? &st : NULL, &e);
        if (found == PS_FAIL) status = PS_FAIL;
        else if (found == PS_AGAIN) out[i].status = PS_INDEX_MISS;
        else if (!answer(x, &e, flags & PS_INDEX_SUMS, &out[i])) status = index_fail(x, ENOMEM, "look up");
    }
    index_end(x);
    root_free(root);
    return status;
}

/* ---- hashing ---- */

static void settle(const struct stat *st) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    i64 age = (i64)(now.tv_sec - st->st_ctim.tv_sec) * 1000000000 + (now.tv_nsec - st->st_ctim.tv_nsec);
    if (age < 0 || age >= SETTLE_NS) return; /* a time in the future cannot be waited for */
    struct timespec rest = {0, SETTLE_NS - age};
    nanosleep(&rest, NULL);
}

typedef struct ps_hashing { /* one file in work */
    int fd;
    u64 size;
    ps_buf pieces, sums; /* sums: empty where not wanted */
    bool with_sums;
    i32 block_length;
    u8 root[32];
} ps_hashing;

static void feed_pieces(ps_index *x, ps_hashing *f, u64 at, const u8 *data, size_t n) {
    u64 length = (u64)1 << piece_log2(f->size);
    while (n) {
        u64 left = length - at % length;
        size_t take = n < left ? n : (size_t)left;
        if (at % length == 0) blake3_begin_piece(x->blake3, at / length, f->size);
        blake3_update(x->blake3, data, take);
        at += take, data += take, n -= take;
        if (at % length == 0 || at == f->size) {
            u8 digest[32];
            blake3_final(x->blake3, digest);
            buf_put(&f->pieces, digest, 32);
        }
    }
}

static void feed_sums(ps_index *x, ps_hashing *f, const u8 *data, size_t n) {
    u8 strong[PS_LIMIT_CHECKSUM];
    for (size_t done = 0; done < n; done += (size_t)f->block_length) {
        size_t take = n - done < (size_t)f->block_length ? n - done : (size_t)f->block_length;
        block_sum(&x->blocks, data + done, take, strong);
        buf_u32(&f->sums, weak_sum(data + done, take));
        buf_put(&f->sums, strong, PS_INDEX_SUM - 4);
    }
}

/* Reads exactly n bytes at `at`. 0, an errno, or -1 when the file ended. */
static int read_fully(int fd, u8 *data, size_t n, u64 at) {
    while (n) {
        ssize_t got = pread(fd, data, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return got < 0 ? errno : -1;
        data += got, n -= (size_t)got, at += (u64)got;
    }
    return 0;
}

/* 0, an errno, or -1: the file is shorter than it was. */
static int hash_file(ps_index *x, ps_hashing *f) {
    f->block_length = block_length_of(f->size);
    size_t block = (size_t)f->block_length, step = BUFFER_SIZE / block * block;
    if (!sums_kept(f->size)) f->with_sums = false;
    if (!x->buffer && !(x->buffer = malloc(BUFFER_SIZE))) return ENOMEM;
    for (u64 at = 0; at < f->size;) {
        size_t n = f->size - at < step ? (size_t)(f->size - at) : step;
        if (x->cancelled) return ECANCELED;
        int error = read_fully(f->fd, x->buffer, n, at);
        if (error) return error;
        feed_pieces(x, f, at, x->buffer, n);
        if (f->with_sums) feed_sums(x, f, x->buffer, n);
        at += n;
    }
    if (!f->size) {
        u8 empty[32];
        blake3_hash(NULL, 0, empty);
        buf_put(&f->pieces, empty, 32);
    }
    if (f->pieces.failed || f->sums.failed) return ENOMEM;
    pieces_root(buf_head(&f->pieces), f->size, f->root);
    return 0;
}

static bool same_state(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* An open file whose state `before` is not known yet. */
static int hash_and_put(ps_index *x, const char *name, size_t len, ps_hashing *f, const struct stat *before, ps_index_answer *out) {
    struct stat after;
    settle(before);
    int error = hash_file(x, f);
    if (!error && fstat(f->fd, &after) < 0) error = errno;
    if (error > 0) {
        out->status = PS_INDEX_ERROR;
        out->error = error;
        return PS_OK;
    }
    out->status = error < 0 || !same_state(before, &after) ? PS_INDEX_CHANGED : PS_INDEX_STORED;
    if (out->status == PS_INDEX_CHANGED) return PS_OK;
    out->size = f->size;
    memcpy(out->root, f->root, 32);
    u32 blocks = (u32)(buf_used(&f->sums) / PS_INDEX_SUM);
    return index_put(x, name, len, before, f->root, buf_head(&f->pieces), (u32)piece_count(f->size), blocks ? buf_head(&f->sums) : NULL,
                     blocks);
}

/* PS_OK where an entry for this state of the file is recorded, with block sums if they are wanted; PS_AGAIN otherwise. */
static int known(ps_index *x, const char *name, size_t len, const struct stat *st, bool with_sums, ps_index_answer *out) {
    ps_index_entry e;
    int status = index_begin(x);
    if (status != PS_OK) return status;
    status = index_lookup(x, name, len, st, &e);
    if (status == PS_OK && with_sums && !e.blocks && e.size && sums_kept(e.size)) status = PS_AGAIN;
    if (status == PS_OK) {
        out->status = PS_INDEX_HIT;
        out->size = e.size;
        memcpy(out->root, e.root, 32);
    }
    index_end(x);
    return status;
}

static int hash_name(ps_index *x, ps_root *root, const char *name, size_t len, int flags, ps_index_answer *out, u64 *bytes) {
    ps_hashing f = {.with_sums = flags & PS_INDEX_SUMS};
    struct stat st;
    f.fd = root_openat(root, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
    if (f.fd < 0 || fstat(f.fd, &st) < 0) {
        out->error = errno;
        out->status = status_of(errno);
        if (f.fd >= 0) close(f.fd);
        return PS_OK;
    }
    int status = PS_OK;
    out->status = PS_INDEX_GONE;
    if (S_ISREG(st.st_mode)) status = known(x, name, len, &st, f.with_sums, out);
    if (status == PS_AGAIN) {
        f.size = (u64)st.st_size;
        *bytes += f.size;
        status = hash_and_put(x, name, len, &f, &st, out);
    }
    buf_free(&f.pieces);
    buf_free(&f.sums);
    close(f.fd);
    return status;
}

int ps_index_hash(ps_index *x, int root_fd, const uint8_t *names, size_t names_length, int flags, uint64_t budget, ps_index_answer *out,
                  uint32_t count, uint32_t *done) {
    ps_names list = {names, names + names_length};
    ps_root *root = open_root(x, root_fd);
    int status = root ? PS_OK : PS_FAIL;
    u64 bytes = 0;
    x->cancelled = false;
    for (*done = 0; *done < count && status == PS_OK && !x->cancelled && (bytes < budget || !*done); ++*done) {
        size_t len = 0;
        const char *name = next_name(&list, &len);
        out[*done] = (ps_index_answer){.status = PS_INDEX_GONE};
        if (name) status = hash_name(x, root, name, len, flags, &out[*done], &bytes);
    }
    root_free(root);
    return status;
}

int ps_index_record(ps_index *x, int root_fd, const char *name, const uint8_t *pieces, uint32_t count, int *result) {
    ps_root *root = open_root(x, root_fd);
    struct stat st;
    i32 error = 0;
    if (!root) return PS_FAIL;
    *result = stat_name(root, name, &st, &error);
    root_free(root);
    if (*result != PS_INDEX_HIT) return PS_OK;
    if (piece_count((u64)st.st_size) != count) {
        *result = PS_INDEX_CHANGED;
        return PS_OK;
    }
    u8 digest[32];
    pieces_root(pieces, (u64)st.st_size, digest);
    *result = PS_INDEX_STORED;
    return index_put(x, name, strlen(name), &st, digest, pieces, count, NULL, 0);
}

int ps_index_remove(ps_index *x, const char *name) { return index_delete(x, name, strlen(name)); }
int ps_index_commit(ps_index *x) { return index_commit(x); }

/* ---- all records ---- */

typedef int (*ps_visit)(ps_index *x, const ps_index_entry *e, void *owner); /* PS_OK; PS_FULL: not taken, stop */

/* Visits up to `most` records from x->next on. PS_OK: there may be more; PS_DONE. */
static int visit(ps_index *x, u32 most, ps_visit fn, void *owner) {
    MDB_cursor *cursor;
    MDB_val key = {x->next_length, x->next}, value;
    int status = index_begin(x);
    if (status != PS_OK) return status;
    int code = mdb_cursor_open(x->view, PS_INDEX_DATABASE, &cursor);
    if (code) {
        index_end(x);
        return index_fail(x, code, "list");
    }
    code = mdb_cursor_get(cursor, &key, &value, x->next_length ? MDB_SET_RANGE : MDB_FIRST);
    u32 seen = 0;
    for (; !code; code = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) {
        ps_index_entry e;
        if (key.mv_size != PS_INDEX_KEY || !index_decode(value.mv_data, value.mv_size, &e)) continue;
        if (seen++ == most) break;
        status = fn(x, &e, owner);
        if (status != PS_OK) break;
    }
    if (!code) {
        memcpy(x->next, key.mv_data, PS_INDEX_KEY);
        x->next_length = PS_INDEX_KEY;
    } else
        x->next_length = 0;
    mdb_cursor_close(cursor);
    index_end(x);
    if (status == PS_FAIL) return PS_FAIL;
    if (code && code != MDB_NOTFOUND) return index_fail(x, code, "list");
    return code ? PS_DONE : PS_OK;
}

typedef struct ps_pruning {
    ps_root *root;
    u64 removed;
} ps_pruning;

static int prune_one(ps_index *x, const ps_index_entry *e, void *owner) {
    ps_pruning *p = owner;
    char name[PS_LIMIT_NAME + 1];
    struct stat st;
    i32 error = 0;
    if (e->path_length > PS_LIMIT_NAME) return PS_OK;
    memcpy(name, e->path, e->path_length);
    name[e->path_length] = 0;
    i32 found = stat_name(p->root, name, &st, &error);
    if (found == PS_INDEX_ERROR || (found == PS_INDEX_HIT && index_same(e, &st))) return PS_OK;
    u8 digest[PS_INDEX_KEY];
    blake3_hash((const u8 *)name, e->path_length, digest);
    if (!buf_put(&x->queue, digest, sizeof digest) || !buf_u32(&x->queue, UINT32_MAX)) return index_fail(x, ENOMEM, "prune");
    p->removed++;
    return PS_OK;
}

int ps_index_prune(ps_index *x, int root_fd, uint32_t most, uint64_t *removed) {
    ps_pruning p = {.root = open_root(x, root_fd)};
    if (!p.root) return PS_FAIL;
    int status = index_commit(x);
    if (status == PS_OK) status = visit(x, most, prune_one, &p);
    root_free(p.root);
    if (status != PS_FAIL && index_commit(x) != PS_OK) status = PS_FAIL;
    *removed = p.removed;
    return status;
}

typedef struct ps_listing {
    ps_index_answer *out;
    u32 count;
} ps_listing;

static int list_one(ps_index *x, const ps_index_entry *e, void *owner) {
    ps_listing *l = owner;
    return answer(x, e, true, &l->out[l->count++]) ? PS_OK : index_fail(x, ENOMEM, "list");
}

int ps_index_list(ps_index *x, int restart, ps_index_answer *out, uint32_t capacity, uint32_t *count) {
    ps_listing l = {.out = out};
    data_reset(x);
    if (restart) x->next_length = 0;
    int status = visit(x, capacity, list_one, &l);
    *count = l.count;
    return status;
}

void ps_index_seek(ps_index *x, const uint8_t *key) {
    memcpy(x->next, key, PS_INDEX_KEY);
    x->next_length = PS_INDEX_KEY;
}

int ps_index_count(ps_index *x, uint64_t *count) {
    MDB_stat stat;
    int code = mdb_env_stat(x->env, &stat);
    if (code) return index_fail(x, code, "count");
    *count = stat.ms_entries ? stat.ms_entries - 1 : 0; /* less the version */
    return PS_OK;
}
