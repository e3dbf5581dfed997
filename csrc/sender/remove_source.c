/* --remove-source-files: what the receiver has taken goes, unless it is no longer what was sent (sender.c:successful_send). */
#include "sender/sender_inner.h"

#include <fcntl.h>
#include <unistd.h>

/* The state of s->path now; through a symlink only where symlinks are sent as what they point to, and only beneath the root. */
static int look_again(ps_send *s, int dir, const char *leaf, struct stat *st) {
    if (!s->ctx->o.copy_links) return fstatat(dir, leaf, st, AT_SYMLINK_NOFOLLOW);
    int fd = root_openat(s->root, s->path, O_PATH, 0);
    if (fd < 0) return -1;
    int status = fstat(fd, st);
    close(fd);
    return status;
}

static bool changed(const ps_file *f, const struct stat *st) {
    return st->st_size != f->size || st->st_mtim.tv_sec != f->mtime || (f->mtime_ns && (u32)st->st_mtim.tv_nsec != f->mtime_ns);
}

static int failed(ps_send *s, const char *what, const char *name) {
    if (errno == ENOENT)
        ps_log(s->ctx, PS_LOG_INFO, "sender file already removed: %s\n", name);
    else
        ps_log_errno(s->ctx, PS_LOG_ERROR_XFER, errno, "rsync: [sender] sender failed to %s %s", what, name);
    return PS_OK;
}

/* In a local copy the destination may be where the source is. */
static bool is_destination(ps_reader *r, const struct stat *st) {
    u64 dev = rd_u64(r), ino = rd_u64(r);
    return rd_ok(r) && ino == (u64)st->st_ino && dev == (u64)st->st_dev;
}

int send_remove_source(ps_send *s, const u8 *data, u32 len) {
    ps_reader r = rd_make(data, len);
    i32 ndx = rd_i32(&r);
    ps_flist *l = flists_for_ndx(s->all, ndx);
    if (l && flist_ready(s->all, l) != PS_OK) return PS_FAIL;
    ps_file *f = flists_file(s->all, ndx, &l);
    if (!f || !file_active(f)) return ps_fail(s->ctx, 2, 0, "File-list index %d is not in the file list (successful_send) [sender]", ndx);
    if (S_ISDIR(f->mode) || !file_source_path(s->all, l, f, s->path)) return PS_OK;
    char name[PS_LIMIT_NAME + 1];
    const char *leaf;
    struct stat st;
    file_path(s->all, l, f, name);
    int dir = root_parent(s->root, s->path, &leaf);
    if (dir < 0) return failed(s, "secure-open-parent", name);
    if (look_again(s, dir, leaf, &st) < 0) return failed(s, "re-lstat", name);
    if (s->ctx->o.local && is_destination(&r, &st)) {
        ps_log(s->ctx, PS_LOG_ERROR_XFER, "ERROR: Skipping sender remove of destination file: %s\n", name);
        return PS_OK;
    }
    if (changed(f, &st)) {
        ps_log(s->ctx, PS_LOG_ERROR_XFER, "ERROR: Skipping sender remove for changed file: %s\n", name);
        return PS_OK;
    }
    dir = root_parent(s->root, s->path, &leaf);
    if (dir < 0 || unlinkat(dir, leaf, 0) < 0) return failed(s, "remove", name);
    if (s->ctx->o.info_remove >= 1) ps_log(s->ctx, PS_LOG_INFO, "sender removed %s\n", name);
    return PS_OK;
}
