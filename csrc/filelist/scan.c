/* Names of the tree into the list: flist.c:make_file, send_file_name, send_directory. */
#include "filelist/lister_inner.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#ifndef O_PATH
#define O_PATH O_RDONLY
#endif

/* ---- paths ------------------------------------------------------------------------------------------ */

static bool is_dot(const char *path, size_t len) { return len == 1 && *path == '.'; }

static const ps_list_root *at_root(const ps_lister *l) { return &l->all->roots[l->at_root]; }

const char *lister_real(ps_lister *l, const char *path, size_t len, size_t *real_len) {
    const ps_list_root *r = at_root(l);
    size_t n = r->len;
    if (is_dot(path, len) || !len) {
        memcpy(l->real, root_path(l->all, r), n + 1);
    } else {
        if (n) memcpy(l->real, root_path(l->all, r), n);
        if (n) l->real[n++] = '/';
        memcpy(l->real + n, path, len);
        n += len;
        l->real[n] = 0;
    }
    *real_len = n;
    return l->real;
}

const char *lister_shown(ps_lister *l, const char *path, char out[PS_FULL_FNAME]) {
    char text[2 * PS_LIMIT_NAME + 8];
    const ps_list_root *r = at_root(l);
    if (!r->len) return full_fname(l->ctx, path, out);
    const char *above = ps_str(l->ctx, PS_STR_CURR_DIR);
    bool top = !above || !above[strspn(above, "/")];
    snprintf(text, sizeof text, "%s%s/%s", top ? "/" : "", root_path(l->all, r), path);
    return full_fname(l->ctx, text, out);
}

ps_root *lister_inner(ps_lister *l) {
    ps_list_root *r = &l->all->roots[l->at_root];
    if (r->inner) return r->inner;
    for (u32 i = 0; i < l->at_root; i++) { /* the same directory, named by an argument before the one before */
        const ps_list_root *other = &l->all->roots[i];
        if (!other->inner || other->len != r->len || memcmp(root_path(l->all, other), root_path(l->all, r), r->len) != 0)
            continue;
        r->borrowed = true;
        return r->inner = other->inner;
    }
    int fd = root_openat(l->root, r->len ? root_path(l->all, r) : ".", O_RDONLY | O_DIRECTORY, 0);
    if (fd >= 0) r->inner = root_from_fd(l->ctx, fd);
    return r->inner;
}

/* Directory descriptor and last component by which a name is reached. */
static int resolve(ps_lister *l, const char *path, size_t len, const char **base) {
    size_t n;
    const char *real = lister_real(l, path, len, &n);
    if (is_dot(path, len) || !n) {
        *base = ".";
        return root_dir(l->root, real, n);
    }
    return root_parent(l->root, real, base);
}

bool lister_excluded(ps_lister *l, const char *path, size_t len, bool is_dir, filter_level level) {
    if (!l->rules) return false;
    if (rules_any_daemon(l->rules) && rules_check_daemon(l->rules, path, len, is_dir) < 0) {
        errno = ENOENT;
        return true;
    }
    return level == FILTER_ALL && l->any_filter && rules_any(l->rules) &&
           rules_check(l->rules, path, len, is_dir, PS_SIDE_SENDER) < 0;
}

void lister_stat_error(ps_lister *l, int err, const char *path, bool is_dir) {
    char shown[PS_FULL_FNAME];
    if (err == ENOENT) {
        l->ctx->io_error |= PS_IOERR_VANISHED;
        ps_log(l->ctx, PS_LOG_WARNING, "%s has vanished: %s\n", is_dir ? "directory" : "file", lister_shown(l, path, shown));
    } else {
        l->ctx->io_error |= PS_IOERR_GENERAL;
        ps_log_errno(l->ctx, PS_LOG_ERROR_XFER, err, "rsync: [sender] link_stat %s failed", lister_shown(l, path, shown));
    }
}

/* ---- the state of a name ------------------------------------------------------------------------------ */

/* What a symlink points to, beneath the root. EXDEV: it leads out. */
static int stat_beneath(ps_lister *l, const char *path, size_t len, struct stat *st) {
    size_t n;
    const char *real = lister_real(l, path, len, &n);
    int fd = root_openat(l->root, n ? real : ".", O_PATH, 0);
    if (fd < 0) return -1;
    int status = fstat(fd, st);
    close(fd);
    return status;
}

static int stat_target(ps_lister *l, const char *path, size_t len, struct stat *st) {
    if (stat_beneath(l, path, len, st) == 0) return 0;
    if (errno == EXDEV) errno = ENOENT; /* outside of the module nothing is for a client */
    return -1;
}

static int link_stat(ps_lister *l, const char *path, size_t len, int dirfd, const char *base, bool follow_dirs, struct stat *st) {
    if (fstatat(dirfd, base, st, AT_SYMLINK_NOFOLLOW) < 0) return -1;
    if (!S_ISLNK(st->st_mode)) return 0;
    if (l->follow_links) return stat_target(l, path, len, st);
    struct stat target;
    if (!follow_dirs) return 0;
    if (stat_beneath(l, path, len, &target) == 0) {
        if (S_ISDIR(target.st_mode)) *st = target;
        return 0;
    }
    /* A directory is asked for, and it is outside. rsync lists it with its mode and times, then fails to open it. */
    if (errno != EXDEV || fstatat(dirfd, base, &target, 0) < 0 || !S_ISDIR(target.st_mode)) return 0;
    errno = ELOOP;
    return -1;
}

int lister_stat(ps_lister *l, const char *path, size_t len, bool follow_dirs, struct stat *st) {
    const char *base;
    int dirfd = resolve(l, path, len, &base);
    return dirfd < 0 ? -1 : link_stat(l, path, len, dirfd, base, follow_dirs, st);
}

/* flist.c:readlink_stat; the target goes into l->x.link. */
static int readlink_stat(ps_lister *l, const char *path, size_t len, int dirfd, const char *base, struct stat *st) {
    const ps_opts *o = &l->ctx->o;
    if (link_stat(l, path, len, dirfd, base, o->copy_dirlinks, st) < 0) return -1;
    if (!S_ISLNK(st->st_mode)) return 0;
    ssize_t n = readlinkat(dirfd, base, l->x.link, PS_LIMIT_LINK_TARGET);
    if (n < 0) return -1;
    l->x.link[n] = 0;
    l->x.link_len = (u32)n;
    if (o->copy_unsafe_links && link_is_unsafe(l->x.link, path)) {
        if (o->info_symsafe >= 1) ps_log(l->ctx, PS_LOG_INFO, "copying unsafe symlink \"%s\" -> \"%s\"\n", path, l->x.link);
        l->x.link_len = 0;
        return stat_target(l, path, len, st);
    }
    size_t munged = strlen(PS_MUNGE_PREFIX);
    if (o->munge_links && l->x.link_len > munged && memcmp(l->x.link, PS_MUNGE_PREFIX, munged) == 0) {
        l->x.link_len -= (u32)munged;
        memmove(l->x.link, l->x.link + munged, l->x.link_len + 1);
    }
    return 0;
}

static void report_missing(ps_lister *l, int err, const char *path, int dirfd, const char *base) {
    const ps_opts *o = &l->ctx->o;
    char shown[PS_FULL_FNAME];
    struct stat st;
    if (err != ENOENT) {
        l->ctx->io_error |= PS_IOERR_GENERAL;
        ps_log_errno(l->ctx, PS_LOG_ERROR_XFER, err, "rsync: [sender] readlink_stat(%s) failed", lister_shown(l, path, shown));
    } else if ((l->follow_links || o->copy_unsafe_links || o->copy_dirlinks) && dirfd >= 0 &&
               fstatat(dirfd, base, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode)) {
        l->ctx->io_error |= PS_IOERR_GENERAL;
        ps_log(l->ctx, PS_LOG_ERROR_XFER, "symlink has no referent: %s\n", lister_shown(l, path, shown));
    } else {
        l->ctx->io_error |= PS_IOERR_VANISHED;
        ps_log(l->ctx, vanished_code(&l->ctx->o), "file has vanished: %s\n", lister_shown(l, path, shown));
    }
}

/* ---- -c ------------------------------------------------------------------------------------------------- */

/* checksum.c:file_checksum: zeros where the file cannot be read. */
static bool checksum_file(ps_lister *l, const char *path, size_t len, int dirfd, const char *base, i64 size) {
    memset(l->x.sum, 0, sizeof l->x.sum);
    if (!l->sum && !(l->sum = sum_new())) return false;
    int fd = openat(dirfd, base, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno == ELOOP) {
        size_t n;
        const char *real = lister_real(l, path, len, &n);
        fd = root_openat(l->root, real, O_RDONLY | O_NONBLOCK, 0);
    }
    if (fd < 0) return true;
    sum_init(l->sum, l->ctx->o.file_sum);
    int status;
    i64 left = size;
    while ((status = sum_read(l->sum, fd, &left)) == PS_OK && !l->ctx->cancelled) continue;
    close(fd);
    l->hashed += size - left;
    sum_final(l->sum, l->x.sum);
    return status != PS_FAIL;
}

/* For %C, that of the last entry; the room doubles at powers of two. */
static bool keep_checksum(ps_lister *l, bool regular) {
    ps_flist *list = l->list;
    size_t n = sum_length(l->ctx->o.file_sum), at = list->count - 1;
    if ((at & (at - 1)) == 0) {
        u8 *grown = realloc(list->sums, (at ? 2 * at : 1) * n);
        if (!grown) return false;
        list->sums = grown;
        list->sum_len = (u32)n;
    }
    if (regular)
        memcpy(list->sums + at * n, l->x.sum, n);
    else
        memset(list->sums + at * n, 0, n);
    return true;
}

bool lister_pauses(ps_lister *l) {
    if (buf_used(&l->out->out) < LISTER_HIGH_WATER && l->hashed < PS_HASH_STEP) return false;
    l->hashed = 0;
    return true;
}

/* ---- one name --------------------------------------------------------------------------------------------- */

/* The filters' verdict on a name whose state is known. false: left out. */
static bool passes(ps_lister *l, const char *path, size_t len, const struct stat *st, u16 *flags, filter_level level) {
    ps_ctx *c = l->ctx;
    bool dir = S_ISDIR(st->st_mode);
    if (!dir) *flags &= (u16)~PS_F_CONTENT_DIR;
    if (level == FILTER_NONE) return true;
    if (dir) {
        if (!l->want_dirs) {
            ps_log(c, PS_LOG_INFO, "skipping directory %s\n", path);
            return false;
        }
        /* -x looks at directories alone: a mount point is not entered, but a file behind a followed link is taken. */
        if (c->o.one_file_system && (u64)st->st_dev != l->one_dev && (*flags & (PS_F_CONTENT_DIR | PS_F_TOP_DIR)) == PS_F_CONTENT_DIR) {
            if (c->o.one_file_system > 1) {
                if (c->o.info_mount >= 1) ps_log(c, PS_LOG_INFO, "[sender] skipping mount-point dir %s\n", path);
                return false;
            }
            *flags = (u16)((*flags | PS_F_MOUNT_DIR) & ~PS_F_CONTENT_DIR);
        }
    }
    return !lister_excluded(l, path, len, dir, level);
}

static bool fill_extra(ps_lister *l, ps_file *f, const struct stat *st) {
    const ps_opts *o = &l->ctx->o;
    bool device = mode_is_device(f->mode);
    l->x.hard_linked = o->hard_links && !S_ISDIR(f->mode) && st->st_nlink > 1;
    l->x.dev = (u64)st->st_dev;
    l->x.ino = (u64)st->st_ino;
    l->x.rdev_major = device ? major(st->st_rdev) : 0;
    l->x.rdev_minor = device ? minor(st->st_rdev) : 0;
    if (device || mode_is_special(f->mode)) f->size = 0;
    if (!device && !S_ISLNK(f->mode)) return true;
    ps_file_extra *x = flist_push_extra(l->list, f);
    if (!x) return false;
    x->rdev_major = l->x.rdev_major;
    x->rdev_minor = l->x.rdev_minor;
    if (!S_ISLNK(f->mode)) return true;
    x->link = arena_put(&l->list->names, l->x.link, l->x.link_len);
    x->link_len = l->x.link_len;
    return x->link != PS_NO_OFFSET;
}

static ps_file *add_entry(ps_lister *l, const char *path, size_t len, const struct stat *st, u16 flags) {
    const ps_opts *o = &l->ctx->o;
    size_t at = l->base_at;
    u32 dir = l->base_dir;
    if (dir == UINT32_MAX) {
        const char *slash = memrchr(path, '/', len);
        at = slash ? (size_t)(slash + 1 - path) : 0;
        dir = flists_dir(l->all, path, at > 1 ? at - 1 : at, l->at_root);
    }
    ps_file *f = dir == UINT32_MAX ? NULL : flist_push(l->list);
    if (!f) return NULL;
    f->mode = l->ctx->chmod_count && !S_ISLNK(st->st_mode) ? chmod_tweak(l->ctx, st->st_mode) : st->st_mode;
    f->size = st->st_size;
    f->mtime = st->st_mtime;
    long ns = st->st_mtim.tv_nsec;
    f->mtime_ns = o->protocol >= 31 && ns >= 0 && ns <= PS_WIRE_NSEC_MAX ? (u32)ns : 0;
    if (o->owner) f->uid = st->st_uid;
    if (o->group) f->gid = st->st_gid;
    f->flags = flags;
    f->dir = dir;
    f->name_len = (u16)(len - at);
    f->name = arena_put(&l->list->names, path + at, len - at);
    return f->name != PS_NO_OFFSET && fill_extra(l, f, st) ? f : NULL;
}

int lister_name(ps_lister *l, const char *path, size_t len, int dirfd, const char *base, const struct stat *given, u16 flags,
                filter_level level, ps_file **made) {
    ps_ctx *c = l->ctx;
    struct stat st;
    char shown[PS_FULL_FNAME];
    *made = NULL;
    l->x.link_len = 0;
    if (len > PS_LIMIT_NAME) {
        c->io_error |= PS_IOERR_GENERAL;
        ps_log(c, PS_LOG_ERROR_XFER, "skipping overly long name: %s\n", path);
        return PS_OK;
    }
    if (dirfd < 0) dirfd = resolve(l, path, len, &base);
    if (given && S_ISDIR(given->st_mode)) {
        st = *given;
    } else if (dirfd < 0 || readlink_stat(l, path, len, dirfd, base, &st) < 0) {
        int err = errno;
        if (level != FILTER_NONE && (lister_excluded(l, path, len, false, level) || lister_excluded(l, path, len, true, level)))
            return PS_OK;
        report_missing(l, err, path, dirfd, base);
        return PS_OK;
    }
    if (!passes(l, path, len, &st, &flags, level)) return PS_OK;
    if (c->o.links && S_ISLNK(st.st_mode) && !l->x.link_len) {
        c->io_error |= PS_IOERR_GENERAL;
        ps_log(c, PS_LOG_ERROR_XFER, "skipping symlink with 0-length value: %s\n", lister_shown(l, path, shown));
        return PS_OK;
    }
    if (c->o.checksum && S_ISREG(st.st_mode) && !checksum_file(l, path, len, dirfd, base, st.st_size))
        return ps_fail_memory(c, "file checksums");
    if (l->all->total_count + l->list->count >= PS_LIMIT_LIST_ENTRIES)
        return ps_fail(c, 22, 0, "more than %d entries in the file list", PS_LIMIT_LIST_ENTRIES);
    ps_file *f = add_entry(l, path, len, &st, flags);
    if (!f || (c->o.checksum && c->o.keep_checksums && !keep_checksum(l, S_ISREG(f->mode))) || !lister_put_entry(l, path, len, f))
        return ps_fail_memory(c, "the file list");
    *made = f;
    return PS_OK;
}

#define PACK_BATCH 256u /* entries of a directory that are packed together */

/* ---- directories --------------------------------------------------------------------------------------------- */

static bool open_names(ps_lister *l, const char *path, size_t len) {
    const char *base;
    int parent = resolve(l, path, len, &base);
    if (parent < 0) return false;
    int fd = openat(parent, base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && (errno == ELOOP || errno == ENOTDIR)) {
        size_t n;
        const char *real = lister_real(l, path, len, &n);
        fd = root_openat(l->root, n ? real : ".", O_RDONLY | O_DIRECTORY, 0);
    }
    return fd >= 0 && dir_names_open(l->names, fd);
}

static void report_unopened(ps_lister *l, int err, const char *path) {
    char shown[PS_FULL_FNAME];
    if (err == ENOENT) {
        lister_stat_error(l, err, path, true);
        return;
    }
    l->ctx->io_error |= PS_IOERR_GENERAL;
    ps_log_errno(l->ctx, PS_LOG_ERROR_XFER, err, "rsync: [sender] opendir %s failed", lister_shown(l, path, shown));
}

int lister_push_dir(ps_lister *l, const char *path, size_t len, u16 flags, bool descend, bool own_rules) {
    ps_ctx *c = l->ctx;
    if (l->frame_count == l->frame_cap) {
        u32 cap = l->frame_cap ? l->frame_cap * 2 : 32;
        dir_frame *grown = realloc(l->frames, cap * sizeof *grown);
        if (!grown) return ps_fail_memory(c, "the file list");
        l->frames = grown;
        l->frame_cap = cap;
    }
    dir_frame f = {.flags = flags, .descend = descend, .token = -1};
    if (descend) {
        if (!flist_pack(l->list)) return ps_fail_memory(c, "the file list");
        f.child = flist_packed_mark(l->list);
    }
    f.dir = flists_dir(l->all, path, is_dot(path, len) ? 0 : len, l->at_root);
    if (f.dir == UINT32_MAX) return ps_fail_memory(c, "the file list");
    if (own_rules && l->rules && rules_any_merge(l->rules)) {
        ps_root *inner = lister_inner(l);
        if (inner && (f.token = rules_enter(l->rules, inner, is_dot(path, len) ? "" : path, is_dot(path, len) ? 0 : len)) < 0)
            return PS_FAIL;
    }
    f.names = open_names(l, path, len);
    if (!f.names) {
        report_unopened(l, errno, path);
        if (f.token >= 0) rules_leave(l->rules, f.token);
        return PS_OK;
    }
    struct stat st;
    if (c->o.inc_recurse && c->o.one_file_system && fstat(dir_names_fd(l->names), &st) == 0) l->one_dev = (u64)st.st_dev;
    l->frames[l->frame_count++] = f;
    return PS_OK;
}

static void pop_frame(ps_lister *l) {
    dir_frame *f = &l->frames[--l->frame_count];
    if (f->names) dir_names_close(l->names);
    if (f->token >= 0) rules_leave(l->rules, f->token);
}

/* The path of the frame's directory, with a slash where a name is to follow, into l->path. */
static size_t frame_path(ps_lister *l, const dir_frame *f) {
    const ps_dirname *d = &l->all->dirs[f->dir];
    size_t n = d->path_len;
    if (n) memcpy(l->path, arena_at(&l->all->dir_arena, d->path), n);
    if (n && l->path[n - 1] != '/') l->path[n++] = '/';
    l->path[n] = 0;
    return n;
}

static const char *frame_name(ps_lister *l, const dir_frame *f) {
    size_t n = frame_path(l, f);
    if (n > 1) l->path[n - 1] = 0;
    return n ? l->path : ".";
}

static int send_names(ps_lister *l, dir_frame *f) {
    ps_ctx *c = l->ctx;
    char shown[PS_FULL_FNAME];
    size_t at = frame_path(l, f);
    int fd = dir_names_fd(l->names);
    for (;;) {
        if (c->cancelled) return ps_fail(c, 20, 0, "cancelled");
        if (lister_pauses(l)) return PS_FULL;
        const char *name = dir_names_next(l->names);
        if (!name) break;
        size_t n = strlen(name);
        if (at + n > PS_LIMIT_NAME) {
            c->io_error |= PS_IOERR_GENERAL;
            ps_log(c, PS_LOG_ERROR_XFER, "filename overflows max-path len by %zu: %.*s%s\n", at + n - PS_LIMIT_NAME, (int)at, l->path, name);
            continue;
        }
        memcpy(l->path + at, name, n + 1);
        ps_file *made;
        l->base_dir = f->dir;
        l->base_at = at;
        int status = lister_name(l, l->path, at + n, fd, name, NULL, f->flags, FILTER_ALL, &made);
        l->base_dir = UINT32_MAX;
        if (status != PS_OK) return PS_FAIL;
        if (f->descend && l->list->count - l->list->packed_count >= PACK_BATCH && !flist_pack(l->list))
            return ps_fail_memory(c, "the file list");
    }
    if (errno) {
        int err = errno;
        c->io_error |= PS_IOERR_GENERAL;
        ps_log_errno(c, PS_LOG_ERROR_XFER, err, "rsync: [sender] readdir(%s)", lister_shown(l, frame_name(l, f), shown));
    }
    dir_names_close(l->names);
    f->names = false;
    if (f->descend && !flist_pack(l->list)) return ps_fail_memory(c, "the file list");
    f->end = buf_used(&l->list->packed);
    return PS_OK;
}

/* The next of the frame's directories: its path goes into l->path, its length is returned; 0: there is none. */
static size_t next_child(ps_lister *l, dir_frame *f) {
    packed_entry e;
    while (f->descend && f->child.at < f->end && flist_packed_next(l->list, &f->child, &e)) {
        if (!S_ISDIR(e.file.mode) || e.file.flags & PS_F_MOUNT_DIR) continue;
        size_t n = frame_path(l, f);
        memcpy(l->path + n, e.name, e.file.name_len);
        n += e.file.name_len;
        l->path[n] = 0;
        return n;
    }
    return 0;
}

int lister_run(ps_lister *l) {
    while (l->frame_count) {
        dir_frame *f = &l->frames[l->frame_count - 1];
        if (f->names) {
            int status = send_names(l, f);
            if (status != PS_OK) return status;
        }
        size_t n = next_child(l, f);
        if (!n) {
            pop_frame(l);
            continue;
        }
        char path[PS_LIMIT_NAME + 2];
        memcpy(path, l->path, n + 1);
        if (lister_push_dir(l, path, n, f->flags, true, true) != PS_OK) return PS_FAIL;
    }
    return PS_OK;
}
