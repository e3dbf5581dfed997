#include "out.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/uio.h>
#include <unistd.h>

#define SUFFIX_LEN 7           /* ".XXXXXX" */
#define COPY_CHUNK (256u * 1024u)
#define HOLE_MIN 1024          /* rsync.h: zero runs shorter than this are written */
#define OPEN_TRIES 100

enum place { IN_FINAL_DIR, IN_TEMP_DIR, IN_PARTIAL_DIR };

struct ps_out {
    ps_outs *outs;
    ps_out *next, *prev;
    ps_file *file;
    i32 ndx;
    int fd;
    enum place place;
    bool got_data;
    i64 old_size;              /* in place: bytes before */
    ps_pieces *pieces;
    char temp[NAME_MAX + 1];   /* name within its directory; unused in IN_PARTIAL_DIR */
    char path[PS_LIMIT_NAME + 1];
};

typedef struct delayed {
    i32 ndx;
    u32 path;
} delayed;

struct ps_outs {
    ps_ctx *c;
    ps_root *root;
    ps_out *first, *spare;
    u32 open_count;
    int temp_fd;               /* --temp-dir, -1 until it is needed */
    u64 random;
    uid_t euid;
    gid_t egid;
    delayed *later;
    u32 later_count, later_cap;
    ps_arena later_paths;
    u8 *scratch;
};

/* ---- names ------------------------------------------------------------------------------------ */

const char *full_fname(const ps_ctx *c, const char *path, char out[PS_FULL_FNAME]) {
    const char *above = "", *slash = "", *module = ps_str(c, PS_STR_MODULE);
    if (path[0] != '/' && ps_str(c, PS_STR_CURR_DIR)) {
        above = ps_str(c, PS_STR_CURR_DIR);
        if (above[strspn(above, "/")]) slash = "/";
    }
    int n = snprintf(out, PS_FULL_FNAME, "\"%s%s%s\"%s%s%s", above, slash, path, module ? " (in " : "", module ? module : "",
                     module ? ")" : "");
    if (n < 0) out[0] = 0;
    return out;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* receiver.c:get_tmpname without its random letters. Returns the length up to them, 0 when no name fits. */
static size_t temp_name(const ps_ctx *c, const char *path, char out[NAME_MAX + 1]) {
    const char *name = last_part(path), *temp_dir = ps_str(c, PS_STR_TEMP_DIR);
    size_t before = temp_dir ? strlen(temp_dir) + 1 : (size_t)(name - path) + 1, at = 0;
    if (!temp_dir) {
        if (*name == '.') name++;
        out[at++] = '.';
    }
    i64 room = 4096 - (i64)before - SUFFIX_LEN, most = NAME_MAX - 1 - SUFFIX_LEN;
    if (room > most) room = most;
    if (room < 0) return 0;
    if (room) {
        size_t n = strlen(name), cut = (size_t)room - 1;
        if (n > cut) n = cut;
        memcpy(out + at, name, n);
        at += n;
        /* Not within a multi-byte character, and no two dots before the suffix. */
        if (name[n] & 0x80)
            while (at && out[at - 1] & 0x80) at--;
        if (at && out[at - 1] == '.') at--;
    } else if (at) {
        at--;
    }
    memcpy(out + at, ".XXXXXX", SUFFIX_LEN + 1);
    return at + 1;
}

static void random_letters(ps_outs *o, char *at) {
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    o->random ^= o->random << 13;
    o->random ^= o->random >> 7;
    o->random ^= o->random << 17;
    u64 v = o->random;
    for (int i = 0; i < 6; i++, v /= 62) at[i] = letters[v % 62];
}

size_t out_partial_path(const ps_ctx *c, const char *path, char out[PS_LIMIT_NAME + 1]) {
    const char *dir = ps_str(c, PS_STR_PARTIAL_DIR), *name = last_part(path);
    if (!dir) return 0;
    size_t above = dir[0] == '/' ? 0 : (size_t)(name - path), n = strlen(dir), rest = strlen(name);
    if (above + n + 1 + rest > PS_LIMIT_NAME) return 0;
    memcpy(out, path, above);
    memcpy(out + above, dir, n);
    out[above + n] = '/';
    memcpy(out + above + n + 1, name, rest + 1);
    return above + n + 1 + rest;
}

/* ---- directories ------------------------------------------------------------------------------ */

/* A path the operator gave: an absolute one may lie anywhere, only its last component comes from the remote. */
static int operator_dir(const ps_outs *o, const char *path) {
    return openat(root_fd(o->root), path, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* A descriptor of its own for the directory of the partial file. */
static int partial_dir_fd(ps_outs *o, const char *partial, const char **name) {
    *name = last_part(partial);
    if (partial[0] == '/') {
        char dir[PS_LIMIT_NAME + 1];
        size_t n = (size_t)(*name - partial);
        memcpy(dir, partial, n);
        dir[n] = 0;
        return operator_dir(o, dir);
    }
    const char *base;
    int fd = root_parent(o->root, partial, &base);
    return fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

/* util1.c:handle_partial_dir(PDIR_CREATE) */
static bool partial_dir_make(ps_outs *o, const char *partial) {
    char dir[PS_LIMIT_NAME + 1];
    size_t n = (size_t)(last_part(partial) - partial);
    if (n < 2) return true;
    memcpy(dir, partial, n - 1);
    dir[n - 1] = 0;
    const char *base = dir;
    int above = dir[0] == '/' ? root_fd(o->root) : root_parent(o->root, dir, &base);
    if (above < 0) return false;
    struct stat st;
    int found = fstatat(above, base, &st, AT_SYMLINK_NOFOLLOW);
    if (found == 0 && S_ISLNK(st.st_mode) && dir[0] == '/' && fstatat(above, base, &st, 0) == 0 && S_ISDIR(st.st_mode)) return true;
    if (found == 0 && !S_ISDIR(st.st_mode)) {
        if (unlinkat(above, base, 0) < 0) return false;
        found = -1;
    }
    return found == 0 || mkdirat(above, base, 0700) == 0;
}

/* handle_partial_dir(PDIR_DELETE): goes only when it is empty. */
static void partial_dir_remove(ps_outs *o, const char *partial) {
    if (partial[0] == '/') return;
    char dir[PS_LIMIT_NAME + 1];
    size_t n = (size_t)(last_part(partial) - partial);
    if (n < 2) return;
    memcpy(dir, partial, n - 1);
    dir[n - 1] = 0;
    const char *base;
    int above = root_parent(o->root, dir, &base);
    if (above >= 0 && unlinkat(above, base, AT_REMOVEDIR) == 0) root_forget(o->root, dir, n - 1);
}

static void partial_unlink(ps_outs *o, const char *partial) {
    const char *name;
    int dir = partial_dir_fd(o, partial, &name);
    if (dir < 0) return;
    unlinkat(dir, name, 0);
    close(dir);
}

int outs_open_partial(ps_outs *o, const char *path) {
    char partial[PS_LIMIT_NAME + 1];
    const char *name;
    if (!out_partial_path(o->c, path, partial)) {
        errno = ENOENT;
        return -1;
    }
    int dir = partial_dir_fd(o, partial, &name);
    if (dir < 0) return -1;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), err = errno;
    close(dir);
    errno = err;
    return fd;
}

/* The directory that holds the temporary file; not owned by the caller. */
static int temp_dir_fd(ps_out *out) {
    const char *base;
    if (out->place == IN_FINAL_DIR) return root_parent(out->outs->root, out->path, &base);
    return out->outs->temp_fd;
}

/* The temporary file's path for messages, counted from the root. */
#define TEMP_PATH (2 * PS_LIMIT_NAME)
static const char *temp_path(const ps_out *out, char path[TEMP_PATH]) {
    if (out->place == IN_PARTIAL_DIR)
        out_partial_path(out->outs->c, out->path, path);
    else if (out->place == IN_TEMP_DIR)
        snprintf(path, TEMP_PATH, "%s/%s", ps_str(out->outs->c, PS_STR_TEMP_DIR), out->temp);
    else
        snprintf(path, TEMP_PATH, "%.*s%s", (int)(last_part(out->path) - out->path), out->path, out->temp);
    return path;
}

static const char *temp_shown(const ps_out *out, char shown[PS_FULL_FNAME]) {
    char path[TEMP_PATH];
    return full_fname(out->outs->c, temp_path(out, path), shown);
}

/* ---- the set of outputs ----------------------------------------------------------------------- */

ps_outs *outs_new(ps_ctx *c, ps_root *dest) {
    ps_outs *o = calloc(1, sizeof *o);
    if (!o) return NULL;
    o->c = c;
    o->root = dest;
    o->temp_fd = -1;
    o->euid = geteuid();
    o->egid = getegid();
    if (getrandom(&o->random, sizeof o->random, 0) < 0 || !o->random) o->random = (u64)getpid() << 32 | 1;
    return o;
}

void outs_free(ps_outs *o) {
    if (!o) return;
    outs_abort_all(o);
    while (o->spare) {
        ps_out *out = o->spare;
        o->spare = out->next;
        free(out);
    }
    if (o->temp_fd >= 0) close(o->temp_fd);
    free(o->later);
    arena_free(&o->later_paths);
    free(o->scratch);
    free(o);
}

u32 outs_open_count(const ps_outs *o) { return o->open_count; }

static u8 *scratch(ps_outs *o) {
    if (!o->scratch) o->scratch = malloc(COPY_CHUNK);
    return o->scratch;
}

static ps_out *take_out(ps_outs *o) {
    ps_out *out = o->spare;
    if (out)
        o->spare = out->next;
    else if (!(out = malloc(sizeof *out)))
        return NULL;
    out->outs = o;
    out->prev = NULL;
    out->next = o->first;
    if (o->first) o->first->prev = out;
    o->first = out;
    o->open_count++;
    return out;
}

static void give_out(ps_out *out) {
    ps_outs *o = out->outs;
    if (out->fd >= 0) close(out->fd);
    pieces_free(out->pieces);
    if (out->prev)
        out->prev->next = out->next;
    else
        o->first = out->next;
    if (out->next) out->next->prev = out->prev;
    out->next = o->spare;
    o->spare = out;
    o->open_count--;
}

/* ---- open ------------------------------------------------------------------------------------- */

/* Group and others see the data only once owner and group are right (receiver.c:open_tmpfile); where nothing of that will
 * change, the final mode at once saves a chmod. */
static mode_t creation_mode(const ps_outs *o, const ps_file *f) {
    const ps_opts *opt = &o->c->o;
    bool moves = (opt->owner && opt->am_root && f->uid != o->euid) || (opt->group && f->gid != o->egid) || opt->acls ||
                 f->mode & 07000 || (opt->am_daemon && o->c->chmod_count);
    return moves ? (f->mode & 0700) | S_IWUSR : f->mode & 0777;
}

static int create_temp(ps_outs *o, int dir, char *name, size_t letters, mode_t mode) {
    int fd = -1;
    for (int i = 0; i < OPEN_TRIES && fd < 0; i++) {
        random_letters(o, name + letters);
        fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd < 0 && errno != EEXIST) break;
    }
    return fd;
}

static int open_in_partial(ps_out *out) {
    char partial[PS_LIMIT_NAME + 1];
    const char *name;
    if (!out_partial_path(out->outs->c, out->path, partial)) return -1;
    int dir = partial_dir_fd(out->outs, partial, &name);
    if (dir < 0) return -1;
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600), err = errno;
    if (fd < 0 && err == EACCES) { /* read-only: writable just for the open, as receiver.c:open_readonly_inplace */
        struct stat st;
        int reader = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (reader >= 0 && fstat(reader, &st) == 0 && S_ISREG(st.st_mode) && !(st.st_mode & S_IWUSR) &&
            fchmod(reader, (st.st_mode & 07777) | S_IWUSR) == 0) {
            fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
            err = errno;
            if (fchmod(reader, st.st_mode & 07777) < 0 && fd >= 0) {
                err = errno;
                close(fd);
                fd = -1;
            }
        }
        if (reader >= 0) close(reader);
    }
    close(dir);
    errno = err;
    return fd;
}

ps_out *out_open(ps_outs *o, ps_file *file, i32 ndx, const char *path, int flags) {
    ps_out *out = take_out(o);
    if (!out) {
        ps_fail_memory(o->c, "an output file");
        return NULL;
    }
    out->file = file;
    out->ndx = ndx;
    out->fd = -1;
    out->got_data = false;
    out->old_size = 0;
    out->pieces = NULL;
    size_t n = strlen(path);
    memcpy(out->path, path, n + 1);
    char shown[PS_FULL_FNAME];
    if (flags & PS_OUT_IN_PARTIAL) {
        out->place = IN_PARTIAL_DIR;
        out->fd = open_in_partial(out);
        struct stat st;
        if (out->fd >= 0 && fstat(out->fd, &st) == 0) out->old_size = st.st_size;
        if (out->fd < 0) ps_log_errno(o->c, PS_LOG_ERROR_XFER, errno, "rsync: [receiver] open %s failed", temp_shown(out, shown));
    } else {
        size_t letters = temp_name(o->c, path, out->temp);
        out->place = ps_str(o->c, PS_STR_TEMP_DIR) ? IN_TEMP_DIR : IN_FINAL_DIR;
        if (!letters) {
            ps_log(o->c, PS_LOG_ERROR_XFER, "temporary filename too long: %s\n", path);
            give_out(out);
            return NULL;
        }
        if (out->place == IN_TEMP_DIR && o->temp_fd < 0) o->temp_fd = operator_dir(o, ps_str(o->c, PS_STR_TEMP_DIR));
        int dir = temp_dir_fd(out);
        if (dir >= 0) out->fd = create_temp(o, dir, out->temp, letters, creation_mode(o, file));
        if (out->fd < 0) {
            int err = errno;
            memcpy(out->temp + letters, "XXXXXX", 7);
            ps_log_errno(o->c, PS_LOG_ERROR_XFER, err, "rsync: [receiver] mkstemp %s failed", temp_shown(out, shown));
        }
    }
    if (out->fd < 0) {
        give_out(out);
        return NULL;
    }
    return out;
}

i32 out_ndx(const ps_out *out) { return out->ndx; }
bool out_got_data(const ps_out *out) { return out->got_data; }
void out_note_data(ps_out *out) { out->got_data = true; }

/* ---- data ------------------------------------------------------------------------------------- */

static int write_at(int fd, i64 offset, const u8 *data, size_t n) {
    while (n) {
        ssize_t done = pwrite(fd, data, n, offset);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return PS_FAIL;
        data += done;
        offset += done;
        n -= (size_t)done;
    }
    return PS_OK;
}

static size_t zeros(const u8 *data, size_t n) {
    size_t i = 0;
    while (i < n && ((uintptr_t)(data + i) & 7)) {
        if (data[i]) return i;
        i++;
    }
    for (u64 word; i + 8 <= n; i += 8) {
        memcpy(&word, data + i, 8);
        if (word) break;
    }
    while (i < n && !data[i]) i++;
    return i;
}

/* A run of zeros: nothing to do in a new file; in a file that has bytes there they are punched out. */
static int leave_hole(ps_out *out, i64 offset, size_t n) {
    if (offset >= out->old_size) return PS_OK;
    if (fallocate(out->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, (off_t)n) == 0) return PS_OK;
    u8 *zero = scratch(out->outs);
    if (!zero) return PS_FAIL;
    memset(zero, 0, COPY_CHUNK);
    for (size_t part; n; n -= part, offset += (i64)part) {
        part = n < COPY_CHUNK ? n : COPY_CHUNK;
        if (write_at(out->fd, offset, zero, part) != PS_OK) return PS_FAIL;
    }
    return PS_OK;
}

/* fileio.c:write_sparse: zero runs of 1 KiB and more, and those at either end, become holes. */
static int write_sparse(ps_out *out, i64 offset, const u8 *data, size_t n, bool already_there) {
    size_t at = 0;
    while (at < n) {
        size_t run = zeros(data + at, n - at);
        if (run && (at == 0 || at + run == n || run >= HOLE_MIN)) {
            if (leave_hole(out, offset + (i64)at, run) != PS_OK) return PS_FAIL;
            at += run;
            continue;
        }
        size_t end = at + run;
        while (end < n) { /* up to the next run that is worth a hole */
            const u8 *zero = memchr(data + end, 0, n - end);
            if (!zero) {
                end = n;
                break;
            }
            end = (size_t)(zero - data);
            run = zeros(zero, n - end);
            if (run >= HOLE_MIN || end + run == n) break;
            end += run;
        }
        if (!already_there && write_at(out->fd, offset + (i64)at, data + at, end - at) != PS_OK) return PS_FAIL;
        at = end;
    }
    return PS_OK;
}

int out_write(ps_out *out, i64 offset, const void *data, size_t n) {
    if (!n) return PS_OK;
    int status = out->outs->c->o.sparse ? write_sparse(out, offset, data, n, false) : write_at(out->fd, offset, data, n);
    if (status == PS_OK && out->pieces) status = pieces_wrote(out->pieces, out->fd, (u64)offset, data, n);
    return status;
}

int out_writev(ps_out *out, i64 offset, struct iovec *parts, int count, size_t total) {
    if (out->outs->c->o.sparse || out->pieces) {
        for (int i = 0; i < count; offset += (i64)parts[i++].iov_len)
            if (out_write(out, offset, parts[i].iov_base, parts[i].iov_len) != PS_OK) return PS_FAIL;
        return PS_OK;
    }
    while (total) {
        ssize_t done = pwritev(out->fd, parts, count, offset);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) return PS_FAIL;
        offset += done;
        total -= (size_t)done;
        for (size_t left = (size_t)done; left;) {
            size_t part = left < parts->iov_len ? left : parts->iov_len;
            parts->iov_base = (u8 *)parts->iov_base + part;
            parts->iov_len -= part;
            left -= part;
            while (count && !parts->iov_len) {
                parts++;
                count--;
            }
        }
    }
    return PS_OK;
}

int out_skip(ps_out *out, i64 offset, const void *data, size_t n) {
    return out->outs->c->o.sparse ? write_sparse(out, offset, data, n, true) : PS_OK;
}

int out_copy(ps_out *out, i64 offset, i64 len, int from, i64 from_offset) {
    u8 *buffer = scratch(out->outs);
    if (!buffer) return PS_FAIL;
    while (len) {
        ssize_t n = pread(from, buffer, len < COPY_CHUNK ? (size_t)len : COPY_CHUNK, from_offset);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            if (n == 0) errno = 0;
            return PS_FAIL;
        }
        if (out_write(out, offset, buffer, (size_t)n) != PS_OK) return PS_FAIL;
        offset += n;
        from_offset += n;
        len -= n;
    }
    return PS_OK;
}

int out_set_digest(ps_out *out, u64 size, const u8 *pieces, const u8 root[32]) {
    u8 found[32];
    pieces_root(pieces, size, found);
    if (memcmp(found, root, 32)) return PS_FAIL;
    pieces_free(out->pieces);
    out->pieces = pieces_new(size, pieces);
    return out->pieces ? PS_OK : ps_fail_memory(out->outs->c, "a file's pieces");
}

ps_piece_state out_piece(ps_out *out, u64 index) { return pieces_state(out->pieces, index); }
void out_piece_again(ps_out *out, u64 index) { pieces_again(out->pieces, index); }
bool out_missing(ps_out *out, u64 end, u64 *at, u64 *len) { return pieces_missing(out->pieces, end, at, len); }
bool out_all_pieces_ok(const ps_out *out) { return pieces_all_ok(out->pieces); }

/* ---- the end ---------------------------------------------------------------------------------- */

/* Where a finished or partial file goes: its final name or the one in --partial-dir. */
typedef struct target {
    int dir;
    bool own;             /* dir is ours to close */
    const char *name;
    const char *shown;
} target;

static bool target_open(ps_outs *o, const char *path, bool partial, target *t) {
    t->shown = path;
    t->own = partial;
    if (partial)
        t->dir = partial_dir_fd(o, path, &t->name);
    else
        t->dir = root_parent(o->root, path, &t->name);
    return t->dir >= 0;
}

/* --temp-dir on another file system: the bytes go to a temporary file beside the target, which is then renamed. */
static int copy_across(ps_out *out, const target *t) {
    ps_outs *o = out->outs;
    char name[NAME_MAX + 1];
    size_t at = 0;
    name[at++] = '.';
    size_t n = strnlen(t->name, NAME_MAX - SUFFIX_LEN - 2);
    memcpy(name + at, t->name, n);
    memcpy(name + at + n, ".XXXXXX", SUFFIX_LEN + 1);
    int copy = create_temp(o, t->dir, name, at + n + 1, (out->file->mode & 0700) | S_IWUSR);
    if (copy < 0) return PS_FAIL;
    int old = out->fd, status = PS_OK, err = 0;
    out->fd = copy;
    ps_pieces *pieces = out->pieces;
    out->pieces = NULL;
    struct stat st;
    if (fstat(old, &st) < 0 || out_copy(out, 0, st.st_size, old, 0) != PS_OK) {
        status = PS_FAIL;
        err = errno ? errno : EIO;
    } else if (o->c->o.sparse && ftruncate(copy, st.st_size) < 0) {
        status = PS_FAIL;
        err = errno;
    }
    out->fd = old;
    out->pieces = pieces;
    if (status == PS_OK && fstat(copy, &st) == 0)
        attrs_set_open(o->c, copy, t->shown, out->file, &st, PS_ATTRS_ACCURATE_TIME);
    close(copy);
    if (status == PS_OK && renameat(t->dir, name, t->dir, t->name) < 0) {
        status = PS_FAIL;
        err = errno;
    }
    if (status != PS_OK) unlinkat(t->dir, name, 0);
    errno = err;
    return status;
}

/* rsync.c:finish_transfer: attributes, then the name. false: logged, and the temporary file is gone. */
static bool put_in_place(ps_out *out, const char *path, bool to_partial, int attr_flags) {
    ps_outs *o = out->outs;
    char shown[PS_FULL_FNAME], temp[TEMP_PATH], partial[PS_LIMIT_NAME + 1];
    struct stat st;
    const char *from = out->temp;
    int from_dir, own_from = -1;
    if (out->place == IN_PARTIAL_DIR) {
        out_partial_path(o->c, out->path, partial);
        from_dir = own_from = partial_dir_fd(o, partial, &from);
    } else {
        from_dir = temp_dir_fd(out);
        /* The target's directory may push this one out of the root's cache. */
        if (from_dir >= 0 && to_partial) from_dir = own_from = fcntl(from_dir, F_DUPFD_CLOEXEC, 3);
    }
    target t = {.dir = -1};
    bool ok = false, same_file = out->place == IN_PARTIAL_DIR && to_partial;
    if (from_dir >= 0 && target_open(o, path, to_partial, &t) && fstat(out->fd, &st) == 0) {
        attrs_set_open(o->c, out->fd, temp_path(out, temp), out->file, &st, attr_flags);
        ok = same_file || renameat(from_dir, from, t.dir, t.name) == 0;
        if (!ok && errno == EXDEV) {
            ok = copy_across(out, &t) == PS_OK;
            if (ok) unlinkat(from_dir, from, 0);
        }
    }
    int err = errno;
    if (!ok) {
        ps_log_errno(o->c, PS_LOG_ERROR_XFER, err, "rsync: [receiver] %s %s -> \"%s\"", err == EXDEV ? "copy" : "rename",
                     temp_shown(out, shown), path);
        if (from_dir >= 0 && out->place != IN_PARTIAL_DIR) {
            target p = {.dir = -1};
            bool kept = !to_partial && o->c->o.partial && out_partial_path(o->c, out->path, partial) &&
                        partial_dir_make(o, partial) && target_open(o, partial, true, &p) &&
                        renameat(from_dir, from, p.dir, p.name) == 0;
            if (!kept) unlinkat(from_dir, from, 0);
            if (p.dir >= 0 && p.own) close(p.dir);
        }
    }
    if (t.dir >= 0 && t.own) close(t.dir);
    if (own_from >= 0) close(own_from);
    return ok;
}

static void remove_temp(ps_out *out) {
    if (out->place == IN_PARTIAL_DIR) return;
    int dir = temp_dir_fd(out);
    if (dir >= 0) unlinkat(dir, out->temp, 0);
}

static bool delay(ps_outs *o, i32 ndx, const char *path) {
    if (o->later_count == o->later_cap) {
        u32 cap = o->later_cap ? o->later_cap * 2 : 64;
        delayed *grown = realloc(o->later, cap * sizeof *grown);
        if (!grown) return false;
        o->later = grown;
        o->later_cap = cap;
    }
    u32 at = arena_put(&o->later_paths, path, strlen(path));
    if (at == PS_NO_OFFSET) return false;
    o->later[o->later_count++] = (delayed){ndx, at};
    return true;
}

/* Keeps the file in --partial-dir, or with plain --partial under its final name. */
static bool keep(ps_out *out, const char *partial, bool verified, int attr_flags) {
    ps_outs *o = out->outs;
    if (!*partial) return put_in_place(out, out->path, false, attr_flags);
    if (partial_dir_make(o, partial)) return put_in_place(out, partial, true, attr_flags);
    ps_log(o->c, PS_LOG_ERROR, "Unable to create partial-dir for %s -- discarding %s.\n", out->path,
           verified ? "completed file" : "partial file");
    remove_temp(out);
    return false;
}

ps_out_result out_finish(ps_out *out, i64 size, bool verified, bool from_partial) {
    ps_outs *o = out->outs;
    const ps_opts *opt = &o->c->o;
    ps_out_result result = verified ? PS_OUT_DONE : PS_OUT_BAD;
    char partial[PS_LIMIT_NAME + 1], shown[PS_FULL_FNAME];
    bool has_partial = out_partial_path(o->c, out->path, partial) > 0;
    if (!has_partial) partial[0] = 0;
    if ((opt->sparse || out->place == IN_PARTIAL_DIR) && ftruncate(out->fd, size) < 0)
        ps_log_errno(o->c, PS_LOG_ERROR_XFER, errno, "rsync: [receiver] ftruncate failed on %s", full_fname(o->c, out->path, shown));
    int attr_flags = verified ? PS_ATTRS_ACCURATE_TIME : PS_ATTRS_SKIP_MTIME;
    bool can_keep = opt->partial && (has_partial || !ps_str(o->c, PS_STR_PARTIAL_DIR));
    if (verified && !(opt->delay_updates && has_partial)) {
        if (!put_in_place(out, out->path, false, attr_flags)) {
            result = PS_OUT_FAILED;
        } else if (from_partial && has_partial) {
            if (out->place != IN_PARTIAL_DIR) partial_unlink(o, partial);
            partial_dir_remove(o, partial);
        }
    } else if (can_keep && (out->place != IN_PARTIAL_DIR || opt->delay_updates)) {
        if (!keep(out, partial, verified, attr_flags)) {
            result = PS_OUT_FAILED;
        } else if (opt->delay_updates && verified) {
            result = PS_OUT_DELAYED;
            if (!delay(o, out->ndx, out->path)) {
                ps_fail_memory(o->c, "the delayed updates");
                result = PS_OUT_FAILED;
            }
        }
    } else {
        remove_temp(out);
    }
    give_out(out);
    return result;
}

void out_abort(ps_out *out, bool may_keep) {
    ps_outs *o = out->outs;
    char partial[PS_LIMIT_NAME + 1];
    bool has_partial = out_partial_path(o->c, out->path, partial) > 0;
    if (!has_partial) partial[0] = 0;
    bool keeps = may_keep && out->got_data && o->c->o.partial && (has_partial || !ps_str(o->c, PS_STR_PARTIAL_DIR));
    if (!keeps) {
        remove_temp(out);
        give_out(out);
        return;
    }
    /* Under the final name only what is verified; in --partial-dir the file is its own map. */
    if (out->pieces && !has_partial && ftruncate(out->fd, (off_t)pieces_prefix(out->pieces)) < 0) out->got_data = false;
    if (out->place != IN_PARTIAL_DIR) {
        int flags = PS_ATTRS_SKIP_MTIME;
        if (!has_partial) { /* a time of today would make --update skip it */
            out->file->mtime = 0;
            out->file->mtime_ns = 0;
            flags = PS_ATTRS_ACCURATE_TIME;
        }
        keep(out, partial, false, flags);
    }
    give_out(out);
}

void outs_abort_all(ps_outs *o) {
    while (o->first) out_abort(o->first, true);
}

void outs_finish_delayed(ps_outs *o, void (*done)(void *owner, i32 ndx, bool ok), void *owner) {
    char partial[PS_LIMIT_NAME + 1], shown[PS_FULL_FNAME];
    for (u32 i = 0; i < o->later_count; i++) {
        const char *path = arena_at(&o->later_paths, o->later[i].path), *from, *to;
        if (!out_partial_path(o->c, path, partial)) {
            done(owner, o->later[i].ndx, false);
            continue;
        }
        int dir = partial_dir_fd(o, partial, &from), final = -1;
        if (dir >= 0) final = root_parent(o->root, path, &to);
        bool ok = dir >= 0 && final >= 0 && renameat(dir, from, final, to) == 0;
        if (!ok)
            ps_log_errno(o->c, PS_LOG_ERROR_XFER, errno, "rsync: [receiver] rename failed for %s (from %s)",
                         full_fname(o->c, path, shown), partial);
        done(owner, o->later[i].ndx, ok);
        if (dir >= 0) close(dir);
        partial_dir_remove(o, partial);
    }
    o->later_count = 0;
    o->later_paths.len = 0;
}
