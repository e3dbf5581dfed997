/* Is an entry up to date, what differs, and the item that tells the sender. */
#include "generator/generator_inner.h"

#include <fcntl.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define INSIGNIFICANT (PS_ITEM_BASIS_TYPE_FOLLOWS | PS_ITEM_XNAME_FOLLOWS | PS_ITEM_LOCAL_CHANGE)

gen_type gen_file_type(u32 mode) {
    switch (mode & S_IFMT) {
    case S_IFREG: return FT_REG;
    case S_IFLNK: return FT_SYMLINK;
    case S_IFDIR: return FT_DIR;
    case S_IFIFO:
    case S_IFSOCK: return FT_SPECIAL;
    case S_IFCHR:
    case S_IFBLK: return FT_DEVICE;
    default: return FT_OTHER;
    }
}

bool gen_mtime_differs(const ps_gen *g, const ps_file *f, const struct stat *st) {
    return !attrs_same_time(g->c, st->st_mtim.tv_sec, (u32)st->st_mtim.tv_nsec, f->mtime, f->mtime_ns);
}

static bool perms_differ(const ps_gen *g, const ps_file *f, const struct stat *st) {
    if (g->c->o.perms) return (st->st_mode ^ f->mode) & GEN_MODE_BITS;
    if (g->c->o.executability) return !(st->st_mode & 0111) != !(f->mode & 0111);
    return false;
}

static bool owner_differs(const ps_gen *g, const ps_file *f, const struct stat *st) {
    return g->c->o.am_root > 0 && g->c->o.owner && st->st_uid != f->uid;
}

static bool group_differs(const ps_gen *g, const ps_file *f, const struct stat *st) {
    return g->c->o.group && !(f->flags & PS_F_SKIP_GROUP) && st->st_gid != f->gid;
}

bool gen_same_attrs(const ps_gen *g, const ps_file *f, const struct stat *st) {
    const ps_opts *o = &g->c->o;
    bool link = S_ISLNK(f->mode);
    if (o->times && !(link && o->omit_link_times) && gen_mtime_differs(g, f, st)) return false;
    if (!link && perms_differ(g, f, st)) return false;
    return !owner_differs(g, f, st) && !group_differs(g, f, st);
}

/* -c: the sum of a local file equals the list's. A file that cannot be read counts as different. */
static bool same_sum(ps_gen *g, const gen_item *it, int dirfd, const char *name, const struct stat *st) {
    const ps_flist *l = it->l;
    if (!l->sums || !l->sum_len || it->f < l->files || it->f >= l->files + l->count) return false;
    const u8 *want = l->sums + (size_t)(it->f - l->files) * l->sum_len;
    u8 have[PS_LIMIT_CHECKSUM] = {0};
    bool same;
    if (sums_ahead_compare(g->sums_ahead, st, want, l->sum_len, &same)) return same;
    if (!g->sum && !(g->sum = sum_new())) return !gen_fail_memory(g);
    int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0) {
        i64 left = st->st_size;
        sum_init(g->sum, g->c->o.file_sum);
        int status;
        while ((status = sum_read(g->sum, fd, &left)) == PS_OK && !g->c->cancelled) continue;
        close(fd);
        if (status == PS_FAIL) return !gen_fail_memory(g);
        g->hashed += st->st_size - left;
        sum_final(g->sum, have);
    }
    return memcmp(have, want, l->sum_len < sizeof have ? l->sum_len : sizeof have) == 0;
}

static bool same_target(ps_gen *g, const gen_item *it, int dirfd, const char *name) {
    const char *want = file_link(it->l, it->f);
    ssize_t n = readlinkat(dirfd, name, (char *)g->scratch, PS_LIMIT_NAME);
    return want && n > 0 && strlen(want) == (size_t)n && memcmp(want, g->scratch, (size_t)n) == 0;
}

bool gen_same_data(ps_gen *g, gen_item *it, int dirfd, const char *name, const struct stat *st) {
    const ps_file *f = it->f;
    const ps_opts *o = &g->c->o;
    const ps_file_extra *e;
    switch (gen_file_type(f->mode)) {
    case FT_REG:
        if (st->st_size != f->size) return false;
        if (o->checksum && !g->redoing) return same_sum(g, it, dirfd, name, st);
        if (o->size_only && !g->redoing) return true;
        if (o->ignore_times || g->redoing) return false;
        return !gen_mtime_differs(g, f, st);
    case FT_SYMLINK: return same_target(g, it, dirfd, name);
    case FT_SPECIAL: return ((f->mode ^ st->st_mode) & S_IFMT) == 0;
    case FT_DEVICE:
        e = file_extra(it->l, f);
        return e && st->st_rdev == makedev(e->rdev_major, e->rdev_minor);
    default: return true;
    }
}

/* ---- items ----------------------------------------------------------------------------------- */

u32 gen_item_flags(const ps_gen *g, const ps_file *f, int statret, const struct stat *st, u32 iflags, const char *xname) {
    const ps_opts *o = &g->c->o;
    if (statret < 0) return (iflags | PS_ITEM_IS_NEW) & 0xffff;
    bool link = S_ISLNK(f->mode);
    bool keep_time = o->times && !(S_ISDIR(f->mode) ? o->omit_dir_times : link && o->omit_link_times);
    if (S_ISREG(f->mode) && f->size != st->st_size) iflags |= PS_ITEM_REPORT_SIZE;
    if (f->flags & PS_F_TIME_FAILED) {
        if (iflags & PS_ITEM_LOCAL_CHANGE) iflags |= PS_ITEM_REPORT_TIME | PS_ITEM_REPORT_TIMEFAIL;
    } else if (keep_time) {
        if (gen_mtime_differs(g, f, st)) iflags |= PS_ITEM_REPORT_TIME;
    } else if (iflags & (PS_ITEM_TRANSFER | PS_ITEM_LOCAL_CHANGE) && !(iflags & PS_ITEM_MATCHED) &&
               (!(iflags & PS_ITEM_XNAME_FOLLOWS) || (xname && *xname))) {
        iflags |= PS_ITEM_REPORT_TIME;
    }
    if (!link && perms_differ(g, f, st)) iflags |= PS_ITEM_REPORT_PERMS;
    if (owner_differs(g, f, st)) iflags |= PS_ITEM_REPORT_OWNER;
    if (group_differs(g, f, st)) iflags |= PS_ITEM_REPORT_GROUP;
    return iflags & 0xffff;
}

void gen_put(ps_gen *g, const void *data, size_t n) {
    if (!mux_out_data(g->out, data, n)) gen_fail_memory(g);
}

void gen_put_ndx(ps_gen *g, i32 ndx) {
    u8 room[16];
    ps_buf b = {.data = room, .cap = sizeof room};
    if (buf_ndx(&b, g->ndx_out, g->c->o.protocol, ndx)) gen_put(g, room, b.len);
}

void gen_itemize(ps_gen *g, const gen_item *it, i32 ndx, int statret, const struct stat *st, u32 iflags, u8 basis, const char *xname) {
    iflags = gen_item_flags(g, it->f, statret, st, iflags, xname);
    const ps_opts *o = &g->c->o;
    if (!(iflags & ~(u32)INSIGNIFICANT) && o->info_name < 2 && o->stdout_format_has_i <= 1 && !(xname && *xname)) return;
    if (o->read_batch) return; /* the batch's own items are shown */
    if (o->protocol < 29) {
        if (ndx < 0) return; /* part of a request, which says nothing more than its number */
        int code = o->log_format_has_i ? PS_LOG_INFO : PS_LOG_CLIENT;
        if (render_item(g->c, code, g->all, it->l, it->f, iflags, xname, 0, 0) != PS_OK) g->failed = true;
        return;
    }
    if (it->unsent) {
        if (iflags & PS_ITEM_IS_NEW) g->c->stats.created_files++;
        if (render_maybe_item(g->c, g->all, it->l, it->f, iflags, xname) != PS_OK) g->failed = true;
        return;
    }
    ps_buf *b = &g->request;
    buf_clear(b);
    bool ok = ndx < 0 || buf_ndx(b, g->ndx_out, o->protocol, ndx);
    ok = ok && buf_u16(b, (u16)iflags);
    if (iflags & PS_ITEM_BASIS_TYPE_FOLLOWS) ok = ok && buf_u8(b, basis);
    if (iflags & PS_ITEM_XNAME_FOLLOWS) ok = ok && buf_vstring(b, xname ? xname : "", xname ? strlen(xname) : 0);
    if (!ok)
        gen_fail_memory(g);
    else
        gen_put(g, b->data, b->len);
}
