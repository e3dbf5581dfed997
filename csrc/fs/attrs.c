#include "fs/attrs.h"
#include "core/names.h"

#include <fcntl.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#if !defined SYS_fchmodat2 && !defined __alpha__
#define SYS_fchmodat2 452 /* newer than many a system's headers */
#endif
#endif

#define MODE_BITS (S_ISUID | S_ISGID | S_ISVTX | 0777u)

u32 attrs_default_perms(const ps_ctx *c) { return 0777u & ~(u32)c->o.umask; }

bool attrs_same_time(const ps_ctx *c, i64 a, u32 a_ns, i64 b, u32 b_ns) {
    i64 window = c->o.modify_window;
    if (window < 0) return a == b && a_ns == b_ns;
    if (window == 0) return a == b;
    return a > b ? a - b <= window : b - a <= window;
}

u32 attrs_dest_mode(const ps_ctx *c, u32 file_mode, u32 stat_mode, u32 default_perms, bool exists) {
    if (!exists) return file_mode & (~MODE_BITS | default_perms);
    u32 mode = (file_mode & ~MODE_BITS) | (stat_mode & MODE_BITS);
    if (c->o.executability && S_ISREG(file_mode)) {
        if (!(file_mode & 0111))
            mode &= ~0111u;
        else if (!(stat_mode & 0111))
            mode |= (mode & 0444) >> 2; /* who may read may execute */
    }
    return mode;
}

/* ---- one entry, by descriptor or by name beneath a directory ------------------------------- */

typedef struct target {
    int fd;        /* open file, or -1 */
    int dirfd;
    const char *name;
} target;

static int target_stat(const target *t, struct stat *st) {
    return t->fd >= 0 ? fstat(t->fd, st) : fstatat(t->dirfd, t->name, st, AT_SYMLINK_NOFOLLOW);
}

static int target_chown(const target *t, uid_t uid, gid_t gid) {
    return t->fd >= 0 ? fchown(t->fd, uid, gid) : fchownat(t->dirfd, t->name, uid, gid, AT_SYMLINK_NOFOLLOW);
}

int attrs_chmod(int dirfd, const char *name, mode_t mode) {
#ifdef SYS_fchmodat2
    if (syscall(SYS_fchmodat2, dirfd, name, mode, AT_SYMLINK_NOFOLLOW) == 0) return 0;
    if (errno != ENOSYS && errno != EPERM) return -1;
#endif
    int status = fchmodat(dirfd, name, mode, AT_SYMLINK_NOFOLLOW);
    if (status == 0 || errno != EOPNOTSUPP) return status;
    /* The C library looks into /proc for it, which a chroot has not. */
    int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return -1;
    status = fchmod(fd, mode);
    int err = errno;
    close(fd);
    errno = err;
    return status;
}

static int target_chmod(const target *t, mode_t mode) {
    return t->fd >= 0 ? fchmod(t->fd, mode) : attrs_chmod(t->dirfd, t->name, mode);
}

static int target_mtime(const target *t, i64 mtime, u32 ns) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = mtime, .tv_nsec = (long)ns}};
    return t->fd >= 0 ? futimens(t->fd, times) : utimensat(t->dirfd, t->name, times, AT_SYMLINK_NOFOLLOW);
}

static void complain(ps_ctx *c, int err, const char *what, const char *shown) {
    char full[PS_FULL_FNAME];
    ps_log_errno(c, PS_LOG_ERROR_XFER, err, "rsync: [generator] %s %s", what, full_fname(c, shown, full));
}

static void complain_after(ps_ctx *c, int err, const char *shown, const char *what) {
    char full[PS_FULL_FNAME];
    ps_log_errno(c, PS_LOG_ERROR_XFER, err, "rsync: [generator] %s %s failed", what, full_fname(c, shown, full));
}

/* The owner and group that differ; after it *st shows the mode that the change left. false: it failed and was logged. */
static bool set_owner(ps_ctx *c, const target *t, const char *shown, const ps_attrs *a, struct stat *st, bool *changed) {
    bool uid = c->o.am_root > 0 && c->o.owner && st->st_uid != a->uid;
    bool gid = c->o.group && a->has_group && st->st_gid != a->gid;
    if (!uid && !gid) return true;
    *changed = true;
    if (c->o.dry_run) return true;
    uid_t new_uid = uid ? a->uid : st->st_uid;
    gid_t new_gid = gid ? a->gid : st->st_gid;
    if (target_chown(t, new_uid, new_gid) < 0) {
        complain_after(c, errno, shown, uid ? "chown" : "chgrp");
        return false;
    }
    char full[PS_FULL_FNAME];
    if (new_uid == (uid_t)-1 && st->st_uid != (uid_t)-1)
        ps_log(c, PS_LOG_ERROR_XFER, "uid 4294967295 (-1) is impossible to set on %s\n", full_fname(c, shown, full));
    if (new_gid == (gid_t)-1 && st->st_gid != (gid_t)-1)
        ps_log(c, PS_LOG_ERROR_XFER, "gid 4294967295 (-1) is impossible to set on %s\n", full_fname(c, shown, full));
    /* A change of owner drops the set-id bits. */
    if (st->st_mode & (S_ISUID | S_ISGID)) {
        struct stat now;
        if (target_stat(t, &now) == 0) *st = now;
    }
    return true;
}

static bool wants_mtime(const ps_ctx *c, const struct stat *st, int flags) {
    if (flags & PS_ATTRS_SKIP_MTIME || !c->o.times) return false;
    return !(c->o.omit_dir_times && S_ISDIR(st->st_mode)) && !(c->o.omit_link_times && S_ISLNK(st->st_mode));
}

static bool same_mtime(const ps_ctx *c, const ps_attrs *a, const struct stat *st, int flags) {
    u32 ns = (u32)st->st_mtim.tv_nsec;
    if (flags & PS_ATTRS_ACCURATE_TIME) return a->mtime == st->st_mtim.tv_sec && a->mtime_ns == ns;
    return attrs_same_time(c, a->mtime, a->mtime_ns, st->st_mtim.tv_sec, ns);
}

static int set_attributes(ps_ctx *c, const target *t, const char *shown, const ps_attrs *a, struct stat *have, int flags) {
    struct stat st;
    bool updated = false;
    u32 mode = a->mode;
    bool inherit = !c->o.perms && (!have || a->fresh);
    if (have) {
        st = *have;
    } else {
        if (c->o.dry_run) return 1;
        if (target_stat(t, &st) < 0) {
            complain_after(c, errno, shown, "stat");
            return 0;
        }
    }
    /* A directory that was just made in a set-group-id directory keeps the bit that it was given. */
    if (inherit && S_ISDIR(mode) && st.st_mode & S_ISGID) mode |= S_ISGID;
    if (c->o.am_daemon && c->chmod_count && !S_ISLNK(mode)) mode = chmod_tweak(c, mode);

    bool owned = set_owner(c, t, shown, a, &st, &updated);
    if (have) *have = st;
    if (!owned) return updated;
    if (wants_mtime(c, &st, flags) && !same_mtime(c, a, &st, flags)) {
        updated = true;
        if (!c->o.dry_run && target_mtime(t, a->mtime, a->mtime_ns) < 0) {
            complain(c, errno, "failed to set times on", shown);
            return updated;
        }
    }
    if (!S_ISLNK(mode) && (st.st_mode ^ mode) & MODE_BITS) {
        updated = true;
        if (!c->o.dry_run && target_chmod(t, mode & MODE_BITS) < 0) {
            complain(c, errno, "failed to set permissions on", shown);
            return updated;
        }
    }
    if (flags & PS_ATTRS_REPORT && c->o.info_name >= 2)
        ps_log(c, PS_LOG_CLIENT, updated ? "%s\n" : "%s is uptodate\n", shown);
    return updated;
}

int attrs_set(ps_ctx *c, int dirfd, const char *name, const char *shown, ps_attrs a, struct stat *have, int flags) {
    target t = {.fd = -1, .dirfd = dirfd, .name = name};
    return set_attributes(c, &t, shown, &a, have, flags);
}

int attrs_set_open(ps_ctx *c, int fd, const char *shown, ps_attrs a, struct stat *have, int flags) {
    target t = {.fd = fd, .dirfd = -1};
    return set_attributes(c, &t, shown, &a, have, flags);
}
