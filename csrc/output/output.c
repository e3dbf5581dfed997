#include "output/output_inner.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define OPEN_TRIES 100

/* ---- names ------------------------------------------------------------------------------------ */

const char *out_last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* receiver.c:get_tmpname without its random letters. Returns the length up to them, 0 when no name fits. */
static size_t temp_name(const ps_ctx *c, const char *path, char out[NAME_MAX + 1]) {
    const char *name = out_last_part(path), *temp_dir = ps_str(c, PS_STR_TEMP_DIR);
    size_t before = temp_dir ? strlen(temp_dir) + 1 : (size_t)(name - path) + 1, at = 0;
    if (!temp_dir) {
        if (*name == '.') name++;
        out[at++] = '.';
    }
    i64 room = 4096 - (i64)before - OUT_SUFFIX_LEN, most = NAME_MAX - 1 - OUT_SUFFIX_LEN;
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
    memcpy(out + at, ".XXXXXX", OUT_SUFFIX_LEN + 1);
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
    const char *dir = ps_str(c, PS_STR_PARTIAL_DIR), *name = out_last_part(path);
    if (!dir) return 0;
    size_t above = dir[0] == '/' ? 0 : (size_t)(name - path), n = strlen(dir), rest = strlen(name);
    if (above + n + 1 + rest > PS_LIMIT_NAME) return 0;
    memcpy(out, path, above);
    memcpy(out + above, dir, n);
    out[above + n] = '/';
    memcpy(out + above + n + 1, name, rest + 1);
    /* util1.c:partial_dir_fname: what a daemon hides is of no use to its client. */
    if (c->hides && dir[0] != '/' && (ctx_hides(c, out, above + n, true) || ctx_hides(c, out, above + n + 1 + rest, false))) return 0;
    return above + n + 1 + rest;
}

/* ---- directories ------------------------------------------------------------------------------ */

static int operator_dir(const ps_outs *o, const char *path) {
    return option_open(o->c, o->root, path, O_PATH | O_DIRECTORY, false);
}

int out_partial_dir_fd(ps_outs *o, const char *partial, const char **name) {
    *name = out_last_part(partial);
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

bool out_partial_dir_make(ps_outs *o, const char *partial) {
    char dir[PS_LIMIT_NAME + 1];
    size_t n = (size_t)(out_last_part(partial) - partial);
    if (n < 2) return true;
    memcpy(dir, partial, n - 1);
    dir[n - 1] = 0;
    const char *base;
    bool anywhere = dir[0] == '/';
    if (anywhere) {
        int fd = operator_dir(o, dir);
        if (fd >= 0) close(fd);
        if (fd >= 0 || (errno != ENOENT && errno != ENOTDIR)) return fd >= 0;
    }
    int above = anywhere ? option_parent(o->c, NULL, dir, &base) : root_parent(o->root, dir, &base);
    if (above < 0) return false;
    struct stat st;
    bool found = fstatat(above, base, &st, AT_SYMLINK_NOFOLLOW) == 0;
    bool there = found && S_ISDIR(st.st_mode);
    if (!there && (!found || unlinkat(above, base, 0) == 0)) there = mkdirat(above, base, 0700) == 0;
    int err = errno;
    if (anywhere) close(above);
    errno = err;
    return there;
}

void out_partial_dir_remove(ps_outs *o, const char *partial) {
    if (partial[0] == '/') return;
    char dir[PS_LIMIT_NAME + 1];
    size_t n = (size_t)(out_last_part(partial) - partial);
    if (n < 2) return;
    memcpy(dir, partial, n - 1);
    dir[n - 1] = 0;
    const char *base;
    int above = root_parent(o->root, dir, &base);
    if (above >= 0 && unlinkat(above, base, AT_REMOVEDIR) == 0) root_forget(o->root, dir, n - 1);
}

void out_partial_unlink(ps_outs *o, const char *partial) {
    const char *name;
    int dir = out_partial_dir_fd(o, partial, &name);
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
    int dir = out_partial_dir_fd(o, partial, &name);
    if (dir < 0) return -1;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), err = errno;
    close(dir);
    errno = err;
    return fd;
}

int out_temp_dir_fd(ps_out *out) {
    const char *base;
    if (out->place == IN_FINAL_DIR || out->place == IN_PLACE) return root_parent(out->outs->root, out->path, &base);
    return out->outs->temp_fd;
}

const char *out_temp_path(const ps_out *out, char path[OUT_TEMP_PATH]) {
    if (out->place == IN_PARTIAL_DIR)
        out_partial_path(out->outs->c, out->path, path);
    else if (out->place == IN_PLACE)
        snprintf(path, OUT_TEMP_PATH, "%s", out->path);
    else if (out->place == IN_TEMP_DIR)
        snprintf(path, OUT_TEMP_PATH, "%s/%s", ps_str(out->outs->c, PS_STR_TEMP_DIR), out->temp);
    else
        snprintf(path, OUT_TEMP_PATH, "%.*s%s", (int)(out_last_part(out->path) - out->path), out->path, out->temp);
    return path;
}

const char *out_temp_shown(const ps_out *out, char shown[PS_FULL_FNAME]) {
    char path[OUT_TEMP_PATH];
    return full_fname(out->outs->c, out_temp_path(out, path), shown);
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

void outs_back_up(ps_outs *o, outs_backup_fn fn, void *owner) {
    o->backup = fn;
    o->backup_owner = owner;
}

const ps_ctx *outs_context(const ps_outs *o) { return o->c; }

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

void out_give_back(ps_out *out) {
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

int out_create_temp(ps_outs *o, int dir, char *name, size_t letters, mode_t mode) {
    int fd = -1;
    for (int i = 0; i < OPEN_TRIES && fd < 0; i++) {
        random_letters(o, name + letters);
        fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (fd < 0 && errno != EEXIST) break;
    }
    return fd;
}

/* A file that may be there already. A read-only one is made writable just for the open (receiver.c:open_readonly_inplace). */
static int open_for_writing(int dir, const char *name, int flags) {
    flags |= O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
    int fd = openat(dir, name, flags | O_CREAT, 0600);
    if (fd < 0 && errno == EACCES) fd = openat(dir, name, flags); /* the kernel's protected_regular forbids O_CREAT */
    if (fd >= 0 || errno != EACCES) return fd;
    struct stat st;
    int err = EACCES, reader = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (reader >= 0 && fstat(reader, &st) == 0 && S_ISREG(st.st_mode) && !(st.st_mode & S_IWUSR) &&
        fchmod(reader, (st.st_mode & 07777) | S_IWUSR) == 0) {
        fd = openat(dir, name, flags);
        err = errno;
        if (fchmod(reader, st.st_mode & 07777) < 0 && fd >= 0) {
            err = errno;
            close(fd);
            fd = -1;
        }
    }
    if (reader >= 0) close(reader);
    errno = err;
    return fd;
}

/* The generator has put anything else out of the way, but data that nobody asked for may come first: never into a device. */
static int open_old(int dir, const char *name, int flags) {
    struct stat st;
    int fd = open_for_writing(dir, name, flags);
    if (fd < 0 || (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))) return fd;
    close(fd);
    errno = ENXIO;
    return -1;
}

static int open_in_partial(const ps_out *out) {
    char partial[PS_LIMIT_NAME + 1];
    const char *name;
    if (!out_partial_path(out->outs->c, out->path, partial)) return -1;
    int dir = out_partial_dir_fd(out->outs, partial, &name);
    if (dir < 0) return -1;
    int fd = open_old(dir, name, O_RDWR), err = errno;
    close(dir);
    errno = err;
    return fd;
}

static int open_in_place(const ps_out *out) {
    const char *name;
    int dir = root_parent(out->outs->root, out->path, &name);
    return dir < 0 ? -1 : open_old(dir, name, O_WRONLY);
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
    out->got_data = out->cloned = false;
    out->old_size = 0;
    out->pieces = NULL;
    size_t n = strlen(path);
    memcpy(out->path, path, n + 1);
    char shown[PS_FULL_FNAME];
    if (flags & (PS_OUT_IN_PARTIAL | PS_OUT_IN_PLACE)) {
        out->place = flags & PS_OUT_IN_PLACE ? IN_PLACE : IN_PARTIAL_DIR;
        out->fd = flags & PS_OUT_IN_PLACE ? open_in_place(out) : open_in_partial(out);
        struct stat st;
        bool emptied = out->fd >= 0 && flags & PS_OUT_TRUNCATE && ftruncate(out->fd, 0) == 0;
        if (out->fd >= 0 && !emptied && fstat(out->fd, &st) == 0) out->old_size = st.st_size;
        if (out->fd < 0) ps_log_errno(o->c, PS_LOG_ERROR_XFER, errno, "rsync: [receiver] open %s failed", out_temp_shown(out, shown));
    } else {
        size_t letters = temp_name(o->c, path, out->temp);
        out->place = ps_str(o->c, PS_STR_TEMP_DIR) ? IN_TEMP_DIR : IN_FINAL_DIR;
        if (!letters) {
            ps_log(o->c, PS_LOG_ERROR_XFER, "temporary filename too long: %s\n", path);
            out_give_back(out);
            return NULL;
        }
        if (out->place == IN_TEMP_DIR && o->temp_fd < 0) o->temp_fd = operator_dir(o, ps_str(o->c, PS_STR_TEMP_DIR));
        int dir = out_temp_dir_fd(out);
        out->made_mode = creation_mode(o, file);
        if (dir >= 0) out->fd = out_create_temp(o, dir, out->temp, letters, out->made_mode);
        if (out->fd < 0) {
            int err = errno;
            memcpy(out->temp + letters, "XXXXXX", 7);
            ps_log_errno(o->c, PS_LOG_ERROR_XFER, err, "rsync: [receiver] mkstemp %s failed", out_temp_shown(out, shown));
        }
    }
    if (out->fd < 0) {
        out_give_back(out);
        return NULL;
    }
    return out;
}

i32 out_ndx(const ps_out *out) { return out->ndx; }
const char *out_path(const ps_out *out) { return out->path; }
bool out_got_data(const ps_out *out) { return out->got_data; }
void out_note_data(ps_out *out) { out->got_data = true; }
